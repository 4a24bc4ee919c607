//! What passes through the gateway besides plain calls: streams both ways, their ends and trailers, deadlines and cancellation. Any
//! service can be behind it when the model is named in metadata; here it is another mesh's orchestrator.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use acgs_contracts::orchestrator::v1::{
    SubscribeRequest, orchestrator_service_client::OrchestratorServiceClient,
};
use acgs_mesh::client::MeshChannel;
use acgs_tests::{
    Mesh, PATIENCE, Stream,
    models::{ModelStub, inference, question},
    open, reason, rows,
};
use tonic::{Code, Request, Status, service::Interceptor, service::interceptor::InterceptedService};

use crate::deployments::{model, version};

/// Names the model that is meant.
#[derive(Clone)]
struct Naming;

impl Interceptor for Naming {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("x-acgs-model-id", "m".parse().expect("a value"));
        Ok(request)
    }
}

/// A mesh whose gateway has these endpoints as the version that serves.
async fn before(endpoint: String) -> Mesh {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    model(&mut client, "m").await;
    version(&mut client, "m", "v1", &[endpoint], true).await;
    let mut calls = inference(mesh.running.addresses.gateway).await;
    let since = Instant::now();
    // Whatever is there has been asked: the route is in force.
    while calls.model_infer(question("m")).await.is_err_and(|status| status.code() == Code::Unavailable) {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mesh
}

async fn through(mesh: &Mesh) -> InterceptedService<MeshChannel, Naming> {
    InterceptedService::new(mesh.channel(mesh.running.addresses.gateway).await, Naming)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_pass_both_ways_with_their_ends_and_trailers() {
    let behind = Mesh::start().await;
    let mesh = before(behind.running.addresses.orchestrator.to_string()).await;
    // Both ways at once: reports come while rows still go.
    let mut stream = Stream::open_over(through(&mesh).await, open("s", 1_000)).await.unwrap();
    for window in 0..4_i64 {
        let times: Vec<i64> = (0..200).map(|row| window * 1_000 + row * 5).collect();
        stream.rows(window as u64 + 1, &rows(window * 200, &times, 0.0)).await;
    }
    let first = loop {
        let message = stream.next().await.unwrap().expect("the stream is open");
        if let acgs_contracts::orchestrator::v1::stream_windows_response::Message::Report(report) = message {
            break report;
        }
    };
    assert_eq!(first.window.unwrap().end_ms, 1_000);
    stream.end().await;
    let reports = stream.reports().await;
    assert_eq!(reports.len(), 3, "and the rest at the end");
    // A refusal is in trailers, with its details.
    let mut bad = open("s", 1_000);
    bad.model_id = "m".repeat(200);
    let refused = Stream::open_over(through(&mesh).await, bad).await.err().expect("refused");
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::InvalidArgument, ("TOO_LONG".into(), "open.model_id".into()))
    );
    let mut client = OrchestratorServiceClient::new(through(&mesh).await);
    let filter = SubscribeRequest { after_sequence: None, subject_filter: "a..b".into() };
    let refused = client.subscribe(filter).await.unwrap_err();
    assert_eq!(reason(&refused).0, "BAD_FILTER");
    // A stream that only listens, and outlives what it listens to: the server's own end comes through.
    let all = SubscribeRequest { after_sequence: Some(0), subject_filter: ">".into() };
    let mut events = client.subscribe(all).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    behind.running.stop().await.unwrap();
    let end = loop {
        match tokio::time::timeout(PATIENCE, events.message()).await.expect("ends in time") {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(status) => break Some(status),
        }
    };
    assert!(end.is_none_or(|status| status.code() == Code::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_cancellation_reach_the_server() {
    let server = ModelStub::start("v1").await;
    let mesh = before(server.endpoint()).await;
    let mut calls = inference(mesh.running.addresses.gateway).await;
    server.behaviour.latency_us.store(60_000_000, Ordering::Relaxed);
    let abandoned = async |wanted: u64| {
        let since = Instant::now();
        while server.behaviour.abandoned.load(Ordering::Relaxed) < wanted {
            assert!(since.elapsed() < PATIENCE, "the server still works for nobody");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // The gateway answers for a deadline, and what was asked is given up.
    let mut request = Request::new(question("m"));
    request.set_timeout(Duration::from_millis(200));
    let since = Instant::now();
    let late = calls.model_infer(request).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    abandoned(1).await;
    // One without a client-side timer: only the header says it, so only the gateway can.
    let mut request = Request::new(question("m"));
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let late = calls.model_infer(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    abandoned(2).await;
    // The server was told how long it has.
    let (_, metadata) = server.behaviour.last.lock().unwrap().clone().unwrap();
    assert!(metadata.contains_key("grpc-timeout"), "{metadata:?}");
    // A caller that goes away.
    let call = tokio::spawn({
        let mut calls = calls.clone();
        async move { calls.model_infer(question("m")).await }
    });
    let since = Instant::now();
    while server.behaviour.calls.load(Ordering::Relaxed) < 4 {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    call.abort();
    abandoned(3).await;
    server.behaviour.latency_us.store(0, Ordering::Relaxed);
    calls.model_infer(question("m")).await.unwrap();
}
