//! Calls that move traffic, a stage or what is in force, each sent twice with one request id: the second is answered and does nothing.

use std::fmt::Debug;

use acgs_client::LifecycleClients;
use acgs_contracts::{
    DESCRIPTORS,
    lifecycle::v1::{
        AbortDeploymentRequest, AsOfRequest, ClearLoopRequest, PauseDeploymentRequest, PolicyDocument,
        PromoteDeploymentRequest, PutPolicyRequest, QuarantineVersionRequest, ReleaseVersionRequest,
        ResumeDeploymentRequest, RollbackRequest, SetEndpointsRequest, SetFreezeRequest, Strategy,
    },
};
use acgs_mesh::client::MeshChannel;
use acgs_tests::{Mesh, POLICY, reason};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Response, Status};

use crate::deployments::{begin, is_over, model, start, until, version};

type Client = LifecycleClients<MeshChannel>;

async fn events(client: &Client) -> u64 {
    let request = AsOfRequest { model_id: "m".into(), time: "2200-01-01T00:00:00Z".into() };
    client.clone().models.as_of(request).await.unwrap().into_inner().event_number
}

/// Twice with one id; the second time nothing happens.
async fn twice<T: Debug>(
    client: &Client,
    call: impl AsyncFn(Client, String) -> Result<Response<T>, Status>,
    id: &str,
) -> T {
    call(client.clone(), id.to_owned()).await.unwrap();
    let before = events(client).await;
    let again = call(client.clone(), id.to_owned()).await.unwrap().into_inner();
    assert_eq!(events(client).await, before, "{id}: {again:?}");
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_is_done_once() {
    // No gateway: nothing but these calls moves anything.
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    model(&mut client, "m").await;
    version(&mut client, "m", "v1", &["127.0.0.1:9".into()], true).await;
    version(&mut client, "m", "v2", &[], false).await;
    version(&mut client, "m", "v3", &[], false).await;
    let (m, ann, why) = (|| "m".to_owned(), || "ann".to_owned(), || "because".to_owned());

    let document = || Some(PolicyDocument { toml: POLICY.into() });
    let put = async |mut client: Client, request_id| {
        let (model_id, document, actor) = (m(), document(), ann());
        let expected_revision = Some(0);
        let request = PutPolicyRequest { model_id, document, expected_revision, actor, request_id };
        client.models.put_policy(request).await
    };
    twice(&client, put, "policy").await;
    for frozen in [true, false] {
        let freeze = async |mut client: Client, request_id| {
            let request = SetFreezeRequest { model_id: m(), frozen, why: why(), actor: ann(), request_id };
            client.models.set_freeze(request).await
        };
        twice(&client, freeze, if frozen { "freeze" } else { "thaw" }).await;
    }
    let clear = async |mut client: Client, request_id| {
        client.models.clear_loop(ClearLoopRequest { model_id: m(), actor: ann(), request_id }).await
    };
    twice(&client, clear, "clear").await;
    let endpoints = async |mut client: Client, request_id| {
        let endpoints = vec!["127.0.0.1:10".into()];
        let (version, actor) = ("v3".into(), ann());
        let request = SetEndpointsRequest {
            model_id: m(),
            version,
            endpoints,
            actor,
            request_id,
            ..Default::default()
        };
        client.routing.set_endpoints(request).await
    };
    twice(&client, endpoints, "endpoints").await;

    let quarantine = async |mut client: Client, request_id| {
        let request = QuarantineVersionRequest {
            model_id: m(),
            version: "v3".into(),
            why: why(),
            actor: ann(),
            request_id,
        };
        client.models.quarantine_version(request).await
    };
    twice(&client, quarantine, "quarantine").await;
    for actor in ["ann", "bob"] {
        let release = async |mut client: Client, request_id| {
            let (version, actor) = ("v3".into(), actor.into());
            client
                .models
                .release_version(ReleaseVersionRequest { model_id: m(), version, actor, request_id })
                .await
        };
        twice(&client, release, &format!("release {actor}")).await;
    }
    let late = twice(&client, quarantine, "quarantine").await;
    assert_ne!(late.version.unwrap().stage(), acgs_contracts::lifecycle::v1::Stage::Quarantined, "long ago");

    let begun = async |mut client: Client, request_id| {
        let request =
            acgs_contracts::lifecycle::v1::StartDeploymentRequest { request_id, ..start("m", "v2") };
        client.deployments.start_deployment(request).await
    };
    let id = twice(&client, begun, "start").await.deployment.unwrap().deployment_id;
    let abort = async |mut client: Client, request_id| {
        let request =
            AbortDeploymentRequest { deployment_id: id.clone(), why: why(), actor: ann(), request_id };
        client.deployments.abort_deployment(request).await
    };
    twice(&client, abort, "abort").await;
    let again = twice(&client, begun, "start").await.deployment.unwrap();
    assert_eq!(again.deployment_id, id, "a resend after an operator's abort deploys nothing");
    let reused = begun(client.clone(), "abort".into()).await.unwrap_err();
    assert_eq!((reused.code(), reason(&reused).0.as_str()), (Code::FailedPrecondition, "REQUEST_REUSED"));
    let long = begun(client.clone(), "x".repeat(129)).await.unwrap_err();
    assert_eq!((long.code(), reason(&long).0.as_str()), (Code::InvalidArgument, "BAD_NAME"));
    mesh.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_to_a_deployment_that_come_twice_are_done_once() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    model(&mut client, "m").await;
    version(&mut client, "m", "v1", &["127.0.0.1:9".into()], true).await;
    version(&mut client, "m", "v2", &["127.0.0.1:10".into()], false).await;
    let (ann, why) = (|| "ann".to_owned(), || "because".to_owned());
    let request = acgs_contracts::lifecycle::v1::StartDeploymentRequest {
        strategy: Strategy::Immediate.into(),
        ..start("m", "v2")
    };
    let id = begin(&mut client, request).await;
    let pause = async |mut client: Client, request_id| {
        let request =
            PauseDeploymentRequest { deployment_id: id.clone(), why: why(), actor: ann(), request_id };
        client.deployments.pause_deployment(request).await
    };
    let resume = async |mut client: Client, request_id| {
        let request = ResumeDeploymentRequest { deployment_id: id.clone(), actor: ann(), request_id };
        client.deployments.resume_deployment(request).await
    };
    // It waits for servers that nobody started: the orders that do not fit are refused each time, and are no wishes that were granted.
    for _ in 0..2 {
        let refused = pause(client.clone(), "pause".into()).await.unwrap_err();
        assert_eq!(reason(&refused).0, "WRONG_STATE");
        let refused = resume(client.clone(), "resume".into()).await.unwrap_err();
        assert_eq!(reason(&refused).0, "WRONG_STATE");
    }
    let promote = PromoteDeploymentRequest {
        deployment_id: id.clone(),
        why: why(),
        actor: ann(),
        request_id: "promote".into(),
    };
    assert_eq!(reason(&client.deployments.promote_deployment(promote).await.unwrap_err()).0, "WRONG_STATE");
    let back = async |mut client: Client, request_id| {
        let request = RollbackRequest {
            model_id: "m".into(),
            why: why(),
            actor: ann(),
            request_id,
            ..Default::default()
        };
        client.deployments.rollback(request).await
    };
    let answer = twice(&client, back, "back").await;
    assert_eq!(answer.champion, "v1");
    until(&mut client, &id, is_over).await;
    // Another hand, without an id: nothing has moved since.
    assert_eq!(back(client.clone(), String::new()).await.unwrap().into_inner().champion, "v1");
    let request = RollbackRequest {
        model_id: "m".into(),
        why: why(),
        actor: ann(),
        expected_champion: "v2".into(),
        ..Default::default()
    };
    let other = client.deployments.rollback(request).await.unwrap_err();
    assert_eq!((other.code(), reason(&other).0.as_str()), (Code::FailedPrecondition, "CHAMPION"));
    mesh.running.stop().await.unwrap();
}

/// Calls that change something and are safe to repeat by themselves.
const SAFE: [&str; 3] = ["RegisterModel", "PutArtifact", "Work"];

#[test]
fn every_call_that_changes_something_has_a_request_id() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut missing = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == "acgs.lifecycle.v1") {
        for method in file.service.iter().flat_map(|service| &service.method) {
            let looks = ["Get", "List", "Read", "Watch", "Explain", "AsOf"];
            if looks.iter().any(|look| method.name().starts_with(look)) || SAFE.contains(&method.name()) {
                continue;
            }
            let input = method.input_type().rsplit('.').next().unwrap();
            let message = set.file.iter().flat_map(|file| &file.message_type).find(|it| it.name() == input);
            if !message.unwrap().field.iter().any(|field| field.name() == "request_id") {
                missing.push(method.name().to_owned());
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}
