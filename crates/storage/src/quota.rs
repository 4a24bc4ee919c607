//! How many keys of each kind there may be, so that no caller fills the home with names. It must not know what keys hold.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use acgs_vocabulary::ports::{KeyValue, PortError, Versioned};
use async_trait::async_trait;
use tokio::{
    sync::{Mutex, mpsc},
    time::Instant,
};

/// A kind that is full is counted anew this often, since other processes write and delete too.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// The first part of a kind's keys, and how many there may be.
pub type Quota = (&'static str, usize);

/// Keys of a kind as they are known.
#[derive(Debug, Default)]
struct Known {
    /// Hashes of keys.
    keys: HashSet<u64>,
    /// `None` before the first is written.
    counted: Option<Instant>,
}

#[derive(Debug)]
struct Kind {
    prefix: &'static str,
    most: usize,
    known: Mutex<Known>,
}

/// Keys with quotas; those of no kind are not counted.
#[derive(Debug)]
pub struct Quotas {
    keys: Arc<dyn KeyValue>,
    kinds: Vec<Kind>,
    random: RandomState,
}

impl Quotas {
    /// Over a home.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyValue>, quotas: &[Quota]) -> Self {
        let kind = |(prefix, most): &Quota| Kind { prefix, most: *most, known: Mutex::default() };
        Self { keys, kinds: quotas.iter().map(kind).collect(), random: RandomState::new() }
    }

    fn kind_of(&self, key: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| key.starts_with(kind.prefix))
    }

    /// Whether there is room for a key.
    async fn check(&self, kind: &Kind, key: &str) -> Result<(), PortError> {
        let hash = self.random.hash_one(key);
        let mut known = kind.known.lock().await;
        let fits = |known: &Known| known.keys.contains(&hash) || known.keys.len() < kind.most;
        let is_old = known.counted.is_none_or(|counted| counted.elapsed() >= COUNT_EVERY);
        if known.counted.is_none() || (!fits(&known) && is_old) {
            let all = self.keys.list(kind.prefix, "", usize::MAX).await?;
            known.keys = all.iter().map(|key| self.random.hash_one(key)).collect();
            known.counted = Some(Instant::now());
        }
        let full = || PortError::Full(format!("there are {} keys under {} already", kind.most, kind.prefix));
        fits(&known).then_some(()).ok_or_else(full)
    }

    async fn note(&self, kind: &Kind, key: &str, is_there: bool) {
        let hash = self.random.hash_one(key);
        let mut known = kind.known.lock().await;
        if is_there {
            known.keys.insert(hash)
        } else {
            known.keys.remove(&hash)
        };
    }
}

#[async_trait]
impl KeyValue for Quotas {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, PortError> {
        self.keys.get(key).await
    }

    async fn put(&self, key: &str, value: Vec<u8>, expected: Option<u64>) -> Result<u64, PortError> {
        let Some(kind) = self.kind_of(key) else { return self.keys.put(key, value, expected).await };
        // A key that is there has its place.
        if expected.is_none_or(|expected| expected == 0) {
            self.check(kind, key).await?;
        }
        let revision = self.keys.put(key, value, expected).await?;
        self.note(kind, key, true).await;
        Ok(revision)
    }

    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), PortError> {
        self.keys.delete(key, expected).await?;
        if let Some(kind) = self.kind_of(key) {
            self.note(kind, key, false).await;
        }
        Ok(())
    }

    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError> {
        self.keys.list(prefix, after, count).await
    }

    async fn watch(&self, prefix: &str) -> Result<mpsc::Receiver<(String, Option<Versioned>)>, PortError> {
        self.keys.watch(prefix).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Embedded, embedded::tests::options};

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_full_takes_no_new_key_and_keeps_those_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let home: Arc<dyn KeyValue> = Arc::new(Embedded::open(options(folder.path(), 10)).unwrap());
        let keys = Quotas::new(Arc::clone(&home), &[("sla/", 3)]);
        // Another process has written one.
        home.put("sla/0", vec![0], None).await.unwrap();
        for key in ["sla/1", "sla/2", "other/1", "other/2", "other/3", "other/4"] {
            keys.put(key, vec![1], None).await.unwrap();
        }
        let full = Err(PortError::Full("there are 3 keys under sla/ already".into()));
        assert_eq!(keys.put("sla/3", vec![1], None).await, full);
        assert_eq!(keys.put("sla/3", vec![1], Some(0)).await, full);
        keys.put("sla/0", vec![2], None).await.unwrap();
        home.delete("sla/2", None).await.unwrap();
        assert_eq!(keys.put("sla/3", vec![1], None).await, full, "nobody is asked for each refusal");
        tokio::time::advance(COUNT_EVERY).await;
        keys.put("sla/3", vec![1], None).await.unwrap();
        keys.delete("sla/3", None).await.unwrap();
        keys.put("sla/4", vec![1], Some(0)).await.unwrap();
        assert_eq!(keys.put("sla/5", vec![1], None).await, full);
    }
}
