//! The original's 25 operations at their paths and fields, and what a REST caller gets when it is wrong.

use std::net::SocketAddr;

use acgs_tests::{
    Mesh,
    http::{Answer, request},
};
use acgs_vocabulary::constitution::{HEADER, PLATFORM};
use serde_json::{Value, json};

/// What an answer must have.
pub(crate) struct Case {
    method: &'static str,
    path: &'static str,
    body: Value,
    fields: &'static [&'static str],
}

pub(crate) fn case(
    method: &'static str,
    path: &'static str,
    body: Value,
    fields: &'static [&'static str],
) -> Case {
    Case { method, path, body, fields }
}

pub(crate) async fn call(address: SocketAddr, case: &Case) -> Answer {
    let mut body = case.body.clone();
    let headers: &[(&str, &str)] = if case.method == "GET" {
        &[(HEADER, PLATFORM)]
    } else {
        // The original's callers send it in the body.
        body["constitutional_hash"] = PLATFORM.into();
        &[("content-type", "application/json")]
    };
    let body = if case.method == "GET" { Vec::new() } else { body.to_string().into_bytes() };
    request(address, case.method, case.path, headers, body).await
}

pub(crate) fn records(count: usize, shift: f64) -> Value {
    (0..count)
        .map(|row| json!({"x": (row * 37 % 101) as f64 / 10.0 + shift, "c": if row % 2 == 0 { "a" } else { "b" }}))
        .collect()
}

#[tokio::test]
async fn the_25_operations_answer_as_the_original_named_them() {
    let mesh = Mesh::start().await;
    let addresses = mesh.running.addresses;
    const SIGNED: [&str; 2] = ["constitutional_hash", "timestamp"];
    let health: &[&str] = &["status", "service", "version"];
    let table = [
        (
            addresses.quality,
            vec![
                case("GET", "/health", Value::Null, health),
                case(
                    "GET",
                    "/metrics",
                    Value::Null,
                    &[
                        "assessments_completed",
                        "alerts_generated",
                        "average_processing_time_ms",
                        "uptime_start",
                    ],
                ),
                case(
                    "POST",
                    "/assess",
                    json!({"data": records(50, 0.0), "service_id": "auth", "target_column": null}),
                    &[
                        "assessment_id",
                        "overall_score",
                        "missing_value_rate",
                        "outlier_rate",
                        "freshness_score",
                        "violations",
                        "recommendations",
                    ],
                ),
                case(
                    "POST",
                    "/monitor/start?service_id=auth&monitoring_interval=60",
                    json!({}),
                    &["message", "interval_seconds"],
                ),
                case("GET", "/assessments/recent?limit=5", Value::Null, &["assessments", "count"]),
            ],
        ),
        (
            addresses.drift,
            vec![
                case("GET", "/health", Value::Null, health),
                case(
                    "POST",
                    "/models/register",
                    json!({"model_id": "acgs_ml_router_v8", "reference_data": records(100, 0.0)}),
                    &["message", "reference_records"],
                ),
                case(
                    "POST",
                    "/detect",
                    json!({"model_id": "acgs_ml_router_v8", "current_data": records(100, 5.0), "reference_data": []}),
                    &[
                        "detection_id",
                        "model_id",
                        "drift_detected",
                        "retraining_required",
                        "features_with_ks_drift",
                        "features_with_psi_drift",
                        "drift_severity",
                        "recommendations",
                    ],
                ),
                case(
                    "POST",
                    "/monitor/start",
                    json!({"model_id": "acgs_ml_router_v8", "service_id": "auth", "monitoring_interval": 300}),
                    &["message", "interval_seconds"],
                ),
                case("GET", "/models", Value::Null, &["models", "count"]),
                case("GET", "/detections/recent", Value::Null, &["detections", "count"]),
                case(
                    "GET",
                    "/metrics",
                    Value::Null,
                    &[
                        "detections_completed",
                        "drift_alerts_generated",
                        "retraining_triggers",
                        "models_monitored",
                        "average_processing_time_ms",
                        "uptime_start",
                    ],
                ),
            ],
        ),
        (
            addresses.performance,
            vec![
                case("GET", "/health", Value::Null, health),
                case(
                    "POST",
                    "/sla/configure",
                    json!({"service_id": "auth", "sla_targets": {"response_time_ms": 200}}),
                    &["message", "targets"],
                ),
                case(
                    "POST",
                    "/metrics/submit",
                    json!({"service_id": "auth", "metrics": {"response_time_ms": 250, "error_rate_percent": 0.5}}),
                    &["metric_id", "service_id", "sla_compliance", "violations", "recommendations"],
                ),
                case(
                    "GET",
                    "/metrics/history/auth?hours=24&limit=100",
                    Value::Null,
                    &["service_id", "metrics", "count"],
                ),
                case("GET", "/sla/status", Value::Null, &["sla_status"]),
                case("POST", "/monitor/start?service_id=auth", json!({}), &["message", "interval_seconds"]),
                case(
                    "GET",
                    "/metrics",
                    Value::Null,
                    &[
                        "metrics_collected",
                        "sla_violations",
                        "alerts_generated",
                        "services_monitored",
                        "uptime_start",
                    ],
                ),
            ],
        ),
        (
            addresses.orchestrator,
            vec![
                case("GET", "/health", Value::Null, &["status", "service", "version", "registered_services"]),
                case(
                    "POST",
                    "/services/register",
                    json!({"service_id": "q1", "service_name": "data-quality-service", "host": "127.0.0.1", "port": 8010, "capabilities": ["quality"]}),
                    &["message", "capabilities"],
                ),
                case(
                    "POST",
                    "/analyze",
                    json!({"analysis_type": "quality", "data": records(50, 0.0), "service_id": "auth"}),
                    &["analysis_id", "analysis_type", "processing_time_ms", "services_used", "quality"],
                ),
                case("GET", "/services", Value::Null, &["services"]),
                case(
                    "POST",
                    "/services/discover",
                    json!({}),
                    &["message", "discovered_services", "total_services"],
                ),
                case(
                    "GET",
                    "/metrics",
                    Value::Null,
                    &[
                        "requests_processed",
                        "distributed_analyses",
                        "service_failures",
                        "average_processing_time_ms",
                        "uptime_start",
                        "service_registry",
                    ],
                ),
            ],
        ),
    ];
    let mut operations = 0;
    for (address, cases) in table {
        for case in cases {
            operations += 1;
            let answer = if case.path == "/metrics" {
                request(address, "GET", "/metrics", &[("accept", "application/json")], "").await
            } else {
                call(address, &case).await
            };
            let shown = format!("{} {}: {}", case.method, case.path, answer.text());
            assert_eq!(answer.status, 200, "{shown}");
            let body = answer.json();
            for field in case.fields {
                assert!(body.get(field).is_some(), "{field} is missing in {shown}");
            }
            assert_eq!(body["constitutional_hash"], PLATFORM, "{shown}");
            let monitor = case.path.starts_with("/monitor/start");
            assert!(monitor || SIGNED.iter().all(|field| body.get(field).is_some()), "{shown}");
        }
    }
    assert_eq!(operations, 25);
}

