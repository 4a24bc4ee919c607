//! Answers of the mesh, as people and programs read them. It must not know which command asked.

use acgs_contracts::{
    common::v1::{ModelKind, VerdictStatus},
    drift::v1::PairDrift,
    lifecycle::v1::Job,
    orchestrator::v1::{AlertState, DriftKind, Harm, JudgeVerdict, WindowReport},
    performance::v1::{
        DecayMetric, EstimateTrust, EstimatedPerformance, PerformanceReport, PerformanceState,
    },
};
use acgs_vocabulary::text::rfc3339;
use serde_json::{Value, json};

/// A report on one line, for a person.
#[must_use]
pub fn report_line(report: &WindowReport) -> String {
    let window = report.window.clone().unwrap_or_default();
    let quality =
        report.quality.as_ref().map_or("-".into(), |quality| format!("{:.3}", quality.overall_score));
    let drift = report.drift.as_ref().map_or("-".into(), |drift| {
        let stands = drift.monitor.as_ref().filter(|monitor| monitor.standing);
        let names = stands.map_or(&drift.drifted_features, |monitor| &monitor.features);
        let pairs = stands.map_or(&drift.pairs, |monitor| &monitor.pairs);
        let names = if names.is_empty() { &pairs.iter().map(pair_name).collect() } else { names };
        if drift.drift_detected || stands.is_some() {
            format!("{} ({}{})", named(names), kind_words(report), harm_word(report.harm()))
        } else if report.harm() == Harm::Decay || !report.drift_kinds.is_empty() {
            format!("no ({}{})", kind_words(report), harm_word(report.harm()))
        } else {
            "no".to_owned()
        }
    });
    let since_ms = report.drift.as_ref().and_then(|drift| drift.monitor.as_ref()).and_then(|it| it.since_ms);
    let loss = report.performance.as_ref().map_or("loss -".to_owned(), |it| loss_words(it, since_ms));
    let key = if window.key.is_empty() { String::new() } else { format!("  {}", window.key) };
    let told = |word: &str, state: AlertState| {
        let rules = report.alerts.iter().filter(|alert| alert.state() == state);
        let rules: Vec<&str> = rules.map(|alert| alert.rule.as_str()).collect();
        if rules.is_empty() { String::new() } else { format!("  {word} {}", rules.join(", ")) }
    };
    // Who has not answered is not who has found nothing.
    let silent = |verdict: &&JudgeVerdict| verdict.status() == VerdictStatus::Unavailable;
    let silent: Vec<String> = report
        .verdicts
        .iter()
        .filter(silent)
        .map(|verdict| word(verdict.judge().as_str_name(), "JUDGE_"))
        .collect();
    let absent = absent(&silent);
    let rows = report.quality.as_ref().map_or("-".into(), |quality| quality.row_count.to_string());
    let alerts = told("ALERT", AlertState::Open) + &told("over", AlertState::Resolved);
    format!(
        "{} .. {}{key}  rows {rows:<7} quality {quality}  drift {drift}  {loss}  rev {}{absent}{alerts}",
        rfc3339(window.start_ms),
        rfc3339(window.end_ms),
        report.revision
    )
}

/// Kinds of drift beside that of the inputs, which needs no word.
fn kind_words(report: &WindowReport) -> String {
    let told = report.drift_kinds().filter(|kind| *kind != DriftKind::Covariate);
    told.map(|kind| format!("{}, ", word(kind.as_str_name(), "DRIFT_KIND_"))).collect()
}

fn pair_name(pair: &PairDrift) -> String {
    format!("{} with {}", pair.first, pair.second)
}

/// The loss by its name, and what is said of it where that is not that it is well; what it is likely to be where no label tells.
fn loss_words(report: &PerformanceReport, drift_since_ms: Option<i64>) -> String {
    let Some(loss) = report.loss.as_ref() else {
        let estimated = report.estimated.as_ref();
        let words = |it| estimate_words(it, report.quantile.is_some(), drift_since_ms);
        return match estimated.and_then(words) {
            _ if report.incomparable_count > 0 => format!("loss - ({})", report.state_reason),
            Some(estimated) => estimated,
            None => "loss -".to_owned(),
        };
    };
    let said = match report.state() {
        _ if has_decayed(report) => " decayed".to_owned(),
        PerformanceState::Decayed => " worse in this window by itself".to_owned(),
        PerformanceState::Unknown if !report.state_reason.is_empty() => format!(" ({})", report.state_reason),
        _ => String::new(),
    };
    named_loss(report.model_kind(), report.quantile.is_some(), loss.value) + &said
}

