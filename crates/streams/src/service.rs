//! `OrchestratorService` over streams. The only place of this room that names contracts and tonic, with its parts; it converts
//! and no more.

mod analyze;
mod evidence;
mod labels;
mod messages;
mod open;
mod promise;
mod services;
mod stream;

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use acgs_columns::{Kind as FieldKind, Role};
use acgs_contracts::orchestrator::v1 as proto;
use acgs_lane::Connector;
use acgs_vocabulary::{
    Constitution, Problem, event,
    ports::{Clock, EventLog, EventSink, PortError, ReferenceSource, records::FrameLog},
    problem::Kind,
};
use futures_core::Stream;
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, WatchStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    actor::ActorDeps, alert_sweep::AlertSweep, alerts::Alerts, analyze::Analyzer, config::Config,
    directory::Directory, leases::Leases, publish::Publisher, registry::Registered, streams::Streams,
};

/// Longest id that a caller gives, in bytes.
const ID_BYTES_MAX: usize = 128;

/// What the service is given.
#[derive(Clone, Debug)]
pub struct StreamsDeps {
    /// Bounds and waits.
    pub config: Config,
    /// What every answer carries.
    pub constitution: Constitution,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Where judges are.
    pub connector: Arc<dyn Connector>,
    /// Where references are.
    pub references: Arc<dyn ReferenceSource>,
    /// Where events are read.
    pub log: Arc<dyn EventLog>,
    /// Where events go.
    pub outbox: Arc<dyn EventSink>,
    /// Where frames of LOG streams are kept.
    pub records: Arc<dyn FrameLog>,
    /// Alerts as they stand.
    pub alerts: Alerts,
    /// The services there are.
    pub directory: Directory,
    /// Who owns a stream, where several orchestrators run.
    pub leases: Option<Leases>,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

/// Answers `OrchestratorService`.
#[derive(Clone)]
pub struct OrchestratorService {
    deps: StreamsDeps,
    streams: Streams,
    analyzer: Analyzer,
    publisher: Publisher,
    stalled_clients: Arc<AtomicU64>,
}

impl fmt::Debug for OrchestratorService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OrchestratorService").finish_non_exhaustive()
    }
}

impl OrchestratorService {
    /// Without streams.
    #[must_use]
    pub fn new(deps: StreamsDeps) -> Self {
        let publisher = Publisher::start(
            Arc::clone(&deps.outbox),
            deps.alerts.clone(),
            Arc::clone(&deps.clock),
            deps.constitution.clone(),
        );
        let stalled_clients = Arc::<AtomicU64>::default();
        let actor_deps = ActorDeps {
            config: deps.config,
            clock: Arc::clone(&deps.clock),
            connector: Arc::clone(&deps.connector),
            publisher: publisher.clone(),
            records: Arc::clone(&deps.records),
            stalled_clients: Arc::clone(&stalled_clients),
            stop: deps.stop.clone(),
        };
        let streams = Streams::new(actor_deps, evidence::read, deps.leases.clone());
        let sweep = AlertSweep {
            alerts: deps.alerts.clone(),
            streams: streams.clone(),
            leases: deps.leases.clone(),
            publisher: publisher.clone(),
            clock: Arc::clone(&deps.clock),
            absent_ms_max: deps.config.detached_keep_ms.max(deps.leases.as_ref().map_or(0, Leases::life_ms)),
            stop: deps.stop.clone(),
        };
        tokio::spawn(sweep.run());
        let analyzer = Analyzer {
            connector: Arc::clone(&deps.connector),
            references: Arc::clone(&deps.references),
            clock: Arc::clone(&deps.clock),
            constitution: deps.constitution.clone(),
            read_evidence: evidence::read,
        };
        Self { streams, analyzer, deps, publisher, stalled_clients }
    }

    /// Clients that were let go because they took nothing, ever.
    #[must_use]
    pub fn stalled_clients(&self) -> u64 {
        self.stalled_clients.load(Ordering::Relaxed)
    }

