//! What every home must do, as tests that take a home. A home without data is expected.

use std::sync::Arc;

use acgs_vocabulary::{
    event::Envelope,
    ports::{Blobs, Chunk, EventLog, KeyValue, Ledger, PortError, RecordLog},
};

/// An event for tests.
#[must_use]
pub fn envelope(id: &str, subject: &str) -> Envelope {
    Envelope {
        event_id: id.into(),
        event_type: "test".into(),
        subject: subject.into(),
        timestamp: "2026-01-01T00:00:00Z".into(),
        source_service: "test".into(),
        target_service: None,
        constitutional_hash: acgs_vocabulary::constitution::PLATFORM.into(),
        priority: "NORMAL".into(),
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        payload: serde_json::json!({ "id": id }),
        previous_digest: None,
    }
}

/// Order, dedupe, expected sequence, reading and subscribing.
pub async fn events(log: Arc<dyn EventLog>) {
    assert_eq!(log.last().await, Ok(0));
    let first = log.append(envelope("1", "acgs.a.x"), Some(0)).await.expect("appends");
    assert_eq!((first.sequence, first.duplicate), (1, false));
    let again = log.append(envelope("1", "acgs.a.x"), None).await.expect("appends");
    assert_eq!((again.sequence, again.duplicate), (1, true), "a repeated id is one event");
    let stale = log.append(envelope("2", "acgs.a.x"), Some(0)).await;
    assert_eq!(stale, Err(PortError::Conflict { expected: 0, found: 1 }));
    assert_eq!(log.append(envelope("3", "acgs.b.x"), Some(0)).await.map(|appended| appended.sequence), Ok(2));
    assert_eq!(log.append(envelope("4", "acgs.a.x"), Some(1)).await.map(|appended| appended.sequence), Ok(3));

    let read = log.read(0, 10).await.expect("reads");
    assert_eq!(read.iter().map(|logged| logged.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(read[2].envelope.event_id, "4");
    let newest = async |filter: &str| log.newest_of(filter).await.expect("reads").map(|it| it.sequence);
    assert_eq!((newest("acgs.a.*").await, newest("acgs.>").await), (Some(3), Some(3)));
    assert_eq!((newest("acgs.b.x").await, newest("acgs.c.>").await), (Some(2), None));
    assert_eq!(log.read(1, 1).await.expect("reads")[0].sequence, 2);

    let mut old_and_new = log.subscribe(1, "acgs.a.*").await.expect("subscribes");
    assert_eq!(old_and_new.recv().await.map(|logged| logged.sequence), Some(3));
    let writers = (0..50).map(|number| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(envelope(&format!("w{number}"), "acgs.a.y"), None).await })
    });
    let mut sequences = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        sequences.push(writer.await.expect("joins").expect("appends").sequence);
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (4..54).collect::<Vec<u64>>(), "no gap and no double under concurrent writers");
    for expected in 4..54 {
        assert_eq!(old_and_new.recv().await.map(|logged| logged.sequence), Some(expected));
    }
    assert!(matches!(log.subscribe(0, "a..b").await, Err(PortError::Invalid(_))));
}

/// Compare-and-swap, listing, watching and refusing.
pub async fn keys(keys: Arc<dyn KeyValue>) {
    assert_eq!(keys.get("a").await, Ok(None));
    let mut watcher = keys.watch("a").await.expect("watches");
    let first = keys.put("a", b"1".to_vec(), Some(0)).await.expect("puts");
    let conflict = keys.put("a", b"2".to_vec(), Some(0)).await;
    assert_eq!(conflict, Err(PortError::Conflict { expected: 0, found: first }));
    let second = keys.put("a", b"2".to_vec(), Some(first)).await.expect("puts");
    assert!(second > first);
    assert_eq!(keys.get("a").await.expect("gets").expect("is there").value, b"2");
    let race = (0..20).map(|number| {
        let keys = Arc::clone(&keys);
        tokio::spawn(async move { keys.put("race", vec![number], Some(0)).await.is_ok() })
    });
    let mut winners = 0;
    for attempt in race.collect::<Vec<_>>() {
        winners += usize::from(attempt.await.expect("joins"));
    }
    assert_eq!(winners, 1, "one of many writers wins");
    keys.put("a/b", vec![], None).await.expect("puts");
    keys.put("a/c", vec![], None).await.expect("puts");
    assert_eq!(keys.list("a", "", 10).await.expect("lists"), ["a", "a/b", "a/c"]);
    assert_eq!(keys.list("a/", "a/b", 10).await.expect("lists"), ["a/c"]);
    let late = keys.delete("a", Some(first)).await;
    assert_eq!(late, Err(PortError::Conflict { expected: first, found: second }));
    keys.delete("a", Some(second)).await.expect("deletes");
    keys.delete("a", None).await.expect("deletes what is not there");
    let gone = keys.delete("a", Some(second)).await;
    assert_eq!(gone, Err(PortError::Conflict { expected: second, found: 0 }));
    assert_eq!(keys.list("a", "", 10).await.expect("lists"), ["a/b", "a/c"]);
    assert_eq!(keys.get("a").await, Ok(None));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (key, held) = watcher.recv().await.expect("a change");
        seen.push((key, held.map(|held| held.value)));
    }
    assert_eq!(seen[0], ("a".into(), Some(b"1".to_vec())));
    assert_eq!(seen[4], ("a".into(), None));
    for bad in ["", "a b", "ü", &"x".repeat(300)] {
        assert!(matches!(keys.put(bad, vec![], None).await, Err(PortError::Invalid(_))), "{bad:?}");
    }
}