/// What a loss is likely to be, and why that may not be so.
fn estimate_words(
    estimated: &EstimatedPerformance,
    of_quantile: bool,
    drift_since_ms: Option<i64>,
) -> Option<String> {
    let loss = estimated.loss.as_ref()?;
    // Labels that came before drift did say nothing of it.
    let is_new = drift_since_ms.zip(estimated.record_until_ms).is_some_and(|(since, until)| since > until);
    let doubt = match estimated.trust() {
        EstimateTrust::Trusted if is_new => ", but drift is newer than labels".to_owned(),
        EstimateTrust::Trusted => String::new(),
        EstimateTrust::Untrusted => format!(", not to be trusted: {}", estimated.trust_reason),
        EstimateTrust::Unknown | EstimateTrust::Unspecified => format!(", {}", estimated.trust_reason),
    };
    Some(format!(
        "{} (estimated{doubt})",
        named_loss(estimated.model_kind(), of_quantile, loss.value).replacen(' ', " ~", 1)
    ))
}

/// A loss by the name that it has for such a model, whose numbers may be a quantile.
#[must_use]
pub fn named_loss(kind: ModelKind, of_quantile: bool, loss: f64) -> String {
    let name = match kind {
        ModelKind::Regression if of_quantile => "quantile loss",
        ModelKind::Binary | ModelKind::Unspecified => "brier",
        ModelKind::Classes => "wrong",
        ModelKind::Regression => "mae",
    };
    let digits = if loss.abs() < 0.01 { 5 } else { 3 };
    format!("{name} {loss:.digits$}")
}

/// The first names, and how many more there are.
fn named(names: &[String]) -> String {
    const NAMED: usize = 3;
    let first = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "yes".to_owned(),
        count if count > NAMED => format!("{first} and {} more", count - NAMED),
        _ => first,
    }
}

/// Judges that were asked and did not answer, as the end of a window's line.
#[must_use]
pub fn absent(judges: &[String]) -> String {
    if judges.is_empty() { String::new() } else { format!("  ABSENT {}", judges.join(", ")) }
}

/// Harm in one word.
#[must_use]
pub fn harm_word(harm: Harm) -> &'static str {
    match harm {
        Harm::None => "none",
        Harm::Harmless => "harmless",
        Harm::Harmful => "harmful",
        Harm::Decay => "decay",
        Harm::Unknown | Harm::Unspecified => "unknown",
    }
}

