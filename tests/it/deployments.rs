//! Deployments of a whole mesh in one process: real model servers take real calls through its gateway, and the machine
//! takes versions up and back by what they do.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use acgs_client::LifecycleClients;
use acgs_contracts::lifecycle::v1::{
    self as proto, AbortDeploymentRequest, Deployment, DeploymentPhase, ExplainDeploymentRequest,
    GetDeploymentRequest, GetRoutesRequest, GetVersionRequest, ListDeploymentsRequest, ListRoutersRequest,
    PauseDeploymentRequest, PauseReason, PromoteDeploymentRequest, RegisterModelRequest,
    RegisterVersionRequest, ResumeDeploymentRequest, RollbackCause, RollbackRequest, SetEndpointsRequest,
    Stage, StartDeploymentRequest, Strategy, WatchDeploymentRequest,
};
use acgs_mesh::client::MeshChannel;
use acgs_tests::{Mesh, PATIENCE, load::Load, models::ModelStub, reason};
use acgs_vocabulary::constitution::sha256_hex;
use tonic::Code;

pub(crate) type Client = LifecycleClients<MeshChannel>;

/// Fast steps for tests: what decides is evidence, not time.
pub(crate) const PLAN: &str = "steps = [20, 50, 100]\nstep_ms = 200\nsamples_min = 50\nbake_ms = 500\nno_data_ms = 3000\n\
                               [analysis]\nerror_block_ms = 50\nblock_ms = 100\nerrors = { tolerated = 0.05, unacceptable = 0.15 }\n\
                               tail_p95 = { tolerated = 0.3, unacceptable = 0.6 }\n\
                               tail_p99 = { tolerated = 0.2, unacceptable = 0.5 }\n";

pub(crate) async fn model(client: &mut Client, model: &str) {
    let request = RegisterModelRequest { model_id: model.into(), ..Default::default() };
    client.models.register_model(request).await.unwrap();
}

/// A version at these endpoints; the first one serves.
pub(crate) async fn version(
    client: &mut Client,
    model: &str,
    version: &str,
    endpoints: &[String],
    serving: bool,
) {
    let artifact = proto::Artifact {
        digest: sha256_hex(version.as_bytes()),
        size_bytes: 7,
        format: "elsewhere/1".into(),
        uri: format!("https://models.example/{version}"),
    };
    let request = RegisterVersionRequest {
        model_id: model.into(),
        version: version.into(),
        artifact: Some(artifact),
        serving,
        ..Default::default()
    };
    client.models.register_version(request).await.unwrap();
    let request = SetEndpointsRequest {
        model_id: model.into(),
        version: version.into(),
        endpoints: endpoints.to_vec(),
        ..Default::default()
    };
    client.routing.set_endpoints(request).await.unwrap();
}

pub(crate) fn start(model: &str, version: &str) -> StartDeploymentRequest {
    StartDeploymentRequest {
        model_id: model.into(),
        version: version.into(),
        strategy: Strategy::Canary.into(),
        plan_toml: PLAN.into(),
        unjudged: true,
        why: "try it".into(),
        actor: "ann".into(),
        ..Default::default()
    }
}

pub(crate) async fn begin(client: &mut Client, request: StartDeploymentRequest) -> String {
    let started = client.deployments.start_deployment(request).await.unwrap().into_inner();
    started.deployment.unwrap().deployment_id
}

pub(crate) async fn get(client: &mut Client, deployment_id: &str) -> Deployment {
    let request = GetDeploymentRequest { deployment_id: deployment_id.into() };
    client.deployments.get_deployment(request).await.unwrap().into_inner().deployment.unwrap()
}

