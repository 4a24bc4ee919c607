//! The JetStream home against a real server: the suite that the embedded home passes, and what only it has.

use std::{sync::Arc, time::Duration};

use acgs_storage::{
    HomeProbe, JetStream, RecordsKept,
    conformance::{self, envelope},
    jetstream::Options,
};
use acgs_tests::{PATIENCE, nats::Nats};
use acgs_vocabulary::{
    Severity,
    event::EventKind,
    ports::{Chunk, EventLog, KeyValue, PortError, RecordLog},
};

fn options(url: String) -> Options {
    let records = RecordsKept { age: Duration::from_secs(3_600), bytes: 1 << 26 };
    Options { url, replicas: 1, events_max: 100_000, duplicate_window_ms: 120_000, records }
}

#[tokio::test]
async fn passes_the_suite() {
    let nats = Nats::start().await;
    let home = Arc::new(JetStream::open(&options(nats.url())).await.unwrap());
    conformance::events(home.clone()).await;
    conformance::keys(home.clone()).await;
    conformance::blobs(home.clone()).await;
    conformance::ledger(home.clone()).await;
    conformance::records(home).await;
}

#[tokio::test]
async fn one_topic_takes_no_place_of_another() {
    let nats = Nats::start().await;
    let records = RecordsKept { age: Duration::from_secs(3_600), bytes: 1 << 20 };
    let home = JetStream::open(&Options { records, ..options(nats.url()) }).await.unwrap();
    let chunk = || Chunk { sequence: 0, from_ms: 0, until_ms: 1, content: vec![7; 4_000].into() };
    for _ in 0..20 {
        home.record("small", chunk()).await.unwrap();
    }
    for _ in 0..50 {
        for _ in 0..10 {
            home.record("large", chunk()).await.unwrap();
        }
        // As health does, every second.
        HomeProbe::probe(&home).await.unwrap();
    }
    let kept = async |topic: &str| home.chunks(topic, 0, 1_000).await.unwrap();
    assert_eq!(kept("small").await.len(), 20, "it has less than its part");
    let large = kept("large").await;
    assert!((190..240).contains(&large.len()), "{}", large.len());
    assert_eq!(large.last().unwrap().sequence, 520, "the oldest go first");
}

#[tokio::test]
async fn a_second_process_finds_what_the_first_made() {
    let nats = Nats::start().await;
    let first = JetStream::open(&options(nats.url())).await.unwrap();
    let second = JetStream::open(&options(nats.url())).await.unwrap();
    first.append(envelope("a", "acgs.x"), Some(0)).await.unwrap();
    let lost = second.append(envelope("b", "acgs.x"), Some(0)).await;
    assert_eq!(lost, Err(PortError::Conflict { expected: 0, found: 1 }), "the second lost the race");
    first.put("k", b"v".to_vec(), Some(0)).await.unwrap();
    assert_eq!(second.get("k").await.unwrap().unwrap().value, b"v");
}

