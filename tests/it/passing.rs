//! What passes through the gateway besides plain calls: streams both ways, their ends and trailers, deadlines and cancellation. Any
//! service can be behind it when the model is named in metadata.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use acgs_contracts::{
    inference::{ModelInferRequest, ModelInferResponse},
    lifecycle::v1::{PolicyDocument, PutPolicyRequest},
};
use acgs_tests::{
    Mesh, PATIENCE, POLICY,
    echo::{Echo, PATH},
    http2,
    models::{ModelStub, inference, question},
    reason,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, client::Grpc, transport::Endpoint};

use crate::deployments::{model, version};

/// A mesh whose gateway has this endpoint as the version that serves.
async fn before(endpoint: String) -> Mesh {
    before_all(&[], &[endpoint]).await
}

/// The same with settings, and several endpoints.
async fn before_all(flags: &[&str], endpoints: &[String]) -> Mesh {
    let mesh = Mesh::start_with(flags).await;
    let mut client = mesh.lifecycle().await;
    model(&mut client, "m").await;
    version(&mut client, "m", "v1", endpoints, true).await;
    let mut calls = inference(mesh.running.addresses.gateway).await;
    let since = Instant::now();
    // Whatever is there has been asked: the route is in force.
    while calls.model_infer(question("m")).await.is_err_and(|status| status.code() == Code::Unavailable) {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mesh
}

/// A stream both ways with a service that the mesh does not know.
async fn both(
    gateway: SocketAddr,
    deadline: Option<Duration>,
) -> (mpsc::Sender<ModelInferRequest>, Result<Streaming<ModelInferResponse>, Status>) {
    let channel = Endpoint::from_shared(format!("http://{gateway}")).unwrap().connect_lazy();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let (say, said) = mpsc::channel(4);
    let mut request = Request::new(ReceiverStream::new(said));
    request.metadata_mut().insert("x-acgs-model-id", "m".parse().unwrap());
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    let codec = tonic_prost::ProstCodec::default();
    // A server that has something to say before it has heard anything can.
    let told = client.streaming(request, PATH.parse().unwrap(), codec).await;
    (say, told.map(tonic::Response::into_inner))
}

async fn at_least(counter: &AtomicU64, wanted: u64, what: &str) {
    let since = Instant::now();
    while counter.load(Ordering::Relaxed) < wanted {
        assert!(since.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_pass_both_ways_with_their_ends_and_trailers() {
    let (echo, address) = Echo::start().await;
    let mesh = before(address.to_string()).await;
    let gateway = mesh.running.addresses.gateway;
    let message = |id: &str| ModelInferRequest { id: id.into(), ..ModelInferRequest::default() };
    // One after the other: each answer comes before the next question is put.
    let (say, told) = both(gateway, None).await;
    let mut told = told.unwrap();
    for number in 0..100 {
        say.send(message(&number.to_string())).await.unwrap();
        assert_eq!(told.message().await.unwrap().unwrap().id, number.to_string());
    }
    // The caller's end is an end for the server, who still has a word to say.
    drop(say);
    assert_eq!(told.message().await.unwrap().unwrap().id, "end");
    assert!(told.message().await.unwrap().is_none());
    assert!(told.trailers().await.unwrap().is_some());
    // A refusal in the middle, with its own trailers.
    let (say, told) = both(gateway, None).await;
    let mut told = told.unwrap();
    say.send(message("first")).await.unwrap();
    assert_eq!(told.message().await.unwrap().unwrap().id, "first");
    say.send(message("refuse")).await.unwrap();
    let refused = told.message().await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Aborted, "as you wish"));
    assert_eq!(refused.metadata().get("x-why").unwrap(), "asked for");
    at_least(&echo.abandoned, 1, "a stream that was refused is over for both").await;
    // A deadline is one for the whole stream: tonic's client does not look at it once there was an answer, so the gateway does.
    // A machine that is busy may not get to the first answer in time: then it is tried with more.
    for deadline_ms in [500, 4_000, 32_000, 256_000] {
        let (_say, told) = both(gateway, Some(Duration::from_millis(deadline_ms))).await;
        let answered = told.is_ok();
        let late = match told {
            Ok(mut told) => told.message().await.unwrap_err(),
            Err(late) => late,
        };
        assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
        if answered {
            break;
        }
    }
    at_least(&echo.abandoned, 2, "the server still talks to nobody").await;
    // A caller that is gone, with its connection, is gone for the server too.
    let messages = echo.messages.load(Ordering::Relaxed);
    let caller = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (say, told) = both(gateway, None).await;
            say.send(ModelInferRequest::default()).await.unwrap();
            told.unwrap().message().await.unwrap();
            // Neither end is said: everything stops at once.
            std::mem::forget(say);
        });
    });
    tokio::task::spawn_blocking(|| caller.join().unwrap()).await.unwrap();
    assert_eq!(echo.messages.load(Ordering::Relaxed), messages + 1);
    at_least(&echo.abandoned, 3, "the server still talks to nobody").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_cancellation_reach_the_server() {
    let server = ModelStub::start("v1").await;
    let mesh = before(server.endpoint()).await;
    let mut calls = inference(mesh.running.addresses.gateway).await;
    server.behaviour.latency_us.store(3_600_000_000, Ordering::Relaxed);
    let abandoned =
        |wanted: u64| at_least(&server.behaviour.abandoned, wanted, "the server still works for nobody");
    // What was asked is given up at its deadline.
    let mut request = Request::new(question("m"));
    request.set_timeout(Duration::from_millis(200));
    let late = calls.model_infer(request).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
    abandoned(1).await;
    // A caller without a timer of its own: only the header says it, so only the gateway can.
    let headers = [("grpc-timeout", "200m"), ("te", "trailers")];
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let late = http2::unary(mesh.running.addresses.gateway, path, &headers, &question("m")).await;
    assert_eq!(late.get("grpc-status").unwrap(), "4", "{late:?}");
    abandoned(2).await;
    // The server was told how long it has.
    let (_, metadata) = server.behaviour.last.lock().unwrap().clone().unwrap();
    assert!(metadata.contains_key("grpc-timeout"), "{metadata:?}");
    // A caller that goes away.
    let call = tokio::spawn({
        let mut calls = calls.clone();
        async move { calls.model_infer(question("m")).await }
    });
    at_least(&server.behaviour.calls, 4, "the call does not come").await;
    call.abort();
    abandoned(3).await;
    server.behaviour.latency_us.store(0, Ordering::Relaxed);
    calls.model_infer(question("m")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_servers_die_of_costs_two() {
    let mut servers = Vec::new();
    for _ in 0..4 {
        let server = ModelStub::mortal("v1").await;
        *server.behaviour.dies_of.lock().unwrap() = Some("die".into());
        servers.push(server);
    }
    let endpoints: Vec<String> = servers.iter().map(ModelStub::endpoint).collect();
    let mesh = before_all(&[], &endpoints).await;
    let mut calls = inference(mesh.running.addresses.gateway).await;
    let deadly = || ModelInferRequest { id: "die".into(), ..question("m") };
    // As a client does that takes what is unavailable for a moment's trouble.
    let mut last = None;
    for _ in 0..6 {
        last = calls.model_infer(deadly()).await.err();
    }
    let last = last.expect("no answer");
    assert_eq!(
        (last.code(), reason(&last).0.as_str()),
        (Code::FailedPrecondition, "DEADLY_REQUEST"),
        "{last:?}"
    );
    let died = servers.iter().filter(|server| server.behaviour.died.load(Ordering::Relaxed)).count();
    assert_eq!(died, 2, "one may have been about to end anyway; a third would go the same way");
    for _ in 0..20 {
        calls.model_infer(question("m")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_an_instance_that_is_expected() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    model(&mut client, "m").await;
    version(&mut client, "m", "v1", &[address.to_string()], true).await;
    let mut calls = inference(mesh.running.addresses.gateway).await;
    let waiting = tokio::spawn(async move {
        loop {
            // The gateway may not have heard of the model yet.
            match calls.model_infer(question("m")).await {
                Err(status) if status.code() == Code::NotFound => tokio::task::yield_now().await,
                answered => return answered,
            }
        }
    });
    while !waiting.is_finished() {
        let told =
            acgs_tests::http::request(mesh.running.addresses.gateway, "GET", "/metrics", &[], "").await;
        if told.text().contains("acgs_gateway_in_flight 1") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _server = ModelStub::start_at(address, "v1").await;
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_holds_no_place_and_who_never_answers_no_call() {
    let server = ModelStub::start("v1").await;
    let flags = ["gateway.calls_max=3", "gateway.first_message_ms=500", "gateway.deadline_ms=700"];
    let mesh = before_all(&flags, &[server.endpoint()]).await;
    let gateway = mesh.running.addresses.gateway;
    let mut calls = inference(gateway).await;
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let silent: Vec<_> = (0..3).map(|_| tokio::spawn(http2::silent(gateway, path))).collect();
    for call in silent {
        let told = call.await.unwrap();
        assert_eq!(told.get("grpc-status").unwrap(), "14", "{told:?}");
    }
    calls.model_infer(question("m")).await.unwrap();
    server.behaviour.latency_us.store(60_000_000, Ordering::Relaxed);
    let late = calls.model_infer(question("m")).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    at_least(&server.behaviour.abandoned, 1, "the server still works for nobody").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_change_a_server_do_not_go_through() {
    let server = ModelStub::start("v1").await;
    let mesh = before(server.endpoint()).await;
    let unload = async |named: bool| {
        let at = format!("http://{}", mesh.running.addresses.gateway);
        let mut client = Grpc::new(Endpoint::from_shared(at).unwrap().connect_lazy());
        client.ready().await.unwrap();
        let mut request = Request::new(question("m"));
        if named {
            request.metadata_mut().insert("x-acgs-model-id", "m".parse().unwrap());
        }
        let path = "/inference.GRPCInferenceService/RepositoryModelUnload".parse().unwrap();
        let codec = tonic_prost::ProstCodec::<ModelInferRequest, ModelInferResponse>::default();
        client.unary(request, path, codec).await.unwrap_err()
    };
    for named in [true, false] {
        let refused = unload(named).await;
        let told = (refused.code(), reason(&refused).0);
        assert_eq!(told, (Code::Unimplemented, "METHOD_NOT_ALLOWED".to_owned()), "{refused:?}");
    }
    // Where the policy lists it, it is the server's to answer.
    let toml = format!("methods = [\"/inference.GRPCInferenceService/*\"]\n{POLICY}");
    let request = PutPolicyRequest {
        model_id: "m".into(),
        document: Some(PolicyDocument { toml }),
        ..Default::default()
    };
    mesh.lifecycle().await.models.put_policy(request).await.unwrap();
    let since = Instant::now();
    loop {
        let answered = unload(true).await;
        if reason(&answered).0 != "METHOD_NOT_ALLOWED" {
            assert_eq!(answered.code(), Code::Unimplemented, "{answered:?}");
            break;
        }
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
