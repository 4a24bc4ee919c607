//! What a deployment makes of servers that are dead, that hang, and of callers that do not wait.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use acgs_contracts::lifecycle::v1::{
    DeploymentPhase, PauseReason, ResumeDeploymentRequest, RollbackCause, SetEndpointsRequest,
};
use acgs_tests::{PATIENCE, load::Load};

use crate::deployments::{PLAN, begin, is_over, start, two, until};

/// Longer than anybody waits.
const NEVER_US: u64 = 3_600_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_champion_is_nothing_to_return_to() {
    let (mesh, mut client, old, new) = two().await;
    let load = Load::start(&[mesh.running.addresses.gateway], "m", 300).await;
    load.until(Some("old"), 300).await;
    let mut request = start("m", "new");
    // It stands at its step for as long as the test looks at it.
    request.plan_toml = PLAN.replace("step_ms = 200", "step_ms = 1200000");
    let id = begin(&mut client, request).await;
    until(&mut client, &id, |found| found.phase() == DeploymentPhase::Analyzing).await;
    load.until(Some("new"), 100).await;
    let away = SetEndpointsRequest {
        model_id: "m".into(),
        version: "old".into(),
        endpoints: vec!["127.0.0.1:1".into()],
        actor: "ann".into(),
        ..Default::default()
    };
    client.routing.set_endpoints(away.clone()).await.unwrap();
    let paused = until(&mut client, &id, |found| found.phase() != DeploymentPhase::Analyzing).await;
    assert_eq!(paused.pause_reason(), PauseReason::BaselineFailing, "{paused:#?}");
    assert!(paused.why.starts_with("the baseline fails: errors"), "{}", paused.why);
    assert_eq!(
        (paused.weight, paused.due_at.as_str()),
        (20, ""),
        "weights are held, and no deadline returns to it"
    );
    let before = load.tally().of("new");
    load.until(Some("new"), before + 50).await;
    // It comes back: the deployment goes on by itself.
    client
        .routing
        .set_endpoints(SetEndpointsRequest { endpoints: vec![old.endpoint()], ..away.clone() })
        .await
        .unwrap();
    until(&mut client, &id, |found| found.phase() == DeploymentPhase::Analyzing).await;
    // Away again, and a person lets it go on.
    client.routing.set_endpoints(away).await.unwrap();
    until(&mut client, &id, |found| found.pause_reason() == PauseReason::BaselineFailing).await;
    let resume =
        ResumeDeploymentRequest { deployment_id: id.clone(), actor: "ann".into(), ..Default::default() };
    client.deployments.resume_deployment(resume).await.unwrap();
    let before = load.tally().of("new");
    load.until(Some("new"), before + 100).await;
    let found = crate::deployments::get(&mut client, &id).await;
    assert_eq!(found.phase(), DeploymentPhase::Analyzing, "{found:#?}");
    drop(new);
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_may_promote_beside_a_dead_champion() {
    let (mesh, mut client, old, _new) = two().await;
    let load = Load::start(&[mesh.running.addresses.gateway], "m", 300).await;
    load.until(Some("old"), 300).await;
    let mut request = start("m", "new");
    let plan = PLAN.replace("step_ms = 200", "step_ms = 1200000");
    request.plan_toml = format!("baseline_failing = \"promote\"\n{plan}");
    let id = begin(&mut client, request).await;
    until(&mut client, &id, |found| found.phase() == DeploymentPhase::Analyzing).await;
    old.behaviour.failing_per_mille.store(1_000, Ordering::Relaxed);
    let done = until(&mut client, &id, is_over).await;
    assert_eq!(done.phase(), DeploymentPhase::Completed, "{done:#?}");
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_hangs_is_taken_back_though_its_callers_give_up() {
    let (mesh, mut client, _old, new) = two().await;
    let gateway = [mesh.running.addresses.gateway];
    let load = Load::giving_up(&gateway, "m", 300, Duration::from_millis(100)).await;
    load.until(Some("old"), 300).await;
    new.behaviour.latency_us.store(NEVER_US, Ordering::Relaxed);
    let id = begin(&mut client, start("m", "new")).await;
    let done = until(&mut client, &id, is_over).await;
    assert_eq!(done.phase(), DeploymentPhase::RolledBack, "{done:#?}");
    assert_eq!(done.rollback_cause(), RollbackCause::Analysis, "{done:#?}");
    assert!(done.why.starts_with("cancelled") || done.why.starts_with("latency"), "{}", done.why);
    let since = Instant::now();
    while new.behaviour.abandoned.load(Ordering::Relaxed) == 0 {
        assert!(since.elapsed() < PATIENCE, "nobody gave up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    load.end().await;
}
