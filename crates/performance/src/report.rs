//! From a pane to estimates, a state and findings. It must not know protobuf.

use acgs_statistics::{
    harm::{Risk, Tolerated, risk},
    score::Estimate,
};
use acgs_vocabulary::{Finding, Severity, finding::gravest, text::apart};

use crate::{
    config::Config,
    pane::{PerformancePane, Roles},
};

/// How the loss stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not surely worse than the reference by more than the margin.
    Ok,
    /// Surely worse.
    Decayed,
    /// No labels, or nothing to compare with.
    Unknown,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Rows.
    pub row_count: u64,
    /// Rows per second.
    pub throughput_rps: f64,
    /// Share of failed rows.
    pub error_rate: Option<f64>,
    /// Mean, median, 95th and 99th percentile, in milliseconds.
    pub latency_ms: Option<[f64; 4]>,
    /// Latencies that no call can have had.
    pub latency_invalid_count: u64,
    /// Latencies that can be.
    pub latency_count: u64,
    /// Rows with a label that was compared.
    pub labelled_count: u64,
    /// Rows with a label that cannot be compared with the score or prediction.
    pub incomparable_count: u64,
    /// Mean squared difference.
    pub brier: Option<Estimate>,
    /// Mean logarithmic loss.
    pub log_loss: Option<Estimate>,
    /// Share of right answers.
    pub accuracy: Option<Estimate>,
    /// Area under the ROC curve.
    pub auc: Option<Estimate>,
    /// Expected calibration error.
    pub calibration_error: Option<f64>,
    /// Mean score and share of positives.
    pub means: Option<(f64, f64)>,
    /// The reference's Brier score.
    pub baseline_loss: Option<f64>,
    /// The reference's area under the ROC curve.
    pub baseline_auc: Option<f64>,
    /// The reference's share of positives, and of how many labels.
    pub baseline_positives: Option<(f64, u64)>,
    /// What is tolerated beyond it.
    pub loss_margin: f64,
    /// The verdict.
    pub state: State,
}

/// How good the model was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// Brier score.
    pub brier: f64,
    /// Area under the ROC curve, if it is known.
    pub auc: Option<f64>,
    /// Share of positives, and of how many labels, if it is known.
    pub positives: Option<(f64, u64)>,
}

/// Measures a pane over `span_ms` of event time (0 = none).
#[must_use]
pub fn report(
    config: &Config,
    roles: &Roles,
    pane: &PerformancePane,
    baseline: Option<Baseline>,
    span_ms: i64,
) -> Report {
    let (has_latency, has_errors) = roles.service();
    let percentile = |quantile| {
        pane.latency_sketch.quantile_within(quantile, pane.latency.minimum()?, pane.latency.maximum()?)
    };
    let latency_ms = has_latency
        .then(|| Some([pane.latency.mean()?, percentile(0.5)?, percentile(0.95)?, percentile(0.99)?]))
        .flatten();
    let right = pane.right.mean().map(|value| Estimate {
        value,
        standard_error: pane.right.standard_error().unwrap_or(f64::INFINITY),
    });
    let enough = pane.scores.count() >= config.labelled_min;
    let brier = pane.scores.brier();
    let interval = brier.filter(|_| enough).map(|brier| brier.interval());
    let baseline_loss = baseline.map(|baseline| baseline.brier);
    let tolerated = baseline_loss.map(|baseline| Tolerated {
        baseline,
        margin: config.loss_margin,
        useless: None,
        ranking: None,
    });
    Report {
        row_count: pane.row_count,
        throughput_rps: if span_ms > 0 { pane.row_count as f64 * 1_000.0 / span_ms as f64 } else { 0.0 },
        error_rate: (has_errors && pane.errors.0 > 0).then(|| pane.errors.1 as f64 / pane.errors.0 as f64),
        latency_ms,
        latency_invalid_count: pane.latency_invalid_count,
        latency_count: pane.latency.count(),
        incomparable_count: pane.incomparable_count,
        labelled_count: pane.scores.count().max(pane.right.count()),
        brier,
        log_loss: pane.scores.log_loss(),
        accuracy: right.or_else(|| pane.scores.accuracy()),
        auc: pane.scores.area(),
        calibration_error: pane.scores.calibration_error(),
        means: pane.scores.means(),
        baseline_loss,
        baseline_auc: baseline.and_then(|baseline| baseline.auc),
        baseline_positives: baseline.and_then(|baseline| baseline.positives),
        loss_margin: config.loss_margin,
        state: match (risk(interval, tolerated), interval, baseline_loss) {
            (Risk::Worse, ..) => State::Decayed,
            (_, Some(_), Some(_)) => State::Ok,
            _ => State::Unknown,
        },
    }
}

/// What is wrong, gravest first.
#[must_use]
pub fn findings(config: &Config, report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |rule: &str, subject: &str, severity, value: f64, threshold: f64, description: String| {
        let (rule, subject) = (rule.to_owned(), subject.to_owned());
        found.push(Finding { rule, subject, severity, value, threshold, description });
    };
    if let (State::Decayed, Some(brier), Some(baseline)) = (report.state, report.brier, report.baseline_loss)
    {
        let description = format!(
            "the Brier score is {:.3} (at least {:.3} with 95 % confidence), the reference had {baseline:.3}",
            brier.value,
            brier.interval().0
        );
        find(
            "performance_decay",
            "brier",
            Severity::High,
            brier.value,
            baseline + config.loss_margin,
            description,
        );
    }
    if let Some(rate) = report.error_rate.filter(|rate| *rate > config.error_rate_max) {
        let severity = if rate > 2.0 * config.error_rate_max { Severity::High } else { Severity::Medium };
        let (failed, bound) = apart(rate * 100.0, config.error_rate_max * 100.0, 2);
        let description = format!("{failed} % of calls failed, above {bound} %");
        find("error_rate", "error_rate", severity, rate, config.error_rate_max, description);
    }
    if let Some([_, _, p95, _]) = report.latency_ms.filter(|latency| latency[2] > config.latency_p95_ms_max) {
        let severity = if p95 > 2.0 * config.latency_p95_ms_max { Severity::High } else { Severity::Medium };
        let (took, bound) = apart(p95, config.latency_p95_ms_max, 0);
        let description = format!("95 % of calls take up to {took} ms, above {bound} ms");
        find("latency", "latency_p95_ms", severity, p95, config.latency_p95_ms_max, description);
    }
    let mut unusable = |rule: &str, subject: &str, lost: u64, used: u64, what: &str| {
        let (rate, threshold) = (lost as f64 / (lost + used).max(1) as f64, config.unusable_rate_max);
        // One of three labels that came late says little.
        if rate > threshold && lost + used >= config.labelled_min {
            let severity = if rate > 0.5 { Severity::High } else { Severity::Medium };
            let description = format!("{lost} of {} {what}", lost + used);
            find(rule, subject, severity, rate, threshold, description);
        }
    };
    let (lost, used) = (report.incomparable_count, report.labelled_count);
    unusable(
        "incomparable_labels",
        "label",
        lost,
        used,
        "labels cannot be compared with what the model said",
    );
    let (lost, used) = (report.latency_invalid_count, report.latency_count);
    unusable(
        "invalid_latencies",
        "latency",
        lost,
        used,
        "latencies are negative, beyond 31 days or no numbers",
    );
    gravest(found)
}
