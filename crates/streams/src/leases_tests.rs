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

/// Days as they are told.
#[derive(Debug, Default)]
struct Told(std::sync::atomic::AtomicI64);

impl Clock for Told {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> u64 {
        self.now_ms() as u64 * 1_000
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
async fn one_that_ran_out_is_lost() {
    let (_map, clock, one, other) = two();
    let lease = one.acquire("s").await.unwrap();
    clock.0.store(10_001, Ordering::Relaxed);
    let taken = other.acquire("s").await.unwrap();
    assert_eq!(taken.epoch(), 2);
    lease.lost().cancelled().await;
    assert!(!taken.lost().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn those_of_days_ago_are_forgotten() {
    let (map, clock, one, _other) = two();
    for number in 0..2 * PAGE {
        drop(one.acquire(&format!("old-{number}")).await.unwrap());
    }
    one.settled().await;
    clock.0.store(FORGET_MS / 2, Ordering::Relaxed);
    let kept = one.acquire("kept").await.unwrap();
    clock.0.store(FORGET_MS + 1, Ordering::Relaxed);
    one.forget_old().await.unwrap();
    assert_eq!(map.list(PREFIX, "", usize::MAX).await.unwrap(), [key("kept")]);
    drop(kept);
    // Judges may remember it all the same: it goes on above whatever it was.
    assert!(one.acquire("old-0").await.unwrap().epoch() as i64 > FORGET_MS);
}
