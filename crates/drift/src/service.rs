//! The service: `DriftService` over the domain. The only place of this room that names contracts and tonic, with its
//! parts; it converts and no more.

pub mod judge;
pub mod monitor;
pub mod store;

mod comparison;
mod freeze;
mod report_message;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use acgs_columns::{RecordBatch, Schema, numbers::numbers};
use acgs_contracts::drift::v1 as proto;
use acgs_judge_kit::{history::History, monitoring::Monitors};
use acgs_lane::{PaneJudge, over_grpc};
use acgs_reference::{
    Reference,
    counts::{PaneCounts, Places},
    message,
};
use acgs_vocabulary::{
    Constitution, Problem,
    convert::{rows, schema},
    event::payload::{DriftDetection, ReferenceStored},
    ports::{Clock, FindingSink, Judged, Judgement},
    problem::Kind,
    text,
};
use monitor::Gathered;
use tokio::sync::Semaphore;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    config::Config,
    detect::{self, PSI_MAX, Samples},
    record::DetectionRecord,
    service::store::ReferenceStore,
};

/// Longest id that a caller gives, in bytes.
const ID_BYTES_MAX: usize = 128;
/// Long computations at a time; others wait for their turn.
const COMPUTING_MAX: usize = 2;
/// References that are received at a time; each may be large.
const UPLOADS_MAX: usize = 4;

