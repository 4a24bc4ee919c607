//! Monitors and the last assessments: what arrives for a service, judged together. The service's other half.

use std::{collections::BTreeMap, sync::Arc};

use acgs_columns::{RecordBatch, Schema};
use acgs_contracts::quality::v1 as proto;
use acgs_judge_kit::{history, monitoring::Monitors};
use acgs_vocabulary::{Problem, names, text};

use super::{
    QualityService,
    cells::{self, Misfits},
    violation,
};
use crate::{pane::QualityPane, record::AssessmentRecord};

/// Between two judgements, when nothing is said.
const INTERVAL_SECONDS: u32 = 60;
/// Assessments of a list, when nothing is said.
const LIMIT: u32 = 10;

/// Rows of one service and one schema.
pub type Gathered = (Arc<Schema>, QualityPane);

/// What is held of them, in bytes.
pub(super) fn heap_bytes((_, pane): &Gathered) -> usize {
    pane.heap_bytes()
}

/// Keeps rows for the order of their service, if there is one.
pub(super) fn gather(monitors: &Monitors<Gathered>, service_id: &str, rows: &RecordBatch) {
    if monitors.watches(service_id) {
        let schema = rows.schema();
        monitors.gather(
            service_id,
            |(held, _)| held == schema,
            || (Arc::clone(schema), QualityPane::new(schema)),
            |(_, pane)| pane.push(rows),
        );
    }
}

/// Counts cells of another kind in what is kept of rows of that schema.
pub(super) fn note_misfits(
    monitors: &Monitors<Gathered>,
    service_id: &str,
    schema: &Arc<Schema>,
    misfits: &BTreeMap<String, Misfits>,
) {
    if monitors.watches(service_id) && !misfits.is_empty() {
        monitors.gather(
            service_id,
            |(held, _)| held == schema,
            || (Arc::clone(schema), QualityPane::new(schema)),
            |(_, pane)| cells::count(misfits, schema, pane),
        );
    }
}

pub(super) fn check_id(path: &str, id: &str) -> Result<(), Problem> {
    names::check(path, id, 1)
}

fn record(record: AssessmentRecord) -> proto::AssessmentRecord {
    let AssessmentRecord { assessed, assessment_id, service_id, timestamp, violations } = record;
    proto::AssessmentRecord {
        assessment_id,
        service_id,
        overall_score: assessed.overall_score,
        missing_value_rate: assessed.missing_value_rate,
        outlier_rate: assessed.outlier_rate,
        freshness_score: assessed.freshness_score,
        record_count: assessed.record_count,
        violations: violations.into_iter().map(violation).collect(),
        timestamp,
    }
}

impl QualityService {
    pub(super) async fn start_monitor(
        &self,
        request: proto::StartMonitoringRequest,
    ) -> Result<proto::StartMonitoringResponse, Problem> {
        check_id("service_id", &request.service_id)?;
        let order =
            self.monitors.start(&request.service_id, request.monitoring_interval, INTERVAL_SECONDS).await?;
        Ok(proto::StartMonitoringResponse {
            message: format!("Quality monitoring started for {}", order.about),
            interval_seconds: order.interval_seconds,
            constitutional_hash: self.constitution.current().to_owned(),
        })
    }

    pub(super) async fn list_monitors_now(&self) -> Result<proto::ListMonitorsResponse, Problem> {
        let monitor = |order: acgs_judge_kit::monitoring::Monitor| proto::Monitor {
            service_id: order.about,
            interval_seconds: order.interval_seconds,
            started_at: order.started_at,
        };
        let monitors = self.monitors.list().await?.into_iter().map(monitor).collect();
        Ok(proto::ListMonitorsResponse { monitors })
    }

    pub(super) async fn assessment(
        &self,
        request: proto::GetAssessmentRequest,
    ) -> Result<proto::GetAssessmentResponse, Problem> {
        let id = request.assessment_id;
        let history = self.history.as_ref().ok_or_else(|| Problem::home_required("assessments"))?;
        let found = history.get("", &id).await?;
        let found = found.ok_or_else(|| Problem::missing("assessment", id, "UNKNOWN_ASSESSMENT"))?;
        Ok(proto::GetAssessmentResponse { assessment: Some(record(found)) })
    }

    pub(super) async fn assessments(
        &self,
        request: proto::ListAssessmentsRequest,
    ) -> Result<proto::ListAssessmentsResponse, Problem> {
        let limit = history::limit(request.limit, LIMIT)?;
        let history = self.history.as_ref().ok_or_else(|| Problem::home_required("assessments"))?;
        let assessments: Vec<_> = history.recent("", limit).await?.into_iter().map(record).collect();
        Ok(proto::ListAssessmentsResponse {
            count: assessments.len() as u32,
            assessments,
            constitutional_hash: self.constitution.current().to_owned(),
            timestamp: text::rfc3339(self.clock.now_ms()),
        })
    }
}
