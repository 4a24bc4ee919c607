//! What the deployment and routing calls refuse, by name: each with its code, its reason and, where a field is wrong, the field.

use acgs_contracts::lifecycle::v1::{
    AbortDeploymentRequest, AppliedRoute, DeploymentPhase, EndpointChange, ExplainDeploymentRequest,
    GetDeploymentRequest, GetRoutesRequest, LatencyBucket, ListDeploymentsRequest, PauseDeploymentRequest,
    PromoteDeploymentRequest, ResumeDeploymentRequest, RollbackRequest, RouterHello, RouterObserved,
    RoutesApplied, SetEndpointsRequest, VersionObserved, WatchDeploymentRequest, WatchRoutesRequest,
    WatchRoutesResponse, watch_routes_request::Message as Say,
};
use acgs_tests::{Mesh, reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::deployments::{Client, begin, get, is_over, model, start, two, until, version};

type Refusal = (Code, String, String);

fn refusal(status: &Status) -> Refusal {
    let (reason, field) = reason(status);
    (status.code(), reason, field)
}

fn invalid(reason: &str, field: &str) -> Refusal {
    (Code::InvalidArgument, reason.into(), field.into())
}

fn missing(reason: &str) -> (Code, String) {
    (Code::NotFound, reason.into())
}

async fn endpoints(
    client: &mut Client,
    (model, version): (&str, &str),
    endpoints: &[&str],
    change: EndpointChange,
) -> Result<Vec<String>, Status> {
    let request = SetEndpointsRequest {
        model_id: model.into(),
        version: version.into(),
        endpoints: endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect(),
        change: change.into(),
        ..SetEndpointsRequest::default()
    };
    Ok(client.routing.set_endpoints(request).await?.into_inner().endpoints)
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_cannot_be_are_refused() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    model(&mut client, "m").await;
    version(&mut client, "m", "v1", &["127.0.0.1:9000".into()], true).await;
    let set = EndpointChange::Unspecified;
    for bad in ["", "127.0.0.1", ":80", "127.0.0.1:0", "127.0.0.1:99999", "a@b:80", "http://127.0.0.1:80"] {
        let refused = endpoints(&mut client, ("m", "v1"), &["127.0.0.1:1", bad], set).await.unwrap_err();
        assert_eq!(refusal(&refused), invalid("BAD_ENDPOINT", "endpoints[1]"), "{bad:?}");
    }
    let many: Vec<String> = (1..=65).map(|port| format!("127.0.0.1:{port}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = endpoints(&mut client, ("m", "v1"), &many, set).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let refused = endpoints(&mut client, ("m", "v1"), &["10.9.8.7:80"], set).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).0.as_str()),
        (Code::PermissionDenied, "ADDRESS_NOT_ALLOWED")
    );
    let refused = endpoints(&mut client, ("nobody", "v1"), &["127.0.0.1:1"], set).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0), missing("UNKNOWN_MODEL"));
    let refused = endpoints(&mut client, ("m", "v9"), &["127.0.0.1:1"], set).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0), missing("UNKNOWN_VERSION"));
    // What serves keeps an address: there would be nowhere to go.
    let refused = endpoints(&mut client, ("m", "v1"), &[], set).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
    let gone = EndpointChange::Remove;
    let refused = endpoints(&mut client, ("m", "v1"), &["127.0.0.1:9000"], gone).await.unwrap_err();
    assert_eq!(reason(&refused).0, "WRONG_STATE");
    let added = endpoints(&mut client, ("m", "v1"), &["127.0.0.1:9001"], EndpointChange::Add).await.unwrap();
    assert_eq!(added, ["127.0.0.1:9000", "127.0.0.1:9001"]);
    let left = endpoints(&mut client, ("m", "v1"), &["127.0.0.1:9000"], gone).await.unwrap();
    assert_eq!(left, ["127.0.0.1:9001"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_be_names_what_is_wrong() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    model(&mut client, "m").await;
    version(&mut client, "m", "v1", &["127.0.0.1:9".into()], true).await;
    version(&mut client, "m", "v2", &[], false).await;
    let good = start("m", "v2");
    let mut cases = Vec::new();
    let mut case = |change: fn(&mut acgs_contracts::lifecycle::v1::StartDeploymentRequest), wanted| {
        let mut request = good.clone();
        change(&mut request);
        cases.push((request, wanted));
    };
    case(|request| request.why.clear(), invalid("MISSING", "why"));
    case(|request| request.why = "w".repeat(1_025), invalid("TOO_LONG", "why"));
    case(|request| request.actor.clear(), invalid("MISSING", "actor"));
    case(|request| request.actor = "a".repeat(129), invalid("TOO_LONG", "actor"));
    case(|request| request.strategy = 77, invalid("BAD_STRATEGY", "strategy"));
    case(|request| request.plan_toml = "# ".repeat(40_000), invalid("TOO_LONG", "plan_toml"));
    for plan in [
        "step_ms = ",
        "stepms = 1",
        "steps = [50, 10, 100]",
        "steps = [1, 50]",
        "steps = [0, 100]",
        "steps = [101]",
        "step_ms = -1",
        "[analysis]\nalpha = 0.9",
        "[analysis]\nbeta = 0",
        "[analysis]\nerrors = { tolerated = 0.2, unacceptable = 0.1 }",
        "[analysis]\nerrors = { tolerated = nan, unacceptable = 0.1 }",
        "[analysis]\nbaseline_ratio = 1",
        "[analysis.loss]\ntolerated = 0.5\nunacceptable = 0.1",
        "sticky_by = \"Not A Header\"",
        "shadow_percent = 101",
    ] {
        let request =
            acgs_contracts::lifecycle::v1::StartDeploymentRequest { plan_toml: plan.into(), ..good.clone() };
        let refused = client.deployments.start_deployment(request).await.expect_err(plan);
        let (code, reason, field) = refusal(&refused);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BAD_POLICY"), "{plan}");
        assert!(field.starts_with("plan_toml"), "{plan}: {field}");
    }
    for (request, wanted) in cases {
        let refused = client.deployments.start_deployment(request.clone()).await.expect_err(&wanted.1);
        assert_eq!(refusal(&refused), wanted, "{request:?}");
    }
    let refused = client.deployments.start_deployment(start("nobody", "v2")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0), missing("UNKNOWN_MODEL"));
    let refused = client.deployments.start_deployment(start("m", "v9")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0), missing("UNKNOWN_VERSION"));
    // No gate has judged it, and nobody vouches.
    let mut request = start("m", "v2");
    request.unjudged = false;
    let refused = client.deployments.start_deployment(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::FailedPrecondition, "NOT_NOW"));
    assert!(refused.message().contains("vouch"), "{refused:?}");
    // What serves is not deployed, and while one is open there is no other.
    let refused = client.deployments.start_deployment(start("m", "v1")).await.unwrap_err();
    assert_eq!(reason(&refused).0, "NOT_NOW");
    begin(&mut client, good.clone()).await;
    let refused = client.deployments.start_deployment(good).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
}

