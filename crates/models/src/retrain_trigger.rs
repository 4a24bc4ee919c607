//! From what the judges find to triggers: it reads reported windows off the bus, in order and from where it was, so that nothing is
//! missed while a process is away; told twice, the same window is the same evidence. It must not know how judges decide, or
//! what a policy makes of a trigger.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use acgs_lifecycle::{
    Command,
    schedule::last_within,
    trigger::{Evidence, Trigger, TriggerKind, dedupe_key},
};
use acgs_vocabulary::{
    Severity, Window,
    event::{
        Envelope,
        payload::{HarmFound, PerformanceFound, WindowReported},
    },
    ports::{Logged, consume::Handler, records::ModelRecords},
    problem::Kind,
    text,
};
use async_trait::async_trait;

use crate::ledger_writer::LedgerWriter;

/// Under which name it is kept how far the bus was read; the first one begins with what comes. The name is older than the type.
pub const POSITION: &str = "lifecycle/steward";
/// Between attempts while the home cannot be reached.
const RETRY: Duration = Duration::from_millis(250);
/// Triggers that are known to be decided: a window is told again with every label that comes.
const DECIDED_MAX: usize = 16_384;
/// Models whose calendar is remembered.
const CALENDARS_MAX: usize = 100_000;

/// What it works with, and what it remembers.
#[derive(Debug)]
pub struct RetrainTrigger {
    records: Arc<dyn ModelRecords>,
    writer: LedgerWriter,
    memory: Memory,
}

/// What need not be asked again; losing it costs time only.
#[derive(Debug, Default)]
struct Memory {
    /// Event time through which a model's calendar was looked at.
    calendars: HashMap<Arc<str>, i64>,
    decided: HashSet<(String, Severity)>,
}

fn key(model_id: &str, trigger: &Trigger) -> (String, Severity) {
    (dedupe_key(model_id, trigger), trigger.severity)
}

impl RetrainTrigger {
    /// Asks this writer to decide; the records say whether there is something to train on.
    #[must_use]
    pub fn new(records: Arc<dyn ModelRecords>, writer: LedgerWriter) -> Self {
        Self { records, writer, memory: Memory::default() }
    }

    async fn take(&mut self, envelope: &Envelope) {
        let Some(seen) = seen(envelope) else { return };
        let known = self.writer.look(|state| {
            let model = state.model(&seen.window.model_id)?;
            let policy = model.policy.clone()?;
            Some((Arc::clone(&model.model_id), policy.rule(TriggerKind::Scheduled).cron, model.scheduled_ms))
        });
        let Some((model_id, cron, scheduled_ms)) = known else { return };
        let mut triggers = found(&seen);
        if let Some(cron) = cron {
            if self.memory.calendars.len() >= CALENDARS_MAX {
                self.memory.calendars.clear();
            }
            let last_ms = self.memory.calendars.entry(Arc::clone(&model_id)).or_insert(seen.end_ms());
            let after_ms = scheduled_ms.unwrap_or(*last_ms).max(*last_ms);
            *last_ms = after_ms.max(seen.end_ms());
            triggers.extend(
                last_within(&cron, after_ms, seen.end_ms())
                    .map(|moment_ms| scheduled(&seen, &cron, moment_ms)),
            );
        }
        triggers.retain(|trigger| !self.memory.decided.contains(&key(&model_id, trigger)));
        if triggers.is_empty() {
            return;
        }
        let records = self.records.last_sequence(&model_id).await.ok();
        for mut trigger in triggers {
            // Without any there is nothing to train on; how many there are is counted when a worker asks.
            trigger.records = records.filter(|last| *last == 0);
            if self.memory.decided.len() >= DECIDED_MAX {
                self.memory.decided.clear();
            }
            self.memory.decided.insert(key(&model_id, &trigger));
            self.submit(&model_id, trigger).await;
        }
    }

    /// Until it is decided; a home that is away is waited for.
    async fn submit(&self, model_id: &str, trigger: Trigger) {
        loop {
            let command = Command::Trigger(trigger.clone());
            match self.writer.submit("retrain-trigger", model_id, command).await {
                Ok(_) => return,
                Err(problem) if matches!(problem.kind(), Kind::Unavailable | Kind::Exhausted) => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(problem) => {
                    tracing::error!(%problem, model_id, "a trigger was refused");
                    return;
                }
            }
        }
    }
}

#[async_trait]
impl Handler<Logged> for RetrainTrigger {
    async fn handle(&mut self, entry: Logged) {
        self.take(&entry.envelope).await;
    }
}

/// A window of a model, and what told of it; `None` when it has no model or cannot be read.
fn seen(envelope: &Envelope) -> Option<Seen> {
    match envelope.read::<WindowReported>() {
        Ok(window) => {
            (!window.model_id.is_empty()).then(|| Seen { event_id: envelope.event_id.clone(), window })
        }
        Err(error) => {
            // Silence here would be a model that decays and is not retrained.
            tracing::error!(%error, id = envelope.event_id, "a reported window triggers nothing");
            None
        }
    }
}

/// A reported window, and the event that told of it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    event_id: String,
    window: WindowReported,
}

