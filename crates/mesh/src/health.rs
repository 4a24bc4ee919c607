//! grpc.health.v1 with Check, List and Watch. It must not know why a service is up or down.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use acgs_contracts::grpc::health::v1 as proto;
use futures_core::Stream;
use proto::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus, health_server::Health,
};
use tokio::sync::watch;
use tokio_stream::{StreamExt, wrappers::WatchStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Most services of one List, as gRFC A90 has it.
const LIST_MAX: usize = 100;

/// Sets the state that [`HealthService`] tells.
#[derive(Clone, Debug)]
pub struct HealthSwitch {
    states: watch::Sender<BTreeMap<String, bool>>,
    over: CancellationToken,
    stopping: Arc<AtomicBool>,
}

impl HealthSwitch {
    /// All these services, and the server as a whole, are up.
    #[must_use]
    pub fn new(services: &[&str]) -> Self {
        let states = services.iter().chain([&""]).map(|name| ((*name).to_owned(), true)).collect();
        Self { states: watch::Sender::new(states), over: CancellationToken::new(), stopping: Arc::default() }
    }

    /// A service, or with the empty name the server, goes up or down.
    pub fn set(&self, service: &str, serving: bool) {
        // What stops does not come up again.
        let serving = serving && !self.stopping.load(Ordering::Relaxed);
        self.states.send_modify(|states| {
            states.insert(service.to_owned(), serving);
        });
    }

    /// Whether a service, or with the empty name the server, is up.
    #[must_use]
    pub fn is_serving(&self, service: &str) -> bool {
        self.states.borrow().get(service).copied().unwrap_or(false)
    }

    /// Everything goes down, for good.
    pub fn all_down(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.states.send_modify(|states| states.values_mut().for_each(|serving| *serving = false));
    }

    /// Ends those who watch, so that they do not hold a server that stops.
    pub fn end_watches(&self) {
        self.over.cancel();
    }

    /// Whether the port whose own service this is takes work: what `/health` and the empty name say.
    #[must_use]
    pub fn is_well(&self, own: &str) -> bool {
        is_well(&self.states.borrow(), own)
    }

    /// What answers the health RPCs at the port whose own service this is.
    #[must_use]
    pub fn service_of(&self, own: &str) -> HealthService {
        HealthService { states: self.states.subscribe(), own: own.into(), over: self.over.clone() }
    }
}

type States = BTreeMap<String, bool>;

fn is_well(states: &States, own: &str) -> bool {
    [own, ""].into_iter().all(|name| states.get(name).copied().unwrap_or(false))
}

/// What is said of a name: of the empty one, how the port's own service is.
fn state_of(states: &States, name: &str, own: &str) -> Option<bool> {
    if name.is_empty() { Some(is_well(states, own)) } else { states.get(name).copied() }
}

/// Answers `grpc.health.v1.Health`.
#[derive(Clone, Debug)]
pub struct HealthService {
    states: watch::Receiver<States>,
    own: Arc<str>,
    over: CancellationToken,
}

fn response(serving: Option<bool>) -> HealthCheckResponse {
    let status = match serving {
        Some(true) => ServingStatus::Serving,
        Some(false) => ServingStatus::NotServing,
        None => ServingStatus::ServiceUnknown,
    };
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match state_of(&self.states.borrow(), &service, &self.own) {
            Some(serving) => Ok(Response::new(response(Some(serving)))),
            None => Err(Status::not_found("this server has no such service")),
        }
    }

    async fn list(
        &self,
        _request: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let states = self.states.borrow();
        let statuses: HashMap<String, HealthCheckResponse> = states
            .iter()
            .take(LIST_MAX)
            .map(|(name, _)| (name.clone(), response(state_of(&states, name, &self.own))))
            .collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let (mut last, own) = (None, Arc::clone(&self.own));
        let changes = WatchStream::new(self.states.clone()).filter_map(move |states| {
            let now = response(state_of(&states, &service, &own));
            (last.replace(now) != Some(now)).then_some(Ok(now))
        });
        let until_over = futures_util::StreamExt::take_until(changes, self.over.clone().cancelled_owned());
        Ok(Response::new(Box::pin(until_over)))
    }
}
