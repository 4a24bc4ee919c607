//! What is kept of calls over REST: histories and monitors.

use acgs_tests::{Mesh, http::request};
use acgs_vocabulary::constitution::{HEADER, PLATFORM};
use serde_json::{Value, json};

use crate::rest::{call, case, records};

#[tokio::test]
async fn what_was_submitted_is_there_afterwards() {
    let mesh = Mesh::start().await;
    let addresses = mesh.running.addresses;
    let post = |path, body: Value| {
        let case = case("POST", path, body, &[]);
        async move { call(addresses.performance, &case).await.json() }
    };
    post("/sla/configure", json!({"service_id": "s", "sla_targets": {"response_time_ms": 100}})).await;
    for value in [50, 150, 60, 160] {
        let answer =
            post("/metrics/submit", json!({"service_id": "s", "metrics": {"response_time_ms": value}})).await;
        assert_eq!(answer["sla_compliance"], value < 100, "the service's own target holds: {answer}");
    }
    let get = |address, path| {
        let case = case("GET", path, Value::Null, &[]);
        async move { call(address, &case).await.json() }
    };
    // Kept behind the caller's back: there in a moment.
    let since = std::time::Instant::now();
    let history = loop {
        let history = get(addresses.performance, "/metrics/history/s").await;
        if history["count"] == 4 {
            break history;
        }
        assert!(since.elapsed() < acgs_tests::PATIENCE, "{history}");
    };
    assert_eq!(history["metrics"][0]["metrics"]["response_time_ms"], 160.0, "newest first: {history}");
    let status = get(addresses.performance, "/sla/status").await;
    assert_eq!(status["sla_status"]["s"]["compliance_rate"], 0.5, "{status}");
    assert_eq!(
        status["sla_status"]["s"]["sla_targets"]["availability_percent"], 99.5,
        "defaults stay: {status}"
    );

    let data = json!({"data": [{"a": 1}, {"a": null}], "service_id": "s", "constitutional_hash": PLATFORM});
    let made = request(addresses.quality, "POST", "/assess", &[], data.to_string()).await.json();
    let id = made["assessment_id"].as_str().unwrap();
    let recent = loop {
        let recent = get(addresses.quality, "/assessments/recent").await;
        if recent["count"] == 1 {
            break recent;
        }
    };
    assert_eq!(recent["assessments"][0]["assessment_id"], id);
    let path = format!("/v1/assessments/{id}");
    let one = request(addresses.quality, "GET", &path, &[(HEADER, PLATFORM)], "").await.json();
    assert_eq!(one["assessment"]["missing_value_rate"], 0.5, "{one}");
    let gone = request(addresses.quality, "GET", "/v1/assessments/qa-0", &[(HEADER, PLATFORM)], "").await;
    assert_eq!((gone.status.as_u16(), gone.json()["reason"].as_str()), (404, Some("UNKNOWN_ASSESSMENT")));
}

#[tokio::test]
async fn a_monitor_judges_what_arrives_and_invents_nothing() {
    let mesh = Mesh::start().await;
    let addresses = mesh.running.addresses;
    let log = mesh.running.log.clone().unwrap();
    let mut events = log.subscribe(0, "acgs.quality.assessment").await.unwrap();
    let start =
        case("POST", "/monitor/start", json!({"service_id": "watched", "monitoring_interval": 1}), &[]);
    assert_eq!(call(addresses.quality, &start).await.json()["interval_seconds"], 1);
    for part in 0..3 {
        let body = json!({"data": records(10 + part, 0.0), "service_id": "watched"});
        assert_eq!(call(addresses.quality, &case("POST", "/assess", body, &[])).await.status, 200);
    }
    let mut counts = Vec::new();
    for _ in 0..4 {
        let event = tokio::time::timeout(acgs_tests::PATIENCE, events.recv()).await.unwrap().unwrap();
        counts.push(event.envelope.payload["record_count"].as_u64().unwrap());
    }
    assert_eq!(counts, [10, 11, 12, 33], "three calls, and all of them together");
    // Rows of a lane are gathered too, each once.
    let mut opened = acgs_tests::open("watched-stream", 1_000);
    opened.service_id = "watched".into();
    let mut stream = mesh.stream(opened).await.unwrap();
    stream.rows(1, &acgs_tests::rows(0, &(0..70).collect::<Vec<_>>(), 0.0)).await;
    let event = tokio::time::timeout(acgs_tests::PATIENCE, events.recv()).await.unwrap().unwrap();
    assert_eq!(event.envelope.payload["record_count"], 70);
    let listed = call(addresses.quality, &case("GET", "/monitors", Value::Null, &[])).await.json();
    assert_eq!(listed["monitors"][0]["service_id"], "watched", "{listed}");
    let stop = case("POST", "/monitor/stop", json!({"service_id": "watched"}), &[]);
    assert_eq!(call(addresses.quality, &stop).await.json()["was_monitored"], true);
    assert_eq!(call(addresses.quality, &stop).await.json()["was_monitored"], false);
}
