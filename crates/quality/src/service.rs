//! `QualityService` over the domain. The only place of this room that names contracts and tonic, with its
//! parts; it converts and no more.

mod cells;

pub mod judge;

pub mod monitor;

mod report_message;

use std::{collections::BTreeMap, fmt, sync::Arc};

use acgs_columns::Schema;
use acgs_contracts::quality::v1 as proto;
use acgs_judge_kit::{history::History, monitoring::Monitors};
use acgs_lane::{Epochs, PaneJudge, over_grpc};
use acgs_vocabulary::{
    Constitution, Finding, Problem, Severity,
    convert::{batch, rows, schema},
    event::payload::QualityAssessed,
    names::{self, NAME_BYTES_MAX},
    ports::{Clock, FindingSink, Judged, Judgement, KeyValue},
    text,
};
use monitor::Gathered;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    config::Config,
    findings, measure,
    pane::QualityPane,
    record::{AssessmentRecord, Violation},
    report::{Freshness, Report},
};

/// Answers `QualityService`.
#[derive(Clone)]
pub struct QualityService {
    config: Config,
    constitution: Constitution,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn FindingSink>,
    stop: CancellationToken,
    monitors: Monitors<Gathered>,
    epochs: Epochs,
    history: Option<History<AssessmentRecord>>,
}

impl fmt::Debug for QualityService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("QualityService").field("config", &self.config).finish_non_exhaustive()
    }
}

impl QualityService {
    /// With its thresholds, what it hands findings to, and where monitors and the last assessments are kept (`None`:
    /// nowhere, and the calls about them say so). When `stop` is cancelled, lanes are handed over.
    #[must_use]
    pub fn new(
        config: Config,
        constitution: Constitution,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn FindingSink>,
        keys: Option<Arc<dyn KeyValue>>,
        stop: CancellationToken,
    ) -> Self {
        let history = keys.clone().map(|keys| History::start(keys, "assessments"));
        let monitors = Monitors::new(keys, Arc::clone(&clock), "quality", monitor::heap_bytes);
        Self { config, constitution, clock, sink, stop, monitors, epochs: Epochs::default(), history }
    }

    /// A judge for one lane, whose rows monitors see too.
    #[must_use]
    pub fn lane_judge(&self) -> PaneJudge<judge::QualityAssessor> {
        judge::monitored(self.config, self.monitors.clone(), self.epochs.clone())
    }

    /// Judges what is gathered for monitors when it is due, until the end.
    pub async fn run_monitors(self) {
        let judge = |about, (schema, pane): Gathered| {
            self.conclude(&schema, &pane, about);
        };
        self.monitors.run(self.stop.cancelled(), judge).await;
    }

    fn assess_now(&self, request: proto::AssessRequest) -> Result<proto::AssessResponse, Problem> {
        let now_ms = self.clock.now_ms();
        names::check_short("service_id", &request.service_id, NAME_BYTES_MAX)?;
        let service_id = if request.service_id.is_empty() { "unknown".into() } else { request.service_id };
        let named = rows::NamedRoles {
            target: request.target_column.as_deref(),
            timestamp: request.timestamp_column.as_deref(),
        };
        let mut data = request.data;
        let mut misfits = BTreeMap::new();
        let (schema, batches) = match (request.batch, &request.schema) {
            (Some(_), None) => return Err(Problem::field("schema", "MISSING", "is needed with `batch`")),
            (Some(message), Some(fields)) => {
                let schema = schema::schema(fields).map_err(|problem| problem.within("schema"))?;
                let batch = batch::batch(message, &schema).map_err(|problem| problem.within("batch"))?;
                (schema, vec![batch])
            }
            (None, fields) => {
                let schema = match fields {
                    Some(fields) => {
                        let schema = schema::schema(fields).map_err(|problem| problem.within("schema"))?;
                        misfits = cells::take_misfits(&mut data, &schema);
                        schema
                    }
                    None => {
                        misfits = cells::take_odd(&mut data, named.timestamp);
                        rows::infer(&data, named, "data")?
                    }
                };
                let batches = rows::batches(&data, &schema, "data")?;
                (schema, batches)
            }
        };
        let mut pane = QualityPane::new(&schema);
        for batch in &batches {
            pane.push(batch);
            monitor::gather(&self.monitors, &service_id, batch);
        }
        cells::count(&misfits, &schema, &mut pane);
        monitor::note_misfits(&self.monitors, &service_id, &schema, &misfits);
        let (report, findings, assessment_id) = self.conclude(&schema, &pane, service_id);
        Ok(proto::AssessResponse {
            assessment_id,
            overall_score: report.overall_score,
            missing_value_rate: report.missing_value_rate,
            outlier_rate: report.outlier_rate,
            freshness_score: report.freshness_score.unwrap_or(1.0),
            violations: violations(&findings).map(violation).collect(),
            recommendations: recommendations(&findings),
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(now_ms),
            report: Some(report_message::report(&report)),
        })
    }

