//! Reports as messages.

use acgs_contracts::performance::v1 as proto;
use acgs_reference::{labels::Coding, message};
use acgs_statistics::{
    classes::ClassCount,
    classification::{CalibrationBin, Confusion},
    score::Estimate,
};

use crate::{
    beside::State,
    decay::{Metric, MonitorState, RecentLoss},
    estimated::{Estimated, Trust},
    report::{BinaryFigures, ClassReport, Report},
    sla::Violation,
    sliced::Slice,
};

fn state(state: State) -> proto::PerformanceState {
    match state {
        State::Ok => proto::PerformanceState::Ok,
        State::Decayed => proto::PerformanceState::Decayed,
        State::Unknown => proto::PerformanceState::Unknown,
    }
}

/// The message of a report.
pub(super) fn report(report: &Report) -> proto::PerformanceReport {
    let latency = |index: usize| report.latency_ms.map(|latency| latency[index]);
    proto::PerformanceReport {
        row_count: report.row_count,
        throughput_rps: report.throughput_rps,
        error_rate: report.error_rate,
        latency_mean_ms: latency(0),
        latency_p50_ms: latency(1),
        latency_p95_ms: latency(2),
        latency_p99_ms: latency(3),
        labelled_count: report.labelled_count,
        brier: report.brier.map(estimate),
        log_loss: report.log_loss.map(estimate),
        accuracy: report.accuracy.map(estimate),
        auc: report.auc.map(estimate),
        calibration_error: report.calibration_error,
        mean_score: report.means.map(|(mean, _)| mean),
        positive_rate: report.means.map(|(_, rate)| rate),
        baseline_loss: report.baseline.map(|baseline| baseline.loss),
        baseline_auc: report.baseline.and_then(|baseline| baseline.auc),
        loss_margin: report.loss_margin,
        state: state(report.state).into(),
        latency_invalid_count: report.latency_invalid_count,
        incomparable_count: report.incomparable_count,
        baseline_positive_rate: report.baseline.and_then(|baseline| baseline.positive_rate),
        baseline_labelled_count: report.baseline.map_or(0, |baseline| baseline.labelled_count),
        model_kind: report.kind.map_or(0, |kind| message::model_kind_to_proto(kind).into()),
        loss: report.loss.map(estimate),
        baseline_loss_standard_error: report.baseline.map_or(0.0, |baseline| baseline.loss_standard_error),
        mean_absolute_error: report.errors.map(|[absolute, ..]| estimate(absolute)),
        root_mean_square_error: report.errors.map(|[_, square, _]| estimate(square)),
        r_squared: report.explained,
        bias: report.errors.map(|[.., bias]| estimate(bias)),
        label_coding: match (&report.positive, report.coding) {
            (Some(positive), Some(_)) => format!("{positive} is positive; all others are negative"),
            (_, known) => known.map_or("", coding).to_owned(),
        },
        state_reason: report.reason.clone(),
        positive_count: report.positive_count,
        useless_loss: report.useless_loss,
        monitor: report.monitor.map(monitor),
        design_effect: report.design_effect,
        binary: report.binary.as_ref().map(binary),
        classes: report.classes.as_ref().map(classes),
        mean_absolute_percentage_error: report.relative_error.map(estimate),
        estimated: report.estimated.as_ref().map(estimated),
        slices: report.slices.iter().map(slice).collect(),
        quantile: report.quantile.map(|found| proto::QuantileFigures {
            quantile: found.quantile,
            loss: Some(estimate(found.loss)),
            covered: Some(estimate(found.covered)),
        }),
    }
}

fn slice(slice: &Slice) -> proto::SliceFigure {
    proto::SliceFigure {
        field: slice.field.clone(),
        value: slice.value.clone(),
        count: slice.count,
        loss: Some(estimate(slice.loss)),
        baseline_loss: slice.baseline.map(|(loss, _)| loss),
        baseline_count: slice.baseline.map_or(0, |(_, count)| count),
        state: state(slice.state).into(),
    }
}

fn estimated(found: &Estimated) -> proto::EstimatedPerformance {
    let trust = match found.trust {
        Trust::Trusted => proto::EstimateTrust::Trusted,
        Trust::Untrusted => proto::EstimateTrust::Untrusted,
        Trust::Unknown => proto::EstimateTrust::Unknown,
    };
    proto::EstimatedPerformance {
        row_count: found.row_count,
        loss: Some(estimate(found.loss)),
        accuracy: found.accuracy.map(estimate),
        auc: found.auc.map(estimate),
        beyond_share: found.beyond_share,
        trust: trust.into(),
        trust_reason: found.reason.clone(),
        record_realised: found.record.map(|record| record.realised),
        record_estimated: found.record.map(|record| estimate(record.estimated)),
        record_until_ms: found.record.and_then(|record| record.until_ms),
        model_kind: message::model_kind_to_proto(found.baseline.kind).into(),
    }
}

