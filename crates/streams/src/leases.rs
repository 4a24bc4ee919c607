//! Who owns a stream: a lease with an epoch in the key-value home, taken by compare-and-swap, renewed while the stream
//! runs. It must not know what home the keys have.
//!
//! The wall clock decides only how soon a lease that nobody renews may be taken; that two never hold one is the
//! compare-and-swap's work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use acgs_vocabulary::{
    Problem,
    constitution::sha256_hex,
    ports::{Clock, KeyValue, PortError},
    problem::Kind,
};
use serde::{Deserialize, Serialize};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Renewals within the life of a lease.
const RENEWALS: u64 = 3;
/// Leases taken between two looks for those that nobody took again.
const SWEEP_EVERY: u64 = 256;
/// A lease that has run out is forgotten after this long.
const FORGET_MS: i64 = 86_400_000;
/// Keys looked at together.
const PAGE: usize = 256;
const PREFIX: &str = "streams/";

/// What a lease's key holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Held {
    stream_id: String,
    /// Where the owner can be reached.
    owner: String,
    /// Ascending from owner to owner.
    epoch: u64,
    expires_ms: i64,
}

/// Takes leases for one orchestrator.
#[derive(Clone, Debug)]
pub struct Leases {
    keys: Arc<dyn KeyValue>,
    clock: Arc<dyn Clock>,
    owner: Arc<str>,
    life_ms: u64,
    taken: Arc<AtomicU64>,
    tasks: TaskTracker,
}

/// A lease that this process holds. Dropping it lets the stream go.
#[derive(Debug)]
pub struct Lease {
    epoch: u64,
    lost: CancellationToken,
    let_go: CancellationToken,
}

impl Lease {
    /// Counts the owners of the stream, from 1.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Cancelled when another owns the stream.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.let_go.cancel();
    }
}

fn key(stream_id: &str) -> String {
    format!("{PREFIX}{}", &sha256_hex(stream_id.as_bytes())[..32])
}

fn not_owner(held: &Held) -> Problem {
    let message = format!("the stream belongs to the orchestrator at {}; open it there", held.owner);
    Problem::new(Kind::Precondition, "NOT_OWNER", message)
        .with("address", held.owner.clone())
        .with("epoch", held.epoch.to_string())
}

impl Leases {
    /// For the orchestrator that clients reach at this address; a lease lives this long without a renewal.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyValue>, clock: Arc<dyn Clock>, owner: &str, life_ms: u64) -> Self {
        Self { keys, clock, owner: owner.into(), life_ms, taken: Arc::default(), tasks: TaskTracker::new() }
    }

    async fn read(&self, key: &str) -> Result<(u64, Option<Held>), PortError> {
        let Some(found) = self.keys.get(key).await? else { return Ok((0, None)) };
        // What cannot be read was not written by this version: it holds nothing that we know how to keep.
        Ok((found.revision, serde_json::from_slice(&found.value).ok()))
    }

    fn is_anothers(&self, held: &Held) -> bool {
        *held.owner != *self.owner && held.expires_ms > self.clock.now_ms()
    }

    /// Whether the stream may be opened here.
    ///
    /// # Errors
    /// `NOT_OWNER` with the owner's address, or the home's trouble.
    pub async fn check(&self, stream_id: &str) -> Result<(), Problem> {
        match self.read(&key(stream_id)).await?.1 {
            Some(held) if self.is_anothers(&held) => Err(not_owner(&held)),
            _ => Ok(()),
        }
    }

    /// Takes the lease of a stream, and renews it until it is dropped.
    ///
    /// # Errors
    /// `NOT_OWNER` with the owner's address, or the home's trouble.
    pub async fn acquire(&self, stream_id: &str) -> Result<Lease, Problem> {
        let key = key(stream_id);
        let (mut revision, mut last) = self.read(&key).await?;
        loop {
            if let Some(held) = last.as_ref().filter(|held| self.is_anothers(held)) {
                return Err(not_owner(held));
            }
            let held = Held {
                stream_id: stream_id.to_owned(),
                owner: self.owner.to_string(),
                // One that is not known may have been forgotten, and judges may not have: no clock goes back so far.
                epoch: last.map_or(self.clock.now_ms().max(0) as u64, |held| held.epoch) + 1,
                expires_ms: self.clock.now_ms() + self.life_ms as i64,
            };
            match self.write(&key, &held, revision).await {
                Ok(revision) => {
                    if self.taken.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
                        self.tasks.spawn(self.clone().sweep());
                    }
                    return Ok(self.keep(key, held, revision));
                }
                // Another was faster: look who.
                Err(PortError::Conflict { .. }) => (revision, last) = self.read(&key).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn write(&self, key: &str, held: &Held, expected: u64) -> Result<u64, PortError> {
        let value = serde_json::to_vec(held).map_err(|error| PortError::Invalid(error.to_string()))?;
        self.keys.put(key, value, Some(expected)).await
    }

    /// Waits until every lease that was dropped is let go in the home too.
    pub async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn sweep(self) {
        if let Err(error) = self.forget_old().await {
            tracing::warn!(%error, "old leases could not be forgotten");
        }
    }

    /// Without it, every stream that ever was would keep a key.
    async fn forget_old(&self) -> Result<(), PortError> {
        let mut after = String::new();
        loop {
            let page = self.keys.list(PREFIX, &after, PAGE).await?;
            for key in &page {
                let (revision, held) = self.read(key).await?;
                if held.is_some_and(|held| held.expires_ms < self.clock.now_ms() - FORGET_MS) {
                    match self.keys.delete(key, Some(revision)).await {
                        // It has been taken just now.
                        Ok(()) | Err(PortError::Conflict { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after.clone_from(last),
                _ => return Ok(()),
            }
        }
    }

    fn keep(&self, key: String, held: Held, revision: u64) -> Lease {
        let (lost, let_go) = (CancellationToken::new(), CancellationToken::new());
        let lease = Lease { epoch: held.epoch, lost: lost.clone(), let_go: let_go.clone() };
        self.tasks.spawn(self.clone().renew(key, held, revision, lost, let_go));
        lease
    }

    async fn renew(
        self,
        key: String,
        mut held: Held,
        mut revision: u64,
        lost: CancellationToken,
        let_go: CancellationToken,
    ) {
        let pause = Duration::from_millis((self.life_ms / RENEWALS).max(1));
        loop {
            let over = tokio::time::timeout(pause, let_go.cancelled()).await.is_ok();
            held.expires_ms =
                if over { self.clock.now_ms() } else { self.clock.now_ms() + self.life_ms as i64 };
            match self.write(&key, &held, revision).await {
                Ok(written) => revision = written,
                Err(PortError::Conflict { .. }) => match self.read(&key).await {
                    // Our own write, whose answer was lost.
                    Ok((found, Some(now))) if now.owner == held.owner && now.epoch == held.epoch => {
                        revision = found;
                        if over {
                            let _it_runs_out_anyway = self.write(&key, &held, revision).await;
                        }
                    }
                    Ok(_) => {
                        tracing::warn!(stream = held.stream_id, "another orchestrator owns a stream of ours");
                        lost.cancel();
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "a lease could not be read"),
                },
                // While NATS is away from all, nobody else can write either. Cut off alone, this owner goes on until it hears
                // of another: events are known by their window, so what both say of one is one.
                Err(error) => tracing::warn!(%error, stream = held.stream_id, "a lease could not be renewed"),
            }
            if over {
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
