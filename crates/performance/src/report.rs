//! From a pane to estimates, a state and findings. It must not know protobuf.

use acgs_reference::{
    LossBaseline, ModelKind,
    answers::{self, Answers, model_kind},
    labels::Coding,
};
use acgs_statistics::{
    Z_95,
    harm::lower_end_beside,
    score::{Estimate, ScoreSums, area_standard_error},
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
    /// Labels that say yes, of those beside a score.
    pub positive_count: u64,
    /// How labels of yes and no were read; `None` without any.
    pub coding: Option<Coding>,
    /// What the model says, as far as these rows tell.
    pub kind: Option<ModelKind>,
    /// Its loss.
    pub loss: Option<Estimate>,
    /// The loss of a model that knows nothing, on these rows.
    pub useless_loss: Option<f64>,
    /// Mean absolute error, root of the mean squared one, and bias, of numbers.
    pub errors: Option<[Estimate; 3]>,
    /// Share of the variance that numbers explain.
    pub explained: Option<f64>,
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
    /// The reference's loss, where it is of such a model.
    pub baseline: Option<LossBaseline>,
    /// What is tolerated beyond it, in the loss's unit.
    pub loss_margin: f64,
    /// The verdict.
    pub state: State,
    /// Why it is unknown; empty when it is not.
    pub reason: String,
}

/// Measures a pane over `span_ms` of event time (0 = none).
#[must_use]
pub fn report(
    config: &Config,
    roles: &Roles,
    pane: &PerformancePane,
    baseline: Option<LossBaseline>,
    span_ms: i64,
) -> Report {
    let (has_latency, has_errors) = roles.service();
    let percentile = |quantile| {
        pane.latency_sketch.quantile_within(quantile, pane.latency.minimum()?, pane.latency.maximum()?)
    };
    let latency_ms = has_latency
        .then(|| Some([pane.latency.mean()?, percentile(0.5)?, percentile(0.95)?, percentile(0.99)?]))
        .flatten();
    let known = baseline.map(|baseline| baseline.kind);
    let mapped = pane.scores.mapped(baseline.map(|baseline| baseline.coding));
    let (scores, answers) = (&mapped.scores, &pane.answers);
    let kind = model_kind(scores.count(), answers, known);
    let loss = kind.and_then(|kind| answers::loss(kind, scores, answers));
    let numbers = kind == Some(ModelKind::Regression);
    let errors = answers.errors();
    let right = Estimate::of_share(answers.right()).filter(|_| !numbers);
    let same_kind = baseline.filter(|baseline| kind == Some(baseline.kind));
    let auc = scores.area();
    let (state, reason) = state(config, Measured { kind, loss, scores, answers, auc }, baseline);
    Report {
        row_count: pane.row_count,
        throughput_rps: if span_ms > 0 { pane.row_count as f64 * 1_000.0 / span_ms as f64 } else { 0.0 },
        error_rate: (has_errors && pane.errors.0 > 0).then(|| pane.errors.1 as f64 / pane.errors.0 as f64),
        latency_ms,
        latency_invalid_count: pane.latency_invalid_count,
        latency_count: pane.latency.count(),
        incomparable_count: pane.incomparable_count + mapped.incomparable_count,
        labelled_count: scores.count().max(answers.count()),
        positive_count: scores.class_counts().0,
        coding: (scores.count() > 0).then_some(mapped.coding),
        kind,
        loss,
        useless_loss: useless(kind, scores, answers),
        errors: errors
            .mean_absolute()
            .zip(errors.root_mean_square())
            .zip(errors.bias())
            .map(|((absolute, square), bias)| [absolute, square, bias])
            .filter(|_| numbers),
        explained: errors.explained().filter(|_| numbers),
        brier: scores.brier(),
        log_loss: scores.log_loss(),
        accuracy: right.or_else(|| scores.accuracy()),
        auc,
        calibration_error: scores.calibration_error(),
        means: scores.means(),
        baseline: same_kind,
        loss_margin: config.loss_margin * same_kind.map_or(0.0, |baseline| baseline.loss),
        state,
        reason,
    }
}

/// What a state is told from.
struct Measured<'a> {
    kind: Option<ModelKind>,
    loss: Option<Estimate>,
    scores: &'a ScoreSums,
    answers: &'a Answers,
    auc: Option<Estimate>,
}

