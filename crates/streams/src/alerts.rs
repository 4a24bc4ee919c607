//! Alerts as they stand, in the key-value home: what the tracker changes and what people say of them. The record is the
//! authority; events tell of its changes. It must not know protobuf or what home the keys have.

use std::sync::Arc;

use acgs_vocabulary::{
    Alert, AlertState, Problem, Severity,
    constitution::sha256_hex,
    ports::{Clock, KeyValue, PortError},
    text,
};
use serde::{Deserialize, Serialize};

/// Changes of one alert that are kept.
const CHANGES_MAX: usize = 16;
/// Attempts against other writers.
const ATTEMPTS: usize = 16;
/// Keys read at once.
const PAGE_KEYS: usize = 256;
const PREFIX: &str = "alerts/";

/// An alert from its first window to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The same for the same stream, judge, rule, subject and key.
    pub alert_id: String,
    /// Newest first.
    pub changes: Vec<Alert>,
    /// By the windows or by a person.
    pub state: AlertState,
    /// RFC 3339.
    pub opened_at: String,
    /// RFC 3339.
    pub changed_at: String,
    /// Who has seen it.
    pub acknowledged_by: String,
    /// RFC 3339.
    pub acknowledged_at: String,
    /// What they said.
    pub note: String,
    /// Who ended it; empty when windows did.
    pub resolved_by: String,
    /// May be empty.
    pub model_id: String,
    /// May be empty.
    pub service_id: String,
    /// Times that it has opened.
    pub openings: u32,
}

impl Record {
    fn new(alert_id: String, model_id: &str, service_id: &str) -> Self {
        Self {
            alert_id,
            changes: Vec::new(),
            state: AlertState::Resolved,
            opened_at: String::new(),
            changed_at: String::new(),
            acknowledged_by: String::new(),
            acknowledged_at: String::new(),
            note: String::new(),
            resolved_by: String::new(),
            model_id: model_id.to_owned(),
            service_id: service_id.to_owned(),
            openings: 0,
        }
    }

    /// The last change; a record without one was never written.
    #[must_use]
    pub fn last(&self) -> Option<&Alert> {
        self.changes.first()
    }

    fn severity(&self) -> Severity {
        self.last().map_or(Severity::Low, |alert| alert.severity)
    }

    /// What was measured, against what, since when, and what would end it.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        // The change that ended it has no finding of its own.
        let opened = self.changes.iter().find(|change| change.state == AlertState::Open);
        let Some(last) = opened.or(self.last()) else { return Vec::new() };
        let finding = &last.finding;
        let about = if last.subject.is_empty() { "the whole window" } else { &last.subject };
        let mut said = vec![
            format!("{}: {}", last.judge.as_str(), finding.description),
            format!(
                "{} of {about} was {} and its bound is {}, in the window {} to {} of stream {}.",
                last.rule,
                finding.value,
                finding.threshold,
                text::rfc3339(last.window.start_ms),
                text::rfc3339(last.window.end_ms),
                last.window.stream_id
            ),
            match self.openings {
                1 => format!("It has opened once, at {}.", self.opened_at),
                times => format!("It has opened {times} times; it opened last at {}.", self.opened_at),
            },
        ];
        said.push(match self.state {
            AlertState::Open => {
                "It ends when windows in a row no longer find it, or when somebody resolves it; \
                                 it is told again when it gets graver."
                    .to_owned()
            }
            AlertState::Resolved if self.resolved_by.is_empty() => {
                format!(
                    "It is over: {}.",
                    self.last().map_or("", |last| last.message.trim_start_matches("over: "))
                )
            }
            AlertState::Resolved => {
                format!(
                    "{} ended it; it opens again when a later window finds it graver or anew.",
                    self.resolved_by
                )
            }
        });
        if !self.acknowledged_by.is_empty() {
            said.push(format!("{} has seen it at {}.", self.acknowledged_by, self.acknowledged_at));
        }
        said
    }
}

/// The records. Clones share the home.
#[derive(Clone, Debug)]
pub struct Alerts {
    keys: Arc<dyn KeyValue>,
    clock: Arc<dyn Clock>,
}

