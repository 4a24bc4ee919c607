//! The service: `DriftService` over the domain. The only place of this room that names contracts and tonic, with its
//! parts; it converts and no more.

pub mod judge;
pub mod monitor;
pub mod store;

mod comparison;
mod detection;
mod explanation;
mod freeze;
mod input;
mod report_message;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use acgs_contracts::drift::v1 as proto;
use acgs_judge_kit::{computing::Computing, history::History, monitoring::Monitors};
use acgs_lane::{Epochs, PaneJudge, over_grpc};
use acgs_reference::{Reference, counts::PaneCounts, message};
use acgs_vocabulary::{
    Constitution, Problem,
    event::payload::ReferenceStored,
    ports::{Clock, FindingSink, Judged, Judgement},
};
use monitor::Gathered;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    config::Config, detect, frozen::Frozen, partitions::PartitionedCounts, record::DetectionRecord,
    sequential::Monitor, service::store::ReferenceStore,
};

/// Longest id that a caller gives, in bytes.
const ID_BYTES_MAX: usize = 128;

/// Answers `DriftService`.
#[derive(Clone)]
pub struct DriftService {
    config: Arc<Config>,
    constitution: Constitution,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn FindingSink>,
    stop: CancellationToken,
    store: Option<ReferenceStore>,
    monitors: Monitors<Gathered>,
    epochs: Epochs,
    history: Option<History<DetectionRecord>>,
    retrainings: Arc<AtomicU64>,
    computing: Computing,
}

/// What is known of a model that a monitor watches, from one interval to the next.
struct Looked {
    frozen: Frozen,
    monitor: Monitor,
}

impl fmt::Debug for DriftService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DriftService").field("config", &self.config).finish_non_exhaustive()
    }
}

impl DriftService {
    /// With its thresholds, what it hands findings to, and where references are kept (`None`: nowhere, and the calls
    /// about references say so). When `stop` is cancelled, lanes are handed over.
    #[must_use]
    pub fn new(
        config: Config,
        constitution: Constitution,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn FindingSink>,
        store: Option<ReferenceStore>,
        stop: CancellationToken,
    ) -> Self {
        let keys = store.as_ref().map(ReferenceStore::keys);
        let history = keys.clone().map(|keys| History::start(keys, "detections"));
        let monitors = Monitors::new(keys, Arc::clone(&clock), "drift", monitor::heap_bytes);
        Self {
            config: Arc::new(config),
            constitution,
            clock,
            sink,
            store,
            stop,
            monitors,
            epochs: Epochs::default(),
            history,
            retrainings: Arc::default(),
            computing: Computing::default(),
        }
    }

    /// Detections that call for a retraining.
    #[must_use]
    pub fn retraining_triggers(&self) -> u64 {
        self.retrainings.load(Ordering::Relaxed)
    }

    /// Models with a monitor.
    #[must_use]
    pub fn monitored(&self) -> usize {
        self.monitors.count()
    }

    /// A judge for one lane, whose rows monitors see too.
    #[must_use]
    pub fn lane_judge(&self) -> PaneJudge<judge::DriftAssessor> {
        judge::monitored(Arc::clone(&self.config), self.monitors.clone(), self.epochs.clone())
    }

    /// Judges what is gathered for monitors when it is due, until the end.
    pub async fn run_monitors(self) {
        let mut looked: HashMap<String, Looked> = HashMap::new();
        let judge = |about: String, (reference, pane): Gathered| {
            let same =
                |(held, _): &Gathered| held.name == reference.name && held.version == reference.version;
            if pane.row_count < self.config.rows_min {
                // Too few to say anything: they wait for more.
                let begin = || (Arc::clone(&reference), PaneCounts::new(&reference));
                self.monitors.gather(&about, same, begin, |(_, held)| held.merge(&pane));
                return;
            }
            looked.retain(|about, _| self.monitors.watches(about));
            let interval_ms = u64::from(self.monitors.interval_seconds(&about)) * 1_000;
            let budget = self.config.budget(interval_ms, 1);
            let known = looked
                .remove(&about)
                .filter(|known| same(&(Arc::clone(&known.frozen.reference), PaneCounts::default())));
            let mut known = known.unwrap_or_else(|| Looked {
                frozen: Frozen::new(Arc::clone(&reference)),
                monitor: Monitor::default(),
            });
            let pane = PartitionedCounts::new(pane);
            let mut report = detect::report(&self.config, &known.frozen, &pane.all(), |_| None);
            if let Some(budget) = budget {
                known.monitor.take(&self.config, &known.frozen, budget, &pane);
                report.monitored(&known.frozen, &pane.all(), known.monitor.state(budget, true));
            }
            looked.insert(about.clone(), known);
            let request = proto::DetectRequest { model_id: about, ..Default::default() };
            self.conclude(&request, &report, &reference);
        };
        self.monitors.run(self.stop.cancelled(), judge).await;
    }

