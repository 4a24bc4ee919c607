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
    Severity,
    event::{Envelope, EventKind},
    ports::{EventLog, KeyValue, PortError, RecordLog},
    problem::Kind,
    text,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Registrar, position::Position, topic};

/// Where it is kept how far was read.
const READ: &str = "lifecycle/steward";
/// Events between two writes of that.
const WRITE_EVERY: u64 = 256;
/// When nothing comes for this long, it is written.
const QUIET: Duration = Duration::from_secs(1);
/// Between attempts while the home cannot be reached.
const RETRY: Duration = Duration::from_millis(250);
/// Triggers that are known to be decided: a window is told again with every label that comes.
const DECIDED_MAX: usize = 16_384;
/// Models whose calendar is remembered.
const CALENDARS_MAX: usize = 100_000;

/// What it works with.
#[derive(Clone, Debug)]
pub struct Steward {
    /// What judges found.
    pub log: Arc<dyn EventLog>,
    /// Where it is kept how far was read.
    pub keys: Arc<dyn KeyValue>,
    /// Whether a model has records.
    pub records: Arc<dyn RecordLog>,
    /// Who decides.
    pub registrar: Registrar,
    /// The end of everything.
    pub stop: CancellationToken,
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

/// A window as the bus has it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    event_id: String,
    model_id: String,
    /// Stream, key, start and end.
    source: String,
    end_ms: i64,
    harmful: bool,
    decayed: bool,
    brier: Option<f64>,
    quality: Option<Severity>,
}

