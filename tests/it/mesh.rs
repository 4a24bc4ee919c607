//! The mesh of processes with its bus: nothing is lost while NATS is away, a slow instance does not slow callers.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use acgs_contracts::{
    common::v1::Severity,
    grpc::health::v1::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    },
    orchestrator::v1::{
        AcknowledgeAlertRequest, AlertState, ExplainAlertRequest, ListAlertsRequest, ListServicesRequest,
        RegisterServiceRequest, ResolveAlertRequest, WatchServicesRequest,
    },
};
use acgs_tests::{
    PATIENCE, Stream,
    fleet::{Fleet, Process},
    open, reason, rows,
};
use futures_util::StreamExt;
use tonic::Code;

pub(crate) const WINDOW_MS: i64 = 100;

/// A window's rows; every third window is far too empty, which is an alert.
pub(crate) async fn window(stream: &mut Stream, seq: u64) {
    let first = (seq as i64 - 1) * WINDOW_MS;
    let times: Vec<i64> = (first..first + WINDOW_MS).collect();
    let mut batch = acgs_vocabulary::convert::batch::to_proto(&rows(first, &times, 0.0));
    if seq.is_multiple_of(3) {
        batch.columns[2].validity = vec![0; times.len().div_ceil(8)].into();
        batch.columns[4].validity = vec![0; times.len().div_ceil(8)].into();
    }
    let rows = acgs_contracts::orchestrator::v1::Rows { seq, batch: Some(batch), ..Default::default() };
    stream.send(acgs_contracts::orchestrator::v1::stream_windows_request::Message::Rows(rows)).await;
}

async fn health(process: &Process, service: &str) -> ServingStatus {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", process.address)).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    client.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner().status()
}

async fn wait_for_health(process: &Process, service: &str, wanted: ServingStatus) {
    let since = Instant::now();
    while health(process, service).await != wanted {
        assert!(since.elapsed() < PATIENCE, "{service} is not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every alert that reports tell reaches a plain subscriber exactly once, by its id, though NATS dies in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_alert_is_lost_while_nats_is_away() {
    let away = Duration::from_secs(
        std::env::var("ACGS_TEST_NATS_AWAY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4),
    );
    let mut fleet =
        Fleet::start_with(1, &["orchestrator.alerts.resolve_after=1", "orchestrator.alerts.cooldown_ms=0"])
            .await;
    let url = fleet.nats.url();
    let mut stream = Stream::open(fleet.client().await, open("away", WINDOW_MS)).await.unwrap();
    let mut told = BTreeSet::new();
    let mut seq = 0;
    let mut feed = async |stream: &mut Stream, told: &mut BTreeSet<String>, time: Duration| {
        let since = Instant::now();
        while since.elapsed() < time {
            seq += 1;
            window(stream, seq).await;
            let pause = tokio::time::sleep(Duration::from_millis(10));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    message = stream.next() => note(message.unwrap().unwrap(), told),
                }
            }
        }
    };
    feed(&mut stream, &mut told, Duration::from_millis(500)).await;
    fleet.nats.kill().await;
    wait_for_health(
        &fleet.orchestrator,
        "acgs.orchestrator.v1.OrchestratorService",
        ServingStatus::NotServing,
    )
    .await;
    assert_eq!(health(&fleet.orchestrator, "acgs.home").await, ServingStatus::NotServing);
    assert_eq!(health(&fleet.orchestrator, "").await, ServingStatus::NotServing, "as /health says");
    // A new stream could not have a lease; the one that runs goes on.
    let refused = Stream::open(fleet.client().await, open("new", WINDOW_MS)).await.err().unwrap();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::Unavailable, "HOME_UNAVAILABLE"));
    feed(&mut stream, &mut told, away).await;
    fleet.nats.start_again().await;
    wait_for_health(&fleet.orchestrator, "acgs.orchestrator.v1.OrchestratorService", ServingStatus::Serving)
        .await;
    feed(&mut stream, &mut told, Duration::from_millis(500)).await;
    stream
        .send(acgs_contracts::orchestrator::v1::stream_windows_request::Message::End(
            acgs_contracts::orchestrator::v1::End {},
        ))
        .await;
    let (rest, status) = stream.rest().await;
    assert!(status.is_none(), "{status:?}");
    rest.into_iter().for_each(|message| note(message, &mut told));
    assert!(told.len() > 20, "{}", told.len());

    // What the stream of events holds, by plain NATS.
    let plain = async_nats::jetstream::new(async_nats::connect(&url).await.unwrap());
    let events = plain.get_stream("ACGS_EVENTS").await.unwrap();
    let config = async_nats::jetstream::consumer::pull::OrderedConfig {
        filter_subject: "acgs.quality.alert.*".into(),
        ..Default::default()
    };
    let mut messages = events.create_consumer(config).await.unwrap().messages().await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < told.len() {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await.expect("an alert is missing");
        let envelope: serde_json::Value = serde_json::from_slice(&message.unwrap().unwrap().payload).unwrap();
        assert_eq!(envelope["constitutional_hash"], acgs_vocabulary::constitution::PLATFORM);
        // What stood is closed with its stream, when no report is there to tell it.
        if envelope["payload"]["message"] == "its stream ended while it stood" {
            continue;
        }
        assert!(
            seen.insert(envelope["event_id"].as_str().unwrap().to_owned()),
            "an alert came twice: {envelope}"
        );
    }
    assert_eq!(seen, told);
}

