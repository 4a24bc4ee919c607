//! Deployments in a mesh of processes that are killed, stopped and cut off: the real binary in every role, real model servers, a
//! real nats-server, and a load of which every call is accounted for.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use acgs_client::LifecycleClients;
use acgs_contracts::lifecycle::v1::{DeploymentPhase, RollbackCause};
use acgs_mesh::client::connect;
use acgs_tests::{
    fleet::{Process, constitution, python_stubs},
    load::Load,
    models::{ModelStub, inference, question},
    nats::Nats,
};

use crate::deployments::{Client, PLAN, begin, is_over, model, start, until, version};

/// Calls a second; set by `ACGS_TEST_CALLS_PER_SECOND` for the full load.
fn per_second() -> u64 {
    std::env::var("ACGS_TEST_CALLS_PER_SECOND").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// An orchestrator, gateways that follow it, two versions, and what they are started with.
struct Rig {
    nats: Nats,
    orchestrator: Option<Process>,
    port: u16,
    gateways: Vec<Process>,
    flags: Vec<String>,
    old: ModelStub,
    new: ModelStub,
    snapshots: tempfile::TempDir,
}

impl Rig {
    async fn start(gateways: usize) -> Self {
        let nats = Nats::start().await;
        let flags = vec![format!("nats.url={}", nats.url()), "drain.grace_ms=3000".to_owned()];
        let orchestrator = Process::start("orchestrator", 0, &flags).await;
        let port = orchestrator.address.port();
        let snapshots = tempfile::tempdir().unwrap();
        let mut rig = Self {
            nats,
            orchestrator: Some(orchestrator),
            port,
            gateways: Vec::new(),
            flags,
            old: ModelStub::start("old").await,
            new: ModelStub::start("new").await,
            snapshots,
        };
        for number in 0..gateways {
            rig.gateways.push(rig.gateway(number).await);
        }
        let mut client = rig.client().await;
        model(&mut client, "m").await;
        version(&mut client, "m", "old", &[rig.old.endpoint()], true).await;
        version(&mut client, "m", "new", &[rig.new.endpoint()], false).await;
        rig
    }

    async fn gateway(&self, number: usize) -> Process {
        let snapshot = self.snapshots.path().join(format!("{number}.binpb"));
        let flags = [
            format!("gateway.orchestrators=[\"127.0.0.1:{}\"]", self.port),
            format!("gateway.id=gateway-{number}"),
            format!("gateway.snapshot={}", snapshot.display()),
            "gateway.threads=1".to_owned(),
        ];
        Process::start("gateway", 0, &flags).await
    }

    async fn client(&self) -> Client {
        let url = format!("http://127.0.0.1:{}", self.port);
        let since = Instant::now();
        loop {
            match connect(&url, constitution()).await {
                Ok(channel) => return LifecycleClients::new(channel),
                Err(error) => assert!(since.elapsed() < acgs_tests::PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn load(&self) -> Load {
        let gateways: Vec<_> = self.gateways.iter().map(|gateway| gateway.address).collect();
        // A gateway that has just heard of the model still connects to it.
        for gateway in &gateways {
            let (mut client, since) = (inference(*gateway).await, Instant::now());
            while client.model_infer(question("m")).await.is_err() {
                assert!(since.elapsed() < acgs_tests::PATIENCE, "{gateway} does not answer");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let load = Load::start(&gateways, "m", per_second()).await;
        // The baseline's percentiles are known when the candidate comes.
        let since = Instant::now();
        while load.tally().versions.values().sum::<u64>() < 100 {
            assert!(since.elapsed() < acgs_tests::PATIENCE, "{:?}", load.tally());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        load
    }

    /// Asks the linear model, once it answers.
    async fn asking_linear(&self) -> Load {
        let gateways = [self.gateways[0].address];
        let mut inference = inference(gateways[0]).await;
        let since = Instant::now();
        while inference.model_infer(tensor_question()).await.is_err() {
            assert!(since.elapsed() < acgs_tests::PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let load = Load::asking(&gateways, tensor_question(), per_second()).await;
        load.until(None, per_second() / 2).await;
        load
    }

    /// A step that is long enough to be in the middle of.
    async fn begin(&self, step_ms: u64) -> (Client, String) {
        let mut client = self.client().await;
        let mut request = start("m", "new");
        request.plan_toml = PLAN.replace("step_ms = 200", &format!("step_ms = {step_ms}"));
        let id = begin(&mut client, request).await;
        (client, id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_killed_in_mid_step_goes_on_from_the_log() {
    let mut rig = Rig::start(1).await;
    let load = rig.load().await;
    let (mut client, id) = rig.begin(1_000).await;
    until(&mut client, &id, |found| {
        found.weight >= 20 && (is_over(found) || found.phase() == DeploymentPhase::Analyzing)
    })
    .await;
    load.until(Some("new"), 1).await;
    rig.orchestrator.take().unwrap().kill().await;
    // Longer than the candidates' lease: nobody could take it back, so it has nothing.
    let since = Instant::now();
    let last = || rig.new.behaviour.last.lock().unwrap().clone().map(|(at, _)| at);
    while last().is_none_or(|at| at.elapsed() < Duration::from_millis(500)) {
        assert!(since.elapsed() < acgs_tests::PATIENCE, "the candidate has calls while nobody looks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let served = load.tally().of("old");
    rig.orchestrator = Some(Process::start("orchestrator", rig.port, &rig.flags).await);
    let mut client = rig.client().await;
    let done = until(&mut client, &id, is_over).await;
    assert_eq!(done.phase(), DeploymentPhase::Completed, "{done:#?}");
    let tally = load.end().await;
    assert!(tally.of("old") >= served && tally.of("new") > 100, "{tally:?}");
    assert!(tally.failures.is_empty(), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_in_mid_step_is_named_and_another_serves() {
    let mut rig = Rig::start(2).await;
    let load = rig.load().await;
    let (mut client, id) = rig.begin(1_000).await;
    until(&mut client, &id, |found| {
        found.weight >= 20 && (is_over(found) || found.phase() == DeploymentPhase::Analyzing)
    })
    .await;
    rig.gateways.remove(0).kill().await;
    let done = until(&mut client, &id, is_over).await;
    assert_eq!(done.phase(), DeploymentPhase::Completed, "{done:#?}");
    let tally = load.end().await;
    assert!(tally.lost().is_empty(), "a caller that sends again elsewhere has lost nothing: {tally:?}");
    // One that stops in the middle of a change is fenced by name, and a rollback does not wait for it for ever.
    rig.gateways.push(rig.gateway(2).await);
    let load = rig.load().await;
    version(&mut client, "m", "bad", &[rig.old.endpoint()], false).await;
    let stopped = rig.gateways.pop().unwrap();
    let mut request = start("m", "bad");
    request.plan_toml = PLAN.replace("step_ms = 200", "step_ms = 60000");
    let id = begin(&mut client, request).await;
    until(&mut client, &id, |found| found.phase() == DeploymentPhase::Analyzing).await;
    stopped.signal("STOP");
    rig.old.behaviour.failing_per_mille.store(600, Ordering::Relaxed);
    let done = until(&mut client, &id, is_over).await;
    assert_eq!((done.phase(), done.rollback_cause()), (DeploymentPhase::RolledBack, RollbackCause::Analysis));
    // On a busy machine others may have been late, too.
    assert!(done.fenced_routers.iter().any(|name| name == "gateway-2"), "{done:#?}");
    stopped.signal("CONT");
    drop(load);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_away_in_mid_deployment_loses_no_call() {
    let away: u64 =
        std::env::var("ACGS_TEST_NATS_AWAY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut rig = Rig::start(2).await;
    let load = rig.load().await;
    let (mut client, id) = rig.begin(1_500).await;
    until(&mut client, &id, |found| {
        found.weight >= 20 && (is_over(found) || found.phase() == DeploymentPhase::Analyzing)
    })
    .await;
    rig.nats.kill().await;
    tokio::time::sleep(Duration::from_secs(away)).await;
    rig.nats.start_again().await;
    let done = until(&mut client, &id, is_over).await;
    assert_eq!(done.phase(), DeploymentPhase::Completed, "{done:#?}");
    let tally = load.end().await;
    assert!(tally.failures.is_empty(), "{tally:?}");
    eprintln!("longest call while NATS was away: {:?}", tally.longest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_server_that_hangs_loses_nothing_while_another_answers() {
    let rig = Rig::start(1).await;
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("model.json");
    let text = serde_json::json!({
        "format": "acgs-linear/1", "family": "linear", "constitutional_hash": "", "data_digest": "", "rows": 1,
        "features": [], "intercept": 0.5, "weights": [],
    });
    std::fs::write(&artifact, text.to_string()).unwrap();
    let mut client = rig.client().await;
    model(&mut client, "linear").await;
    let flags = ["--artifact", artifact.to_str().unwrap(), "--version", "v1"];
    let address = format!("127.0.0.1:{}", rig.port);
    version(&mut client, "linear", "v1", &[], true).await;
    let (one, _) = Process::model("linear", &address, &flags).await;
    let (other, _) = Process::model("linear", &address, &flags).await;
    let load = rig.asking_linear().await;
    one.signal("STOP");
    load.until(Some("v1"), per_second() * 3).await;
    let tally = load.end().await;
    one.signal("CONT");
    assert!(tally.failures.is_empty(), "{tally:?}");
    assert!(tally.of("v1") > per_second() * 2, "{tally:?}");
    eprintln!("longest call beside a server that hangs: {:?}", tally.longest);
    assert!(other.stop().await, "it ends in order");
    assert!(one.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_python_hands_over_to_one_in_rust() {
    let stubs = python_stubs().await;
    let rig = Rig::start(1).await;
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("model.json");
    // What the example computes: the probability that a row's numbers add up to more than nothing.
    let text = serde_json::json!({
        "format": "acgs-linear/1", "family": "logistic", "constitutional_hash": "", "data_digest": "", "rows": 1,
        "features": [{ "kind": "number", "name": "x", "mean": 0.0, "deviation": 1.0, "absence": false }],
        "intercept": 0.0, "weights": [1.0],
    });
    std::fs::write(&artifact, text.to_string()).unwrap();
    let mut client = rig.client().await;
    model(&mut client, "linear").await;
    version(&mut client, "linear", "python", &[], true).await;
    version(&mut client, "linear", "rust", &[], false).await;
    let orchestrator = rig.orchestrator.as_ref().unwrap().address;
    let python = Process::python_model(("linear", "python"), orchestrator, stubs.path()).await;
    let flags = ["--artifact", artifact.to_str().unwrap(), "--version", "rust"];
    let (rust, _) = Process::model("linear", &orchestrator.to_string(), &flags).await;
    let load = rig.asking_linear().await;
    let id = begin(&mut client, start("linear", "rust")).await;
    let done = until(&mut client, &id, is_over).await;
    assert_eq!(done.phase(), DeploymentPhase::Completed, "{done:#?}");
    let before = load.tally();
    load.until(Some("rust"), before.of("rust") + per_second() / 2).await;
    let tally = load.end().await;
    assert!(tally.failures.is_empty(), "{tally:?}");
    assert!(tally.of("python") > 100 && tally.of("rust") > 100, "{tally:?}");
    assert_eq!(tally.of("python"), before.of("python"), "what has no weight has no calls");
    // Both say the same, so that nobody notices.
    let mut inference = inference(rig.gateways[0].address).await;
    let answer = inference.model_infer(tensor_question()).await.unwrap().into_inner();
    let score = answer.outputs[0].contents.as_ref().unwrap().fp64_contents[0];
    assert!((score - 1.0 / (1.0 + (-1_f64).exp())).abs() < 1e-12, "{answer:?}");
    assert!(rust.stop().await && python.stop().await);
}

/// A question that the linear model answers.
fn tensor_question() -> acgs_contracts::inference::ModelInferRequest {
    use acgs_contracts::inference::{InferTensorContents, model_infer_request::InferInputTensor};
    let contents = InferTensorContents { fp64_contents: vec![1.0], ..Default::default() };
    let mut question = acgs_tests::models::question("linear");
    question.inputs.push(InferInputTensor {
        name: "x".into(),
        datatype: "FP64".into(),
        shape: vec![1],
        contents: Some(contents),
        ..InferInputTensor::default()
    });
    question
}
