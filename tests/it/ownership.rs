//! Who owns a stream: one orchestrator at a time, also when one sleeps or dies, and what becomes of its alerts then.

use std::time::{Duration, Instant};

use acgs_contracts::orchestrator::v1::{AlertState, ListAlertsRequest};
use acgs_tests::{
    PATIENCE, Stream,
    fleet::{Fleet, Process, constitution},
    open, reason,
};
use tonic::Code;

use crate::mesh::{WINDOW_MS, window};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_one_owner() {
    let mut fleet = Fleet::start_with(1, &["mesh.stream_lease_ms=2000"]).await;
    let nats = format!("nats.url={}", fleet.nats.url());
    let second = Process::start("orchestrator", 0, &[nats, "mesh.stream_lease_ms=2000".into()]).await;
    let other = async || {
        let url = format!("http://{}", second.address);
        let channel = acgs_mesh::client::connect(&url, constitution()).await.unwrap();
        acgs_contracts::orchestrator::v1::orchestrator_service_client::OrchestratorServiceClient::new(channel)
    };
    let mut stream = Stream::open(fleet.client().await, open("owned", WINDOW_MS)).await.unwrap();
    window(&mut stream, 1).await;
    let refused = Stream::open(other().await, open("owned", WINDOW_MS)).await.err().unwrap();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::FailedPrecondition, "NOT_OWNER"));
    let details = tonic_types::StatusExt::get_error_details(&refused);
    assert_eq!(details.error_info().unwrap().metadata["address"], fleet.orchestrator.address.to_string());
    let resumed = acgs_contracts::orchestrator::v1::Open { resume_after: 5, ..open("owned", WINDOW_MS) };
    let refused = Stream::open(other().await, resumed).await.err().unwrap();
    assert_eq!(reason(&refused).0, "NOT_OWNER", "also a client that comes back is told where to go");
    // The owner dies without a word: when its lease has run out, the stream may begin elsewhere.
    let dead = std::mem::replace(&mut fleet.orchestrator, second);
    dead.kill().await;
    let since = Instant::now();
    loop {
        match Stream::open(fleet.client().await, open("owned", WINDOW_MS)).await {
            Ok(_) => break,
            Err(status) => assert_eq!(reason(&status).0, "NOT_OWNER"),
        }
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_slept_acknowledges_nothing() {
    use acgs_contracts::orchestrator::v1::stream_windows_response::Message;
    let mut fleet = Fleet::start_with(1, &["mesh.stream_lease_ms=2000"]).await;
    let nats = format!("nats.url={}", fleet.nats.url());
    let second = Process::start("orchestrator", 0, &[nats, "mesh.stream_lease_ms=2000".into()]).await;
    let mut stream = Stream::open(fleet.client().await, open("slept", WINDOW_MS)).await.unwrap();
    window(&mut stream, 1).await;
    while !matches!(stream.next().await.unwrap().unwrap(), Message::Accepted(it) if it.through_seq == 1) {}
    let asleep = std::mem::replace(&mut fleet.orchestrator, second);
    asleep.freeze().await;
    for seq in 2..10 {
        window(&mut stream, seq).await;
    }
    let since = Instant::now();
    while Stream::open(fleet.client().await, open("slept", WINDOW_MS)).await.is_err() {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    asleep.signal("CONT");
    let (told, end) = stream.rest().await;
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(reason(&end.unwrap()).0, "NOT_OWNER");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_of_a_stream_whose_process_was_killed_are_closed() {
    let flags = ["mesh.stream_lease_ms=6000", "orchestrator.detached_keep_ms=1000"];
    let mut fleet = Fleet::start_with(1, &flags).await;
    let mut own = vec![format!("nats.url={}", fleet.nats.url())];
    own.extend(flags.map(str::to_owned));
    let second = Process::start("orchestrator", 0, &own).await;
    let mut stream = Stream::open(fleet.client().await, open("killed", WINDOW_MS)).await.unwrap();
    for seq in 1..=4 {
        window(&mut stream, seq).await;
    }
    let killed = std::mem::replace(&mut fleet.orchestrator, second);
    let mut client = fleet.client().await;
    let mut count = async |state: AlertState| {
        let request = ListAlertsRequest { state: state.into(), ..Default::default() };
        client.list_alerts(request).await.unwrap().into_inner().alerts.len()
    };
    let since = Instant::now();
    while count(AlertState::Open).await == 0 {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The other one looks several times, and sees that somebody runs the stream.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(count(AlertState::Open).await > 0);
    }
    killed.kill().await;
    while count(AlertState::Open).await > 0 {
        assert!(since.elapsed() < PATIENCE, "they stand for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(count(AlertState::Resolved).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_of_a_former_life_are_closed_while_the_stream_runs_anew() {
    let flags = ["mesh.stream_lease_ms=2000", "orchestrator.detached_keep_ms=1000"];
    let mut fleet = Fleet::start_with(1, &flags).await;
    let mut own = vec![format!("nats.url={}", fleet.nats.url())];
    own.extend(flags.map(str::to_owned));
    let mut stream = Stream::open(fleet.client().await, open("anew", WINDOW_MS)).await.unwrap();
    for seq in 1..=4 {
        window(&mut stream, seq).await;
    }
    let count = async |fleet: &Fleet, state: AlertState| {
        let request = ListAlertsRequest { state: state.into(), ..Default::default() };
        fleet.client().await.list_alerts(request).await.unwrap().into_inner().alerts.len()
    };
    let since = Instant::now();
    while count(&fleet, AlertState::Open).await == 0 {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let port = fleet.orchestrator.address.port();
    let spare = Process::start("quality", 0, &[]).await;
    std::mem::replace(&mut fleet.orchestrator, spare).kill().await;
    fleet.orchestrator = Process::start("orchestrator", port, &own).await;
    fleet.wait_for(3).await;
    let mut stream = loop {
        match Stream::open(fleet.client().await, open("anew", WINDOW_MS)).await {
            Ok(stream) => break stream,
            Err(status) => assert_eq!(reason(&status).0, "LEASE_HELD"),
        }
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // It runs, and what was found before is not found again.
    for seq in 1..=2 {
        window(&mut stream, seq).await;
    }
    while count(&fleet, AlertState::Open).await > 0 {
        assert!(since.elapsed() < PATIENCE, "they stand for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(count(&fleet, AlertState::Resolved).await > 0);
}