/// Waits until a deployment is as wanted.
pub(crate) async fn until(
    client: &mut Client,
    deployment_id: &str,
    wanted: impl Fn(&Deployment) -> bool,
) -> Deployment {
    let since = Instant::now();
    loop {
        let found = get(client, deployment_id).await;
        if wanted(&found) {
            return found;
        }
        if since.elapsed() > PATIENCE {
            let request = ExplainDeploymentRequest { deployment_id: deployment_id.into() };
            let explained = client.deployments.explain_deployment(request).await.unwrap().into_inner();
            panic!("{found:#?}\n{}", explained.explanation.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn is_over(deployment: &Deployment) -> bool {
    use DeploymentPhase::{Completed, Failed, RolledBack};
    matches!(deployment.phase(), Completed | RolledBack | Failed)
}

async fn stage(client: &mut Client, model: &str, version: &str) -> Stage {
    let request = GetVersionRequest { model_id: model.into(), version: version.into() };
    client.models.get_version(request).await.unwrap().into_inner().version.unwrap().stage()
}

/// A mesh, two versions with a server each, and a client.
pub(crate) async fn two() -> (Mesh, Client, ModelStub, ModelStub) {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    let (old, new) = (ModelStub::start("old").await, ModelStub::start("new").await);
    model(&mut client, "m").await;
    version(&mut client, "m", "old", &[old.endpoint()], true).await;
    version(&mut client, "m", "new", &[new.endpoint()], false).await;
    (mesh, client, old, new)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_version_takes_all_traffic_and_nothing_is_lost() {
    let (mesh, mut client, _old, _new) = two().await;
    let load = Load::start(&[mesh.running.addresses.gateway], "m", 500).await;
    let id = begin(&mut client, start("m", "new")).await;
    let watch = WatchDeploymentRequest { deployment_id: id.clone() };
    let mut states = client.deployments.watch_deployment(watch).await.unwrap().into_inner();
    let mut weights = Vec::new();
    while let Some(state) = states.message().await.unwrap() {
        let deployment = state.deployment.unwrap();
        if weights.last() != Some(&deployment.weight) {
            weights.push(deployment.weight);
        }
    }
    assert_eq!(weights, [0, 20, 50, 100], "every weight was seen, in order");
    let done = get(&mut client, &id).await;
    assert_eq!(done.phase(), DeploymentPhase::Completed, "{done:#?}");
    let before = load.tally();
    load.until(Some("new"), before.of("new") + 50).await;
    let tally = load.end().await;
    assert!(tally.lost().is_empty(), "{tally:?}");
    assert_eq!(tally.of("old"), before.of("old"), "the old one has no more calls");
    assert_eq!(stage(&mut client, "m", "new").await, Stage::Champion);
    assert_eq!(stage(&mut client, "m", "old").await, Stage::Standby);
    let request = ExplainDeploymentRequest { deployment_id: id };
    let explained = client.deployments.explain_deployment(request).await.unwrap().into_inner();
    let text = explained.explanation.join("\n");
    assert!(text.contains("step 0, 20 %") && text.contains("holds  errors_good"), "{text}");
    // Back by one word: the old one is still warm.
    let request = RollbackRequest {
        model_id: "m".into(),
        why: "customers".into(),
        actor: "ann".into(),
        ..Default::default()
    };
    let back = client.deployments.rollback(request).await.unwrap().into_inner();
    assert_eq!(back.champion, "old");
    assert_eq!(back.routes.unwrap().shares[0].version, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_is_taken_back_by_itself_and_quarantined() {
    let (mesh, mut client, _old, new) = two().await;
    new.behaviour.failing_per_mille.store(500, Ordering::Relaxed);
    let load = Load::start(&[mesh.running.addresses.gateway], "m", 500).await;
    let id = begin(&mut client, start("m", "new")).await;
    let done = until(&mut client, &id, is_over).await;
    let rolled_back = Instant::now();
    assert_eq!(done.phase(), DeploymentPhase::RolledBack, "{done:#?}");
    assert_eq!(done.rollback_cause(), RollbackCause::Analysis);
    assert!(done.why.starts_with("errors"), "{}", done.why);
    load.until(None, load.tally().all() + 100).await;
    let (last, _) = new.behaviour.last.lock().unwrap().clone().unwrap();
    assert!(last < rolled_back + Duration::from_millis(50), "it was called after it was taken back");
    let tally = load.end().await;
    assert!(tally.lost().is_empty(), "{tally:?}");
    assert_eq!(stage(&mut client, "m", "new").await, Stage::Quarantined);
    let refused = client.deployments.start_deployment(start("m", "new")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::FailedPrecondition, "NOT_NOW"));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_tails_and_another_constitution_are_taken_back_too() {
    let (mesh, mut client, _old, new) = two().await;
    let load = Load::start(&[mesh.running.addresses.gateway], "m", 500).await;
    // The baseline's percentiles have to be known first.
    load.until(Some("old"), 300).await;
    new.behaviour.latency_us.store(60_000, Ordering::Relaxed);
    let id = begin(&mut client, start("m", "new")).await;
    let done = until(&mut client, &id, is_over).await;
    assert!(done.why.starts_with("latency_p"), "{}", done.why);
    version(&mut client, "m", "newer", &[new.endpoint()], false).await;
    new.behaviour.latency_us.store(0, Ordering::Relaxed);
    new.behaviour.breaching.store(true, Ordering::Relaxed);
    let id = begin(&mut client, start("m", "newer")).await;
    let done = until(&mut client, &id, is_over).await;
    assert!(done.why.contains("another constitution"), "{}", done.why);
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_calls_are_no_success_and_people_can_do_everything() {
    let (mesh, mut client, _old, _new) = two().await;
    let mut request = start("m", "new");
    request.plan_toml = PLAN.replace("no_data_ms = 3000", "no_data_ms = 300");
    let id = begin(&mut client, request).await;
    let paused = until(&mut client, &id, |found| found.phase() == DeploymentPhase::Paused).await;
    assert_eq!((paused.pause_reason(), paused.weight), (PauseReason::NoData, 20), "weights are held");
    let another = client.deployments.start_deployment(start("m", "old")).await.unwrap_err();
    assert_eq!(reason(&another).0, "WRONG_STATE");
    let load = Load::start(&[mesh.running.addresses.gateway], "m", 300).await;
    until(&mut client, &id, |found| found.phase() != DeploymentPhase::Paused).await;
    let why = "lunch".to_owned();
    let pause =
        PauseDeploymentRequest { deployment_id: id.clone(), why, actor: "ann".into(), ..Default::default() };
    // Between two steps routes may be on their way: that is a state in which it can be paused too.
    client.deployments.pause_deployment(pause.clone()).await.unwrap();
    assert_eq!(get(&mut client, &id).await.pause_reason(), PauseReason::Manual);
    assert_eq!(
        client.deployments.pause_deployment(pause).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    let resume =
        ResumeDeploymentRequest { deployment_id: id.clone(), actor: "ann".into(), ..Default::default() };
    client.deployments.resume_deployment(resume).await.unwrap();
    let promote = PromoteDeploymentRequest {
        deployment_id: id.clone(),
        why: "it is fine".into(),
        actor: "ann".into(),
        ..Default::default()
    };
    client.deployments.promote_deployment(promote).await.unwrap();
    until(&mut client, &id, |found| found.weight == 100).await;
    let abort = AbortDeploymentRequest {
        deployment_id: id.clone(),
        why: "it is not".into(),
        actor: "ann".into(),
        ..Default::default()
    };
    if client.deployments.abort_deployment(abort).await.is_ok() {
        let done = until(&mut client, &id, is_over).await;
        assert_eq!(done.rollback_cause(), RollbackCause::Operator);
        assert_eq!(
            stage(&mut client, "m", "new").await,
            Stage::Validated,
            "an operator's abort is no verdict"
        );
    }
    load.end().await;
    let list = ListDeploymentsRequest { model_id: "m".into(), ..Default::default() };
    assert_eq!(client.deployments.list_deployments(list).await.unwrap().into_inner().deployments.len(), 1);
    let routers = client.routing.list_routers(ListRoutersRequest {}).await.unwrap().into_inner().routers;
    assert_eq!(routers.len(), 1);
    let routes = client
        .routing
        .get_routes(GetRoutesRequest { model_id: "m".into() })
        .await
        .unwrap()
        .into_inner()
        .routes;
    assert_eq!(routes.unwrap().shares.iter().map(|share| share.weight).sum::<u32>(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_strategy_ends_with_the_new_version() {
    let (mesh, mut client, old, new) = two().await;
    let load = Load::start(&[mesh.running.addresses.gateway], "m", 400).await;
    for (place, strategy) in [Strategy::BlueGreen, Strategy::Rolling, Strategy::Immediate, Strategy::Shadow]
        .into_iter()
        .enumerate()
    {
        let name = format!("v{place}");
        let server = if place % 2 == 0 { &new } else { &old };
        version(&mut client, "m", &name, &[server.endpoint()], false).await;
        let mut request = start("m", &name);
        request.strategy = strategy.into();
        request.plan_toml = PLAN.replace("steps = [20, 50, 100]\n", "shadow_samples = 50\n");
        let id = begin(&mut client, request).await;
        let done = until(&mut client, &id, is_over).await;
        assert_eq!(done.phase(), DeploymentPhase::Completed, "{strategy:?}: {done:#?}");
        if strategy == Strategy::Shadow {
            assert!(done.counts.unwrap().shadow_compared >= 50, "{done:?}");
        }
    }
    // A shadow that answers otherwise is taken back before anybody hears it.
    version(&mut client, "m", "odd", &[new.endpoint()], false).await;
    let mut request = start("m", "odd");
    request.strategy = Strategy::Shadow.into();
    request.plan_toml = PLAN.replace("steps = [20, 50, 100]\n", "shadow_samples = 50\n");
    new.behaviour.score_per_mille.store(990, Ordering::Relaxed);
    old.behaviour.score_per_mille.store(100, Ordering::Relaxed);
    let id = begin(&mut client, request).await;
    let done = until(&mut client, &id, is_over).await;
    assert_eq!(done.rollback_cause(), RollbackCause::Analysis, "{done:#?}");
    assert!(done.why.contains("differ"), "{}", done.why);
    let tally = load.end().await;
    assert!(tally.lost().is_empty(), "{tally:?}");
}
