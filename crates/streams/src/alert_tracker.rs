//! The alert tracker: findings in, changes of alerts out. An alert is told when it opens, when it gets graver, and when
//! it is over; repeats are counted, not told. Pure: event time comes with the windows.
//! It must not know where alerts are published.

use std::collections::BTreeMap;

use acgs_vocabulary::{Alert, AlertState, AlertSubject, Finding, JudgeKind, Severity, Window};

use crate::config::AlertConfig;

/// Windows' lengths after which a key of which nothing was heard has gone.
const QUIET_WINDOWS: i64 = 16;

/// What one window says about what may be alerted.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// The window.
    pub window: &'a Window,
    /// A revision can open or raise an alert, not end one: the windows after it may have said otherwise.
    pub is_revision: bool,
    /// Judges that could judge: only their alerts can end.
    pub judged: &'a [JudgeKind],
    /// What they found.
    pub findings: &'a [(JudgeKind, Finding)],
}

#[derive(Clone, Debug)]
struct Standing {
    severity: Severity,
    occurrences: u32,
    clean: u32,
    open: bool,
    last_end_ms: i64,
    /// The end of the newest window of its key.
    heard_end_ms: i64,
    resolved_end_ms: i64,
    finding: Finding,
    /// The newest that found it.
    window: Window,
}

/// The tracker of one stream.
#[derive(Debug)]
pub struct AlertTracker {
    config: AlertConfig,
    alerts: BTreeMap<AlertSubject, Standing>,
    suppressed: u64,
    newest_end_ms: i64,
}

impl AlertTracker {
    /// Without alerts.
    #[must_use]
    pub fn new(config: AlertConfig) -> Self {
        Self { config, alerts: BTreeMap::new(), suppressed: 0, newest_end_ms: i64::MIN }
    }

    /// Alerts that came back within the cooldown and were not told.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Whether an alert stands.
    #[must_use]
    pub fn stands(&self, subject: &AlertSubject) -> bool {
        self.alerts.get(subject).is_some_and(|standing| standing.open)
    }

    /// Takes what a window says; findings below medium are notes, not alerts.
    pub fn observe(&mut self, observation: &Observation<'_>) -> Vec<Alert> {
        let mut changes = Vec::new();
        let key = observation.window.key.to_string();
        let mut seen = Vec::new();
        for (judge, finding) in
            observation.findings.iter().filter(|(_, finding)| finding.severity > Severity::Low)
        {
            let identity = AlertSubject {
                judge: *judge,
                rule: finding.rule.clone(),
                subject: finding.subject.clone(),
                key: key.clone(),
            };
            changes.extend(self.found(&identity, finding, observation));
            seen.push(identity);
        }
        if !observation.is_revision {
            for (_, standing) in self.alerts.iter_mut().filter(|(identity, _)| identity.key == key) {
                standing.heard_end_ms = standing.heard_end_ms.max(observation.window.end_ms);
            }
            let clean: Vec<AlertSubject> = self
                .alerts
                .iter()
                .filter(|(identity, standing)| {
                    standing.open
                        && identity.key == key
                        && observation.judged.contains(&identity.judge)
                        && !seen.contains(identity)
                })
                .map(|(identity, _)| identity.clone())
                .collect();
            changes.extend(clean.iter().filter_map(|identity| self.clean(identity, observation.window)));
        }
        changes.extend(self.end_of_gone_keys(observation.window));
        self.forget();
        changes
    }

    /// What stands of keys of which nothing was heard for long, while event time went on, is closed: nothing will say that it is over.
    fn end_of_gone_keys(&mut self, window: &Window) -> Vec<Alert> {
        if window.end_ms <= self.newest_end_ms {
            return Vec::new();
        }
        self.newest_end_ms = window.end_ms;
        let length_ms = window.end_ms.saturating_sub(window.start_ms);
        let quiet_ms = length_ms.saturating_mul(QUIET_WINDOWS).max(self.config.cooldown_ms);
        let has_gone = |standing: &Standing| {
            standing.open && standing.heard_end_ms.saturating_add(quiet_ms) < window.end_ms
        };
        let gone = self.alerts.iter_mut().filter(|(_, standing)| has_gone(standing));
        let close = |(identity, standing): (&AlertSubject, &mut Standing)| {
            let message = "nothing has come of its key since".to_owned();
            standing.resolved_end_ms = standing.heard_end_ms;
            standing.close(identity, message)
        };
        gone.map(close).collect()
    }

