//! The last records of a kind, by id, in the key-value home: written behind the caller's back, newest first, bounded. It must
//! not know what a record says.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use acgs_vocabulary::{
    Problem,
    constitution::sha256_hex,
    ports::{KeyValue, PortError},
    text,
};

/// Records of one group that are kept.
pub const KEPT: usize = 1_000;
/// Records that wait to be written; more are counted and left out.
const WAITING_MAX: usize = 1_024;
/// Groups that one process keeps records of.
const GROUPS_MAX: usize = 10_000;
/// Writes of a group after which its older ones are given up.
const PRUNE_EVERY: u64 = 64;

/// How many records a caller wants: the field `limit` of a request, where 0 means the default.
///
/// # Errors
/// `OUT_OF_RANGE` for more than are kept.
pub fn limit(asked: u32, default: u32) -> Result<usize, Problem> {
    let limit = if asked == 0 { default } else { asked } as usize;
    if limit > KEPT {
        return Err(Problem::field("limit", "OUT_OF_RANGE", format!("is {limit}, not 1 to {KEPT}")));
    }
    Ok(limit)
}

/// Records of the type `R`. Clones share them.
#[derive(Debug)]
pub struct History<R> {
    keys: Arc<dyn KeyValue>,
    prefix: &'static str,
    writes: mpsc::Sender<(String, String, Vec<u8>)>,
    dropped: Arc<AtomicU64>,
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for History<R> {
    fn clone(&self) -> Self {
        Self {
            keys: Arc::clone(&self.keys),
            prefix: self.prefix,
            writes: self.writes.clone(),
            dropped: Arc::clone(&self.dropped),
            record: PhantomData,
        }
    }
}

/// Ids end in 26 characters that sort by time; turned around, the newest comes first.
fn key_of(id: &str) -> Option<String> {
    id.get(id.len().checked_sub(26)?..).and_then(text::complement)
}

fn group_prefix(prefix: &str, group: &str) -> String {
    let group =
        if group.is_empty() { "all".to_owned() } else { sha256_hex(group.as_bytes())[..32].to_owned() };
    format!("history/{prefix}/{group}/")
}

impl<R: Serialize + DeserializeOwned> History<R> {
    /// Starts the task that writes; it ends with the last clone.
    #[must_use]
    pub fn start(keys: Arc<dyn KeyValue>, prefix: &'static str) -> Self {
        let (writes, mut waiting) = mpsc::channel::<(String, String, Vec<u8>)>(WAITING_MAX);
        let home = Arc::clone(&keys);
        tokio::spawn(async move {
            let mut writes: HashMap<String, u64> = HashMap::new();
            let mut told = false;
            while let Some((group, key, value)) = waiting.recv().await {
                if !writes.contains_key(&group) && writes.len() >= GROUPS_MAX {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!("records of more than {GROUPS_MAX} groups are not kept");
                    }
                    continue;
                }
                if let Err(error) = home.put(&format!("{group}{key}"), value, None).await {
                    tracing::warn!(%error, "a record was not kept");
                }
                let count = writes.entry(group.clone()).or_default();
                *count += 1;
                if count.is_multiple_of(PRUNE_EVERY)
                    && let Err(error) = prune(&*home, &group).await
                {
                    tracing::warn!(%error, "old records were not given up");
                }
            }
        });
        Self { keys, prefix, writes, dropped: Arc::default(), record: PhantomData }
    }

    /// Keeps a record of a group under an id; never waits.
    pub fn offer(&self, group: &str, id: &str, record: &R) {
        let Some(key) = key_of(id) else { return };
        // Records are structs of names, numbers and texts: nothing in them can fail.
        let item = (group_prefix(self.prefix, group), key, serde_json::to_vec(record).unwrap_or_default());
        if self.writes.try_send(item).is_err()
            && self.dropped.fetch_add(1, Ordering::Relaxed).is_multiple_of(1_000)
        {
            tracing::warn!("records come faster than the home takes them; some are not kept");
        }
    }

    /// The newest records of a group, at most so many.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn recent(&self, group: &str, count: usize) -> Result<Vec<R>, PortError> {
        self.recent_while(group, count, |_| true).await
    }

    /// Likewise, up to the first that is not wanted.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn recent_while(
        &self,
        group: &str,
        count: usize,
        wanted: impl Fn(&R) -> bool + Send,
    ) -> Result<Vec<R>, PortError> {
        let mut found = Vec::new();
        for key in self.keys.list(&group_prefix(self.prefix, group), "", count.min(KEPT)).await? {
            let Some(held) = self.keys.get(&key).await? else { continue };
            match serde_json::from_slice(&held.value) {
                Ok(record) if wanted(&record) => found.push(record),
                Ok(_) => break,
                Err(error) => tracing::warn!(%error, key, "a record cannot be read"),
            }
        }
        Ok(found)
    }

    /// The record of an id.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn get(&self, group: &str, id: &str) -> Result<Option<R>, PortError> {
        let Some(key) = key_of(id) else { return Ok(None) };
        let held = self.keys.get(&format!("{}{key}", group_prefix(self.prefix, group))).await?;
        Ok(held.and_then(|held| serde_json::from_slice(&held.value).ok()))
    }
}

async fn prune(keys: &dyn KeyValue, group: &str) -> Result<(), PortError> {
    let all = keys.list(group, "", KEPT + 2 * PRUNE_EVERY as usize).await?;
    for key in all.iter().skip(KEPT) {
        keys.delete(key, None).await?;
    }
    Ok(())
}
