//! `PerformanceService` over the domain. The only place of this room that names contracts and tonic, with
//! its parts; it converts and no more.

pub mod judge;

pub mod monitor;

mod comparing;
mod report_message;
mod targets;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use acgs_columns::Cell;
use acgs_contracts::performance::v1 as proto;
use acgs_judge_kit::{computing::Computing, history::History, monitoring::Monitors};
use acgs_lane::{Epochs, PaneJudge, over_grpc};
use acgs_reference::{
    LossBaseline,
    labels::{self, Class},
};
use acgs_statistics::score::{area_exact, probability};
use acgs_vocabulary::{
    Constitution, Finding, Problem, Severity,
    event::payload::PerformanceSubmitted,
    names::{self, NAME_BYTES_MAX},
    ports::{Clock, FindingSink, Judged, Judgement, KeyValue},
    text,
};
use monitor::Gathered;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{config::Config, pane::PerformancePane, record::MetricsRecord, report, roles::Roles, sla};

/// Most metrics of one submission.
const METRICS_MAX: usize = 64;
/// Most pairs of one evaluation.
const PAIRS_MAX: usize = 1_000_000;

/// Answers `PerformanceService`.
#[derive(Clone)]
pub struct PerformanceService {
    config: Arc<Config>,
    constitution: Constitution,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn FindingSink>,
    stop: CancellationToken,
    keys: Option<Arc<dyn KeyValue>>,
    monitors: Monitors<Gathered>,
    epochs: Epochs,
    history: Option<History<MetricsRecord>>,
    violations: Arc<AtomicU64>,
    computing: Computing,
}

impl fmt::Debug for PerformanceService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PerformanceService").field("config", &self.config).finish_non_exhaustive()
    }
}

impl PerformanceService {
    /// With its targets, what it hands findings to, and where targets, monitors and the last submissions are kept
    /// (`None`: nowhere, and the calls about them say so). When `stop` is cancelled, lanes are handed over.
    #[must_use]
    pub fn new(
        config: Config,
        constitution: Constitution,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn FindingSink>,
        keys: Option<Arc<dyn KeyValue>>,
        stop: CancellationToken,
    ) -> Self {
        let history = keys.clone().map(|keys| History::start(keys, "metrics"));
        let monitors = Monitors::new(keys.clone(), Arc::clone(&clock), "performance", monitor::heap_bytes);
        Self {
            config: Arc::new(config),
            constitution,
            clock,
            sink,
            stop,
            keys,
            monitors,
            epochs: Epochs::default(),
            history,
            violations: Arc::default(),
            computing: Computing::default(),
        }
    }

    /// Targets that submissions have missed.
    #[must_use]
    pub fn sla_violations(&self) -> u64 {
        self.violations.load(Ordering::Relaxed)
    }

    /// Services with a monitor.
    #[must_use]
    pub fn monitored(&self) -> usize {
        self.monitors.count()
    }

    /// A judge for one lane, whose rows monitors see too.
    #[must_use]
    pub fn lane_judge(&self) -> PaneJudge<judge::PerformanceAssessor> {
        judge::monitored((*self.config).clone(), self.monitors.clone(), self.epochs.clone())
    }

    /// Judges what is gathered for monitors when it is due, until the end.
    pub async fn run_monitors(self) {
        self.monitors.run(self.stop.cancelled(), |about, held| self.conclude_gathered(about, held)).await;
    }