    fn store(&self) -> Result<&ReferenceStore, Problem> {
        self.store.as_ref().ok_or_else(|| Problem::home_required("references"))
    }

    fn publish_stored(&self, stored: &Reference) {
        self.sink.publish(Judgement {
            id: format!("reference-{}-{}", stored.name, stored.version),
            about: stored.model_id.clone(),
            judged: Judged::Reference(ReferenceStored {
                name: stored.name.clone(),
                version: stored.version,
                model_id: stored.model_id.clone(),
                row_count: stored.row_count,
            }),
            findings: Vec::new(),
        });
    }
}

#[tonic::async_trait]
impl proto::drift_service_server::DriftService for DriftService {
    async fn detect(
        &self,
        request: Request<proto::DetectRequest>,
    ) -> Result<Response<proto::DetectResponse>, Status> {
        Ok(Response::new(self.detect_now(request.into_inner()).await?))
    }

    async fn compare(
        &self,
        request: Request<proto::CompareRequest>,
    ) -> Result<Response<proto::CompareResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(self.computing.apart(move || comparison::compare_now(&request)).await??))
    }

    async fn put_reference(
        &self,
        request: Request<Streaming<proto::PutReferenceRequest>>,
    ) -> Result<Response<proto::PutReferenceResponse>, Status> {
        let stored = self.freeze_stream(request.into_inner()).await?;
        Ok(Response::new(proto::PutReferenceResponse { reference: Some(message::to_proto(&stored)) }))
    }

    async fn get_reference(
        &self,
        request: Request<proto::GetReferenceRequest>,
    ) -> Result<Response<proto::GetReferenceResponse>, Status> {
        let request = request.into_inner();
        if request.name.is_empty() {
            return Err(Problem::field("name", "BAD_NAME", "is empty").into());
        }
        let reference = self.store()?.load(&request.name, request.version, "").await?;
        Ok(Response::new(proto::GetReferenceResponse { reference: Some(message::to_proto(&reference)) }))
    }

    async fn list_references(
        &self,
        request: Request<proto::ListReferencesRequest>,
    ) -> Result<Response<proto::ListReferencesResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(self.store()?.list(&request).await?))
    }

    type JudgeStream = ReceiverStream<Result<proto::JudgeResponse, Status>>;

    async fn judge(
        &self,
        request: Request<Streaming<proto::JudgeRequest>>,
    ) -> Result<Response<Self::JudgeStream>, Status> {
        let incoming = request.into_inner().map(|message| message.map(|message| message.message));
        let wrap = |message| proto::JudgeResponse { message: Some(message) };
        Ok(Response::new(over_grpc::serve(self.lane_judge(), incoming, self.stop.clone(), wrap)))
    }

    async fn register_model(
        &self,
        request: Request<proto::RegisterModelRequest>,
    ) -> Result<Response<proto::RegisterModelResponse>, Status> {
        Ok(Response::new(self.register(request.into_inner()).await?))
    }

    async fn list_models(
        &self,
        _request: Request<proto::ListModelsRequest>,
    ) -> Result<Response<proto::ListModelsResponse>, Status> {
        Ok(Response::new(self.models().await?))
    }

    async fn start_monitoring(
        &self,
        request: Request<proto::StartMonitoringRequest>,
    ) -> Result<Response<proto::StartMonitoringResponse>, Status> {
        Ok(Response::new(self.start_monitor(request.into_inner()).await?))
    }

    async fn stop_monitoring(
        &self,
        request: Request<proto::StopMonitoringRequest>,
    ) -> Result<Response<proto::StopMonitoringResponse>, Status> {
        let was_monitored = self.monitors.stop(&request.into_inner().model_id).await?;
        Ok(Response::new(proto::StopMonitoringResponse { was_monitored }))
    }

    async fn list_monitors(
        &self,
        _request: Request<proto::ListMonitorsRequest>,
    ) -> Result<Response<proto::ListMonitorsResponse>, Status> {
        Ok(Response::new(self.list_monitors_now().await?))
    }

    async fn get_detection(
        &self,
        request: Request<proto::GetDetectionRequest>,
    ) -> Result<Response<proto::GetDetectionResponse>, Status> {
        Ok(Response::new(self.detection(request.into_inner()).await?))
    }

    async fn explain_detection(
        &self,
        request: Request<proto::ExplainDetectionRequest>,
    ) -> Result<Response<proto::ExplainDetectionResponse>, Status> {
        Ok(Response::new(self.explain(request.into_inner()).await?))
    }

    async fn list_detections(
        &self,
        request: Request<proto::ListDetectionsRequest>,
    ) -> Result<Response<proto::ListDetectionsResponse>, Status> {
        Ok(Response::new(self.detections(request.into_inner()).await?))
    }
}