impl Steward {
    /// Reads until everything ends.
    pub async fn run(self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.read_all() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn read_all(&self) {
        let filter = EventKind::WindowReported.subject();
        let position = Position::new(Arc::clone(&self.keys), READ);
        let mut read = loop {
            match self.begin(&position).await {
                Ok(read) => break read,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        let mut written = read;
        let mut memory = Memory::default();
        loop {
            let Ok(mut events) = self.log.subscribe(read, &filter).await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            loop {
                let quiet = match tokio::time::timeout(QUIET, events.recv()).await {
                    Ok(Some(logged)) => {
                        self.take(&logged.envelope, &mut memory).await;
                        read = logged.sequence;
                        false
                    }
                    Ok(None) => break,
                    Err(_nothing_came) => true,
                };
                let due = read >= written + WRITE_EVERY || quiet && read > written;
                if due && position.write(read).await {
                    written = read;
                }
            }
        }
    }

    /// Where to go on: the first steward begins with what comes.
    async fn begin(&self, position: &Position) -> Result<u64, PortError> {
        match position.read().await? {
            Some(place) => Ok(place),
            None => self.log.last().await,
        }
    }

    async fn take(&self, envelope: &Envelope, memory: &mut Memory) {
        let Some(seen) = seen(envelope) else { return };
        let known = self.registrar.look(|state| {
            let model = state.model(&seen.model_id)?;
            let policy = model.policy.clone()?;
            Some((Arc::clone(&model.model_id), policy.rule(TriggerKind::Scheduled).cron, model.scheduled_ms))
        });
        let Some((model_id, cron, scheduled_ms)) = known else { return };
        let mut triggers = found(&seen);
        if let Some(cron) = cron {
            if memory.calendars.len() >= CALENDARS_MAX {
                memory.calendars.clear();
            }
            let last_ms = memory.calendars.entry(Arc::clone(&model_id)).or_insert(seen.end_ms);
            let after_ms = scheduled_ms.unwrap_or(*last_ms).max(*last_ms);
            *last_ms = after_ms.max(seen.end_ms);
            triggers.extend(
                last_within(&cron, after_ms, seen.end_ms).map(|moment_ms| scheduled(&seen, &cron, moment_ms)),
            );
        }
        triggers.retain(|trigger| !memory.decided.contains(&key(&model_id, trigger)));
        if triggers.is_empty() {
            return;
        }
        let records = self.records.last_chunk(&topic(&model_id)).await.ok();
        for mut trigger in triggers {
            // Without any there is nothing to train on; how many there are is counted when a worker asks.
            trigger.records = records.filter(|last| *last == 0);
            if memory.decided.len() >= DECIDED_MAX {
                memory.decided.clear();
            }
            memory.decided.insert(key(&model_id, &trigger));
            self.submit(&model_id, trigger).await;
        }
    }

    /// Until it is decided; a home that is away is waited for.
    async fn submit(&self, model_id: &str, trigger: Trigger) {
        loop {
            let command = Command::Trigger(trigger.clone());
            match self.registrar.submit("steward", model_id, command).await {
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

fn seen(envelope: &Envelope) -> Option<Seen> {
    let payload = &envelope.payload;
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let model_id = text(&payload["model_id"]);
    let window = &payload["window"];
    let (start_ms, end_ms) = (window["start_ms"].as_i64()?, window["end_ms"].as_i64()?);
    let source =
        format!("window {}/{}/{start_ms}-{end_ms}", text(&window["stream_id"]), text(&window["key"]));
    (!model_id.is_empty()).then(|| Seen {
        event_id: envelope.event_id.clone(),
        model_id,
        source,
        end_ms,
        harmful: payload["harm"] == "HARMFUL",
        decayed: payload["performance"] == "PERFORMANCE_STATE_DECAYED",
        brier: payload["brier"].as_f64(),
        quality: serde_json::from_value(payload["quality_severity"].clone()).ok(),
    })
}

/// What a window calls for, the most urgent first.
fn found(seen: &Seen) -> Vec<Trigger> {
    let measured = seen.brier.map_or_else(String::new, |brier| format!(", Brier {brier:.4}"));
    let until = text::rfc3339(seen.end_ms);
    let mut triggers = Vec::new();
    if seen.decayed {
        let description = format!("the loss is surely worse in the window until {until}{measured}");
        triggers.push(trigger(seen, TriggerKind::PerformanceDegradation, Severity::High, description));
    }
    if seen.harmful {
        let description = format!("the inputs moved and it does harm in the window until {until}{measured}");
        triggers.push(trigger(seen, TriggerKind::DriftDetected, Severity::High, description));
    }
    if let Some(severity) = seen.quality.filter(|severity| *severity > Severity::Low) {
        let description = format!("the data are unsound in the window until {until}");
        triggers.push(trigger(seen, TriggerKind::QualityDegradation, severity, description));
    }
    triggers
}

fn trigger(seen: &Seen, kind: TriggerKind, severity: Severity, description: String) -> Trigger {
    let evidence = Evidence { source: seen.source.clone(), description, event_id: seen.event_id.clone() };
    Trigger {
        kind,
        severity,
        event_time_ms: seen.end_ms,
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
    use super::*;

    fn envelope(payload: Value) -> Envelope {
        let kind = EventKind::WindowReported;
        Envelope {
            event_id: "e".into(),
            event_type: kind.name().into(),
            subject: kind.subject(),
            timestamp: String::new(),
            source_service: String::new(),
            target_service: None,
            constitutional_hash: String::new(),
            priority: String::new(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            payload,
            previous_digest: None,
        }
    }

    fn kinds(payload: Value) -> Vec<TriggerKind> {
        seen(&envelope(payload))
            .map(|seen| found(&seen))
            .unwrap_or_default()
            .iter()
            .map(|one| one.kind)
            .collect()
    }

    #[test]
    fn a_window_calls_for_what_it_shows_and_a_good_one_for_nothing() {
        let window = serde_json::json!({ "stream_id": "s", "key": "k", "start_ms": 10, "end_ms": 20 });
        let bad = serde_json::json!({
            "model_id": "m", "window": window, "harm": "HARMFUL", "performance": "PERFORMANCE_STATE_DECAYED",
            "brier": 0.25, "quality_severity": "HIGH",
        });
        assert_eq!(
            kinds(bad.clone()),
            [
                TriggerKind::PerformanceDegradation,
                TriggerKind::DriftDetected,
                TriggerKind::QualityDegradation
            ]
        );
        let one = seen(&envelope(bad)).unwrap();
        assert_eq!((one.source.as_str(), one.end_ms), ("window s/k/10-20", 20));
        let harmless = serde_json::json!({
            "model_id": "m", "window": window, "harm": "HARMLESS", "performance": "PERFORMANCE_STATE_OK",
            "quality_severity": "LOW",
        });
        assert!(kinds(harmless).is_empty());
        assert!(kinds(serde_json::json!({ "model_id": "", "window": window, "harm": "HARMFUL" })).is_empty());
        assert!(kinds(Value::Null).is_empty());
    }
}