/// Every call about one deployment, with its id and, where it has one, its reason.
async fn all(client: &mut Client, id: &str, why: &str, actor: &str) -> Vec<(&'static str, Status)> {
    let (id, why, actor) = (id.to_owned(), why.to_owned(), actor.to_owned());
    let mut refused = Vec::new();
    let request = PauseDeploymentRequest {
        deployment_id: id.clone(),
        why: why.clone(),
        actor: actor.clone(),
        ..Default::default()
    };
    refused.extend(client.deployments.pause_deployment(request).await.err().map(|status| ("pause", status)));
    let request =
        ResumeDeploymentRequest { deployment_id: id.clone(), actor: actor.clone(), ..Default::default() };
    refused
        .extend(client.deployments.resume_deployment(request).await.err().map(|status| ("resume", status)));
    let request = PromoteDeploymentRequest {
        deployment_id: id.clone(),
        why: why.clone(),
        actor: actor.clone(),
        ..Default::default()
    };
    refused
        .extend(client.deployments.promote_deployment(request).await.err().map(|status| ("promote", status)));
    let request = AbortDeploymentRequest { deployment_id: id, why, actor, ..Default::default() };
    refused.extend(client.deployments.abort_deployment(request).await.err().map(|status| ("abort", status)));
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_do_not_fit_are_refused() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    model(&mut client, "m").await;
    version(&mut client, "m", "v1", &["127.0.0.1:9".into()], true).await;
    version(&mut client, "m", "v2", &[], false).await;
    for bad in ["", "7", "deployment-", "deployment-x", "deployment--1", "deployment-99999999999999999999"] {
        for (order, status) in all(&mut client, bad, "because", "ann").await {
            assert_eq!(refusal(&status), invalid("BAD_DEPLOYMENT_ID", "deployment_id"), "{order} {bad:?}");
        }
        let get = GetDeploymentRequest { deployment_id: bad.into() };
        let status = client.deployments.get_deployment(get).await.unwrap_err();
        assert_eq!(refusal(&status), invalid("BAD_DEPLOYMENT_ID", "deployment_id"));
        let watch = WatchDeploymentRequest { deployment_id: bad.into() };
        assert_eq!(
            client.deployments.watch_deployment(watch).await.unwrap_err().code(),
            Code::InvalidArgument
        );
        let explain = ExplainDeploymentRequest { deployment_id: bad.into() };
        assert_eq!(
            client.deployments.explain_deployment(explain).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    let orders = all(&mut client, "deployment-9", "because", "ann").await;
    assert_eq!(orders.len(), 4);
    for (order, status) in orders {
        assert_eq!((status.code(), reason(&status).0), missing("UNKNOWN_DEPLOYMENT"), "{order}");
    }
    let status = client
        .deployments
        .get_deployment(GetDeploymentRequest { deployment_id: "deployment-9".into() })
        .await;
    assert_eq!(reason(&status.unwrap_err()).0, "UNKNOWN_DEPLOYMENT");
    let status = client
        .deployments
        .watch_deployment(WatchDeploymentRequest { deployment_id: "deployment-9".into() })
        .await;
    assert_eq!(reason(&status.unwrap_err()).0, "UNKNOWN_DEPLOYMENT");
    let status = client
        .deployments
        .explain_deployment(ExplainDeploymentRequest { deployment_id: "deployment-9".into() })
        .await;
    assert_eq!(reason(&status.unwrap_err()).0, "UNKNOWN_DEPLOYMENT");
    let id = begin(&mut client, start("m", "v2")).await;
    for (order, status) in
        all(&mut client, &id, "", "ann").await.iter().filter(|(order, _)| *order != "resume")
    {
        assert_eq!(refusal(status), invalid("MISSING", "why"), "{order}");
    }
    for (order, status) in all(&mut client, &id, "because", "").await {
        assert_eq!(refusal(&status), invalid("MISSING", "actor"), "{order}");
    }
    // It waits for endpoints: there is nothing to hold, to go on with or to give everything to.
    assert_eq!(get(&mut client, &id).await.phase(), DeploymentPhase::Pending);
    let refused = all(&mut client, &id, "because", "ann").await;
    let orders: Vec<&str> = refused.iter().map(|(order, _)| *order).collect();
    assert_eq!(orders, ["pause", "resume", "promote"], "it can be withdrawn");
    for (order, status) in &refused {
        assert_eq!(
            (status.code(), reason(status).0.as_str()),
            (Code::FailedPrecondition, "WRONG_STATE"),
            "{order}"
        );
    }
    assert!(is_over(&get(&mut client, &id).await));
    assert_eq!(all(&mut client, &id, "because", "ann").await.len(), 4, "what is over is over");
    for (request, wanted) in [
        (ListDeploymentsRequest { limit: 1_001, ..Default::default() }, invalid("BAD_LIMIT", "limit")),
        (
            ListDeploymentsRequest { before: "x".into(), ..Default::default() },
            invalid("BAD_DEPLOYMENT_ID", "before"),
        ),
    ] {
        assert_eq!(refusal(&client.deployments.list_deployments(request).await.unwrap_err()), wanted);
    }
    let back = |model: &str, why: &str, actor: &str| RollbackRequest {
        model_id: model.into(),
        why: why.into(),
        actor: actor.into(),
        ..Default::default()
    };
    let status = client.deployments.rollback(back("nobody", "because", "ann")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).0), missing("UNKNOWN_MODEL"));
    let status = client.deployments.rollback(back("m", "", "ann")).await.unwrap_err();
    assert_eq!(refusal(&status), invalid("MISSING", "why"));
    let status = client.deployments.rollback(back("m", "because", "")).await.unwrap_err();
    assert_eq!(refusal(&status), invalid("MISSING", "actor"));
    let status = client.deployments.rollback(back("m", "because", "ann")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).0.as_str()), (Code::FailedPrecondition, "NO_STANDBY"));
    let status = client.routing.get_routes(GetRoutesRequest { model_id: "nobody".into() }).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).0), missing("UNKNOWN_MODEL"));
}

