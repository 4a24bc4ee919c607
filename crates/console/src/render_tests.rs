//! A report for a person.

use acgs_contracts::orchestrator::v1::{Alert, Judge};

use super::*;

#[test]
fn what_is_over_is_not_told_as_an_alert() {
    let alert =
        |rule: &str, state: AlertState| Alert { rule: rule.into(), state: state.into(), ..Alert::default() };
    let line = |alerts: Vec<Alert>| report_line(&WindowReport { alerts, ..WindowReport::default() });
    assert!(line(Vec::new()).ends_with("rev 0"));
    let both = line(vec![alert("drift", AlertState::Open), alert("latency", AlertState::Resolved)]);
    assert!(both.ends_with("rev 0  ALERT drift  over latency"), "{both}");
}

#[test]
fn a_judge_that_has_not_answered_is_named() {
    let verdict = |judge: Judge, status: VerdictStatus| JudgeVerdict {
        judge: judge.into(),
        status: status.into(),
        ..JudgeVerdict::default()
    };
    let verdicts = vec![
        verdict(Judge::Quality, VerdictStatus::Unavailable),
        verdict(Judge::Drift, VerdictStatus::NotApplicable),
        verdict(Judge::Performance, VerdictStatus::Unavailable),
    ];
    let line = report_line(&WindowReport { verdicts, ..WindowReport::default() });
    assert!(line.contains("rows -") && line.ends_with("rev 0  ABSENT quality, performance"), "{line}");
}