#[tokio::test]
async fn refusals_say_what_is_wrong_and_where() {
    let mesh = Mesh::start().await;
    let quality = mesh.running.addresses.quality;
    let with = [(HEADER, PLATFORM)];
    let data = json!({"data": [{"a": 1}]}).to_string();
    let missing = request(quality, "POST", "/assess", &[], data.clone()).await;
    assert_eq!(
        (missing.status.as_u16(), missing.json()["reason"].as_str()),
        (422, Some("CONSTITUTION_MISSING"))
    );
    for wrong in ["0000000000000000", "", "Cdd01ef066bc6cf2"] {
        let answer = request(quality, "POST", "/assess", &[(HEADER, wrong)], data.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["reason"].as_str()),
            (403, Some("CONSTITUTION_MISMATCH"))
        );
        assert!(!answer.text().contains(PLATFORM) && answer.headers.get(HEADER).is_none(), "{answer:?}");
    }
    let both = json!({"data": [{"a": 1}], "constitutional_hash": "0000000000000000"}).to_string();
    assert_eq!(
        request(quality, "POST", "/assess", &with, both).await.status,
        403,
        "two that differ are wrong"
    );
    let same = json!({"data": [{"a": 1}], "constitutional_hash": PLATFORM}).to_string();
    assert_eq!(request(quality, "POST", "/assess", &with, same).await.status, 200);
    for (body, field, reason) in [
        ("{", "body", "BAD_JSON"),
        ("[]", "body", "BAD_JSON"),
        (r#"{"data": [{"a": 1}], "nonsense": 1}"#, "nonsense", "BAD_JSON"),
        (r#"{"data": [{"a": 1}, 7]}"#, "data[1]", "BAD_JSON"),
        (r#"{"service_id": "x"}"#, "data", "EMPTY_DATA"),
        (r#"{"data": [{"a": 1}]} x"#, "body", "BAD_JSON"),
    ] {
        let answer = request(quality, "POST", "/assess", &with, body).await;
        let said = answer.json();
        assert_eq!(
            (answer.status.as_u16(), said["field"].as_str(), said["reason"].as_str()),
            (400, Some(field), Some(reason)),
            "{body}: {said}"
        );
        assert!(said["detail"].as_str().unwrap().contains(field), "{said}");
    }
    // What the path says counts, whatever the query says.
    let path = "/v1/assessments/qa-1?assessment_id=qa-2";
    let answer = request(quality, "GET", path, &with, "").await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("qa-1"), "{}", answer.text());
    let bad = request(quality, "GET", "/assessments/recent?limit=x", &with, "").await;
    assert_eq!((bad.status.as_u16(), bad.json()["field"].as_str()), (400, Some("limit")));
    let unknown = request(quality, "GET", "/assessments/recent?colour=1", &with, "").await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["field"].as_str()), (400, Some("colour")));
    let high = request(quality, "GET", "/assessments/recent?limit=5000", &with, "").await;
    assert_eq!((high.status.as_u16(), high.json()["reason"].as_str()), (400, Some("OUT_OF_RANGE")));
    let large = vec![b' '; (16 << 20) + 1];
    assert_eq!(request(quality, "POST", "/assess", &with, large).await.status, 413);
    let metrics = request(quality, "GET", "/metrics", &[], "").await.text();
    assert!(metrics.contains("rpc_server_call_duration_seconds_count{"), "{metrics}");
    assert!(metrics.contains(r#"rpc_method="acgs.quality.v1.QualityService/Assess""#), "{metrics}");
    assert!(metrics.contains(r#"rpc_response_status_code="PERMISSION_DENIED""#), "{metrics}");
    assert!(metrics.contains("acgs_constitutional_hash_mismatches_total 5"), "{metrics}");
}

/// As a page of another origin calls: a preflight, and a unary call over gRPC-Web and HTTP/1.1.
#[tokio::test]
async fn pages_call_over_grpc_web_when_they_may() {
    let mesh = Mesh::start_with(&[r#"web.origins=["https://page.example"]"#]).await;
    let quality = mesh.running.addresses.quality;
    let path = "/acgs.quality.v1.QualityService/ListAssessments";
    for (origin, allowed) in [("https://page.example", true), ("https://other.example", false)] {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-grpc-web,x-constitutional-hash"),
        ];
        let preflight = request(quality, "OPTIONS", path, &asked, "").await;
        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.headers.contains_key("access-control-allow-origin"), allowed);
        let called = [
            ("origin", origin),
            ("content-type", "application/grpc-web+proto"),
            ("x-grpc-web", "1"),
            (HEADER, PLATFORM),
        ];
        let answer = request(quality, "POST", path, &called, [0_u8; 5]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers.contains_key("access-control-allow-origin"), allowed);
        let told =
            answer.headers.get("grpc-status").map_or_else(|| answer.text(), |code| format!("{code:?}"));
        assert_eq!(told.contains("grpc-status:0"), allowed, "{told:?}");
    }
    // A page that asks nobody, by a request that browsers send without asking.
    let simple = json!({"service_id": "s", "constitutional_hash": PLATFORM}).to_string();
    let sneaky = [("origin", "https://other.example"), ("content-type", "text/plain")];
    let answer = request(quality, "POST", "/monitor/start", &sneaky, simple.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (403, Some("ORIGIN")));
    let allowed = [("origin", "https://page.example"), ("content-type", "application/json")];
    assert_eq!(request(quality, "POST", "/monitor/start", &allowed, simple).await.status, 200);
    for (path, headers) in [("/nowhere", &[][..]), ("/", &[(HEADER, PLATFORM)][..])] {
        assert_eq!(request(quality, "GET", path, headers, "").await.status, 404);
    }
    let unguarded = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    let refused = request(quality, "POST", path, &unguarded, [0_u8; 5]).await;
    let status = refused.headers.get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    assert!(status.as_deref() == Some("3") || refused.text().contains("grpc-status:3"), "{refused:?}");
}
