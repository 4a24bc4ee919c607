//! Everybody who takes part besides the mesh: a worker and a model server in processes of their own, the model of January and
//! February, and the one that is planted. It must not know how the year goes.

use std::process::Stdio;

use acgs_client::artifacts;
use acgs_contracts::lifecycle::v1::{
    Artifact as Stored, PolicyDocument, PutPolicyRequest, RegisterModelRequest, RegisterVersionRequest,
    StartDeploymentRequest,
};
use acgs_lifecycle::Policy;
use acgs_server::Running;
use acgs_trainers::{Artifact, FORMAT, Family, Wishes, train};
use acgs_vocabulary::constitution::sha256_hex;
use anyhow::Context;
use tokio::process::{Child, Command};
use tonic::Status;

use super::Client;
use acgs_console::connect::explain;

use crate::{
    NAME,
    flights::{self, Flight, SERVED_SCORE},
    put_reference,
};

/// What is done about the model.
const POLICY: &str = include_str!("../../../../examples/policies/flights-gateway.toml");
/// What served first.
pub(super) const FIRST: &str = "january-february";
/// What should never have been put into service.
pub(super) const PLANTED: &str = "planted";
const ACTOR: &str = "demo";

/// Ends when dropped.
#[derive(Debug)]
pub(super) struct Cast(Vec<Child>);

impl Cast {
    /// `acgs worker` and `acgs model serve`, each in a process of its own.
    pub(super) fn start(address: &str, hash: &str) -> anyhow::Result<Self> {
        let worker = ["worker", "--address", address, "--id", "worker-1", "--json"];
        let server =
            ["model", "serve", NAME, "--address", address, "--json", "--set", "listen.host=127.0.0.1"];
        Ok(Self(vec![process(&worker, hash)?, process(&server, hash)?]))
    }

    /// Ends them.
    pub(super) async fn end(mut self) {
        for child in &mut self.0 {
            let _it_may_have_ended = child.kill().await;
        }
    }
}

fn process(arguments: &[&str], hash: &str) -> anyhow::Result<Child> {
    let binary = std::env::current_exe().context("where is this program?")?;
    Command::new(binary)
        .args(arguments)
        .env("CONSTITUTIONAL_HASH", hash)
        .env("LOG_LEVEL", "error")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("`acgs {}` cannot be started", arguments[0]))
}

/// What is done about the model, read.
pub(super) fn policy() -> anyhow::Result<Policy> {
    Ok(Policy::parse(POLICY)?)
}

/// The model of these flights, as a worker would train it.
fn fit(policy: &Policy, flights: &[Flight], hash: &str) -> anyhow::Result<Artifact> {
    let schema = flights::reference_schema(SERVED_SCORE)?;
    let landed: Vec<&Flight> = flights.iter().filter(|flight| flight.late.is_some()).collect();
    let data = flights::batch(&schema, landed.into_iter())?;
    let wishes = Wishes::parse(&policy.training.hyperparameters)?;
    let mut model = train(Family::Logistic, wishes, &schema, std::slice::from_ref(&data))?;
    model.constitutional_hash = hash.to_owned();
    model.data_digest = sha256_hex(flights::DATA);
    Ok(model)
}

/// The reference, the model, its policy, and the version that serves first.
pub(super) async fn prepare(
    running: &Running,
    client: &mut Client,
    policy: &Policy,
    before: &[Flight],
) -> anyhow::Result<Artifact> {
    let model = fit(policy, before, running.constitution.current())?;
    let rows = flights::batch(&flights::row_schema(SERVED_SCORE)?, before.iter())?;
    let scores = model.score(std::slice::from_ref(&rows));
    let mut before = before.to_vec();
    before.iter_mut().zip(scores).for_each(|(flight, score)| flight.score = Some(score));
    put_reference(running, &before, SERVED_SCORE).await?;
    let told = |status: Status| explain(&status);
    let register = RegisterModelRequest {
        model_id: NAME.into(),
        model_name: "late flights".into(),
        service_id: "lga-gate".into(),
        actor: ACTOR.into(),
        ..RegisterModelRequest::default()
    };
    client.models.register_model(register).await.map_err(told)?;
    let put = PutPolicyRequest {
        model_id: NAME.into(),
        document: Some(PolicyDocument { toml: POLICY.into() }),
        actor: ACTOR.into(),
        ..PutPolicyRequest::default()
    };
    client.models.put_policy(put).await.map_err(told)?;
    register_version(client, FIRST, &model, true).await?;
    Ok(model)
}

async fn register_version(
    client: &mut Client,
    version: &str,
    model: &Artifact,
    serving: bool,
) -> anyhow::Result<()> {
    let told = |status: Status| explain(&status);
    let artifact: Stored = artifacts::put(&mut client.jobs, &model.encode()?, FORMAT).await.map_err(told)?;
    let request = RegisterVersionRequest {
        model_id: NAME.into(),
        version: version.into(),
        artifact: Some(artifact),
        serving,
        actor: ACTOR.into(),
        ..RegisterVersionRequest::default()
    };
    client.models.register_version(request).await.map_err(told)?;
    Ok(())
}

/// Brings a version into service that says the opposite of what `model` says, and that no gate has seen.
pub(super) async fn plant(client: &mut Client, model: &Artifact) -> anyhow::Result<()> {
    let mut opposite = model.clone();
    opposite.intercept = -opposite.intercept;
    opposite.weights.iter_mut().for_each(|weight| *weight = -*weight);
    register_version(client, PLANTED, &opposite, false).await?;
    let request = StartDeploymentRequest {
        model_id: NAME.into(),
        version: PLANTED.into(),
        unjudged: true,
        why: "planted: a version whose labels were the wrong way round, past every gate".into(),
        actor: ACTOR.into(),
        ..StartDeploymentRequest::default()
    };
    client.deployments.start_deployment(request).await.map_err(|status| explain(&status))?;
    Ok(())
}