type Router = (mpsc::Sender<WatchRoutesRequest>, Result<Streaming<WatchRoutesResponse>, Status>);

/// A router that says this first.
async fn router(client: &mut Client, first: Option<Say>) -> Router {
    let (say, said) = mpsc::channel(8);
    say.send(WatchRoutesRequest { message: first }).await.unwrap();
    let told = client.routing.watch_routes(ReceiverStream::new(said)).await;
    (say, told.map(tonic::Response::into_inner))
}

fn hello(router_id: &str, incarnation: &str) -> Option<Say> {
    let (router_id, incarnation) = (router_id.to_owned(), incarnation.to_owned());
    Some(Say::Hello(RouterHello { router_id, incarnation, observer: false, fresh: true }))
}

/// How a stream ends that was opened.
async fn end(told: Result<Streaming<WatchRoutesResponse>, Status>) -> Status {
    let mut told = told.unwrap();
    loop {
        match tokio::time::timeout(acgs_tests::PATIENCE, told.message()).await.expect("ends in time") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended well"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_that_say_what_cannot_be_are_sent_away() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    for (first, wanted) in [
        (None, invalid("HELLO_FIRST", "message")),
        (Some(Say::Applied(RoutesApplied::default())), invalid("HELLO_FIRST", "message")),
        (hello("", "one"), invalid("BAD_NAME", "hello.router_id")),
        (hello("a router", "one"), invalid("BAD_NAME", "hello.router_id")),
        (hello("r", ""), invalid("BAD_NAME", "hello.incarnation")),
        (hello(&"r".repeat(129), "one"), invalid("BAD_NAME", "hello.router_id")),
    ] {
        let (_say, told) = router(&mut client, first).await;
        assert_eq!(refusal(&told.unwrap_err()), wanted);
    }
    let many = vec![AppliedRoute::default(); 1_001];
    let buckets = vec![LatencyBucket::default(); 641];
    let odd = VersionObserved { latencies: buckets, ..VersionObserved::default() };
    for (message, field) in [
        (None, "message"),
        (hello("r", "again"), "message"),
        (Some(Say::Applied(RoutesApplied { routes: many })), "applied.routes"),
        (
            Some(Say::Observed(RouterObserved {
                versions: vec![VersionObserved::default(); 1_001],
                ..Default::default()
            })),
            "observed.versions",
        ),
        (
            Some(Say::Observed(RouterObserved { versions: vec![odd], ..Default::default() })),
            "observed.versions.latencies",
        ),
    ] {
        let (say, told) = router(&mut client, hello("r", "one")).await;
        say.send(WatchRoutesRequest { message }).await.unwrap();
        assert_eq!(refusal(&end(told).await), invalid("BAD_MESSAGE", field));
    }
    // The same router with a new life: the old one is told.
    let (_say, old) = router(&mut client, hello("r", "one")).await;
    let (_say, new) = router(&mut client, hello("r", "two")).await;
    let replaced = end(old).await;
    assert_eq!((replaced.code(), reason(&replaced).0.as_str()), (Code::FailedPrecondition, "REPLACED"));
    assert!(new.unwrap().message().await.unwrap().is_some());
}

/// Every router has to see a candidate well: one that says nothing of it holds the deployment up, until it has left.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_says_nothing_of_a_candidate_holds_it_up() {
    let (_mesh, mut client, _old, _new) = two().await;
    let (say, told) = router(&mut client, hello("silent", "one")).await;
    let mut told = told.unwrap();
    told.message().await.unwrap();
    let id = begin(&mut client, start("m", "new")).await;
    // The gateway says that the candidate is well within a few checks; that is not enough.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(get(&mut client, &id).await.phase(), DeploymentPhase::Preparing);
    drop((say, told));
    until(&mut client, &id, |found| found.weight > 0).await;
}
