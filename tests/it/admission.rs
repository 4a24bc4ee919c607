//! Who may come in: idle and half connections, slow requests, names and pages, and what is not here.

use std::{net::SocketAddr, time::Duration};

use acgs_contracts::lifecycle::v1::RegisterModelRequest;
use acgs_tests::{
    Mesh, PATIENCE,
    fleet::{Process, constitution},
    http::request,
    http2, open, reason,
};
use acgs_vocabulary::constitution::{HEADER, PLATFORM};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn ports(mesh: &Mesh) -> Vec<SocketAddr> {
    mesh.running.addresses.served().map(|(_, address)| address).collect()
}

/// CPU of a process so far, in clock ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_take_nothing_from_others() {
    let home = tempfile::tempdir().unwrap();
    let flags = [
        format!("home.folder={}", home.path().join("events").display()),
        // None of them is closed for its silence.
        "admission.first_bytes_ms=600000".to_owned(),
    ];
    let (process, said) = Process::limited(200, &flags).await;
    let all: Vec<SocketAddr> =
        said.as_object().unwrap().values().filter_map(|address| address.as_str()?.parse().ok()).collect();
    let mut idle = Vec::new();
    for round in 0..520 {
        // One that is refused is closed at once, or later.
        if let Ok(stream) = TcpStream::connect(all[round % all.len()]).await {
            idle.push(stream);
        }
    }
    let ticks = cpu_ticks(process.pid());
    let since = std::time::Instant::now();
    for round in 0..20 {
        let channel =
            acgs_mesh::client::connect(&format!("http://{}", process.address), constitution()).await;
        let mut client = acgs_client::LifecycleClients::new(channel.expect("a connection"));
        let model_id = format!("m{round}");
        client.models.register_model(RegisterModelRequest { model_id, ..Default::default() }).await.unwrap();
        assert_eq!(request(process.address, "GET", "/health", &[], "").await.status, 200);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let spent_ms = (cpu_ticks(process.pid()) - ticks) * 10;
    assert!(u128::from(spent_ms) < since.elapsed().as_millis(), "{spent_ms} ms of CPU for 40 calls");
    drop(idle);
}

