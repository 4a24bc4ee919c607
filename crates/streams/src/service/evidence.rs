//! What the judges' reports say together: drift on one side, the loss on the other.

use acgs_contracts::{
    drift::v1::DriftReport,
    performance::v1::{PerformanceReport, PerformanceState},
    quality::v1::QualityReport,
};
use acgs_statistics::harm::risk;
use acgs_vocabulary::{JudgeKind, VerdictStatus, event::payload::PerformanceFound};
use prost::Message;

use crate::core::{Evidence, Part, Summary};

/// A judge's report, when it judged.
///
/// # Errors
/// The judge, when its report cannot be read.
pub(super) fn report<M: Message + Default>(parts: &[Part], judge: JudgeKind) -> Result<Option<M>, JudgeKind> {
    let verdict = parts.iter().find(|part| part.judge == judge).and_then(|part| part.verdict.as_ref());
    let Some(verdict) = verdict.filter(|verdict| verdict.status == VerdictStatus::Ok) else {
        return Ok(None);
    };
    M::decode(verdict.report.clone()).map(Some).map_err(|_| judge)
}

fn found(state: PerformanceState) -> PerformanceFound {
    match state {
        PerformanceState::Unspecified => PerformanceFound::Unspecified,
        PerformanceState::Unknown => PerformanceFound::Unknown,
        PerformanceState::Ok => PerformanceFound::Ok,
        PerformanceState::Decayed => PerformanceFound::Decayed,
    }
}

/// Reads the parts of a report.
///
/// # Errors
/// The first judge whose report cannot be read.
pub(super) fn read(parts: &[Part]) -> Result<Evidence, JudgeKind> {
    let quality: Option<QualityReport> = report(parts, JudgeKind::Quality)?;
    let drift: Option<DriftReport> = report(parts, JudgeKind::Drift)?;
    let performance: Option<PerformanceReport> = report(parts, JudgeKind::Performance)?;
    let interval =
        performance.as_ref().and_then(|report| report.brier).map(|brier| (brier.lower, brier.upper));
    let baseline = performance.as_ref().and_then(|report| report.baseline_loss);
    let margin = performance.as_ref().map_or(0.0, |report| report.loss_margin);
    // Before the judge has enough labels its state is unknown, and so is the risk.
    let judged = performance.as_ref().is_some_and(|report| report.state() != PerformanceState::Unknown);
    let summary = Summary {
        row_count: quality.as_ref().map(|report| report.row_count),
        overall_score: quality.as_ref().map(|report| report.overall_score),
        drift_detected: drift.as_ref().map(|report| report.drift_detected),
        score_drift: drift.as_ref().map(|report| report.score_drift),
        brier: performance.as_ref().and_then(|report| report.brier).map(|brier| brier.value),
        performance: performance.as_ref().map(|report| found(report.state())),
    };
    Ok(Evidence {
        drifted: drift.map(|report| report.drift_detected),
        risk: risk(interval.filter(|_| judged), baseline, margin),
        summary,
    })
}