    fn check_metrics(&self, request: &proto::SubmitMetricsRequest) -> Result<BTreeMap<String, f64>, Problem> {
        targets::check_service(&request.service_id)?;
        if request.metrics.is_empty() || request.metrics.len() > METRICS_MAX {
            let reason = if request.metrics.is_empty() { "EMPTY_DATA" } else { "TOO_MANY" };
            let message = format!("holds {} metrics, not 1 to {METRICS_MAX}", request.metrics.len());
            return Err(Problem::field("metrics", reason, message));
        }
        let metrics: BTreeMap<String, f64> =
            request.metrics.iter().map(|(name, value)| (name.clone(), *value)).collect();
        for (name, value) in &metrics {
            let path = || format!("metrics[{}]", name.chars().take(64).collect::<String>());
            if !self.config.sla_targets.contains_key(name) {
                let known: Vec<&str> = self.config.sla_targets.keys().map(String::as_str).collect();
                return Err(Problem::field(
                    path(),
                    "UNKNOWN_METRIC",
                    format!("is none of {}", known.join(", ")),
                ));
            }
            if !value.is_finite() {
                return Err(Problem::field(path(), "NOT_FINITE", format!("is {value}")));
            }
        }
        Ok(metrics)
    }

    async fn submit(
        &self,
        request: proto::SubmitMetricsRequest,
    ) -> Result<proto::SubmitMetricsResponse, Problem> {
        let now_ms = self.clock.now_ms();
        let metrics = self.check_metrics(&request)?;
        let at_ms = if request.timestamp.is_empty() {
            now_ms
        } else {
            text::parse_rfc3339(&request.timestamp).ok_or_else(|| {
                Problem::field(
                    "timestamp",
                    "BAD_TIMESTAMP",
                    "is not an RFC 3339 time such as 2026-01-31T12:00:00Z",
                )
            })?
        };
        let targets = self.targets(&request.service_id).await?;
        let violations = sla::violations(&targets, &metrics);
        self.violations.fetch_add(violations.len() as u64, Ordering::Relaxed);
        monitor::gather_metrics(&self.monitors, &request.service_id, &metrics, &targets);
        let metric_id = text::unique_id("perf-", now_ms);
        let findings: Vec<Finding> = violations.iter().map(finding).collect();
        if let Some(history) = &self.history {
            let record = MetricsRecord {
                timestamp: text::rfc3339(at_ms),
                measured_ms: at_ms,
                metrics: metrics.clone(),
                sla_compliance: violations.is_empty(),
                constitutional_hash: self.constitution.current().to_owned(),
            };
            history.offer(&request.service_id, &metric_id, &record);
        }
        self.sink.publish(Judgement {
            id: metric_id.clone(),
            about: request.service_id.clone(),
            judged: Judged::Performance(PerformanceSubmitted::Metrics {
                metrics,
                sla_compliance: violations.is_empty(),
                measured_at: text::rfc3339(at_ms),
                violations: violations.iter().map(|violation| violation.metric.clone()).collect(),
            }),
            findings,
        });
        let recommend = |violation: &sla::Violation| {
            format!(
                "Bring {} from {} to its target of {}.",
                violation.metric, violation.value, violation.target
            )
        };
        Ok(proto::SubmitMetricsResponse {
            metric_id,
            service_id: request.service_id,
            sla_compliance: violations.is_empty(),
            recommendations: violations.iter().take(16).map(recommend).collect(),
            violations: violations.into_iter().map(report_message::violation).collect(),
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(now_ms),
        })
    }