/// The state, and why it is unknown.
fn state(config: &Config, measured: Measured<'_>, baseline: Option<LossBaseline>) -> (State, String) {
    let unknown = |reason: String| (State::Unknown, reason);
    let (Some(kind), Some(loss)) = (measured.kind, measured.loss) else {
        return unknown("no labels that can be compared".to_owned());
    };
    let Some(baseline) = baseline else { return unknown("no reference with labels".to_owned()) };
    if baseline.kind != kind {
        return unknown("the reference is of another kind of model".to_owned());
    }
    let count = if kind == ModelKind::Binary { measured.scores.count() } else { measured.answers.count() };
    if count < config.labelled_min {
        return unknown(format!("{count} labels, at least {}", config.labelled_min));
    }
    if kind == ModelKind::Binary {
        let too_few = too_few(config, measured.scores.class_counts(), "").or_else(|| {
            let labels = baseline.labelled_count as f64;
            let positives = (labels * baseline.positive_rate?).round();
            too_few(config, (positives as u64, (labels - positives) as u64), " in the reference")
        });
        if let Some(reason) = too_few {
            return unknown(reason);
        }
    }
    let worse = lower_beside(loss, baseline.loss_standard_error) > baseline.loss * (1.0 + config.loss_margin);
    let blind = measured.auc.is_some_and(|auc| ranks_less(config, auc, &baseline));
    (if worse || blind { State::Decayed } else { State::Ok }, String::new())
}

/// What is lacking where there are too few labels of either kind.
fn too_few(config: &Config, (positives, negatives): (u64, u64), place: &str) -> Option<String> {
    let what = if positives < negatives { "positive" } else { "negative" };
    let count = positives.min(negatives);
    (count < config.positives_min)
        .then(|| format!("{count} {what} labels{place}, at least {}", config.positives_min))
}

/// The lower end of a loss's interval beside a baseline that is not known exactly.
fn lower_beside(loss: Estimate, baseline_standard_error: f64) -> f64 {
    lower_end_beside(loss.value, loss.lower, baseline_standard_error)
}

/// Whether the area under the ROC curve is surely smaller than the reference's by more than is tolerated.
fn ranks_less(config: &Config, auc: Estimate, baseline: &LossBaseline) -> bool {
    let Some((then, rate)) = baseline.auc.zip(baseline.positive_rate) else { return false };
    let labels = baseline.labelled_count as f64;
    let error = area_standard_error(then, labels * rate, labels * (1.0 - rate)).hypot(auc.standard_error);
    auc.value + Z_95 * error < then - config.ranking_margin
}

/// The loss of a model that knows nothing: of one that says the base rate of all; of numbers, half of their deviation, which is less than a
/// constant is off for any law that is not all in its tails.
fn useless(kind: Option<ModelKind>, scores: &ScoreSums, answers: &Answers) -> Option<f64> {
    match kind? {
        ModelKind::Binary => scores.means().map(|(_, rate)| rate * (1.0 - rate)),
        ModelKind::Regression => answers.errors().deviation().map(|deviation| deviation / 2.0),
        ModelKind::Classes => None,
    }
}

/// What has decayed: the metric, its value, what is tolerated, and a sentence.
fn decay(config: &Config, report: &Report) -> Option<(&'static str, f64, f64, String)> {
    let (loss, baseline) = (report.loss?, report.baseline?);
    let bound = baseline.loss * (1.0 + config.loss_margin);
    let (subject, name) = match baseline.kind {
        ModelKind::Binary => ("brier", "the Brier score"),
        ModelKind::Classes => ("error_share", "the share of wrong answers"),
        ModelKind::Regression => ("mean_absolute_error", "the mean absolute error"),
    };
    if lower_beside(loss, baseline.loss_standard_error) > bound {
        let description = format!(
            "{name} is {:.4} (at least {:.4} with 95 % confidence), the reference had {:.4}",
            loss.value, loss.lower, baseline.loss
        );
        return Some((subject, loss.value, bound, description));
    }
    let (auc, then) = (report.auc?, baseline.auc?);
    let description = format!(
        "the area under the ROC curve is {:.3} (at most {:.3} with 95 % confidence), the reference had {then:.3}",
        auc.value, auc.upper
    );
    Some(("auc", auc.value, then - config.ranking_margin, description))
}

/// What is wrong, gravest first.
#[must_use]
pub fn findings(config: &Config, report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |rule: &str, subject: &str, severity, value: f64, threshold: f64, description: String| {
        let (rule, subject) = (rule.to_owned(), subject.to_owned());
        found.push(Finding { rule, subject, severity, value, threshold, description });
    };
    if report.state == State::Decayed
        && let Some((subject, value, threshold, description)) = decay(config, report)
    {
        find("performance_decay", subject, Severity::High, value, threshold, description);
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
