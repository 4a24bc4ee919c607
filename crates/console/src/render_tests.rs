//! A report for a person.

use acgs_contracts::{
    orchestrator::v1::{Alert, Judge},
    performance::v1::Estimate,
};

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

#[test]
fn a_loss_that_is_only_estimated_says_so() {
    let line = |trust: EstimateTrust, reason: &str, drift_since_ms| {
        let loss = Estimate { value: 0.171, ..Estimate::default() };
        let estimated = EstimatedPerformance {
            loss: Some(loss),
            trust: trust.into(),
            trust_reason: reason.into(),
            record_until_ms: Some(1_000),
            model_kind: ModelKind::Binary.into(),
            ..EstimatedPerformance::default()
        };
        loss_words(
            &PerformanceReport { estimated: Some(estimated), ..PerformanceReport::default() },
            drift_since_ms,
        )
    };
    assert_eq!(line(EstimateTrust::Trusted, "", None), "brier ~0.171 (estimated)");
    assert_eq!(
        line(EstimateTrust::Trusted, "", Some(2_000)),
        "brier ~0.171 (estimated, but drift is newer than labels)"
    );
    let doubted = line(EstimateTrust::Untrusted, "labels said 0.3", None);
    assert_eq!(doubted, "brier ~0.171 (estimated, not to be trusted: labels said 0.3)");
    let early = line(EstimateTrust::Unknown, "no settled labels yet", None);
    assert_eq!(early, "brier ~0.171 (estimated, no settled labels yet)");
    assert_eq!(loss_words(&PerformanceReport::default(), None), "loss -");
}
