//! What is said of an alert.

use acgs_vocabulary::{Finding, JudgeKind, Window};

use super::*;
use crate::{
    alert_tracker::{AlertTracker, Observation},
    config::AlertConfig,
};

#[test]
fn an_alert_that_is_over_is_explained_by_what_was_found() {
    let mut tracker = AlertTracker::new(AlertConfig { resolve_after: 2, cooldown_ms: 0, alerts_max: 10 });
    let finding = Finding {
        rule: "missing_values".into(),
        subject: String::new(),
        severity: Severity::Medium,
        value: 0.5,
        threshold: 0.1,
        description: "half of it is missing".into(),
    };
    let mut record = Record::new("a".into(), "", "");
    for number in 0..3 {
        let start_ms = number * 1_000;
        let window = Window { stream_id: "s".into(), key: "".into(), start_ms, end_ms: start_ms + 1_000 };
        let findings = [(JudgeKind::Quality, finding.clone())];
        let findings = if number == 0 { &findings[..] } else { &[] };
        let judged = &[JudgeKind::Quality];
        let changes = tracker.observe(&Observation { window: &window, is_revision: false, judged, findings });
        for change in changes {
            record.state = change.state;
            record.openings += u32::from(change.state == AlertState::Open);
            record.changes.insert(0, change);
        }
    }
    let said = record.explain().join(" ");
    assert_eq!((record.state, record.changes.len()), (AlertState::Resolved, 2));
    assert!(said.contains("in the window 1970-01-01T00:00:00Z to 1970-01-01T00:00:01Z"), "{said}");
    assert!(said.contains("opened once") && said.contains("It is over"), "{said}");
}
