//! Alerts are told once, raised, and ended after quiet.

use super::*;

const CONFIG: AlertConfig = AlertConfig { resolve_after: 2, cooldown_ms: 3_000, alerts_max: 4 };

fn window(number: i64) -> Window {
    Window { stream_id: "s".into(), key: "".into(), start_ms: number * 1_000, end_ms: (number + 1) * 1_000 }
}

fn finding(rule: &str, severity: Severity) -> (JudgeKind, Finding) {
    let (rule, subject) = (rule.to_owned(), String::new());
    let description = "it is bad".to_owned();
    (JudgeKind::Quality, Finding { rule, subject, severity, value: 1.0, threshold: 0.0, description })
}

fn see(
    tracker: &mut AlertTracker,
    number: i64,
    findings: &[(JudgeKind, Finding)],
) -> Vec<(AlertState, Severity)> {
    let window = window(number);
    let judged = JudgeKind::ALL;
    let observation = Observation { window: &window, is_revision: false, judged: &judged, findings };
    tracker.observe(&observation).iter().map(|alert| (alert.state, alert.severity)).collect()
}

#[test]
fn an_alert_opens_rises_and_ends_once() {
    use AlertState::{Open, Resolved};
    let mut tracker = AlertTracker::new(CONFIG);
    let (medium, high) = ([finding("r", Severity::Medium)], [finding("r", Severity::High)]);
    assert_eq!(see(&mut tracker, 0, &[finding("note", Severity::Low)]), []);
    assert_eq!(see(&mut tracker, 1, &medium), [(Open, Severity::Medium)]);
    assert_eq!(see(&mut tracker, 2, &medium), [], "a repeat is not told");
    assert_eq!(see(&mut tracker, 3, &high), [(Open, Severity::High)]);
    assert_eq!(see(&mut tracker, 4, &medium), [], "it does not fall while it stands");
    assert_eq!(see(&mut tracker, 5, &[]), [], "one quiet window is not enough");
    assert_eq!(see(&mut tracker, 6, &medium), []);
    assert_eq!(see(&mut tracker, 7, &[]), []);
    assert_eq!(see(&mut tracker, 8, &[]), [(Resolved, Severity::High)]);
    assert_eq!(see(&mut tracker, 9, &medium), [], "within the cooldown");
    assert_eq!(tracker.suppressed(), 1);
    assert_eq!(see(&mut tracker, 12, &medium), [(Open, Severity::Medium)]);
}

#[test]
fn what_stands_is_closed_when_its_stream_ends() {
    let mut tracker = AlertTracker::new(CONFIG);
    see(&mut tracker, 1, &[finding("stands", Severity::High), finding("ends", Severity::Medium)]);
    for number in 2..4 {
        see(&mut tracker, number, &[finding("stands", Severity::High)]);
    }
    let closed = tracker.end();
    let told: Vec<_> = closed.iter().map(|alert| (alert.rule.as_str(), alert.state, &alert.window)).collect();
    assert_eq!(told, [("stands", AlertState::Resolved, &window(3))]);
    assert_eq!(tracker.end(), [], "once");
}

#[test]
fn a_judge_that_did_not_judge_ends_nothing() {
    let mut tracker = AlertTracker::new(CONFIG);
    see(&mut tracker, 1, &[finding("r", Severity::High)]);
    for number in 2..9 {
        let window = window(number);
        let observation =
            Observation { window: &window, is_revision: false, judged: &[JudgeKind::Drift], findings: &[] };
        assert_eq!(tracker.observe(&observation), []);
    }
}

#[test]
fn revisions_open_but_do_not_end() {
    let mut tracker = AlertTracker::new(CONFIG);
    let revise = |tracker: &mut AlertTracker, number, findings: &[(JudgeKind, Finding)]| {
        let window = window(number);
        let judged = JudgeKind::ALL;
        tracker.observe(&Observation { window: &window, is_revision: true, judged: &judged, findings }).len()
    };
    assert_eq!(revise(&mut tracker, 3, &[finding("r", Severity::High)]), 1);
    assert_eq!(revise(&mut tracker, 3, &[]), 0);
    assert_eq!(revise(&mut tracker, 3, &[]), 0);
    see(&mut tracker, 4, &[]);
    assert_eq!(see(&mut tracker, 5, &[]).len(), 1);
    assert_eq!(revise(&mut tracker, 3, &[finding("r", Severity::High)]), 0, "over since a later window");
}

#[test]
fn the_tracker_is_bounded_and_ids_are_stable() {
    let mut tracker = AlertTracker::new(CONFIG);
    for rule in 0..20 {
        see(&mut tracker, rule, &[finding(&format!("r{rule}"), Severity::High)]);
    }
    assert!(tracker.alerts.len() <= 4);
    let id = |number| {
        let mut tracker = AlertTracker::new(CONFIG);
        let window = window(number);
        let findings = [finding("r", Severity::High)];
        let observation =
            Observation { window: &window, is_revision: false, judged: &JudgeKind::ALL, findings: &findings };
        tracker.observe(&observation)[0].alert_id.clone()
    };
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
}

#[test]
fn an_alert_of_a_key_that_goes_away_is_closed() {
    use AlertState::{Open, Resolved};
    let mut tracker = AlertTracker::new(CONFIG);
    let bad = [finding("r", Severity::High)];
    let mut see = |key: &str, number: i64, findings: &[(JudgeKind, Finding)]| {
        let window = Window { key: key.into(), ..window(number) };
        let judged = JudgeKind::ALL;
        let observation = Observation { window: &window, is_revision: false, judged: &judged, findings };
        let told = tracker.observe(&observation);
        told.into_iter().map(|it| (it.state, it.window.key.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(see("a", 1, &bad), [(Open, "a".to_owned())]);
    assert_eq!(see("b", 1, &bad), [(Open, "b".to_owned())]);
    for number in 2..=17 {
        assert_eq!(see("b", number, &bad), [], "it may come yet");
    }
    assert_eq!(see("b", 18, &bad), [(Resolved, "a".to_owned())]);
    assert_eq!(see("b", 19, &bad), []);
    assert_eq!(see("a", 19, &bad), [(Open, "a".to_owned())], "it is back, and so is what was wrong");
}

#[test]
fn an_alert_of_an_old_window_is_not_closed_for_its_age() {
    let mut tracker = AlertTracker::new(CONFIG);
    let mut see = |key: &str, number: i64, is_revision: bool, bad: bool| {
        let window = Window { key: key.into(), ..window(number) };
        let (judged, findings) = (JudgeKind::ALL, [finding("r", Severity::High)]);
        let findings = if bad { &findings[..] } else { &[] };
        let observation = Observation { window: &window, is_revision, judged: &judged, findings };
        tracker.observe(&observation).into_iter().map(|it| it.state).collect::<Vec<_>>()
    };
    assert_eq!(see("a", 1_000, false, false), []);
    assert_eq!(see("b", 1, true, true), [AlertState::Open], "labels that came late");
    assert_eq!(see("a", 1_001, false, false), [], "b is there");
}