    /// Waits until every stream has ended and its events are in the log.
    pub async fn drained(&self) {
        self.streams.ended().await;
        if let Some(leases) = &self.deps.leases {
            leases.settled().await;
        }
        self.publisher.flush().await;
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl proto::orchestrator_service_server::OrchestratorService for OrchestratorService {
    type StreamWindowsStream = stream::Answers;

    async fn stream_windows(
        &self,
        request: Request<Streaming<proto::StreamWindowsRequest>>,
    ) -> Result<Response<Self::StreamWindowsStream>, Status> {
        let trace = request.extensions().get::<event::TraceParent>().map(|trace| Arc::clone(&trace.0));
        let answers = stream::run(&self.deps, &self.streams, request.into_inner(), trace).await?;
        Ok(Response::new(answers))
    }

    async fn submit_labels(
        &self,
        request: Request<Streaming<proto::SubmitLabelsRequest>>,
    ) -> Result<Response<proto::SubmitLabelsResponse>, Status> {
        Ok(Response::new(labels::answer(&self.streams, request.into_inner()).await?))
    }

    async fn analyze(
        &self,
        request: Request<proto::AnalyzeRequest>,
    ) -> Result<Response<proto::AnalyzeResponse>, Status> {
        Ok(Response::new(analyze::answer(&self.analyzer, request.into_inner()).await?))
    }

    type SubscribeStream = Answers<proto::SubscribeResponse>;

    async fn subscribe(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let filter = if request.subject_filter.is_empty() { ">" } else { &request.subject_filter };
        if !event::is_filter(filter) {
            let message = "is not tokens by dots, `*` for one, a last `>` for the rest";
            return Err(Problem::field("subject_filter", "BAD_FILTER", message).into());
        }
        let after = match request.after_sequence {
            Some(sequence) => sequence,
            None => self.deps.log.last().await.map_err(Problem::from)?,
        };
        let events = self.deps.log.subscribe(after, filter).await.map_err(Problem::from)?;
        let stop = self.deps.stop.clone();
        let answers = ReceiverStream::new(events).map(|logged| {
            let envelope_json = serde_json::to_string(&logged.envelope)
                .map_err(|error| Problem::from(PortError::Unavailable(error.to_string())))?;
            let subject = logged.envelope.subject;
            Ok(proto::SubscribeResponse { sequence: logged.sequence, subject, envelope_json })
        });
        Ok(Response::new(Box::pin(stream::until(answers, stop))))
    }

    async fn register_service(
        &self,
        request: Request<proto::RegisterServiceRequest>,
    ) -> Result<Response<proto::RegisterServiceResponse>, Status> {
        Ok(Response::new(self.register(request.into_inner())?))
    }

    async fn heartbeat(
        &self,
        request: Request<proto::HeartbeatRequest>,
    ) -> Result<Response<proto::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        self.deps.directory.heartbeat(&request.service_id, !request.draining, request.load)?;
        Ok(Response::new(proto::HeartbeatResponse { lease_ms: self.deps.directory.lease_ms() }))
    }

    async fn deregister_service(
        &self,
        request: Request<proto::DeregisterServiceRequest>,
    ) -> Result<Response<proto::DeregisterServiceResponse>, Status> {
        let was_registered = self.deps.directory.deregister(&request.into_inner().service_id);
        Ok(Response::new(proto::DeregisterServiceResponse { was_registered }))
    }

    async fn list_services(
        &self,
        request: Request<proto::ListServicesRequest>,
    ) -> Result<Response<proto::ListServicesResponse>, Status> {
        Ok(Response::new(self.list_known(&request.into_inner().capability)))
    }

    async fn discover_services(
        &self,
        request: Request<proto::DiscoverServicesRequest>,
    ) -> Result<Response<proto::DiscoverServicesResponse>, Status> {
        Ok(Response::new(self.discover(&request.into_inner().capability)))
    }

    type WatchServicesStream = Answers<proto::WatchServicesResponse>;

    async fn watch_services(
        &self,
        request: Request<proto::WatchServicesRequest>,
    ) -> Result<Response<Self::WatchServicesStream>, Status> {
        let capability = request.into_inner().capability;
        let changes = WatchStream::new(self.deps.directory.watch()).map(move |known| {
            let able = |known: &&Registered| {
                capability.is_empty() || known.service.capabilities.contains(&capability)
            };
            let services = known.iter().filter(able).map(services::info).collect();
            Ok(proto::WatchServicesResponse { services })
        });
        let stop = self.deps.stop.clone();
        Ok(Response::new(Box::pin(stream::until(changes, stop))))
    }

    async fn list_alerts(
        &self,
        request: Request<proto::ListAlertsRequest>,
    ) -> Result<Response<proto::ListAlertsResponse>, Status> {
        Ok(Response::new(self.list_alerts_now(request.into_inner()).await?))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<proto::AcknowledgeAlertRequest>,
    ) -> Result<Response<proto::AcknowledgeAlertResponse>, Status> {
        Ok(Response::new(self.acknowledge(request.into_inner()).await?))
    }

    async fn resolve_alert(
        &self,
        request: Request<proto::ResolveAlertRequest>,
    ) -> Result<Response<proto::ResolveAlertResponse>, Status> {
        Ok(Response::new(self.resolve(request.into_inner()).await?))
    }

    async fn explain_alert(
        &self,
        request: Request<proto::ExplainAlertRequest>,
    ) -> Result<Response<proto::ExplainAlertResponse>, Status> {
        Ok(Response::new(self.explain(request.into_inner()).await?))
    }
}

/// Whether a field can be an id or a label of late labels.
fn is_label_field(role: Role, kind: FieldKind) -> bool {
    match role {
        Role::Id => matches!(kind, FieldKind::Int64 | FieldKind::Text),
        Role::Label => kind != FieldKind::Timestamp,
        _ => true,
    }
}

/// A refusal for what this version does not have.
fn not_yet(reason: &'static str, message: &str) -> Problem {
    Problem::new(Kind::Unimplemented, reason, message)
}
