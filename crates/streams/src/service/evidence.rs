//! What the judges' reports say together: drift on one side, the loss on the other.

use acgs_contracts::{
    drift::v1::DriftReport,
    performance::v1::{PerformanceReport, PerformanceState},
    quality::v1::QualityReport,
};
use acgs_statistics::harm::{Ranking, Tolerated, risk};
use acgs_vocabulary::{JudgeKind, VerdictStatus, event::payload::PerformanceFound};
use prost::Message;

use crate::core::{Evidence, Part, Summary};

/// Features that a summary names.
const NAMES_MAX: usize = 16;

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

/// Whether rows have drifted by themselves, or the monitor says that drift stands.
fn has_drifted(report: &DriftReport) -> bool {
    report.drift_detected || report.monitor.as_ref().is_some_and(|monitor| monitor.standing)
}

/// What has: by the monitor, then by the rows themselves.
fn drifted_features(report: &DriftReport) -> Vec<String> {
    let mut names: Vec<String> =
        report.monitor.iter().flat_map(|monitor| &monitor.features).cloned().collect();
    names.extend(
        report.drifted_features.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>(),
    );
    names.truncate(NAMES_MAX);
    names
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
    let tolerated = performance.as_ref().zip(baseline).map(|(report, baseline)| Tolerated {
        baseline,
        margin: report.loss_margin,
        // Who says the base rate of all.
        useless: report.positive_rate.map(|rate| rate * (1.0 - rate)),
        ranking: report
            .auc
            .map(|auc| Ranking { interval: (auc.lower, auc.upper), baseline: report.baseline_auc }),
    });
    // Before the judge has enough labels its state is unknown, and so is the risk.
    let judged = performance.as_ref().is_some_and(|report| report.state() != PerformanceState::Unknown);
    let summary = Summary {
        row_count: quality.as_ref().map(|report| report.row_count),
        overall_score: quality.as_ref().map(|report| report.overall_score),
        drift_detected: drift.as_ref().map(has_drifted),
        score_drift: drift.as_ref().map(|report| report.score_drift),
        drifted_features: drift.as_ref().map_or_else(Vec::new, drifted_features),
        season_known: drift.as_ref().and_then(|report| report.season_known),
        brier: performance.as_ref().and_then(|report| report.brier).map(|brier| brier.value),
        performance: performance.as_ref().map(|report| found(report.state())),
    };
    Ok(Evidence {
        drifted: drift.as_ref().map(has_drifted),
        risk: risk(interval.filter(|_| judged), tolerated),
        summary,
    })
}
