//! Leases between two orchestrators that share a map.

use std::{collections::BTreeMap, sync::Mutex};

use acgs_vocabulary::ports::Versioned;
use async_trait::async_trait;
use tokio::sync::mpsc;

use super::*;

#[derive(Debug, Default)]
struct Map {
    entries: Mutex<(u64, BTreeMap<String, Versioned>)>,
}

#[async_trait]
impl KeyValue for Map {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, PortError> {
        Ok(self.entries.lock().unwrap().1.get(key).cloned())
    }

    async fn put(&self, key: &str, value: Vec<u8>, expected: Option<u64>) -> Result<u64, PortError> {
        let (last, entries) = &mut *self.entries.lock().unwrap();
        let found = entries.get(key).map_or(0, |entry| entry.revision);
        if expected.is_some_and(|expected| expected != found) {
            return Err(PortError::Conflict { expected: expected.unwrap_or(0), found });
        }
        *last += 1;
        entries.insert(key.to_owned(), Versioned { value, revision: *last });
        Ok(*last)
    }

    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), PortError> {
        let entries = &mut self.entries.lock().unwrap().1;
        let found = entries.get(key).map_or(0, |entry| entry.revision);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(PortError::Conflict { expected, found });
        }
        entries.remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError> {
        let entries = self.entries.lock().unwrap();
        let fits = |key: &&String| key.starts_with(prefix) && key.as_str() > after;
        Ok(entries.1.keys().filter(fits).take(count).cloned().collect())
    }

    async fn watch(&self, _prefix: &str) -> Result<mpsc::Receiver<(String, Option<Versioned>)>, PortError> {
        Err(PortError::Invalid("nobody watches leases".into()))
    }
}

/// Time as it is told: how far the wall clock is ahead of the steady one, and that one, both in milliseconds.
#[derive(Debug, Default)]
struct Told(std::sync::atomic::AtomicI64, std::sync::atomic::AtomicI64);

impl Told {
    fn pass(&self, span_ms: i64) {
        self.1.fetch_add(span_ms, Ordering::Relaxed);
    }

    fn jump(&self, span_ms: i64) {
        self.0.fetch_add(span_ms, Ordering::Relaxed);
    }
}

impl Clock for Told {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed) + self.1.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> u64 {
        self.1.load(Ordering::Relaxed) as u64 * 1_000
    }
}

fn two() -> (Arc<Map>, Arc<Told>, Leases, Leases) {
    let (map, clock) = (Arc::new(Map::default()), Arc::new(Told::default()));
    let of = |owner| Leases::new(Arc::<Map>::clone(&map), Arc::<Told>::clone(&clock), owner, 10_000);
    let (one, other) = (of("one:1"), of("other:1"));
    (map, clock, one, other)
}

#[tokio::test(start_paused = true)]
async fn one_that_is_let_go_can_be_taken_at_once() {
    let (_map, _clock, one, other) = two();
    let lease = one.acquire("s").await.unwrap();
    assert_eq!(other.acquire("s").await.unwrap_err().reason(), "NOT_OWNER");
    drop(lease);
    one.settled().await;
    assert_eq!(other.acquire("s").await.unwrap().epoch(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_stands_still_for_a_life_is_lost() {
    let (_map, clock, one, other) = two();
    let lease = one.acquire("s").await.unwrap();
    clock.pass(60_000);
    assert_eq!(other.acquire("s").await.unwrap_err().reason(), "NOT_OWNER", "it looks on from here");
    clock.pass(9_999);
    assert_eq!(other.acquire("s").await.unwrap_err().reason(), "NOT_OWNER");
    clock.pass(1);
    let taken = other.acquire("s").await.unwrap();
    assert_eq!(taken.epoch(), 2);
    assert!(!lease.is_sure(), "it has not heard of it for long");
    lease.sure().await;
    assert!(lease.lost().is_cancelled() && !taken.lost().is_cancelled() && taken.is_sure());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_renewed_is_never_lost() {
    let (_map, clock, one, other) = two();
    let lease = one.acquire("s").await.unwrap();
    for _ in 0..100 {
        clock.pass(3_400);
        tokio::time::sleep(Duration::from_millis(3_400)).await;
        assert_eq!(other.acquire("s").await.unwrap_err().reason(), "NOT_OWNER");
        assert!(lease.is_sure() && !lease.lost().is_cancelled());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_takes_nothing() {
    let (map, clock, one, other) = two();
    let lease = one.acquire("s").await.unwrap();
    for jump_ms in [2 * 365 * FORGET_MS, -4 * 365 * FORGET_MS] {
        clock.jump(jump_ms);
        assert_eq!(other.acquire("s").await.unwrap_err().reason(), "NOT_OWNER");
        one.forget_old().await.unwrap();
        other.forget_old().await.unwrap();
        assert_eq!(map.list(PREFIX, "", usize::MAX).await.unwrap(), [key("s")]);
    }
    // A machine that was suspended sees its wall clock jump and nothing else: the owner asks, and goes on.
    clock.jump(60_000 + 4 * 365 * FORGET_MS);
    assert!(!lease.is_sure());
    lease.sure().await;
    assert!(lease.is_sure() && !lease.lost().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn two_of_one_address_do_not_share_a_stream() {
    let (map, clock, one, _other) = two();
    let twin = Leases::new(map, Arc::<Told>::clone(&clock), "one:1", 10_000);
    let lease = one.acquire("s").await.unwrap();
    for refused in [twin.acquire("s").await.err(), twin.check("s").await.err()] {
        let refused = refused.unwrap();
        assert_eq!((refused.reason(), refused.kind()), ("LEASE_HELD", Kind::Unavailable));
    }
    assert!(!lease.lost().is_cancelled() && lease.is_sure());
    // Killed and started again, it has its streams when the former life has been silent for long enough.
    clock.pass(10_000);
    assert_eq!(twin.acquire("s").await.unwrap().epoch(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_gone_with_its_store_is_written_again() {
    let (map, _clock, one, other) = two();
    let lease = one.acquire("s").await.unwrap();
    map.delete(&key("s"), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(4_000)).await;
    assert!(!lease.lost().is_cancelled());
    assert_eq!(other.acquire("s").await.unwrap_err().reason(), "NOT_OWNER");
}

#[tokio::test(start_paused = true)]
async fn those_of_days_ago_are_forgotten() {
    let (map, clock, one, _other) = two();
    for number in 0..2 * PAGE {
        drop(one.acquire(&format!("old-{number}")).await.unwrap());
    }
    one.settled().await;
    clock.pass(FORGET_MS / 2);
    let kept = one.acquire("kept").await.unwrap();
    clock.pass(FORGET_MS / 2 + 1);
    one.forget_old().await.unwrap();
    assert_eq!(map.list(PREFIX, "", usize::MAX).await.unwrap(), [key("kept")]);
    drop(kept);
    // Judges may remember it all the same: it goes on above whatever it was.
    assert!(one.acquire("old-0").await.unwrap().epoch() as i64 > FORGET_MS);
}
