//! A report for a person.

use acgs_contracts::orchestrator::v1::Alert;

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
