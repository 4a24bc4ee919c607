//! What the bus is told of the life of models: subjects and JSON as subscribers know them.

use super::*;

/// Subjects are a contract: what was published under a name stays there.
#[test]
fn steps_are_told_under_their_names() {
    let of_job = |step: JobStep| step.leads_to().map(JobState::as_str);
    let expected = [
        (JobStep::Merge, None),
        (JobStep::Suppress, Some("suppressed")),
        (JobStep::Supersede, Some("superseded")),
        (JobStep::Lease, Some("leased")),
        (JobStep::Start, Some("running")),
        (JobStep::Renew, None),
        (JobStep::BackOff, Some("backoff")),
        (JobStep::Return, Some("queued")),
        (JobStep::Requeue, Some("queued")),
        (JobStep::Evaluate, Some("evaluating")),
        (JobStep::Await, Some("awaiting_approval")),
        (JobStep::Expire, Some("expired")),
        (JobStep::Cancel, Some("cancelled")),
    ];
    for (step, told) in expected {
        assert_eq!(of_job(step), told, "{step:?}");
    }
    let phases = DeploymentStep::ALL.map(|step| deployment_kind(step).map(EventKind::subject));
    let phases: Vec<&str> = phases
        .iter()
        .map(|told| told.as_deref().map_or("", |told| told.rsplit('.').next().unwrap()))
        .collect();
    assert_eq!(
        phases,
        [
            "preparing",
            "shadowing",
            "shifting",
            "applied",
            "",
            "observed",
            "paused",
            "resumed",
            "promoting",
            "completed",
            "aborting",
            "rolled_back",
            "critical"
        ]
    );
}

/// An event of the golden file: written by hand, read as the ledger's, told, and still what was written.
#[test]
fn the_json_of_every_change_is_what_subscribers_know() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/lifecycle_events.json");
    let golden: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for told in &golden {
        let stepped: LifecycleStepped<Event> =
            serde_json::from_value(told["payload"].clone()).unwrap_or_else(|error| panic!("{error}: {told}"));
        let now = envelope(&stepped.event, "cdd01ef066bc6cf2").unwrap_or_else(|| panic!("not told: {told}"));
        assert_eq!(now.payload.to_string(), told["payload"].to_string());
        assert_eq!(now.subject, told["subject"].as_str().unwrap(), "{told}");
        assert_eq!(now.read::<LifecycleStepped<Event>>().unwrap(), stepped);
    }
    assert!(golden.len() > 50, "{}", golden.len());
}
