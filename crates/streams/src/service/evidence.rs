//! What the judges' reports say together: drift on one side, the loss on the other.

use acgs_contracts::{
    common::v1::{FieldRole, ModelKind},
    drift::v1::{DriftReport, FeatureDrift},
    performance::v1::{Estimate, PerformanceReport},
    quality::v1::QualityReport,
};
use acgs_statistics::{
    harm::Risk,
    kinds::{BaseRate, Moved, prior_moved},
};
use acgs_vocabulary::{
    JudgeKind, VerdictStatus,
    event::payload::{LossFound, ModelKindFound},
};
use prost::Message;

use super::promise;
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

fn loss_found(report: &PerformanceReport) -> Option<LossFound> {
    let model_kind = match report.model_kind() {
        ModelKind::Unspecified => ModelKindFound::Unspecified,
        ModelKind::Binary => ModelKindFound::Binary,
        ModelKind::Classes => ModelKindFound::Classes,
        ModelKind::Regression => ModelKindFound::Regression,
    };
    // A number that JSON has no word for is left out with the others.
    let is_plain = |loss: &Estimate| [loss.value, loss.lower, loss.upper].iter().all(|it| it.is_finite());
    let loss = report.loss.filter(is_plain)?;
    let quantile = report.quantile.as_ref().map(|found| found.quantile);
    Some(LossFound { model_kind, quantile, value: loss.value, lower: loss.lower, upper: loss.upper })
}

/// What has moved, where drift was judged.
fn moved(drift: Option<&DriftReport>, performance: Option<&PerformanceReport>, risk: Risk) -> Option<Moved> {
    let drift = drift?;
    let names = drifted_features(drift);
    let is_input = |feature: &FeatureDrift| {
        feature.role() == FieldRole::Feature
            && (names.contains(&feature.name) || has_drifted(drift) && feature.drifted)
    };
    let pairs = !drift.pairs.is_empty() || drift.monitor.iter().any(|monitor| !monitor.pairs.is_empty());
    let prior = performance.and_then(|report| {
        // Rows that hang together say less of how frequent a yes is, too.
        let worth = |count: u64| (count as f64 / report.design_effect.max(1.0)) as u64;
        let then =
            BaseRate { rate: report.baseline_positive_rate?, count: worth(report.baseline_labelled_count) };
        prior_moved(then, BaseRate { rate: report.positive_rate?, count: worth(report.labelled_count) })
    });
    Some(Moved {
        inputs: drift.features.iter().any(is_input) || pairs || !drift.schema_changes.is_empty(),
        score: drift.score_drift,
        prior,
        risk,
    })
}

/// Reads the parts of a report.
///
/// # Errors
/// The first judge whose report cannot be read.
pub(super) fn read(parts: &[Part]) -> Result<Evidence, JudgeKind> {
    let quality: Option<QualityReport> = report(parts, JudgeKind::Quality)?;
    let drift: Option<DriftReport> = report(parts, JudgeKind::Drift)?;
    let performance: Option<PerformanceReport> = report(parts, JudgeKind::Performance)?;
    let risk = performance.as_ref().map_or(Risk::Unclear, |report| promise::risk_of(report, drift.as_ref()));
    let moved = moved(drift.as_ref(), performance.as_ref(), risk);
    let summary = Summary {
        row_count: quality.as_ref().map(|report| report.row_count),
        overall_score: quality.as_ref().map(|report| report.overall_score),
        drift_detected: drift.as_ref().map(has_drifted),
        score_drift: drift.as_ref().map(|report| report.score_drift),
        drifted_features: drift.as_ref().map_or_else(Vec::new, drifted_features),
        season_known: drift.as_ref().and_then(|report| report.season_known),
        brier: performance.as_ref().and_then(|report| report.brier).map(|brier| brier.value),
        loss: performance.as_ref().and_then(loss_found),
        performance_reason: performance.as_ref().map_or_else(String::new, promise::reason),
        performance: performance.as_ref().map(promise::found),
        by_itself: performance.as_ref().is_some_and(|report| !promise::stands(report)),
        labels_awaited: 0,
    };
    Ok(Evidence { drifted: drift.as_ref().map(has_drifted), risk, moved, summary })
}

#[cfg(test)]
mod tests {
    use acgs_contracts::{drift::v1::SchemaChange, performance::v1::PerformanceState};
    use acgs_lane::message::Verdict;
    use acgs_statistics::kinds::DriftKind;
    use acgs_vocabulary::Window;

    use super::*;

    fn part(judge: JudgeKind, report: &impl Message) -> Part {
        let window = Window { stream_id: "s".into(), key: "".into(), start_ms: 0, end_ms: 1 };
        let verdict = Verdict {
            window,
            revision: 0,
            status: VerdictStatus::Ok,
            reason: String::new(),
            findings: Vec::new(),
            report: report.encode_to_vec().into(),
        };
        Part { judge, verdict: Some(verdict), revision: 0 }
    }

    /// A loss that is surely worse, with so many positives; the reference had 20 %.
    fn worse(positive_rate: f64) -> PerformanceReport {
        PerformanceReport {
            labelled_count: 2_000,
            brier: Some(Estimate { value: 0.3, standard_error: 0.01, lower: 0.28, upper: 0.32 }),
            positive_rate: Some(positive_rate),
            baseline_loss: Some(0.1),
            baseline_positive_rate: Some(0.2),
            baseline_labelled_count: 10_000,
            loss_margin: 0.01,
            state: PerformanceState::Decayed.into(),
            ..PerformanceReport::default()
        }
    }

    fn told(drift: &DriftReport, performance: &PerformanceReport) -> Vec<DriftKind> {
        let parts = [part(JudgeKind::Drift, drift), part(JudgeKind::Performance, performance)];
        read(&parts).unwrap().kinds()
    }

    #[test]
    fn kinds_of_drift_are_told_apart() {
        let still = DriftReport::default();
        assert_eq!(told(&still, &worse(0.2)), [DriftKind::Concept]);
        assert_eq!(told(&still, &worse(0.5)), [DriftKind::Prior], "the base rate may be all there is to it");
        let score = DriftReport { drift_detected: true, score_drift: true, ..DriftReport::default() };
        assert_eq!(told(&score, &worse(0.2)), [DriftKind::Score]);
        let feature = FeatureDrift {
            name: "x".into(),
            role: FieldRole::Feature.into(),
            drifted: true,
            ..FeatureDrift::default()
        };
        let inputs = DriftReport {
            drift_detected: true,
            drifted_features: vec!["x".into()],
            features: vec![feature],
            ..DriftReport::default()
        };
        assert_eq!(told(&inputs, &worse(0.5)), [DriftKind::Covariate, DriftKind::Prior]);
        let gone = DriftReport { schema_changes: vec![SchemaChange::default()], ..DriftReport::default() };
        assert_eq!(told(&gone, &PerformanceReport::default()), [DriftKind::Covariate]);
        assert_eq!(told(&still, &PerformanceReport::default()), []);
    }

    #[test]
    fn early_labels_say_neither_prior_nor_concept() {
        for positive_rate in [0.2, 0.5] {
            let parts = [
                part(JudgeKind::Drift, &DriftReport::default()),
                part(JudgeKind::Performance, &worse(positive_rate)),
            ];
            let mut early = read(&parts).unwrap();
            assert_eq!(early.kinds().len(), 1, "{positive_rate}");
            early.await_labels(100);
            assert_eq!(early.kinds(), [], "{positive_rate}");
        }
    }
}
