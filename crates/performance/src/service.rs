//! The face: `PerformanceService` over the domain. The only place of this room that names contracts and tonic, with
//! its parts; it converts and no more.

pub mod judge;

mod report_message;

use std::{collections::BTreeMap, fmt, sync::Arc};

use acgs_columns::Schema;
use acgs_contracts::performance::v1 as proto;
use acgs_lane::over_grpc;
use acgs_statistics::score::area_exact;
use acgs_vocabulary::{
    Constitution, Finding, Problem, Severity,
    event::EventKind,
    ports::{Clock, FindingSink, Judgement},
    text,
};
use proto::performance_service_server::PerformanceService;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    config::Config,
    pane::{PerformancePane, Roles},
    report, sla,
};

/// Longest id that a caller gives, in bytes.
const ID_BYTES_MAX: usize = 128;
/// Most metrics of one submission.
const METRICS_MAX: usize = 64;
/// Most pairs of one evaluation.
const PAIRS_MAX: usize = 1_000_000;

/// Answers `PerformanceService`.
#[derive(Clone)]
pub struct PerformanceFace {
    config: Arc<Config>,
    constitution: Constitution,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn FindingSink>,
    stop: CancellationToken,
}

impl fmt::Debug for PerformanceFace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PerformanceFace").field("config", &self.config).finish_non_exhaustive()
    }
}

impl PerformanceFace {
    /// With its targets, and what it hands findings to. When `stop` is cancelled, lanes are handed
    /// over.
    #[must_use]
    pub fn new(
        config: Config,
        constitution: Constitution,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn FindingSink>,
        stop: CancellationToken,
    ) -> Self {
        Self { config: Arc::new(config), constitution, clock, sink, stop }
    }

    fn check_metrics(&self, request: &proto::SubmitMetricsRequest) -> Result<BTreeMap<String, f64>, Problem> {
        if request.service_id.is_empty() || request.service_id.len() > ID_BYTES_MAX {
            let message = format!("has {} bytes, not 1 to {ID_BYTES_MAX}", request.service_id.len());
            return Err(Problem::field("service_id", "BAD_NAME", message));
        }
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

    fn submit(&self, request: proto::SubmitMetricsRequest) -> Result<proto::SubmitMetricsResponse, Problem> {
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
        let violations = sla::violations(&self.config.sla_targets, &metrics);
        let metric_id = text::unique_id("perf-", now_ms);
        let findings: Vec<Finding> = violations.iter().map(finding).collect();
        self.sink.publish(Judgement {
            kind: EventKind::PerformanceMetricsSubmitted,
            id: metric_id.clone(),
            about: request.service_id.clone(),
            payload: serde_json::json!({
                "metrics": metrics, "sla_compliance": violations.is_empty(), "measured_at": text::rfc3339(at_ms),
                "violations": violations.iter().map(|violation| &violation.metric).collect::<Vec<_>>(),
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
        if request.model_id.len() > ID_BYTES_MAX {
            return Err(Problem::field(
                "model_id",
                "TOO_LONG",
                format!("is longer than {ID_BYTES_MAX} bytes"),
            ));
        }
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
        if let Some(index) = scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
            let message = format!("is {}, not in [0, 1]", scores[index]);
            return Err(Problem::field(format!("scores[{index}]"), "OUT_OF_RANGE", message));
        }
        if let Some(index) = request.labels.iter().position(|&label| label != 0.0 && label != 1.0) {
            let message = format!("is {}, not 0 or 1", request.labels[index]);
            return Err(Problem::field(format!("labels[{index}]"), "OUT_OF_RANGE", message));
        }
        if request.baseline_brier.is_some_and(|brier| !(0.0..=1.0).contains(&brier)) {
            return Err(Problem::field("baseline_brier", "OUT_OF_RANGE", "is not in [0, 1]"));
        }
        let labels: Vec<bool> = request.labels.iter().map(|&label| label == 1.0).collect();
        let mut pane = PerformancePane { row_count: count as u64, ..PerformancePane::default() };
        pane.scores.push_slice(scores, &labels);
        let roles = Roles::new(
            &Schema::new(vec![acgs_columns::Field::new(
                "score",
                acgs_columns::Kind::Double,
                acgs_columns::Role::Score,
            )])
            .map_err(|error| Problem::internal(error.to_string()))?,
        );
        let mut report = report::report(&self.config, &roles, &pane, request.baseline_brier, 0);
        report.auc = area_exact(scores, &labels);
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
impl PerformanceService for PerformanceFace {
    async fn submit_metrics(
        &self,
        request: Request<proto::SubmitMetricsRequest>,
    ) -> Result<Response<proto::SubmitMetricsResponse>, Status> {
        Ok(Response::new(self.submit(request.into_inner())?))
    }

    async fn evaluate_model(
        &self,
        request: Request<proto::EvaluateModelRequest>,
    ) -> Result<Response<proto::EvaluateModelResponse>, Status> {
        let report = self.evaluate(&request.into_inner())?;
        Ok(Response::new(proto::EvaluateModelResponse { report: Some(report) }))
    }

    type JudgeStream = ReceiverStream<Result<proto::JudgeResponse, Status>>;

    async fn judge(
        &self,
        request: Request<Streaming<proto::JudgeRequest>>,
    ) -> Result<Response<Self::JudgeStream>, Status> {
        let incoming = request.into_inner().map(|message| message.map(|message| message.message));
        let wrap = |message| proto::JudgeResponse { message: Some(message) };
        Ok(Response::new(over_grpc::serve(
            judge::judge((*self.config).clone()),
            incoming,
            self.stop.clone(),
            wrap,
        )))
    }
}
