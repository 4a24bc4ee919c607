//! Routes of a model as a message.

use std::sync::Arc;

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{
    model::{Model, Version},
    stage::Stage,
};

/// Versions that served and stay connected.
const STANDBYS_WARM: usize = 2;

/// Where requests for a model go.
pub(super) fn message(model: &Model) -> proto::ModelRoutes {
    let routes = &model.routes;
    let share = |(version, weight): &(Arc<str>, u32)| proto::RouteShare {
        version: version.to_string(),
        weight: *weight,
    };
    // Of those that served, the ones that a rollback would go to are kept connected.
    let standbys: Vec<u64> =
        model.standbys().into_iter().take(STANDBYS_WARM).map(|version| version.number).collect();
    let connected = |version: &Version| {
        let wanted = match version.stage {
            Stage::Champion | Stage::Candidate => true,
            Stage::Standby => standbys.contains(&version.number),
            _ => false,
        };
        wanted && !version.endpoints.is_empty()
    };
    let endpoints = model.versions.values().filter(|version| connected(version));
    proto::ModelRoutes {
        model_id: model.model_id.to_string(),
        epoch: model.route_epoch,
        shares: routes.shares.iter().map(share).collect(),
        shadow: routes.shadow.as_ref().map(share),
        deployment_id: match routes.deployment {
            0 => String::new(),
            number => format!("deployment-{number}"),
        },
        candidate: routes.candidate.as_deref().unwrap_or("").to_owned(),
        sticky_by: routes.sticky_by.clone(),
        methods: routes.methods.clone(),
        endpoints: endpoints
            .map(|version| proto::VersionEndpoints {
                version: version.new.version.clone(),
                endpoints: version.endpoints.clone(),
            })
            .collect(),
        removed: false,
        capture: routes.capture.as_ref().map(|capture| proto::Capture {
            percent: capture.percent,
            timestamp: capture.timestamp.clone(),
            id: capture.id.clone(),
            score: capture.score.clone(),
            label: capture.label.clone(),
            label_is_number: capture.label_is_number,
            reference: capture.reference.clone(),
            recorded: capture.recorded,
            window_ms: capture.window_ms,
            out_of_orderness_ms: capture.out_of_orderness_ms,
            label_horizon_ms: capture.label_horizon_ms,
            service_id: model.service_id.clone(),
        }),
    }
}