/// Reads to the end, and says what came.
async fn rest(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset is an end, too.
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("no end");
    drop(read);
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_half_is_closed() {
    let mesh = Mesh::start_with(&["admission.first_bytes_ms=300"]).await;
    for address in ports(&mesh) {
        for half in [&b""[..], b"PRI * HTTP/2.0"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(half).await.unwrap();
            rest(&mut stream).await;
        }
    }
    let mut stream = TcpStream::connect(mesh.running.addresses.gateway).await.unwrap();
    stream.write_all(b"POST /inference HTTP/1.1\r\nHost: loc").await.unwrap();
    rest(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_come_have_an_end_and_streams_do_not() {
    let mesh = Mesh::start_with(&["admission.body_ms=300"]).await;
    let mut stream = mesh.stream(open("s", 1_000)).await.unwrap();
    let mut rest_ports = vec![mesh.running.addresses.quality, mesh.running.addresses.gateway];
    rest_ports.push(mesh.running.addresses.orchestrator);
    let paths = ["/assess", "/acgs.constitution.v1.ConstitutionService/GetConstitution", "/v1/models"];
    for (address, path) in rest_ports.into_iter().zip(paths) {
        let kind = if path.starts_with("/acgs") { "application/grpc-web+proto" } else { "application/json" };
        let mut half = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{HEADER}: {PLATFORM}\r\ncontent-type: {kind}\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{{"
        );
        half.write_all(head.as_bytes()).await.unwrap();
        let told = rest(&mut half).await;
        let ended = told.contains("SLOW_BODY") || told.contains("did%20not%20come%20in%20time");
        assert!(ended, "{path}: {told}");
    }
    for (address, path) in [
        (mesh.running.addresses.quality, "/acgs.quality.v1.QualityService/Assess"),
        (mesh.running.addresses.drift, "/acgs.drift.v1.DriftService/PutReference"),
        (mesh.running.addresses.orchestrator, "/acgs.lifecycle.v1.JobService/PutArtifact"),
    ] {
        let told = http2::silent(address, path).await;
        assert_eq!(told.get("grpc-status").unwrap(), "4", "{path}: {told:?}");
    }
    // A stream says what it has to say when it has it.
    stream.end().await;
    assert!(stream.rest().await.1.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_and_pages_reach_nothing_at_any_port() {
    let mesh = Mesh::start_with(&[r#"web.hosts=["mesh.example"]"#]).await;
    let unary = "/acgs.constitution.v1.ConstitutionService/GetConstitution";
    let infer = "/inference.GRPCInferenceService/ModelInfer";
    let grpc = ("content-type", "application/grpc");
    let web = ("content-type", "application/grpc-web+proto");
    let json = ("content-type", "application/json");
    let hash = (HEADER, PLATFORM);
    for address in ports(&mesh) {
        let calls = [
            ("GET", "/health", json),
            ("GET", "/metrics", json),
            ("POST", unary, grpc),
            ("POST", unary, web),
            ("POST", infer, grpc),
            ("POST", "/grpc.health.v1.Health/Check", grpc),
            ("POST", "/v1/models", json),
        ];
        for (method, path, kind) in calls {
            for (name, value, reason) in
                [("host", "evil.example:8013", "HOST"), ("origin", "https://evil.example", "ORIGIN")]
            {
                let told = http_with(address, method, path, &[kind, hash, (name, value)]).await;
                let grpc = kind.1.starts_with("application/grpc");
                let refused =
                    if grpc { told.contains("grpc-status: 7") } else { told.starts_with("HTTP/1.1 403") };
                assert!(refused, "{address}{path} {reason}: {told}");
                assert!(grpc || told.contains(reason), "{told}");
            }
        }
        for host in ["localhost", "127.0.0.1:1", "orchestrator:8013", "mesh.example", "[::1]:8013"] {
            let told = http_with(address, "GET", "/health", &[("host", host)]).await;
            assert!(told.starts_with("HTTP/1.1 200"), "{host}: {told}");
        }
    }
}

/// A request over HTTP/1.1 with these headers, and all of its answer.
async fn http_with(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    rest(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_over_rest_has_code_and_reason() {
    let mesh = Mesh::start().await;
    let addresses = mesh.running.addresses;
    let json = ("content-type", "application/json");
    let hash = (HEADER, PLATFORM);
    let streams = "/acgs.orchestrator.v1.OrchestratorService/StreamWindows";
    for (address, method, path, headers, http, reason) in [
        (addresses.quality, "GET", "/nowhere", vec![], 404, "NOT_HERE"),
        (addresses.quality, "DELETE", "/assess", vec![], 405, "METHOD_NOT_ALLOWED"),
        (addresses.quality, "POST", "/health", vec![], 405, "METHOD_NOT_ALLOWED"),
        (addresses.orchestrator, "POST", streams, vec![json], 415, "GRPC_ONLY"),
        (addresses.orchestrator, "GET", streams, vec![], 405, "METHOD_NOT_ALLOWED"),
        (
            addresses.quality,
            "POST",
            "/assess",
            vec![json, hash, ("content-encoding", "gzip")],
            415,
            "ENCODING",
        ),
        (addresses.gateway, "POST", "/assess", vec![json], 404, "NOT_HERE"),
    ] {
        let told = request(address, method, path, &headers, "").await;
        let said = told.json();
        assert_eq!(
            (told.status.as_u16(), said["reason"].as_str()),
            (http, Some(reason)),
            "{method} {path}: {said}"
        );
        assert!(said["code"].is_string() && said["detail"].is_string(), "{said}");
    }
    // Who asks at the wrong port is told the right one, however it asks.
    let place = format!("port {}", addresses.quality.port());
    let told = request(addresses.gateway, "POST", "/assess", &[json, hash], "{}").await;
    assert!(told.json()["detail"].as_str().unwrap().contains(&place), "{}", told.text());
    let path = "/acgs.quality.v1.QualityService/Assess";
    let headers = [("content-type", "application/grpc-web+proto"), hash];
    let told = http_with(addresses.drift, "POST", path, &headers).await;
    assert!(told.contains("grpc-status: 12") && told.contains(&place.replace(' ', "%20")), "{told}");
    let told = http2::unary(addresses.drift, path, &[hash], &RegisterModelRequest::default()).await;
    assert_eq!(told.get("grpc-status").unwrap(), "12", "{told:?}");
    assert!(
        told.get("grpc-message").unwrap().to_str().unwrap().contains(&place.replace(' ', "%20")),
        "{told:?}"
    );
}

/// Every name that a caller can leave behind, with an escape sequence and a line of its own in it.
#[tokio::test(flavor = "multi_thread")]
async fn names_with_control_characters_are_refused() {
    const FORGED: &str = "x\u{1b}[2J\nERROR forged";
    let mesh = Mesh::start().await;
    let addresses = mesh.running.addresses;
    let records = serde_json::json!([{"a": 1}]);
    for (address, path, body) in [
        (addresses.quality, "/assess", serde_json::json!({"service_id": FORGED, "data": records})),
        (addresses.quality, "/assess", serde_json::json!({"service_id": "s", "data": [{FORGED: 1}]})),
        (addresses.quality, "/monitor/start", serde_json::json!({"service_id": FORGED})),
        (
            addresses.drift,
            "/detect",
            serde_json::json!({"model_id": FORGED, "reference_data": records, "current_data": records}),
        ),
        (addresses.drift, "/monitor/start", serde_json::json!({"model_id": FORGED})),
        (
            addresses.performance,
            "/metrics/submit",
            serde_json::json!({"service_id": FORGED, "metrics": {"error_rate_percent": 1.0}}),
        ),
        (
            addresses.orchestrator,
            "/analyze",
            serde_json::json!({"service_id": FORGED, "analysis_type": "quality", "data": records}),
        ),
        (
            addresses.orchestrator,
            "/services/register",
            serde_json::json!({"service_id": "s", "service_name": FORGED, "host": "127.0.0.1", "port": 1, "health_endpoint": "/health", "capabilities": ["quality"]}),
        ),
        (addresses.orchestrator, "/v1/models", serde_json::json!({"model_id": "m", "model_name": FORGED})),
        (addresses.orchestrator, "/v1/models", serde_json::json!({"model_id": "m", "service_id": FORGED})),
        (addresses.orchestrator, "/v1/models", serde_json::json!({"model_id": "m", "actor": FORGED})),
    ] {
        let headers = [("content-type", "application/json"), (HEADER, PLATFORM)];
        let told = request(address, "POST", path, &headers, body.to_string()).await;
        let reason = told.json()["reason"].as_str().unwrap_or_default().to_owned();
        assert!(["BAD_NAME", "BAD_SCHEMA"].contains(&reason.as_str()), "{path} {body}: {}", told.text());
    }
    let named = |change: fn(&mut acgs_contracts::orchestrator::v1::Open)| {
        let mut stream = open("s", 1_000);
        change(&mut stream);
        stream
    };
    for stream in [
        named(|open| open.stream_id = FORGED.into()),
        named(|open| open.partition_id = FORGED.into()),
        named(|open| open.model_id = FORGED.into()),
        named(|open| open.model_version = FORGED.into()),
        named(|open| open.service_id = FORGED.into()),
    ] {
        let refused = mesh.stream(stream).await.unwrap_err();
        assert_eq!(reason(&refused).0, "BAD_NAME", "{refused:?}");
    }
}