#[tokio::test]
async fn what_is_deleted_leaves_nothing_for_good() {
    let nats = Nats::start().await;
    let home = JetStream::open(&options(nats.url())).await.unwrap();
    let revision = home.put("k", b"v".to_vec(), Some(0)).await.unwrap();
    home.delete("k", Some(revision)).await.unwrap();
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let bucket = context.get_stream("KV_acgs-state").await.unwrap();
    let marker = bucket.get_last_raw_message_by_subject("$KV.acgs-state.k").await.unwrap();
    assert_eq!(marker.headers.get("Nats-TTL").unwrap().as_str(), "3600", "the marker expires: {marker:?}");
    home.put("k", b"w".to_vec(), Some(0)).await.unwrap();
    assert_eq!(home.get("k").await.unwrap().unwrap().value, b"w", "the name is free again");
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_comes_back() {
    let mut nats = Nats::start().await;
    let home = JetStream::open(&options(nats.url())).await.unwrap();
    home.append(envelope("a", "acgs.x"), None).await.unwrap();
    let mut subscriber = home.subscribe(0, "acgs.>").await.unwrap();
    assert_eq!(subscriber.recv().await.unwrap().sequence, 1);
    let mut connected = home.connected();
    nats.kill().await;
    connected.wait_for(|connected| !connected).await.unwrap();
    let refused = home.append(envelope("b", "acgs.x"), None).await;
    assert!(matches!(refused, Err(PortError::Unavailable(_))), "{refused:?}");
    nats.start_again().await;
    connected.wait_for(|connected| *connected).await.unwrap();
    let appended = loop {
        // The first requests after a restart may still be refused: JetStream itself has to come up.
        match home.append(envelope("b", "acgs.x"), None).await {
            Ok(appended) => break appended,
            Err(PortError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(appended.sequence, 2, "what was acknowledged is still there");
    let next = tokio::time::timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap();
    assert_eq!((next.sequence, next.envelope.event_id.as_str()), (2, "b"), "a subscription goes on");
}

/// What the original's subscribers listen to, with plain NATS, each with a kind that it must receive.
#[tokio::test]
async fn the_originals_subscribers_receive() {
    use futures_util::StreamExt;
    let nats = Nats::start().await;
    let home = JetStream::open(&options(nats.url())).await.unwrap();
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let cases = [
        ("acgs.quality.alert.*", EventKind::QualityAlert(Severity::Critical)),
        ("acgs.drift.detected.*", EventKind::DriftDetected(Severity::High)),
        ("acgs.performance.alert.*", EventKind::PerformanceAlert(Severity::Medium)),
        ("acgs.compliance.violation.*", EventKind::ConstitutionRefused),
        ("acgs.drift.>", EventKind::DriftDetectionCompleted),
        ("acgs.performance.>", EventKind::PerformanceMetricsSubmitted),
    ];
    for (place, (filter, kind)) in cases.into_iter().enumerate() {
        let mut subscriber = plain.subscribe(filter).await.unwrap();
        // What comes back on the same connection shows that the subscription before it is there.
        let mut echo = plain.subscribe("echo").await.unwrap();
        plain.publish("echo", "".into()).await.unwrap();
        echo.next().await.unwrap();
        home.append(envelope(&place.to_string(), &kind.subject()), None).await.unwrap();
        let message = tokio::time::timeout(PATIENCE, subscriber.next()).await.unwrap().unwrap();
        assert_eq!(message.subject.as_str(), kind.subject());
        assert_eq!(message.headers.unwrap().get("Nats-Msg-Id").unwrap().as_str(), place.to_string());
    }
    // Every kind is caught by the stream: an append without a stream for its subject would fail.
    for (place, kind) in EventKind::ALL.into_iter().enumerate() {
        home.append(envelope(&format!("all-{place}"), &kind.subject()), None).await.unwrap();
    }
}

/// With plain NATS, as the original's subscribers listen: what was sent twice because its answer did not come is heard once.
#[tokio::test]
async fn who_listens_without_jetstream_hears_what_is_stored_once() {
    use futures_util::StreamExt;
    let nats = Nats::start().await;
    let home = JetStream::open(&options(nats.url())).await.unwrap();
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut subscriber = plain.subscribe("acgs.>").await.unwrap();
    plain.flush().await.unwrap();
    nats.signal("STOP");
    let unanswered = home.append(envelope("a", "acgs.x"), None).await;
    nats.signal("CONT");
    assert!(matches!(unanswered, Err(PortError::Unavailable(_))), "{unanswered:?}");
    for id in ["a", "a", "b"] {
        while home.append(envelope(id, "acgs.x"), None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "b") {
        let message = tokio::time::timeout(PATIENCE, subscriber.next()).await.unwrap().unwrap();
        heard.push(message.headers.unwrap().get("Nats-Msg-Id").unwrap().to_string());
    }
    assert_eq!(heard, ["a", "b"]);
}

#[tokio::test]
async fn a_stream_of_others_that_holds_our_subjects_is_named_or_not_in_the_way() {
    let nats = Nats::start().await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let stream = |name: &str, subject: &str| async_nats::jetstream::stream::Config {
        name: name.into(),
        subjects: vec![subject.into()],
        ..Default::default()
    };
    context.create_stream(stream("ARCHIVE", "acgs.>")).await.unwrap();
    let home = JetStream::open(&options(nats.url())).await.unwrap();
    home.append(envelope("a", "acgs.x"), None).await.unwrap();
    assert_eq!(home.copies().await, ["stream ARCHIVE (acgs.>)"]);
    let mut archive = context.get_stream("ARCHIVE").await.unwrap();
    while archive.info().await.unwrap().state.messages == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    context.delete_stream("ACGS_EVENTS").await.unwrap();
    context.create_stream(stream("TAKEN", "acgs-events.quality.>")).await.unwrap();
    let refused = JetStream::open(&options(nats.url())).await;
    let Err(PortError::Invalid(told)) = refused else { panic!("{refused:?}") };
    for word in ["ACGS_EVENTS", "acgs-events.>", "TAKEN", "acgs-events.quality.>"] {
        assert!(told.contains(word), "{told}");
    }
}

#[tokio::test]
async fn what_was_lost_is_made_again_and_a_ledger_that_was_read_is_not() {
    use acgs_storage::HomeState;
    let mut nats = Nats::start().await;
    let home = JetStream::open(&options(nats.url())).await.unwrap();
    home.append(envelope("a", "acgs.x"), None).await.unwrap();
    home.put("k", b"v".to_vec(), None).await.unwrap();
    let mut subscriber = home.subscribe(0, "acgs.>").await.unwrap();
    assert_eq!(subscriber.recv().await.unwrap().envelope.event_id, "a");
    nats.lose_store().await;
    nats.start_again().await;
    while home.probe().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(home.append(envelope("b", "acgs.x"), None).await.unwrap().sequence, 1);
    assert_eq!(home.get("k").await, Ok(None));
    let next = tokio::time::timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap();
    assert_eq!(next.envelope.event_id, "b", "who listened before hears what comes after");
    acgs_vocabulary::ports::Ledger::enter(&home, 0, b"entry".to_vec()).await.unwrap();
    nats.lose_store().await;
    nats.start_again().await;
    while home.state() == HomeState::Well {
        let _not_there_yet = home.probe().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let HomeState::Lost(why) = home.state() else { panic!("{:?}", home.state()) };
    assert!(why.contains("ACGS_LEDGER"), "{why}");
}