    fn evaluate(&self, request: &proto::EvaluateModelRequest) -> Result<proto::PerformanceReport, Problem> {
        names::check_short("model_id", &request.model_id, NAME_BYTES_MAX)?;
        let (scores, count) = (&request.scores, request.scores.len());
        if count == 0 || count > PAIRS_MAX {
            let reason = if count == 0 { "EMPTY_DATA" } else { "TOO_MANY_ROWS" };
            return Err(Problem::field(
                "scores",
                reason,
                format!("holds {count} values, not 1 to {PAIRS_MAX}"),
            ));
        }
        if request.labels.len() != count {
            let message = format!("holds {} values for {count} scores", request.labels.len());
            return Err(Problem::field("labels", "LENGTH_MISMATCH", message));
        }
        if let Some(index) = scores.iter().position(|score| probability(*score).is_none()) {
            let message = format!("is {}, not in [0, 1]", scores[index]);
            return Err(Problem::field(format!("scores[{index}]"), "OUT_OF_RANGE", message));
        }
        let classes: Vec<Option<Class>> =
            request.labels.iter().map(|label| labels::class(Cell::Number(*label))).collect();
        if let Some(index) = classes.iter().position(Option::is_none) {
            let message = format!("is {}, not 0 or 1, -1 or 1, or 1 or 2", request.labels[index]);
            return Err(Problem::field(format!("labels[{index}]"), "OUT_OF_RANGE", message));
        }
        let classes: Vec<Class> = classes.into_iter().flatten().collect();
        if request.baseline_brier.is_some_and(|brier| !(0.0..=1.0).contains(&brier)) {
            return Err(Problem::field("baseline_brier", "OUT_OF_RANGE", "is not in [0, 1]"));
        }
        let mut pane = PerformancePane { row_count: count as u64, ..PerformancePane::default() };
        let scores: Vec<f64> = scores.iter().copied().filter_map(probability).collect();
        pane.labelled.scores.push(&scores, &classes);
        let coding = pane.labelled.scores.mapped(None).coding;
        let baseline = request.baseline_brier.map(LossBaseline::of_brier);
        let mut report = report::report(&self.config, &Roles::default(), &pane, baseline, 0);
        let pairs =
            scores.iter().zip(&classes).filter_map(|(score, class)| Some((*score, class.is_yes(coding)?)));
        let (scores, labels): (Vec<f64>, Vec<bool>) = pairs.unzip();
        report.auc = area_exact(&scores, &labels);
        Ok(report_message::report(&report))
    }
}

fn finding(violation: &sla::Violation) -> Finding {
    Finding {
        rule: "sla".into(),
        subject: violation.metric.clone(),
        severity: violation.severity.max(Severity::Low),
        value: violation.value,
        threshold: violation.target,
        description: format!("{} is {}, its target {}", violation.metric, violation.value, violation.target),
    }
}

#[tonic::async_trait]
impl proto::performance_service_server::PerformanceService for PerformanceService {
    async fn submit_metrics(
        &self,
        request: Request<proto::SubmitMetricsRequest>,
    ) -> Result<Response<proto::SubmitMetricsResponse>, Status> {
        Ok(Response::new(self.submit(request.into_inner()).await?))
    }

    async fn evaluate_model(
        &self,
        request: Request<proto::EvaluateModelRequest>,
    ) -> Result<Response<proto::EvaluateModelResponse>, Status> {
        let report = self.evaluate(&request.into_inner())?;
        Ok(Response::new(proto::EvaluateModelResponse { report: Some(report) }))
    }

    async fn compare_models(
        &self,
        request: Request<proto::CompareModelsRequest>,
    ) -> Result<Response<proto::CompareModelsResponse>, Status> {
        let request = request.into_inner();
        // Many rows take a while.
        Ok(Response::new(self.computing.apart(move || comparing::answer(&request)).await??))
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

    async fn configure_sla(
        &self,
        request: Request<proto::ConfigureSlaRequest>,
    ) -> Result<Response<proto::ConfigureSlaResponse>, Status> {
        Ok(Response::new(self.configure(request.into_inner()).await?))
    }

    async fn get_sla_status(
        &self,
        request: Request<proto::GetSlaStatusRequest>,
    ) -> Result<Response<proto::GetSlaStatusResponse>, Status> {
        Ok(Response::new(self.status(request.into_inner()).await?))
    }

    async fn get_metrics_history(
        &self,
        request: Request<proto::GetMetricsHistoryRequest>,
    ) -> Result<Response<proto::GetMetricsHistoryResponse>, Status> {
        Ok(Response::new(self.metrics_history(request.into_inner()).await?))
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
        let was_monitored = self.monitors.stop(&request.into_inner().service_id).await?;
        Ok(Response::new(proto::StopMonitoringResponse { was_monitored }))
    }

    async fn list_monitors(
        &self,
        _request: Request<proto::ListMonitorsRequest>,
    ) -> Result<Response<proto::ListMonitorsResponse>, Status> {
        Ok(Response::new(self.list_monitors_now().await?))
    }
}