impl Seen {
    /// Stream, key, start and end.
    fn source(&self) -> String {
        let Window { stream_id, key, start_ms, end_ms } = &self.window.window;
        format!("window {stream_id}/{key}/{start_ms}-{end_ms}")
    }

    fn end_ms(&self) -> i64 {
        self.window.window.end_ms
    }
}

/// What a window calls for, the most urgent first.
fn found(seen: &Seen) -> Vec<Trigger> {
    let measured = seen.window.brier.map_or_else(String::new, |brier| format!(", Brier {brier:.4}"));
    let until = text::rfc3339(seen.end_ms());
    let mut triggers = Vec::new();
    if seen.window.performance == Some(PerformanceFound::Decayed) {
        let description = format!("the loss is surely worse in the window until {until}{measured}");
        triggers.push(trigger(seen, TriggerKind::PerformanceDegradation, Severity::High, description));
    }
    // What is harmful in one window by itself may be so by chance: the loss has to have decayed by all that is settled.
    if seen.window.harm == HarmFound::Harmful && seen.window.performance == Some(PerformanceFound::Decayed) {
        let description = format!("the inputs moved and it does harm in the window until {until}{measured}");
        triggers.push(trigger(seen, TriggerKind::DriftDetected, Severity::High, description));
    }
    if let Some(severity) = seen.window.quality_severity.filter(|severity| *severity > Severity::Low) {
        let description = format!("the data are unsound in the window until {until}");
        triggers.push(trigger(seen, TriggerKind::QualityDegradation, severity, description));
    }
    triggers
}

fn trigger(seen: &Seen, kind: TriggerKind, severity: Severity, description: String) -> Trigger {
    let evidence = Evidence { source: seen.source(), description, event_id: seen.event_id.clone() };
    Trigger {
        kind,
        severity,
        event_time_ms: seen.end_ms(),
        evidence,
        reference_version: 0,
        records: None,
        overrides: false,
    }
}

fn scheduled(seen: &Seen, cron: &str, moment_ms: i64) -> Trigger {
    let moment = text::rfc3339(moment_ms);
    let mut trigger =
        trigger(seen, TriggerKind::Scheduled, Severity::Low, format!("{moment} is a moment of {cron:?}"));
    trigger.evidence.source = format!("schedule {moment}");
    trigger.event_time_ms = moment_ms;
    trigger
}

#[cfg(test)]
mod tests {
    use acgs_vocabulary::event::{EventKind, Origin};
    use serde_json::Value;

    use super::*;

    fn window(model_id: &str) -> WindowReported {
        WindowReported {
            row_count: None,
            overall_score: None,
            drift_detected: None,
            score_drift: None,
            drifted_features: Vec::new(),
            drift_kinds: Vec::new(),
            loss: None,
            performance_reason: String::new(),
            labels_awaited: 0,
            brier: None,
            performance: None,
            harm: HarmFound::None,
            window: Window { stream_id: "s".into(), key: "k".into(), start_ms: 10, end_ms: 20 },
            revision: 0,
            model_id: model_id.into(),
            service_id: String::new(),
            quality_severity: None,
            epoch: 0,
            life: String::new(),
            not_judged: Vec::new(),
        }
    }

    fn envelope(window: &WindowReported) -> Envelope {
        let origin = Origin { service: "test", at_ms: 0, constitutional_hash: "" };
        Envelope::new(EventKind::WindowReported, "e".into(), origin, window)
    }

    fn kinds(window: &WindowReported) -> Vec<TriggerKind> {
        let triggers = seen(&envelope(window)).map(|seen| found(&seen)).unwrap_or_default();
        triggers.iter().map(|trigger| trigger.kind).collect()
    }

    #[test]
    fn a_window_calls_for_what_it_shows_and_a_good_one_for_nothing() {
        let bad = WindowReported {
            harm: HarmFound::Harmful,
            performance: Some(PerformanceFound::Decayed),
            brier: Some(0.25),
            quality_severity: Some(Severity::High),
            ..window("m")
        };
        assert_eq!(
            kinds(&bad),
            [
                TriggerKind::PerformanceDegradation,
                TriggerKind::DriftDetected,
                TriggerKind::QualityDegradation
            ]
        );
        let one = seen(&envelope(&bad)).unwrap();
        assert_eq!((one.source().as_str(), one.end_ms()), ("window s/k/10-20", 20));
        let harmless = WindowReported {
            harm: HarmFound::Harmless,
            performance: Some(PerformanceFound::Ok),
            quality_severity: Some(Severity::Low),
            ..window("m")
        };
        assert!(kinds(&harmless).is_empty());
        assert!(kinds(&WindowReported { harm: HarmFound::Harmful, ..window("") }).is_empty());
        let mut broken = envelope(&bad);
        broken.payload = Value::Null;
        assert_eq!(seen(&broken), None);
    }

    /// What producers write is what is read here: a variant that is renamed fails one of these two or the golden file.
    #[test]
    fn the_names_on_the_bus_are_read() {
        let mut envelope = envelope(&window("m"));
        envelope.payload["harm"] = "HARMFUL".into();
        envelope.payload["performance"] = "PERFORMANCE_STATE_DECAYED".into();
        envelope.payload["quality_severity"] = "CRITICAL".into();
        assert_eq!(seen(&envelope).map(|seen| found(&seen).len()), Some(3));
    }
}