fn note(
    message: acgs_contracts::orchestrator::v1::stream_windows_response::Message,
    told: &mut BTreeSet<String>,
) {
    if let acgs_contracts::orchestrator::v1::stream_windows_response::Message::Report(report) = message {
        told.extend(report.alerts.into_iter().map(|alert| alert.alert_id));
    }
}

/// Ids of events of a kind, as plain NATS has them, until all of these are there.
async fn events_until(url: &str, filter: &str, wanted: &BTreeSet<String>) -> Vec<String> {
    let plain = async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
    let events = plain.get_stream("ACGS_EVENTS").await.unwrap();
    let config = async_nats::jetstream::consumer::pull::OrderedConfig {
        filter_subject: filter.into(),
        ..Default::default()
    };
    let mut messages = events.create_consumer(config).await.unwrap().messages().await.unwrap();
    let mut seen = Vec::new();
    while !wanted.iter().all(|id| seen.contains(id)) {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await.expect("an event is missing");
        let envelope: serde_json::Value = serde_json::from_slice(&message.unwrap().unwrap().payload).unwrap();
        seen.push(envelope["event_id"].as_str().unwrap().to_owned());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nats_did_not_take_before_the_end_is_told_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let home = format!("home.folder={}", folder.path().join("events").display());
    let mut fleet = Fleet::start_with(1, &[&home]).await;
    let mut flags = vec![format!("nats.url={}", fleet.nats.url()), home];
    flags.push("drain.grace_ms=3000".into());
    let mut stream = Stream::open(fleet.client().await, open("unsent", WINDOW_MS)).await.unwrap();
    let mut told = BTreeSet::new();
    window(&mut stream, 1).await;
    fleet.nats.kill().await;
    let mut seq = 1;
    while told.is_empty() {
        seq += 1;
        window(&mut stream, seq).await;
        let pause = tokio::time::sleep(Duration::from_millis(10));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                message = stream.next() => note(message.unwrap().unwrap(), &mut told),
            }
        }
    }
    let port = fleet.orchestrator.address.port();
    let next = Process::start("quality", 0, &[]).await;
    let ending = std::mem::replace(&mut fleet.orchestrator, next);
    let since = Instant::now();
    assert!(ending.stop().await, "it ends well: nothing is lost");
    assert!(since.elapsed() < PATIENCE);
    fleet.nats.start_again().await;
    fleet.orchestrator = Process::start("orchestrator", port, &flags).await;
    let seen = events_until(&fleet.nats.url(), "acgs.quality.alert.*", &told).await;
    let once: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(once.len(), seen.len(), "{seen:?}");
    // The alerts themselves are known too.
    let found = fleet.client().await.list_alerts(ListAlertsRequest::default()).await.unwrap().into_inner();
    assert!(!found.alerts.is_empty());
    // Told, the file is gone.
    let since = Instant::now();
    let files = || {
        let folders = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let unsent = folders.filter(|path| path.to_string_lossy().contains("unsent"));
        unsent.map(|path| std::fs::read_dir(path).unwrap().count()).sum::<usize>()
    };
    while files() > 0 {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// With a lease that does not run out while anybody waits, only a goodbye takes a judge out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_judge_that_ends_says_goodbye() {
    let mut fleet = Fleet::start_with(1, &["mesh.lease_ms=3600000"]).await;
    assert!(fleet.take("drift", 0).stop().await);
    fleet.wait_for(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_seen_as_they_come_and_go() {
    let mut fleet = Fleet::start(1).await;
    let mut client = fleet.client().await;
    let mut watch = client
        .watch_services(WatchServicesRequest { capability: "drift".into() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().services.len(), 1);
    fleet.add("drift").await;
    while watch.message().await.unwrap().unwrap().services.len() != 2 {}
    let stream = Stream::open(client.clone(), open("load", WINDOW_MS)).await.unwrap();
    let since = Instant::now();
    loop {
        let all = client.list_services(ListServicesRequest::default()).await.unwrap().into_inner();
        // Each kind has one lane; a judge's own calls are not among them.
        let mut loads: Vec<u32> = all.services.iter().map(|service| service.load).collect();
        loads.sort_unstable();
        if loads == [0, 1, 1, 1] {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{loads:?}");
    }
    drop(stream);
    fleet.take("drift", 0).kill().await;
    while watch.message().await.unwrap().unwrap().services.len() != 1 {}
    assert!(fleet.take("drift", 0).stop().await);
    while !watch.message().await.unwrap().unwrap().services.is_empty() {}
    let forbidden = RegisterServiceRequest {
        service_id: "evil".into(),
        service_name: "x".into(),
        host: "169.254.169.254".into(),
        port: 80,
        capabilities: vec!["quality".into()],
        ..RegisterServiceRequest::default()
    };
    let refused = client.register_service(forbidden).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::PermissionDenied, "NOT_ALLOWED"));
    let all = client.list_services(ListServicesRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.total_services, 2);
    let text = acgs_tests::http::request(fleet.orchestrator.address, "GET", "/metrics", &[], "").await.text();
    for line in [
        "acgs_judges_ready{judge=\"drift\"} 0",
        "acgs_judges_ready{judge=\"quality\"} 1",
        "acgs_outbox_waiting 0",
        "acgs_outbox_lost_total 0",
    ] {
        assert!(text.lines().any(|found| found.trim_end_matches(".0") == line), "{line} is not in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_kept_acknowledged_explained_and_resolved() {
    let fleet = Fleet::start(1).await;
    let mut stream = Stream::open(
        fleet.client().await,
        acgs_contracts::orchestrator::v1::Open { model_id: "m".into(), ..open("alerts", WINDOW_MS) },
    )
    .await
    .unwrap();
    for seq in [1, 2, 3, 4] {
        window(&mut stream, seq).await;
    }
    let mut client = fleet.client().await;
    let since = Instant::now();
    let found = loop {
        let request =
            ListAlertsRequest { state: AlertState::Open.into(), model_id: "m".into(), ..Default::default() };
        let found = client.list_alerts(request).await.unwrap().into_inner().alerts;
        if !found.is_empty() {
            break found;
        }
        assert!(since.elapsed() < PATIENCE);
    };
    let id = found[0].alert_id.clone();
    let explained =
        client.explain_alert(ExplainAlertRequest { alert_id: id.clone() }).await.unwrap().into_inner();
    assert!(explained.explanation.len() >= 3 && explained.changes.len() == 1, "{explained:?}");
    let seen = AcknowledgeAlertRequest { alert_id: id.clone(), by: "ada".into(), note: "looking".into() };
    let seen = client.acknowledge_alert(seen).await.unwrap().into_inner().alert.unwrap();
    assert_eq!((seen.acknowledged_by.as_str(), seen.note.as_str()), ("ada", "looking"));
    let over = ResolveAlertRequest { alert_id: id.clone(), by: "ada".into(), ..Default::default() };
    let over = client.resolve_alert(over).await.unwrap().into_inner().alert.unwrap();
    assert_eq!((over.state(), over.resolved_by.as_str()), (AlertState::Resolved, "ada"));
    let open_now = ListAlertsRequest { state: AlertState::Open.into(), ..Default::default() };
    let open_now = client.list_alerts(open_now).await.unwrap().into_inner().alerts;
    assert!(open_now.iter().all(|alert| alert.alert_id != id));
    let grave = ListAlertsRequest { severity: Severity::Critical.into(), page_size: 1, ..Default::default() };
    client.list_alerts(grave).await.unwrap();
    for (id, by, code, why) in [
        ("0".repeat(32), "ada", Code::NotFound, "UNKNOWN_ALERT"),
        ("x".into(), "ada", Code::NotFound, "UNKNOWN_ALERT"),
        (id.clone(), "", Code::InvalidArgument, "BAD_NAME"),
    ] {
        let request = AcknowledgeAlertRequest { alert_id: id, by: by.into(), ..Default::default() };
        let refused = client.acknowledge_alert(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).0.as_str()), (code, why));
    }
    let refused =
        client.list_alerts(ListAlertsRequest { page_token: "?".into(), ..Default::default() }).await;
    assert_eq!(reason(&refused.unwrap_err()).0, "BAD_PAGE_TOKEN");
    let refused = client.list_alerts(ListAlertsRequest { page_size: 5_000, ..Default::default() }).await;
    assert_eq!(reason(&refused.unwrap_err()).0, "BAD_PAGE_SIZE");
}
