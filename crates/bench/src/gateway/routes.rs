//! How soon decisions are in force with four gateways under load: from the event that decides a rollback to the last request on the
//! version that is taken back, and from the event of a change of routes to the one that says that every gateway has it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use acgs_contracts::{
    inference::ModelInferRequest,
    lifecycle::v1::{DeploymentPhase, GetDeploymentRequest, StartDeploymentRequest, Strategy},
    orchestrator::v1::{SubscribeRequest, orchestrator_service_client::OrchestratorServiceClient},
};
use acgs_lifecycle::{Change, Event, event::DeploymentMoved};
use acgs_server::Settings;
use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::{
    PATIENCE, client,
    rig::{self, Echo, Lifecycle, Rig},
};
use acgs_console::connect::channel;

use crate::Figure;

const GATEWAYS: usize = 4;
/// Callers of each gateway, one call after the other.
const CALLERS: usize = 4;
/// Between two calls of a caller.
const PAUSE: Duration = Duration::from_millis(4);
const MODEL: &str = "routed";
/// Half of the traffic, so that much has to be taken away; nothing but errors decides.
const PLAN: &str = "steps = [50, 100]\nstep_ms = 20000\nsamples_min = 50\n[analysis]\nerror_block_ms = 50\nblock_ms = 100\n\
                    errors = { tolerated = 0.01, unacceptable = 0.05 }\n\
                    tail_p95 = { tolerated = 0.5, unacceptable = 0.9 }\ntail_p99 = { tolerated = 0.5, unacceptable = 0.9 }\n";
const LOOK: Duration = Duration::from_millis(5);
/// For so long is looked for requests on a version that was taken back.
const AFTERWARDS: Duration = Duration::from_millis(150);

/// Takes so many versions back.
pub(super) async fn measure(settings: &Settings, rollbacks: usize) -> anyhow::Result<Vec<Figure>> {
    let mut rig = Rig::start(settings, GATEWAYS).await?;
    let bad = Echo::new(300);
    let (good_at, bad_at) = (Echo::new(0).serve().await?, bad.serve().await?);
    rig::model(&mut rig.lifecycle, MODEL, "", good_at).await?;
    let question = ModelInferRequest { model_name: MODEL.into(), ..ModelInferRequest::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for gateway in &rig.gateways {
        let client = client(&gateway.address, &question).await?;
        for _ in 0..CALLERS {
            let (mut client, question, stop) = (client.clone(), question.clone(), Arc::clone(&stop));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // The bad version's failures are what it is about.
                    let _answered = client.model_infer(question.clone()).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
    }
    let mut last_ms = HashMap::new();
    for number in 0..rollbacks {
        let version = format!("bad-{number}");
        rig::version(&mut rig.lifecycle, MODEL, &version, bad_at, false).await?;
        let id = taken_back(&mut rig.lifecycle, &version).await?;
        // A gateway that says that it has changed its routes and has not would be seen in this time.
        tokio::time::sleep(AFTERWARDS).await;
        last_ms.insert(id, bad.last_ms.load(Ordering::Relaxed));
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller?;
    }
    let (rollback, change) = read(&rig, &last_ms).await?;
    rig.end().await?;
    let at = |waits: &Histogram<u64>, quantile: f64| waits.value_at_quantile(quantile) as f64;
    Ok(vec![
        Figure::new(format!("rollbacks with {GATEWAYS} gateways"), rollback.len() as f64, "rollbacks"),
        Figure::new("  decision to last request on the version, p50", at(&rollback, 0.5), "ms"),
        Figure::new("  the same, p99", at(&rollback, 0.99), "ms").at_most(1_000.0),
        Figure::new(format!("changes of routes with {GATEWAYS} gateways"), change.len() as f64, "changes"),
        Figure::new("  change to confirmed by all, p50", at(&change, 0.5), "ms"),
        Figure::new("  the same, p99", at(&change, 0.99), "ms").at_most(100.0),
    ])
}

/// Begins a deployment of a bad version, and waits until it is over.
async fn taken_back(client: &mut Lifecycle, version: &str) -> anyhow::Result<String> {
    let request = StartDeploymentRequest {
        model_id: MODEL.into(),
        version: version.into(),
        strategy: Strategy::Canary.into(),
        plan_toml: PLAN.into(),
        unjudged: true,
        why: "a measurement".into(),
        actor: "bench".into(),
        ..Default::default()
    };
    let started = client.deployments.start_deployment(request).await?.into_inner().deployment;
    let deployment_id = started.context("no deployment came back")?.deployment_id;
    let since = Instant::now();
    loop {
        let request = GetDeploymentRequest { deployment_id: deployment_id.clone() };
        let found =
            client.deployments.get_deployment(request).await?.into_inner().deployment.unwrap_or_default();
        match found.phase() {
            DeploymentPhase::RolledBack => return Ok(deployment_id),
            DeploymentPhase::Completed | DeploymentPhase::Failed => bail!("{version}: {}", found.why),
            _ => ensure!(since.elapsed() < PATIENCE, "{version} is still {}", found.phase().as_str_name()),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Milliseconds from decisions to last requests, and from changes to confirmations, as the events have them.
async fn read(rig: &Rig, last_ms: &HashMap<String, i64>) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let address = rig.running.addresses.orchestrator.to_string();
    let channel = channel(&address, rig.running.constitution.clone()).await?;
    let filter = "acgs.model.deployment.>".to_owned();
    let request = SubscribeRequest { after_sequence: Some(0), subject_filter: filter };
    let mut events = OrchestratorServiceClient::new(channel).subscribe(request).await?.into_inner();
    let (mut rollback, mut change) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let mut begun: HashMap<u64, i64> = HashMap::new();
    while rollback.len() < last_ms.len() as u64 || !begun.is_empty() {
        let event =
            tokio::time::timeout(PATIENCE, events.message()).await.context("an event is missing")??;
        let envelope: acgs_vocabulary::event::Envelope =
            serde_json::from_str(&event.context("the mesh went away")?.envelope_json)?;
        let event = envelope.read::<acgs_vocabulary::event::payload::LifecycleStepped<Event>>()?.event;
        let Change::DeploymentMoved { deployment, moved } = event.change else { continue };
        match moved {
            DeploymentMoved::Shift { .. } | DeploymentMoved::Abort { .. } => {
                if let (DeploymentMoved::Abort { .. }, Some(last_ms)) =
                    (&moved, last_ms.get(&format!("deployment-{deployment}")))
                {
                    rollback.record((last_ms - event.at_ms).max(0) as u64)?;
                }
                begun.insert(deployment, event.at_ms);
            }
            DeploymentMoved::Apply { confirmed, fenced, .. } => {
                ensure!(confirmed.len() == GATEWAYS + 1 && fenced.is_empty(), "{confirmed:?}, {fenced:?}");
                let since_ms = begun.remove(&deployment).unwrap_or(event.at_ms);
                change.record((event.at_ms - since_ms).max(0) as u64)?;
            }
            _ => {}
        }
    }
    Ok((rollback, change))
}