/// Answers `DriftService`.
#[derive(Clone)]
pub struct DriftService {
    config: Config,
    constitution: Constitution,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn FindingSink>,
    stop: CancellationToken,
    store: Option<ReferenceStore>,
    monitors: Monitors<Gathered>,
    history: Option<History<DetectionRecord>>,
    retrainings: Arc<AtomicU64>,
    computing: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
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
        let monitors = Monitors::new(keys, Arc::clone(&clock), "drift");
        let computing = Arc::new(Semaphore::new(COMPUTING_MAX));
        let uploads = Arc::new(Semaphore::new(UPLOADS_MAX));
        Self {
            config,
            constitution,
            clock,
            sink,
            store,
            stop,
            monitors,
            history,
            retrainings: Arc::default(),
            computing,
            uploads,
        }
    }

    /// Detections that call for a retraining.
    #[must_use]
    pub fn retraining_triggers(&self) -> u64 {
        self.retrainings.load(Ordering::Relaxed)
    }

    /// Models with a standing order.
    #[must_use]
    pub fn monitored(&self) -> usize {
        self.monitors.count()
    }

    /// A judge for one lane, whose rows standing orders see too.
    #[must_use]
    pub fn lane_judge(&self) -> PaneJudge<judge::DriftAssessor> {
        judge::monitored(self.config, self.monitors.clone())
    }

    /// Judges what is gathered for standing orders when it is due, until the end.
    pub async fn run_monitors(self) {
        let judge = |about: String, (reference, pane): Gathered| {
            if pane.row_count < self.config.rows_min {
                // Too few to say anything: they wait for more.
                let same =
                    |(held, _): &Gathered| held.name == reference.name && held.version == reference.version;
                let begin = || (Arc::clone(&reference), PaneCounts::new(&reference));
                self.monitors.gather(&about, same, begin, |(_, held)| held.merge(&pane));
            } else {
                let report = detect::report(&self.config, &reference, &pane, |_| None);
                let request = proto::DetectRequest { model_id: about, ..Default::default() };
                self.conclude(&request, &report);
            }
        };
        self.monitors.run(self.stop.cancelled(), judge).await;
    }

    /// Long computations go to threads of their own, a few at a time, so that they do not hold up other calls.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let lost = |error: &dyn fmt::Display| Problem::internal(format!("a computation was lost: {error}"));
        let permit = Arc::clone(&self.computing).acquire_owned().await.map_err(|error| lost(&error))?;
        let done = tokio::task::spawn_blocking(move || {
            let _until_done = permit;
            work()
        });
        done.await.map_err(|error| lost(&error))
    }

    fn store(&self) -> Result<&ReferenceStore, Problem> {
        self.store.as_ref().ok_or_else(|| Problem::home_required("references"))
    }

    /// The reference that is asked for by name, or the model's own when no data is given to compare with.
    async fn stored_reference(
        &self,
        request: &proto::DetectRequest,
    ) -> Result<Option<Arc<Reference>>, Problem> {
        if !request.reference_data.is_empty() {
            return Ok(None);
        }
        match &request.reference {
            Some(selector) => {
                let found = self.store()?.load(&selector.name, selector.version, &request.model_id).await?;
                Ok(Some(Arc::new(found)))
            }
            None if request.model_id.is_empty() || self.store.is_none() => Ok(None),
            None => match self.store()?.load("", 0, &request.model_id).await {
                Ok(found) => Ok(Some(Arc::new(found))),
                Err(problem) if problem.kind() == Kind::NotFound => Ok(None),
                Err(problem) => Err(problem),
            },
        }
    }

    /// Publishes what was found, and keeps it among the last detections.
    fn conclude(&self, request: &proto::DetectRequest, report: &detect::Report) -> proto::DetectResponse {
        let now_ms = self.clock.now_ms();
        let response = self.response(request, report, now_ms);
        self.retrainings.fetch_add(u64::from(response.retraining_required), Ordering::Relaxed);
        let detection = DriftDetection {
            model_id: request.model_id.clone(),
            drift_detected: response.drift_detected,
            retraining_required: response.retraining_required,
            features_with_ks_drift: response.features_with_ks_drift.clone(),
            features_with_psi_drift: response.features_with_psi_drift.clone(),
            drift_severity: response.drift_severity.clone(),
        };
        if let Some(history) = &self.history {
            let record = DetectionRecord {
                detection: detection.clone(),
                detection_id: response.detection_id.clone(),
                timestamp: response.timestamp.clone(),
            };
            history.offer("", &response.detection_id, &record);
        }
        self.sink.publish(Judgement {
            id: response.detection_id.clone(),
            about: request.model_id.clone(),
            judged: Judged::Drift(detection),
            findings: detect::findings(&self.config, report),
        });
        response
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

    async fn detect_now(&self, request: proto::DetectRequest) -> Result<proto::DetectResponse, Problem> {
        let request = Arc::new(request);
        for (path, value) in [("model_id", &request.model_id), ("service_id", &request.service_id)] {
            if value.len() > ID_BYTES_MAX {
                return Err(Problem::field(path, "TOO_LONG", format!("is longer than {ID_BYTES_MAX} bytes")));
            }
        }
        let (mut report, name, version) = match self.stored_reference(&request).await? {
            Some(reference) => {
                let report = self.against_stored(&reference, &request)?;
                (report, reference.name.clone(), reference.version)
            }
            None => {
                let (service, asked) = (self.clone(), Arc::clone(&request));
                let report = self.apart(move || service.against_sample(&asked)).await??;
                (report, String::new(), 0)
            }
        };
        report
            .features
            .iter_mut()
            .for_each(|feature| feature.row_count = feature.row_count.min(report.row_count));
        let response = self.conclude(&request, &report);
        Ok(proto::DetectResponse {
            report: Some(report_message::report(&self.config, &report, &name, version)),
            ..response
        })
    }

    fn against_stored(
        &self,
        reference: &Arc<Reference>,
        request: &proto::DetectRequest,
    ) -> Result<detect::Report, Problem> {
        let schema = match &request.schema {
            Some(fields) => schema::schema(fields).map_err(|problem| problem.within("schema"))?,
            None => rows::infer(&request.current_data, rows::NamedRoles::default(), "current_data")?,
        };
        let current = rows::batches(&request.current_data, &schema, "current_data")?;
        if !Places::new(reference, &schema).any() {
            let message = format!("holds no field of reference {}", reference.name);
            return Err(Problem::field("current_data", "MISSING_FIELD", message));
        }
        let mut pane = PaneCounts::new(reference);
        for batch in &current {
            pane.push(reference, batch);
            monitor::gather(&self.monitors, &request.model_id, reference, batch);
        }
        Ok(detect::report(&self.config, reference, &pane, |_| None))
    }

    /// Both samples are here, so tests are exact.
    fn against_sample(&self, request: &proto::DetectRequest) -> Result<detect::Report, Problem> {
        let named = rows::NamedRoles::default();
        let schema = match &request.schema {
            Some(fields) => schema::schema(fields).map_err(|problem| problem.within("schema"))?,
            None => {
                rows::infer(&request.current_data, named, "current_data")?;
                let both: Vec<_> =
                    request.reference_data.iter().chain(&request.current_data).cloned().collect();
                if request.reference_data.is_empty() {
                    return Err(Problem::field(
                        "reference_data",
                        "EMPTY_DATA",
                        "holds no records; or give `reference`",
                    ));
                }
                rows::infer(&both, named, "reference_data+current_data")?
            }
        };
        let then = rows::batches(&request.reference_data, &schema, "reference_data")?;
        let now = rows::batches(&request.current_data, &schema, "current_data")?;
        let reference = acgs_reference::freeze(&schema, &then, 0)
            .map_err(|error| Problem::field("reference_data", "BAD_SCHEMA", error))?;
        let mut pane = PaneCounts::new(&reference);
        now.iter().for_each(|batch| pane.push(&reference, batch));
        let samples: Vec<(Vec<f64>, Vec<f64>)> = reference
            .features
            .iter()
            .map(|feature| {
                (sample(&schema, &then, &feature.field.name), sample(&schema, &now, &feature.field.name))
            })
            .collect();
        let of = |index: usize| {
            let (reference, current) = &samples[index];
            (!reference.is_empty() && !current.is_empty()).then_some(Samples { reference, current })
        };
        Ok(detect::report(&self.config, &reference, &pane, of))
    }

    fn response(
        &self,
        request: &proto::DetectRequest,
        report: &detect::Report,
        now_ms: i64,
    ) -> proto::DetectResponse {
        let names = |wanted: &dyn Fn(&detect::FeatureDrift) -> bool| {
            report
                .features
                .iter()
                .filter(|feature| wanted(feature))
                .map(|feature| feature.name.clone())
                .collect()
        };
        let retraining_required = report.drift_detected && report.score_drift;
        let any = report.features.iter().any(|feature| feature.drifted);
        let severity = match (retraining_required, report.drift_detected, any) {
            (true, ..) => "HIGH",
            (false, true, _) => "MEDIUM",
            (false, false, true) => "LOW",
            (false, false, false) => "NONE",
        };
        let mut recommendations = Vec::new();
        if retraining_required {
            recommendations.push(
                "Compare the loss on recent labels with the reference's: retrain when it is worse.".into(),
            );
        } else if report.drift_detected {
            recommendations
                .push("Inputs have moved: watch the loss; retraining on drift alone can be wrong.".into());
        } else if any {
            recommendations.push("Some features have moved: look at their source.".into());
        }
        proto::DetectResponse {
            detection_id: text::unique_id("drift-", now_ms),
            model_id: request.model_id.clone(),
            drift_detected: report.drift_detected,
            retraining_required,
            features_with_ks_drift: names(&|feature| feature.test == "ks" && feature.drifted),
            features_with_psi_drift: names(&|feature| feature.psi_corrected > PSI_MAX),
            drift_severity: severity.into(),
            recommendations,
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(now_ms),
            report: None,
        }
    }
}

fn sample(schema: &Schema, batches: &[RecordBatch], name: &str) -> Vec<f64> {
    let Some(index) = schema.index_of(name) else { return Vec::new() };
    let mut values = Vec::new();
    for found in batches.iter().filter_map(|batch| numbers(&batch.columns()[index])) {
        values.extend_from_slice(&found.finite);
    }
    values.sort_unstable_by(f64::total_cmp);
    values
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
        Ok(Response::new(self.apart(move || comparison::compare_now(&request)).await??))
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

    async fn list_detections(
        &self,
        request: Request<proto::ListDetectionsRequest>,
    ) -> Result<Response<proto::ListDetectionsResponse>, Status> {
        Ok(Response::new(self.detections(request.into_inner()).await?))
    }
}