    /// Judges rows, publishes what was found, and keeps it among the last assessments.
    fn conclude(
        &self,
        schema: &Schema,
        pane: &QualityPane,
        service_id: String,
    ) -> (Report, Vec<Finding>, String) {
        let now_ms = self.clock.now_ms();
        let horizon_ms = self.config.freshness_horizon_ms;
        let freshness = Freshness { until_ms: now_ms, horizon_ms, counts: true, keyed: false };
        let report = measure::report(&self.config, schema, pane, None, freshness);
        let findings = findings::findings(&self.config, &report);
        let assessment_id = text::unique_id("qa-", now_ms);
        let assessed = QualityAssessed {
            overall_score: report.overall_score,
            missing_value_rate: report.missing_value_rate,
            outlier_rate: report.outlier_rate,
            freshness_score: report.freshness_score.unwrap_or(1.0),
            record_count: report.row_count,
        };
        if let Some(history) = &self.history {
            let record = AssessmentRecord {
                assessed: assessed.clone(),
                assessment_id: assessment_id.clone(),
                service_id: service_id.clone(),
                timestamp: text::rfc3339(now_ms),
                violations: violations(&findings).collect(),
            };
            history.offer("", &assessment_id, &record);
        }
        self.sink.publish(Judgement {
            id: assessment_id.clone(),
            about: service_id,
            judged: Judged::Quality(assessed),
            findings: findings.clone(),
        });
        (report, findings, assessment_id)
    }
}

fn violations(findings: &[Finding]) -> impl Iterator<Item = Violation> + '_ {
    findings.iter().filter(|finding| finding.severity > Severity::Low).map(Violation::from)
}

fn violation(violation: Violation) -> proto::Violation {
    proto::Violation {
        r#type: violation.rule,
        severity: violation.severity.as_str().into(),
        value: violation.value,
        threshold: violation.threshold,
        description: violation.description,
        field: violation.field,
    }
}

fn recommendations(findings: &[Finding]) -> Vec<String> {
    let advice = findings.iter().filter_map(|finding| {
        Some(match finding.rule.as_str() {
            "missing_values" | "field_missing_values" => {
                "Find where values get lost, or impute them before they reach the model."
            }
            "invalid_values" | "field_invalid_values" => {
                "Check the producer against the schema: values leave their kind or range."
            }
            "outliers" | "field_outliers" => "Look at the far outliers: a unit or a sensor may have changed.",
            "duplicates" => "Records arrive more than once: make the producer idempotent.",
            "field_stuck" | "field_constant" => "A value does not change any more: check its source.",
            "missing_times" => "Rows come without a time: check the producer and the format of its times.",
            "future_times" => "Times are ahead: check the clock and the time zone of the producer.",
            "freshness" => "The data is old: check that its pipeline still runs.",
            "overall_score" => "Hold back decisions on this data until its score recovers.",
            _ => return None,
        })
    });
    let mut unique: Vec<String> = Vec::new();
    for sentence in advice {
        if !unique.iter().any(|known| known == sentence) {
            unique.push(sentence.into());
        }
    }
    unique
}

#[tonic::async_trait]
impl proto::quality_service_server::QualityService for QualityService {
    async fn assess(
        &self,
        request: Request<proto::AssessRequest>,
    ) -> Result<Response<proto::AssessResponse>, Status> {
        Ok(Response::new(self.assess_now(request.into_inner())?))
    }

    type JudgeStream = ReceiverStream<Result<proto::JudgeResponse, Status>>;

    async fn judge(
        &self,
        request: Request<Streaming<proto::JudgeRequest>>,
    ) -> Result<Response<Self::JudgeStream>, Status> {
        let incoming = request.into_inner().map(|message| message.map(|message| message.message));
        let judge = self.lane_judge();
        let wrap = |message| proto::JudgeResponse { message: Some(message) };
        Ok(Response::new(over_grpc::serve(judge, incoming, self.stop.clone(), wrap)))
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

    async fn get_assessment(
        &self,
        request: Request<proto::GetAssessmentRequest>,
    ) -> Result<Response<proto::GetAssessmentResponse>, Status> {
        Ok(Response::new(self.assessment(request.into_inner()).await?))
    }

    async fn list_assessments(
        &self,
        request: Request<proto::ListAssessmentsRequest>,
    ) -> Result<Response<proto::ListAssessmentsResponse>, Status> {
        Ok(Response::new(self.assessments(request.into_inner()).await?))
    }
}
