//! What a verdict about labels and calls comes to in words, and how grave it is. It must not know how it was measured, nor protobuf.

use acgs_reference::{LossBaseline, ModelKind};
use acgs_vocabulary::{Finding, Severity, finding::gravest, text::apart};

use crate::{
    beside::State,
    config::Config,
    decay::{Metric, MonitorState},
    estimated::Trust,
    report::{Report, lower_beside},
    sliced::Slice,
};

/// A metric, its value, what is tolerated, and a sentence.
type Decay = (&'static str, f64, f64, String);

/// The loss of a kind of model: as a subject, and in words.
fn loss_name(kind: ModelKind, baseline: Option<LossBaseline>) -> (&'static str, &'static str) {
    match kind {
        ModelKind::Regression if baseline.is_some_and(|baseline| baseline.quantile.is_some()) => {
            ("quantile_loss", "the loss of the quantile")
        }
        ModelKind::Binary => ("brier", "the Brier score"),
        ModelKind::Classes => ("error_share", "the share of wrong answers"),
        ModelKind::Regression => ("mean_absolute_error", "the mean absolute error"),
    }
}

/// What is surely worse in these rows by themselves.
fn by_itself(config: &Config, report: &Report) -> Option<Decay> {
    let (loss, baseline) = (report.loss?, report.baseline.filter(|_| report.state == State::Decayed)?);
    let bound = baseline.loss * (1.0 + config.loss_margin);
    let (subject, name) = loss_name(baseline.kind, Some(baseline));
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

/// What has decayed by all labels of the stream together, and is not yet as it was.
fn of_stream(config: &Config, report: &Report, monitor: MonitorState, metric: Metric) -> Decay {
    let of_evidence = (monitor.ln_evidence, monitor.budget.ln_bound_of_sums());
    let evidence = format!(
        "the evidence was e^{:.1} when it was told, e^{:.1} would be enough",
        of_evidence.0, of_evidence.1
    );
    let here = |now: Option<f64>, then: Option<f64>| match (now, then) {
        (Some(now), Some(then)) => format!("{now:.4} in this window, the reference had {then:.4}"),
        _ => "this window has no labels of it yet".to_owned(),
    };
    match metric {
        Metric::Loss => {
            let (now, then) = (report.loss.map(|loss| loss.value), report.baseline.map(|it| it.loss));
            let (subject, name) = loss_name(monitor.kind, report.baseline);
            let bound = then.map(|then| then * (1.0 + config.loss_margin));
            let (value, threshold) = now.zip(bound).unwrap_or(of_evidence);
            (subject, value, threshold, format!("{name} has risen: {}; {evidence}", here(now, then)))
        }
        Metric::Ranking => {
            let (now, then) = (report.auc.map(|auc| auc.value), report.baseline.and_then(|it| it.auc));
            let bound = then.map(|then| then - config.ranking_margin);
            let (value, threshold) = now.zip(bound).unwrap_or(of_evidence);
            let name = "the area under the ROC curve";
            ("auc", value, threshold, format!("{name} has fallen: {}; {evidence}", here(now, then)))
        }
    }
}

/// A loss that is likely to be worse by what the model said, while most labels are not known: where estimates came true so far.
fn of_estimate(config: &Config, report: &Report) -> Option<Decay> {
    let estimated = report.estimated.as_ref().filter(|it| it.trust == Trust::Trusted)?;
    let baseline = estimated.baseline;
    let bound = baseline.loss * (1.0 + config.loss_margin);
    let is_worse = lower_beside(estimated.loss, baseline.loss_standard_error) > bound;
    if !is_worse || report.labelled_count * 2 > estimated.row_count {
        return None;
    }
    let (subject, name) = loss_name(baseline.kind, Some(baseline));
    let (value, lower) = (estimated.loss.value, estimated.loss.lower);
    let words = format!(
        "{name} is likely to be {value:.4} (at least {lower:.4} with 95 % confidence) by what the model said, the reference had {:.4}",
        baseline.loss
    );
    Some((subject, value, bound, words))
}

/// The values of fields whose rows have surely a larger loss than in the reference, while that of all rows is no worse.
fn of_slices(config: &Config, report: &Report) -> Option<(String, f64, f64, String)> {
    let worse: Vec<&Slice> = report.slices.iter().filter(|slice| slice.state == State::Decayed).collect();
    let (slice, kind) = ((*worse.first()?), report.kind?);
    let (then, _) = slice.baseline?;
    let (_, name) = loss_name(kind, report.baseline);
    let subject = format!("{}={}", slice.field, slice.value.as_deref().unwrap_or("(other)"));
    let others = match worse.len() {
        1 => String::new(),
        count => format!("; {} more values are worse, too", count - 1),
    };
    let words = format!(
        "{name} is {:.4} where {subject}, in {} rows of this window, the reference had {then:.4}{others}",
        slice.loss.value, slice.count
    );
    Some((subject, slice.loss.value, then * (1.0 + config.loss_margin), words))
}

/// What is wrong, gravest first.
#[must_use]
pub fn findings(config: &Config, report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |rule: &str, subject: &str, severity, value: f64, threshold: f64, description: String| {
        let (rule, subject) = (rule.to_owned(), subject.to_owned());
        found.push(Finding { rule, subject, severity, value, threshold, description });
    };
    let standing = report.monitor.filter(|monitor| monitor.tells).and_then(|monitor| {
        let metric = monitor.standing?;
        Some(of_stream(config, report, monitor, metric))
    });
    let by_itself = by_itself(config, report);
    let is_monitored = report.monitor.is_some();
    if let Some((subject, value, threshold, words)) = standing.or(by_itself.clone().filter(|_| !is_monitored))
    {
        find("performance_decay", subject, Severity::High, value, threshold, words);
    } else if let Some((subject, value, threshold, words)) = by_itself {
        let words =
            format!("{words}: in this window by itself, which is not enough to tell decay from chance");
        find("performance_dip", subject, Severity::Low, value, threshold, words);
    }
    if let Some((subject, value, threshold, words)) = of_slices(config, report) {
        find("performance_slice", &subject, Severity::Low, value, threshold, words);
    }
    if let Some((subject, value, threshold, words)) = of_estimate(config, report) {
        find("performance_estimate", subject, Severity::Low, value, threshold, words);
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