    fn found(
        &mut self,
        identity: &AlertSubject,
        finding: &Finding,
        observation: &Observation<'_>,
    ) -> Option<Alert> {
        let end_ms = observation.window.end_ms;
        // A revision is of an old window: its key has been heard of since, or is about to be.
        let heard_end_ms = end_ms.max(self.newest_end_ms);
        let standing = self.alerts.entry(identity.clone()).or_insert_with(|| Standing {
            severity: Severity::Low,
            occurrences: 0,
            clean: 0,
            open: false,
            last_end_ms: i64::MIN,
            heard_end_ms,
            resolved_end_ms: i64::MIN,
            finding: finding.clone(),
            window: observation.window.clone(),
        });
        if observation.is_revision && standing.resolved_end_ms >= end_ms {
            // Over since a later window: history does not open it again.
            return None;
        }
        if end_ms > standing.last_end_ms {
            standing.occurrences += 1;
            standing.last_end_ms = end_ms;
            standing.window = observation.window.clone();
            standing.clean = 0;
        }
        let reopened_early =
            !standing.open && end_ms.saturating_sub(standing.resolved_end_ms) < self.config.cooldown_ms;
        if reopened_early && standing.resolved_end_ms != i64::MIN {
            self.suppressed += 1;
            return None;
        }
        let graver = finding.severity > standing.severity;
        if standing.open && !graver {
            return None;
        }
        standing.open = true;
        standing.severity = finding.severity;
        standing.finding = finding.clone();
        Some(alert(identity, standing, AlertState::Open, observation.window, finding.description.clone()))
    }

    fn clean(&mut self, identity: &AlertSubject, window: &Window) -> Option<Alert> {
        let standing = self.alerts.get_mut(identity)?;
        standing.clean += 1;
        if standing.clean < self.config.resolve_after {
            return None;
        }
        let message = format!("over: {} windows in a row without reason to act", standing.clean);
        standing.window = window.clone();
        standing.resolved_end_ms = window.end_ms;
        Some(standing.close(identity, message))
    }

    /// The stream is over: what stands is closed, since nobody looks any more.
    pub fn end(&mut self) -> Vec<Alert> {
        let standing = self.alerts.iter_mut().filter(|(_, standing)| standing.open);
        let close = |(identity, standing): (&AlertSubject, &mut Standing)| {
            standing.close(identity, "its stream ended while it stood".to_owned())
        };
        standing.map(close).collect()
    }

    fn forget(&mut self) {
        while self.alerts.len() > self.config.alerts_max {
            let oldest = self.alerts.iter().min_by_key(|(_, standing)| (standing.open, standing.last_end_ms));
            let Some(identity) = oldest.map(|(identity, _)| identity.clone()) else { return };
            self.alerts.remove(&identity);
        }
    }
}

impl Standing {
    /// It is over; one that comes back begins anew.
    fn close(&mut self, identity: &AlertSubject, message: String) -> Alert {
        let change = alert(identity, self, AlertState::Resolved, &self.window, message);
        self.open = false;
        self.severity = Severity::Low;
        self.occurrences = 0;
        change
    }
}

fn alert(
    identity: &AlertSubject,
    standing: &Standing,
    state: AlertState,
    window: &Window,
    message: String,
) -> Alert {
    Alert {
        alert_id: identity.change(window, standing.severity, state),
        judge: identity.judge,
        rule: identity.rule.clone(),
        subject: identity.subject.clone(),
        severity: standing.severity,
        state,
        window: window.clone(),
        message,
        occurrences: standing.occurrences,
        finding: standing.finding.clone(),
    }
}

#[cfg(test)]
#[path = "alert_tracker_tests.rs"]
mod tests;