/// A report as one JSON object: the numbers that programs ask for first.
#[must_use]
pub fn report_json(report: &WindowReport) -> serde_json::Value {
    let window = report.window.clone().unwrap_or_default();
    let performance = report.performance.as_ref();
    let drift = report.drift.as_ref();
    serde_json::json!({
        "type": "window",
        "start": rfc3339(window.start_ms), "end": rfc3339(window.end_ms), "key": window.key,
        "revision": report.revision,
        "rows": report.quality.as_ref().map(|quality| quality.row_count),
        "overall_score": report.quality.as_ref().map(|quality| quality.overall_score),
        "drift_detected": drift.map(|drift| drift.drift_detected),
        "score_drift": drift.map(|drift| drift.score_drift),
        "drifted_features": drift.map(|drift| drift.drifted_features.clone()),
        "drift_stands": drift.and_then(|drift| drift.monitor.as_ref()).map(|monitor| monitor.standing),
        "schema_changes": drift.map(|drift| drift.schema_changes.iter().map(|change| change.field.clone()).collect::<Vec<_>>()),
        "harm": harm_word(report.harm()),
        "drift_kinds": report.drift_kinds().map(|kind| word(kind.as_str_name(), "DRIFT_KIND_")).collect::<Vec<_>>(),
        "performance": performance.map(state_word),
        "performance_by_itself": performance.map(|performance| word(performance.state().as_str_name(), "PERFORMANCE_STATE_")),
        "decay": performance.and_then(|performance| performance.monitor.as_ref()).map(|monitor| json!({"ln_evidence": monitor.ln_evidence, "ln_bound": monitor.ln_bound, "looks": monitor.looks, "standing": word(monitor.standing().as_str_name(), "DECAY_METRIC_")})),
        "labels_awaited": report.labels_awaited,
        "labelled": performance.map(|performance| performance.labelled_count),
        "model_kind": performance.map(|performance| word(performance.model_kind().as_str_name(), "MODEL_KIND_")),
        "loss": performance.and_then(|performance| performance.loss.as_ref()).map(|loss| json!({"value": loss.value, "lower": loss.lower, "upper": loss.upper})),
        "estimated": performance.and_then(|performance| performance.estimated.as_ref()).map(|estimated| json!({"loss": estimated.loss.as_ref().map(|loss| json!({"value": loss.value, "lower": loss.lower, "upper": loss.upper})), "auc": estimated.auc.as_ref().map(|auc| auc.value), "trust": word(estimated.trust().as_str_name(), "ESTIMATE_TRUST_"), "reason": estimated.trust_reason})),
        "performance_reason": performance.map(|performance| performance.state_reason.clone()),
        "label_coding": performance.map(|performance| performance.label_coding.clone()),
        "auc": performance.and_then(|performance| performance.auc.as_ref()).map(|auc| auc.value),
        "log_loss": performance.and_then(|performance| performance.log_loss.as_ref().or(performance.classes.as_ref()?.log_loss.as_ref())).map(|loss| loss.value),
        "quantile_covered": performance.and_then(|performance| performance.quantile.as_ref()?.covered.as_ref()).map(|covered| covered.value),
        "accuracy": performance.and_then(|performance| performance.accuracy.as_ref()).map(|accuracy| accuracy.value),
        "brier": performance.and_then(|performance| performance.brier.as_ref()).map(|brier| brier.value),
        "findings": report.findings.iter().map(|finding| finding.rule.clone()).collect::<Vec<_>>(),
        "alerts": report.alerts.iter().map(|alert| alert.rule.clone()).collect::<Vec<_>>(),
        "latency_us": report.latency_us,
    })
}

/// Whether a model has decayed: by the monitor of its stream where there is one.
#[must_use]
pub fn has_decayed(report: &PerformanceReport) -> bool {
    match &report.monitor {
        Some(monitor) => monitor.standing() != DecayMetric::Unspecified,
        None => report.state() == PerformanceState::Decayed,
    }
}

/// How a model keeps its promise, in one word.
#[must_use]
pub fn state_word(report: &PerformanceReport) -> &'static str {
    match report.state() {
        _ if has_decayed(report) => "decayed",
        PerformanceState::Ok => "ok",
        _ => "unknown",
    }
}

/// `STAGE_CHAMPION` as `champion`.
#[must_use]
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// Where a job stands, in one word.
#[must_use]
pub fn job_state(job: &Job) -> String {
    word(job.state().as_str_name(), "JOB_STATE_")
}

/// What set it off, in one word.
#[must_use]
pub fn job_trigger(job: &Job) -> String {
    word(job.trigger().as_str_name(), "TRIGGER_KIND_")
}

/// A job as JSON.
#[must_use]
pub fn job_json(job: &Job) -> Value {
    let evidence = job.evidence.iter().map(|piece| {
        json!({ "source": piece.source, "description": piece.description, "event_id": piece.event_id })
    });
    json!({
        "job_id": job.job_id, "model_id": job.model_id, "state": job_state(job), "trigger": job_trigger(job),
        "severity": job.severity().as_str_name(), "mode": word(job.mode().as_str_name(), "TRIGGER_MODE_"),
        "evidence": evidence.collect::<Vec<_>>(), "triggers": job.triggers, "event_time_ms": job.event_time_ms,
        "requester": job.requester, "attempt": job.attempt, "worker": job.worker, "version": job.version,
        "why": job.why, "next_event_ms": job.next_event_ms, "observed_at": job.observed_at,
        "stepped_at": job.stepped_at, "due_at": job.due_at,
    })
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
