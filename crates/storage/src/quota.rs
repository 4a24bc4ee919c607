//! How many keys of each kind there may be, so that no caller fills the home with names. It must not know what keys hold.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use acgs_vocabulary::ports::{KeyValue, PortError, Versioned};
use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};

/// Keys counted at once.
const PAGE: usize = 1_000;

/// The first part of a kind's keys, and how many there may be.
pub type Quota = (&'static str, usize);

/// Keys with quotas; those of no kind are not counted.
#[derive(Debug)]
pub struct Quotas {
    keys: Arc<dyn KeyValue>,
    quotas: Vec<Quota>,
    /// By kind, once one was written: hashes of the keys that are known. Other processes write too, so a kind that is full is counted anew.
    known: Mutex<HashMap<&'static str, HashSet<u64>>>,
    random: RandomState,
}

impl Quotas {
    /// Over a home.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyValue>, quotas: &[Quota]) -> Self {
        Self { keys, quotas: quotas.to_vec(), known: Mutex::default(), random: RandomState::new() }
    }

    fn quota_of(&self, key: &str) -> Option<Quota> {
        self.quotas.iter().copied().find(|(prefix, _)| key.starts_with(prefix))
    }

    async fn count(&self, prefix: &str) -> Result<HashSet<u64>, PortError> {
        let (mut found, mut after) = (HashSet::new(), String::new());
        loop {
            let page = self.keys.list(prefix, &after, PAGE).await?;
            found.extend(page.iter().map(|key| self.random.hash_one(key)));
            match page.last() {
                Some(last) if page.len() == PAGE => after.clone_from(last),
                _ => return Ok(found),
            }
        }
    }

    /// Whether there is room for a key.
    async fn check(&self, (prefix, most): Quota, key: &str) -> Result<(), PortError> {
        let hash = self.random.hash_one(key);
        let mut known = self.known.lock().await;
        let is_known = known.get(prefix).is_some_and(|known| known.contains(&hash));
        let is_full = known.get(prefix).is_none_or(|known| known.len() >= most);
        if is_known || !is_full {
            return Ok(());
        }
        let now = self.count(prefix).await?;
        let fits = now.contains(&hash) || now.len() < most;
        known.insert(prefix, now);
        let full = || PortError::Full(format!("there are {most} keys under {prefix} already"));
        fits.then_some(()).ok_or_else(full)
    }

    async fn note(&self, prefix: &'static str, key: &str, is_there: bool) {
        let hash = self.random.hash_one(key);
        if let Some(known) = self.known.lock().await.get_mut(prefix) {
            if is_there {
                known.insert(hash)
            } else {
                known.remove(&hash)
            };
        }
    }
}

#[async_trait]
impl KeyValue for Quotas {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, PortError> {
        self.keys.get(key).await
    }

    async fn put(&self, key: &str, value: Vec<u8>, expected: Option<u64>) -> Result<u64, PortError> {
        let Some(quota) = self.quota_of(key) else { return self.keys.put(key, value, expected).await };
        // A key that is there has its place.
        if expected.is_none_or(|expected| expected == 0) {
            self.check(quota, key).await?;
        }
        let revision = self.keys.put(key, value, expected).await?;
        self.note(quota.0, key, true).await;
        Ok(revision)
    }

    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), PortError> {
        self.keys.delete(key, expected).await?;
        if let Some((prefix, _)) = self.quota_of(key) {
            self.note(prefix, key, false).await;
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

    #[tokio::test]
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
        keys.put("sla/3", vec![1], None).await.unwrap();
        keys.delete("sla/3", None).await.unwrap();
        keys.put("sla/4", vec![1], Some(0)).await.unwrap();
        assert_eq!(keys.put("sla/5", vec![1], None).await, full);
    }
}
