//! The alert tracker: findings in, changes of alerts out. An alert is told when it opens, when it gets graver, and when
//! it is over; repeats are counted, not told. Pure: event time comes with the windows.
//! It must not know where alerts are published.

use std::collections::BTreeMap;

use acgs_vocabulary::{Alert, AlertState, AlertSubject, Finding, JudgeKind, Severity, Window};

use crate::config::AlertConfig;

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
}

impl AlertTracker {
    /// Without alerts.
    #[must_use]
    pub fn new(config: AlertConfig) -> Self {
        Self { config, alerts: BTreeMap::new(), suppressed: 0 }
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
        self.forget();
        changes
    }

    fn found(
        &mut self,
        identity: &AlertSubject,
        finding: &Finding,
        observation: &Observation<'_>,
    ) -> Option<Alert> {
        let end_ms = observation.window.end_ms;
        let standing = self.alerts.entry(identity.clone()).or_insert_with(|| Standing {
            severity: Severity::Low,
            occurrences: 0,
            clean: 0,
            open: false,
            last_end_ms: i64::MIN,
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
        let change = alert(identity, standing, AlertState::Resolved, window, message);
        standing.open = false;
        standing.severity = Severity::Low;
        standing.occurrences = 0;
        standing.resolved_end_ms = window.end_ms;
        Some(change)
    }

    /// The stream is over: what stands is closed, since nobody looks any more.
    pub fn end(&mut self) -> Vec<Alert> {
        let standing = self.alerts.iter_mut().filter(|(_, standing)| standing.open);
        let close = |(identity, standing): (&AlertSubject, &mut Standing)| {
            let message = "its stream ended while it stood".to_owned();
            let change = alert(identity, standing, AlertState::Resolved, &standing.window, message);
            standing.open = false;
            change
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