/// The id of an alert through all its changes.
#[must_use]
pub fn record_id(alert: &Alert) -> String {
    let name = format!(
        "{}\n{}\n{}\n{}\n{}",
        alert.window.stream_id,
        alert.judge.as_str(),
        alert.rule,
        alert.subject,
        alert.window.key
    );
    sha256_hex(name.as_bytes())[..32].to_owned()
}

fn unknown(alert_id: &str) -> Problem {
    Problem::missing("alert", alert_id, "UNKNOWN_ALERT")
}

impl Alerts {
    /// In this home.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyValue>, clock: Arc<dyn Clock>) -> Self {
        Self { keys, clock }
    }

    async fn read(&self, alert_id: &str) -> Result<Option<(u64, Record)>, PortError> {
        let held = self.keys.get(&format!("{PREFIX}{alert_id}")).await?;
        Ok(held.and_then(|held| Some((held.revision, serde_json::from_slice(&held.value).ok()?))))
    }

    async fn write(&self, record: &Record, expected: u64) -> Result<(), PortError> {
        let value = serde_json::to_vec(record).map_err(|error| PortError::Invalid(error.to_string()))?;
        self.keys.put(&format!("{PREFIX}{}", record.alert_id), value, Some(expected)).await.map(|_| ())
    }

    /// Changes a record; others who write at the same time are waited for.
    async fn change<T>(
        &self,
        alert_id: &str,
        absent: Option<Record>,
        apply: impl Fn(&mut Record) -> Option<T>,
    ) -> Result<Option<(Record, T)>, Problem> {
        for _ in 0..ATTEMPTS {
            let (revision, mut record) = match self.read(alert_id).await? {
                Some(found) => found,
                None => (0, absent.clone().ok_or_else(|| unknown(alert_id))?),
            };
            let Some(applied) = apply(&mut record) else { return Ok(None) };
            match self.write(&record, revision).await {
                Ok(()) => return Ok(Some((record, applied))),
                Err(PortError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::exhausted("CONFLICT", "many write to this alert at once; try again", 100))
    }

    /// Takes a change of an alert; the newest one again changes nothing. An older one again is said anew: its stream runs again from the start.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn note(&self, alert: &Alert, model_id: &str, service_id: &str) -> Result<(), Problem> {
        let is_known = |record: &Record| {
            let newest = record.last().is_some_and(|newest| newest.alert_id == alert.alert_id);
            let before = || record.changes.iter().any(|known| known.alert_id == alert.alert_id);
            // Graver than it is said to be, it is told anew too.
            let adds_nothing = alert.state == AlertState::Resolved || alert.severity <= record.severity();
            newest || (record.state == alert.state && adds_nothing && before())
        };
        self.note_unless(is_known, alert, model_id, service_id).await
    }

    /// Takes a change that was said some time ago, and may have been taken then; one that is older than what is known changes nothing.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn note_late(&self, alert: &Alert, model_id: &str, service_id: &str) -> Result<(), Problem> {
        let is_known = |record: &Record| {
            let later = record.last().is_some_and(|newest| newest.window.end_ms > alert.window.end_ms);
            later || record.changes.iter().any(|known| known.alert_id == alert.alert_id)
        };
        self.note_unless(is_known, alert, model_id, service_id).await
    }

    async fn note_unless(
        &self,
        is_known: impl Fn(&Record) -> bool,
        alert: &Alert,
        model_id: &str,
        service_id: &str,
    ) -> Result<(), Problem> {
        let id = record_id(alert);
        let now = text::rfc3339(self.clock.now_ms());
        let absent = Record::new(id.clone(), model_id, service_id);
        let apply = |record: &mut Record| {
            if is_known(record) {
                return None;
            }
            if alert.state == AlertState::Open && record.state == AlertState::Resolved {
                record.opened_at.clone_from(&now);
                record.openings += 1;
                for said in
                    [&mut record.acknowledged_by, &mut record.acknowledged_at, &mut record.resolved_by]
                {
                    said.clear();
                }
            }
            record.state = alert.state;
            record.changed_at.clone_from(&now);
            record.changes.insert(0, alert.clone());
            record.changes.truncate(CHANGES_MAX);
            Some(())
        };
        self.change(&id, Some(absent), apply).await.map(|_| ())
    }

    /// Somebody has seen it.
    ///
    /// # Errors
    /// `UNKNOWN_ALERT`, or the home's trouble.
    pub async fn acknowledge(&self, alert_id: &str, by: &str, note: &str) -> Result<Record, Problem> {
        let now = text::rfc3339(self.clock.now_ms());
        let apply = |record: &mut Record| {
            by.clone_into(&mut record.acknowledged_by);
            record.acknowledged_at.clone_from(&now);
            note.clone_into(&mut record.note);
            Some(())
        };
        let changed = self.change(alert_id, None, apply).await?;
        changed.map(|(record, ())| record).ok_or_else(|| unknown(alert_id))
    }

    /// Somebody ends it.
    ///
    /// # Errors
    /// `UNKNOWN_ALERT`, or the home's trouble.
    pub async fn resolve(&self, alert_id: &str, by: &str, note: &str) -> Result<Record, Problem> {
        let now = text::rfc3339(self.clock.now_ms());
        let apply = |record: &mut Record| {
            record.state = AlertState::Resolved;
            by.clone_into(&mut record.resolved_by);
            record.changed_at.clone_from(&now);
            note.clone_into(&mut record.note);
            Some(())
        };
        let changed = self.change(alert_id, None, apply).await?;
        changed.map(|(record, ())| record).ok_or_else(|| unknown(alert_id))
    }

    /// Ids of all records.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn ids(&self) -> Result<Vec<String>, PortError> {
        let keys = self.keys.list(PREFIX, "", usize::MAX).await?;
        Ok(keys.iter().map(|key| key.trim_start_matches(PREFIX).to_owned()).collect())
    }

    /// A record that may be there.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn find(&self, alert_id: &str) -> Result<Option<Record>, PortError> {
        Ok(self.read(alert_id).await?.map(|(_, record)| record))
    }

    /// Forgets a record that is as it was read; one that has changed since stays.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn forget(&self, record: &Record) -> Result<(), PortError> {
        let Some((revision, now)) = self.read(&record.alert_id).await? else { return Ok(()) };
        if now != *record {
            return Ok(());
        }
        match self.keys.delete(&format!("{PREFIX}{}", record.alert_id), Some(revision)).await {
            Err(PortError::Conflict { .. }) => Ok(()),
            done => done,
        }
    }

    /// One record.
    ///
    /// # Errors
    /// `UNKNOWN_ALERT`, or the home's trouble.
    pub async fn get(&self, alert_id: &str) -> Result<Record, Problem> {
        let is_id = alert_id.len() == 32 && alert_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let found = if is_id { self.read(alert_id).await? } else { None };
        found.map(|(_, record)| record).ok_or_else(|| unknown(alert_id))
    }

    /// Records after an id that are wanted, at most `count`, by id.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn list(
        &self,
        after: &str,
        count: usize,
        state: Option<AlertState>,
        least: Severity,
        model_id: &str,
    ) -> Result<Vec<Record>, Problem> {
        let mut found = Vec::new();
        let mut after = if after.is_empty() { String::new() } else { format!("{PREFIX}{after}") };
        loop {
            let keys = self.keys.list(PREFIX, &after, PAGE_KEYS).await?;
            let Some(last) = keys.last() else { return Ok(found) };
            after.clone_from(last);
            for key in &keys {
                let Some((_, record)) = self.read(key.trim_start_matches(PREFIX)).await? else { continue };
                let wanted = state.is_none_or(|state| record.state == state)
                    && record.severity() >= least
                    && (model_id.is_empty() || record.model_id == model_id);
                if wanted {
                    found.push(record);
                    if found.len() == count {
                        return Ok(found);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "alerts_tests.rs"]
mod tests;