/// Only who has seen all before writes; followers miss nothing.
pub async fn ledger(ledger: Arc<dyn Ledger>) {
    let mut follower = ledger.follow(0).await.expect("follows");
    assert_eq!(ledger.entries(0, 10).await, Ok(vec![]));
    assert_eq!(ledger.enter(0, b"one".to_vec()).await, Ok(1));
    assert_eq!(ledger.enter(0, b"x".to_vec()).await, Err(PortError::Conflict { expected: 0, found: 1 }));
    assert_eq!(ledger.enter(7, b"x".to_vec()).await, Err(PortError::Conflict { expected: 7, found: 1 }));
    let race = (0..20).map(|number: u8| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.enter(1, vec![number]).await.is_ok() })
    });
    let mut winners = 0;
    for attempt in race.collect::<Vec<_>>() {
        winners += usize::from(attempt.await.expect("joins"));
    }
    assert_eq!(winners, 1, "one of many writers wins");
    for number in 2..300_u64 {
        assert_eq!(ledger.enter(number, number.to_be_bytes().to_vec()).await, Ok(number + 1));
    }
    let all = ledger.entries(0, 1_000).await.expect("reads");
    assert!(all.iter().map(|(sequence, _)| *sequence).eq(1..=300), "no gap");
    assert_eq!(
        (all[0].1.as_slice(), ledger.entries(0, 1).await),
        (&b"one"[..], Ok(vec![(1, b"one".to_vec())]))
    );
    for expected in 1..=300 {
        assert_eq!(follower.recv().await.map(|(sequence, _)| sequence), Some(expected));
    }
    let long = vec![0; acgs_vocabulary::ports::ENTRY_BYTES_MAX + 1];
    assert!(matches!(ledger.enter(300, long).await, Err(PortError::Invalid(_))));
}

/// Chunks by topic, in order.
pub async fn records(records: Arc<dyn RecordLog>) {
    let chunk = |number: i64| Chunk {
        sequence: 0,
        from_ms: number,
        until_ms: number + 9,
        content: bytes::Bytes::from(vec![number as u8; 1_000]),
    };
    assert_eq!((records.last_chunk("a").await, records.chunks("a", 0, 10).await), (Ok(0), Ok(vec![])));
    let mut sequences = Vec::new();
    for number in 0..300 {
        let topic = if number % 3 == 0 { "b" } else { "a" };
        sequences.push(records.record(topic, chunk(number)).await.expect("appends"));
    }
    assert!(sequences.is_sorted());
    assert_eq!(records.last_chunk("b").await.ok(), Some(sequences[297]));
    let (mut after, mut found) = (0, Vec::new());
    loop {
        let page = records.chunks("a", after, 64).await.expect("reads");
        let Some(last) = page.last() else { break };
        after = last.sequence;
        found.extend(page);
    }
    let numbers: Vec<i64> = found.iter().map(|chunk| chunk.from_ms).collect();
    assert!(numbers.iter().copied().eq((0..300).filter(|number| number % 3 != 0)), "{numbers:?}");
    assert_eq!((found[0].until_ms, found[0].content.len()), (10, 1_000));
    let labels = Chunk { from_ms: i64::MIN, until_ms: i64::MAX, ..chunk(0) };
    let sequence = records.record("a", labels.clone()).await.expect("appends");
    assert_eq!(records.chunks("a", sequence - 1, 5).await, Ok(vec![Chunk { sequence, ..labels }]));
    for bad in ["", "a/b", "a.b", "a b"] {
        assert!(matches!(records.record(bad, chunk(1)).await, Err(PortError::Invalid(_))), "{bad:?}");
    }
}

/// Immutable bytes by name.
pub async fn blobs(blobs: Arc<dyn Blobs>) {
    assert_eq!(blobs.get("b").await, Ok(None));
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
    blobs.put("b", bytes.clone()).await.expect("puts");
    blobs.put("b", bytes.clone()).await.expect("the same again is fine");
    assert!(blobs.put("b", vec![1]).await.is_err(), "other bytes under the name are refused");
    assert_eq!(blobs.get("b").await, Ok(Some(bytes)));
    for name in ["a/1", "a/2", "a/3", "aa"] {
        blobs.put(name, vec![7]).await.expect("puts");
    }
    let list =
        async |prefix: &str, after: &str, count| blobs.list(prefix, after, count).await.expect("lists");
    assert_eq!(list("a/", "", 10).await, ["a/1", "a/2", "a/3"]);
    assert_eq!(list("a/", "a/1", 1).await, ["a/2"]);
    assert_eq!(list("c", "", 10).await, Vec::<String>::new());
    blobs.delete("a/2").await.expect("deletes");
    assert_eq!(list("a", "", 10).await, ["a/1", "a/3", "aa"], "what is deleted is not told");
    blobs.delete("b").await.expect("deletes");
    assert_eq!(blobs.get("b").await, Ok(None));
}
