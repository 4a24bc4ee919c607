//! `RoutingService`: endpoints of versions, where requests go, and the routers that send them. It converts and no more.

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{Command, command::EndpointChange};
use acgs_vocabulary::{Problem, problem::Kind, text};
use tonic::{Request, Response, Streaming};

use super::{Answered, ModelsDeps, checks::actor, route_message, router_session};
use crate::routes::registry::{LossOf, Lost, RouterSeen};

/// Longest host name of an endpoint, in bytes.
const HOST_BYTES_MAX: usize = 253;

/// Answers `RoutingService`.
#[derive(Clone, Debug)]
pub struct RoutingService(pub ModelsDeps);

fn check_endpoint(place: usize, endpoint: &str) -> Result<(&str, u16), Problem> {
    let parts = endpoint.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let parts = parts.filter(|(host, port)| !host.is_empty() && host.len() <= HOST_BYTES_MAX && *port > 0);
    let fine = parts.filter(|_| endpoint.parse::<http::uri::Authority>().is_ok() && !endpoint.contains('@'));
    fine.ok_or_else(|| {
        let message = format!("{endpoint:?} is not host:port");
        Problem::field(format!("endpoints[{place}]"), "BAD_ENDPOINT", message)
    })
}

impl ModelsDeps {
    pub(super) fn routes_of(&self, model_id: &str) -> Result<proto::ModelRoutes, Problem> {
        let found =
            self.writer.look(|state| state.model(model_id).map(|model| route_message::message(model)));
        found.ok_or_else(|| Problem::missing("model", model_id, "UNKNOWN_MODEL"))
    }
}

#[tonic::async_trait]
impl proto::routing_service_server::RoutingService for RoutingService {
    async fn set_endpoints(
        &self,
        request: Request<proto::SetEndpointsRequest>,
    ) -> Answered<proto::SetEndpointsResponse> {
        let request = request.into_inner();
        let asks = actor(&request.actor)?;
        for (place, endpoint) in request.endpoints.iter().enumerate() {
            let (host, port) = check_endpoint(place, endpoint)?;
            if !self.0.allowed.allows(host, port) {
                let message = format!("{endpoint:?} is not allowed by mesh.allowed");
                return Err(Problem::new(Kind::Denied, "ADDRESS_NOT_ALLOWED", message).into());
            }
        }
        let change = match request.change() {
            proto::EndpointChange::Unspecified => EndpointChange::Set,
            proto::EndpointChange::Add => EndpointChange::Add,
            proto::EndpointChange::Remove => EndpointChange::Remove,
        };
        let (version, endpoints) = (request.version.clone(), request.endpoints);
        let command = Command::SetEndpoints { version: request.version, endpoints, change };
        self.0.writer.submit_once(&asks, &request.request_id, &request.model_id, command).await?;
        let endpoints = self.0.writer.look(|state| {
            let known = state.model(&request.model_id)?.version(&version)?;
            Some(known.endpoints.clone())
        });
        let endpoints = endpoints.unwrap_or_default();
        Ok(Response::new(proto::SetEndpointsResponse { endpoints }))
    }

    async fn get_routes(
        &self,
        request: Request<proto::GetRoutesRequest>,
    ) -> Answered<proto::GetRoutesResponse> {
        let request = request.into_inner();
        let routes = Some(self.0.routes_of(&request.model_id)?);
        Ok(Response::new(proto::GetRoutesResponse { routes }))
    }

    async fn list_routers(
        &self,
        _request: Request<proto::ListRoutersRequest>,
    ) -> Answered<proto::ListRoutersResponse> {
        let now_ms = self.0.clock.monotonic_ms();
        let router = |seen: RouterSeen| proto::Router {
            router_id: seen.router_id.to_string(),
            connected_at: text::rfc3339(seen.connected_at_ms),
            silent_ms: (now_ms - seen.heard_ms).max(0) as u64,
            captures_lost: seen.lost.into_iter().map(captures_lost).collect(),
            applied: seen
                .applied
                .into_iter()
                .map(|(model_id, epoch)| proto::AppliedRoute { model_id: model_id.to_string(), epoch })
                .collect(),
        };
        let routers = self.0.routers.routers().into_iter().map(router).collect();
        Ok(Response::new(proto::ListRoutersResponse { routers }))
    }

    type WatchRoutesStream = router_session::Told;

    async fn watch_routes(
        &self,
        request: Request<Streaming<proto::WatchRoutesRequest>>,
    ) -> Answered<Self::WatchRoutesStream> {
        Ok(Response::new(router_session::run(self.0.clone(), request.into_inner()).await?))
    }
}

fn captures_lost((of, lost): (LossOf, Lost)) -> proto::CaptureLoss {
    let (model_id, version, reason) = of;
    proto::CaptureLoss { model_id, version, reason, calls: lost.calls, detail: lost.detail }
}
