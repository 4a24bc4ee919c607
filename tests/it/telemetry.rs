//! A trace goes from the caller through the orchestrator to the judge, and into the events on NATS; a collector receives it.

use std::collections::BTreeMap;

use acgs_contracts::orchestrator::v1::{End, stream_windows_request};
use acgs_tests::{
    PATIENCE, Stream,
    fleet::{Process, constitution},
    nats::Nats,
    open, rows,
};
use futures_util::StreamExt;
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::any_value::Value,
};
use tokio::sync::mpsc;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that keeps what it receives.
struct Collector {
    spans: mpsc::Sender<ExportTraceServiceRequest>,
    metrics: mpsc::Sender<ExportMetricsServiceRequest>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let _test_over = self.spans.send(request.into_inner()).await;
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let _test_over = self.metrics.send(request.into_inner()).await;
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: None }))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_all_the_way() {
    let (spans, mut received) = mpsc::channel(1_000);
    let (metrics, mut measured) = mpsc::channel(1_000);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("telemetry.otlp_endpoint=http://{}", incoming.local_addr().unwrap());
    tokio::spawn(
        Server::builder()
            .add_service(TraceServiceServer::new(Collector {
                spans: spans.clone(),
                metrics: metrics.clone(),
            }))
            .add_service(MetricsServiceServer::new(Collector { spans, metrics }))
            .serve_with_incoming(incoming),
    );
    let nats = Nats::start().await;
    // What a caller has decided to record is recorded, whatever share of others is.
    let shared = vec![format!("nats.url={}", nats.url()), endpoint, "telemetry.sampled=0.0".into()];
    let orchestrator = Process::start("orchestrator", 0, &shared).await;
    let mut flags = shared.clone();
    flags.push(format!("mesh.orchestrators=[\"{}\"]", orchestrator.address));
    let judge = Process::start("quality", 0, &flags).await;

    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut events = plain.subscribe("acgs.window.reported").await.unwrap();
    let endpoint =
        tonic::transport::Endpoint::from_shared(format!("http://{}", orchestrator.address)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let traced = tonic::service::interceptor::InterceptedService::new(channel, |mut request: Request<()>| {
        let traceparent = format!("00-{TRACE}-{PARENT}-01");
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
        let hash = constitution().current().parse().unwrap();
        request.metadata_mut().insert("x-constitutional-hash", hash);
        Ok(request)
    });
    let mut asked = open("traced", 100);
    asked.judges = vec![acgs_contracts::orchestrator::v1::Judge::Quality.into()];
    let mut stream = Stream::open_over(traced, asked).await.unwrap();
    stream.rows(1, &rows(0, &(0..100).collect::<Vec<_>>(), 0.0)).await;
    stream.send(stream_windows_request::Message::End(End {})).await;
    assert_eq!(stream.reports().await.len(), 1);

    let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
    let carried = envelope["traceparent"].as_str().unwrap().to_owned();
    assert!(carried.starts_with(&format!("00-{TRACE}-")) && carried.ends_with("-01"), "{carried}");
    assert_eq!(event.headers.unwrap().get("traceparent").unwrap().as_str(), carried);
    // Direct calls too; this one's caller does not record.
    let mut assessed = plain.subscribe("acgs.quality.>").await.unwrap();
    plain.flush().await.unwrap();
    let traceparent = format!("00-{TRACE}-{PARENT}-00");
    let headers = [("traceparent", traceparent.as_str()), ("content-type", "application/json")];
    let body = format!(r#"{{"constitutional_hash": "{}", "data": [{{"x": 1}}]}}"#, constitution().current());
    let answer = acgs_tests::http::request(judge.address, "POST", "/assess", &headers, body).await;
    assert_eq!(answer.status, 200);
    let event = tokio::time::timeout(PATIENCE, assessed.next()).await.unwrap().unwrap();
    let carried_on = event.headers.unwrap().get("traceparent").unwrap().as_str().to_owned();
    assert!(carried_on.starts_with(&format!("00-{TRACE}-")) && carried_on.ends_with("-00"), "{carried_on}");
    assert!(judge.stop().await && orchestrator.stop().await, "what is recorded goes out before the end");

    // By service: the span's name, its parent, and its own id.
    let mut seen: BTreeMap<String, (String, String, String)> = BTreeMap::new();
    while seen.len() < 2 {
        let request = tokio::time::timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name").unwrap();
            let Some(Value::StringValue(service)) = name.value.unwrap().value else { panic!("a name") };
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert_eq!(hex(&span.trace_id), TRACE, "nothing else is sampled: {}", span.name);
                seen.insert(service.clone(), (span.name, hex(&span.parent_span_id), hex(&span.span_id)));
            }
        }
    }
    let (name, parent, own) = &seen["analytics-orchestrator"];
    assert_eq!(
        (name.as_str(), parent.as_str()),
        ("acgs.orchestrator.v1.OrchestratorService/StreamWindows", PARENT)
    );
    let (name, parent, _) = &seen["data-quality-service"];
    assert_eq!((name.as_str(), parent), ("acgs.quality.v1.QualityService/Judge", own));
    assert!(carried.contains(own), "events name the span that they come from");
    let durations = async {
        loop {
            let request = measured.recv().await.unwrap();
            let mut names = request
                .resource_metrics
                .iter()
                .flat_map(|all| &all.scope_metrics)
                .flat_map(|scope| &scope.metrics);
            if names.any(|metric| metric.name == "rpc.server.call.duration") {
                break;
            }
        }
    };
    tokio::time::timeout(acgs_tests::PATIENCE, durations).await.expect("metrics go out before the end");
}

/// A collector that is not there costs nothing but what it would have received.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_does_not_hold_anybody() {
    let flags = ["telemetry.otlp_endpoint=http://127.0.0.1:1".to_owned(), "telemetry.sampled=1.0".to_owned()];
    let judge = Process::start("quality", 0, &flags).await;
    let answer = acgs_tests::http::request(judge.address, "GET", "/health", &[], "").await;
    assert_eq!(answer.status, 200);
    assert!(judge.stop().await);
}
