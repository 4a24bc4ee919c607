//! Alerts: what a finding becomes when somebody should act. It must not know when a finding does.

use serde::{Deserialize, Serialize};

use crate::{
    constitution::sha256_hex,
    finding::{Finding, JudgeKind, Severity, Window},
};

/// Whether an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AlertState {
    /// It stands.
    #[serde(rename = "OPEN")]
    Open,
    /// It is over.
    #[serde(rename = "RESOLVED")]
    Resolved,
}

impl AlertState {
    /// The name in JSON and in ids.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Resolved => "RESOLVED",
        }
    }
}

/// Of one change of an alert: 64 hex digits; the same change has the same one, wherever and however often it is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(String);

impl AlertId {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for AlertId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What makes two findings the same alert, over windows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertSubject {
    /// Whose rule it is: two judges may have rules of one name.
    pub judge: JudgeKind,
    /// [`Finding::rule`].
    pub rule: String,
    /// [`Finding::subject`].
    pub subject: String,
    /// [`Window::key`].
    pub key: String,
}

impl AlertSubject {
    /// The id of a change that a window makes. Every part is led by its length, so that no two changes are written alike.
    #[must_use]
    pub fn change(&self, window: &Window, severity: Severity, state: AlertState) -> AlertId {
        let (start, end) = (window.start_ms.to_string(), window.end_ms.to_string());
        let parts = [
            self.judge.as_str(),
            &self.rule,
            &self.subject,
            &self.key,
            &window.stream_id,
            &start,
            &end,
            severity.as_str(),
            state.as_str(),
        ];
        let named: String = parts.iter().map(|part| format!("{}:{part}\n", part.len())).collect();
        AlertId(sha256_hex(named.as_bytes()))
    }
}

/// A change of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Of the change, not of the alert through its life.
    pub alert_id: AlertId,
    /// Whose rule it is.
    pub judge: JudgeKind,
    /// [`Finding::rule`].
    pub rule: String,
    /// The field, metric or model; may be empty.
    pub subject: String,
    /// The gravest so far while it stands.
    pub severity: Severity,
    /// Open or over.
    pub state: AlertState,
    /// The window that made the change; of a direct call its id as the stream, and its time as both bounds.
    pub window: Window,
    /// One sentence.
    pub message: String,
    /// Windows that found it since it opened.
    pub occurrences: u32,
    /// What is behind it.
    pub finding: Finding,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_change_is_in_its_id() {
        let subject = |judge, rule: &str, subject: &str, key: &str| AlertSubject {
            judge,
            rule: rule.into(),
            subject: subject.into(),
            key: key.into(),
        };
        let window = |stream: &str, start_ms, end_ms| Window {
            stream_id: stream.into(),
            key: "".into(),
            start_ms,
            end_ms,
        };
        let base = subject(JudgeKind::Drift, "r", "s", "k");
        let (here, high, open) = (window("st", 0, 1), Severity::High, AlertState::Open);
        let ids = [
            base.change(&here, high, open),
            // Two judges may have a rule of one name.
            subject(JudgeKind::Quality, "r", "s", "k").change(&here, high, open),
            subject(JudgeKind::Drift, "rs", "", "k").change(&here, high, open),
            subject(JudgeKind::Drift, "r", "sk", "").change(&here, high, open),
            base.change(&window("st", 0, 2), high, open),
            base.change(&window("st", -1, 1), high, open),
            base.change(&window("other", 0, 1), high, open),
            base.change(&here, Severity::Critical, open),
            base.change(&here, high, AlertState::Resolved),
            subject(JudgeKind::Drift, "r\n1:s", "", "k").change(&here, high, open),
        ];
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        // Ids are kept in records and told on the bus: they stay what they are.
        assert_eq!(ids[0].as_str(), "727c57e49acf588aaf41b73cfc48220d7b9d2d63ad892a576592fe1084baca89");
    }
}