fn classes(report: &ClassReport) -> proto::ClassFigures {
    let class = |(name, count): &(String, ClassCount)| proto::ClassFigure {
        name: name.clone(),
        truth_count: count.truth,
        said_count: count.said,
        right_count: count.right,
        precision: count.precision().map(estimate),
        recall: count.recall().map(estimate),
        f1: count.f1(),
    };
    let figures = &report.figures;
    proto::ClassFigures {
        macro_precision: Some(estimate(figures.macro_precision)),
        macro_recall: Some(estimate(figures.macro_recall)),
        macro_f1: figures.macro_f1,
        weighted_f1: figures.weighted_f1,
        kappa: figures.kappa,
        matthews: figures.matthews,
        classes: report.classes.iter().map(class).collect(),
        beyond_count: report.beyond_count,
        log_loss: report.losses.map(|[log_loss, _]| estimate(log_loss)),
        brier: report.losses.map(|[_, brier]| estimate(brier)),
        scored_count: report.scored.0,
        not_probabilities_count: report.scored.1,
    }
}

fn monitor(state: MonitorState) -> proto::DecayMonitor {
    let standing = match state.standing {
        None => proto::DecayMetric::Unspecified,
        Some(Metric::Loss) => proto::DecayMetric::Loss,
        Some(Metric::Ranking) => proto::DecayMetric::Ranking,
    };
    proto::DecayMonitor {
        ln_evidence: state.ln_evidence,
        ln_bound: state.budget.ln_bound_of_sums(),
        looks: state.looks,
        looks_per_false_alarm: state.budget.looks,
        alarm: state.alarm,
        standing: standing.into(),
        standing_looks: state.standing_looks,
        alarms: state.alarms,
        recent: state.recent.map(recent),
        unusable: state.unusable,
    }
}

fn binary(figures: &BinaryFigures) -> proto::BinaryFigures {
    let (confusion, parts) = (figures.confusion, figures.brier_parts);
    let bin = |bin: &CalibrationBin| proto::CalibrationBin {
        count: bin.count,
        mean_score: bin.mean_score,
        positive_rate: bin.positive_rate,
    };
    let threshold = |(score, confusion): &(f64, Confusion)| proto::Threshold {
        score: *score,
        true_positives: confusion.true_positives,
        false_positives: confusion.false_positives,
        false_negatives: confusion.false_negatives,
        true_negatives: confusion.true_negatives,
    };
    proto::BinaryFigures {
        true_positives: confusion.true_positives,
        false_positives: confusion.false_positives,
        false_negatives: confusion.false_negatives,
        true_negatives: confusion.true_negatives,
        precision: figures.precision.map(estimate),
        recall: figures.recall.map(estimate),
        specificity: figures.specificity.map(estimate),
        f1: confusion.f1(),
        balanced_accuracy: confusion.balanced_accuracy(),
        matthews: confusion.matthews(),
        average_precision: figures.average_precision,
        lift_of_top_tenth: figures.lift_of_top_tenth,
        brier_reliability: parts.reliability,
        brier_resolution: parts.resolution,
        brier_uncertainty: parts.uncertainty,
        calibration: figures.calibration.iter().map(bin).collect(),
        thresholds: figures.thresholds.iter().map(threshold).collect(),
    }
}

fn recent(recent: RecentLoss) -> proto::RecentLoss {
    proto::RecentLoss {
        looks: recent.looks,
        from_ms: recent.from_ms,
        loss: Some(estimate(recent.loss)),
        auc: recent.auc.map(estimate),
        useless_loss: recent.useless,
        baseline_loss: recent.baseline,
        loss_margin: recent.margin,
    }
}

fn coding(coding: Coding) -> &'static str {
    match coding {
        Coding::OneIsYes => "1, true and yes are positive; 0, -1, false and no are negative",
        Coding::TwoIsYes => "2 is positive; 1 is negative",
    }
}

pub(super) fn estimate(estimate: Estimate) -> proto::Estimate {
    let (lower, upper) = estimate.interval();
    proto::Estimate { value: estimate.value, standard_error: estimate.standard_error, lower, upper }
}

/// The message of a missed target.
pub(super) fn violation(violation: Violation) -> proto::SlaViolation {
    proto::SlaViolation {
        metric: violation.metric,
        value: violation.value,
        target: violation.target,
        severity: violation.severity.as_str().to_owned(),
        deviation_percent: violation.deviation_percent,
    }
}
