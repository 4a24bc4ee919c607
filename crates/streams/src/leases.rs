//! Who owns a stream: a lease with an epoch in the key-value home, taken by compare-and-swap, renewed while the stream
//! runs. It must not know what home the keys have.
//!
//! A lease may be taken when its key has stood still for a whole life while the taker looked on: no clock of another machine, and no wall
//! clock, has a say. That two never hold one is the compare-and-swap's work.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use acgs_vocabulary::{
    Problem,
    constitution::sha256_hex,
    ports::{Clock, KeyValue, PortError},
    problem::Kind,
    text,
};
use serde::{Deserialize, Serialize};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::ownership::{Asked, Ownership};

/// Renewals within the life of a lease.
const RENEWALS: u64 = 3;
/// Leases taken between two looks for those that nobody took again.
const SWEEP_EVERY: u64 = 256;
/// Leases of others that are looked at, at most; those that nobody asks for any more are forgotten.
const SEEN_MAX: usize = 4_096;
/// A lease that nobody renewed is forgotten after this long.
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
    /// Of the owner's process: two may have one address, as 0.0.0.0 on two machines.
    #[serde(default)]
    life: String,
    /// Ascending from owner to owner.
    epoch: u64,
    /// How long it lives without a renewal.
    #[serde(default)]
    life_ms: u64,
    /// Its owner does not need it any more.
    #[serde(default)]
    let_go: bool,
    /// By its owner's wall clock: only for what is days old, and for versions before.
    expires_ms: i64,
}

/// The lease of another as it was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    revision: u64,
    /// When it had this revision for the first time.
    since_us: u64,
    /// When it was asked for last.
    looked_us: u64,
}

/// Takes leases for one orchestrator.
#[derive(Clone, Debug)]
pub struct Leases {
    keys: Arc<dyn KeyValue>,
    clock: Arc<dyn Clock>,
    owner: Arc<str>,
    /// Unique to this process.
    life: Arc<str>,
    life_ms: u64,
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    taken: Arc<AtomicU64>,
    tasks: TaskTracker,
}

/// A lease that this process holds. Dropping it lets the stream go.
#[derive(Debug)]
pub struct Lease {
    epoch: u64,
    lost: CancellationToken,
    let_go: CancellationToken,
    ownership: Arc<Ownership>,
}

impl Lease {
    /// Whether this process still knows that the stream is its own.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.ownership.is_sure()
    }

    /// Done when it knows again, or that another owns the stream.
    pub async fn sure(&self) {
        tokio::select! {
            () = self.ownership.sure() => {}
            () = self.lost.cancelled() => {}
        }
    }

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

impl Leases {
    /// For the orchestrator that clients reach at this address; a lease lives this long without a renewal.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyValue>, clock: Arc<dyn Clock>, owner: &str, life_ms: u64) -> Self {
        Self {
            life: text::unique_id("", clock.now_ms()).into(),
            keys,
            clock,
            owner: owner.into(),
            life_ms,
            seen: Arc::default(),
            taken: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// How long a lease lives without a renewal, in milliseconds.
    #[must_use]
    pub fn life_ms(&self) -> u64 {
        self.life_ms
    }

    async fn read(&self, key: &str) -> Result<(u64, Option<Held>), PortError> {
        let Some(found) = self.keys.get(key).await? else { return Ok((0, None)) };
        // What cannot be read was not written by this version: it holds nothing that we know how to keep.
        Ok((found.revision, serde_json::from_slice(&found.value).ok()))
    }

    /// Whether another has it: it was not let go, and its key has not stood still for a whole life since it was looked at first.
    fn is_anothers(&self, key: &str, revision: u64, held: &Held) -> bool {
        if held.let_go || *held.life == *self.life {
            return false;
        }
        let now_us = self.clock.monotonic_us();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let life_us = held.life_ms.max(self.life_ms) * 1_000;
        if seen.len() >= SEEN_MAX && !seen.contains_key(key) {
            // Those whom nobody asks for any more; else this one is looked at when there is room.
            seen.retain(|_, seen| now_us.saturating_sub(seen.looked_us) < 2 * life_us);
            if seen.len() >= SEEN_MAX {
                return true;
            }
        }
        let now = Seen { revision, since_us: now_us, looked_us: now_us };
        let last = seen.entry(key.to_owned()).or_insert(now);
        if last.revision != revision {
            *last = now;
        }
        last.looked_us = now_us;
        now_us.saturating_sub(last.since_us) < life_us
    }

    /// What a client is told of a stream that another has.
    fn taken(&self, held: &Held) -> Problem {
        if *held.owner == *self.owner {
            // Of this very address: a former process, that did not say goodbye, or one on another machine.
            let message = format!(
                "another process at {} has the stream, or had it when it was killed; it is free when nothing is heard of it for {} ms",
                held.owner, held.life_ms
            );
            return Problem::new(Kind::Unavailable, "LEASE_HELD", message);
        }
        let message = format!("the stream belongs to the orchestrator at {}; open it there", held.owner);
        Problem::new(Kind::Precondition, "NOT_OWNER", message)
            .with("address", held.owner.clone())
            .with("epoch", held.epoch.to_string())
    }

    /// Whether the stream may be opened here.
    ///
    /// # Errors
    /// `NOT_OWNER` with the owner's address, `LEASE_HELD`, or the home's trouble.
    pub async fn check(&self, stream_id: &str) -> Result<(), Problem> {
        let key = key(stream_id);
        match self.read(&key).await? {
            (revision, Some(held)) if self.is_anothers(&key, revision, &held) => Err(self.taken(&held)),
            _ => Ok(()),
        }
    }

    /// Whether somebody has the stream; one who has just died is known to after the second question.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn is_run(&self, stream_id: &str) -> Result<bool, PortError> {
        let key = key(stream_id);
        let (revision, held) = self.read(&key).await?;
        Ok(held.is_some_and(|held| self.is_held(&key, revision, &held)))
    }

    /// Takes the lease of a stream, and renews it until it is dropped.
    ///
    /// # Errors
    /// As [`Leases::check`].
    pub async fn acquire(&self, stream_id: &str) -> Result<Lease, Problem> {
        let key = key(stream_id);
        let (mut revision, mut last) = self.read(&key).await?;
        loop {
            if let Some(held) = last.as_ref().filter(|held| self.is_anothers(&key, revision, held)) {
                return Err(self.taken(held));
            }
            let held = Held {
                stream_id: stream_id.to_owned(),
                owner: self.owner.to_string(),
                life: self.life.to_string(),
                life_ms: self.life_ms,
                let_go: false,
                // One that is not known may have been forgotten, and judges may not have: no clock goes back so far.
                epoch: last.map_or(self.clock.now_ms().max(0) as u64, |held| held.epoch) + 1,
                expires_ms: self.clock.now_ms() + self.life_ms as i64,
            };
            let asked = Asked::now(&*self.clock);
            match self.write(&key, &held, revision).await {
                Ok(revision) => {
                    if self.taken.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
                        self.tasks.spawn(self.clone().sweep());
                    }
                    return Ok(self.keep(key, held, revision, asked));
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
                let old = |held: &Held| held.expires_ms < self.clock.now_ms() - FORGET_MS;
                // A clock that jumps does not make the lease of a living owner old.
                if held.is_some_and(|held| old(&held) && !self.is_held(key, revision, &held)) {
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

    /// By another that is alive, or by this process.
    fn is_held(&self, key: &str, revision: u64, held: &Held) -> bool {
        let own = *held.life == *self.life && !held.let_go;
        own || self.is_anothers(key, revision, held)
    }

    fn keep(&self, key: String, held: Held, revision: u64, asked: Asked) -> Lease {
        let (lost, let_go) = (CancellationToken::new(), CancellationToken::new());
        let ownership = Arc::new(Ownership::new(Arc::clone(&self.clock), self.life_ms, asked));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let lease = Lease {
            epoch: held.epoch,
            lost: lost.clone(),
            let_go: let_go.clone(),
            ownership: Arc::clone(&ownership),
        };
        self.tasks.spawn(self.clone().renew(key, held, revision, (lost, let_go, ownership)));
        lease
    }

    async fn renew(
        self,
        key: String,
        mut held: Held,
        mut revision: u64,
        (lost, let_go, ownership): (CancellationToken, CancellationToken, Arc<Ownership>),
    ) {
        let pause = Duration::from_millis((self.life_ms / RENEWALS).max(1));
        loop {
            let over = tokio::select! {
                () = let_go.cancelled() => true,
                () = tokio::time::sleep(pause) => false,
                () = ownership.wanted() => false,
            };
            let asked = ownership.look();
            held.let_go = over;
            held.expires_ms = self.clock.now_ms() + if over { 0 } else { self.life_ms as i64 };
            match self.renewed(&key, &held, revision).await {
                Ok(Some(written)) => {
                    revision = written;
                    ownership.confirmed(asked);
                }
                Ok(None) => {
                    tracing::warn!(stream = held.stream_id, "another orchestrator owns a stream of ours");
                    lost.cancel();
                    return;
                }
                // While NATS is away from all, nobody else can write either. Cut off alone, this owner goes on until it hears
                // of another: events are known by their window, so what both say of one is one.
                Err(error) => {
                    tracing::warn!(%error, stream = held.stream_id, "a lease could not be renewed");
                    ownership.tried(asked);
                }
            }
            if over {
                return;
            }
        }
    }

    /// The revision of a renewal; `None` when another has the lease.
    async fn renewed(&self, key: &str, held: &Held, revision: u64) -> Result<Option<u64>, PortError> {
        match self.write(key, held, revision).await {
            Err(PortError::Conflict { .. }) => {}
            written => return written.map(Some),
        }
        let found = match self.read(key).await? {
            // Our own write, whose answer was lost.
            (found, Some(now)) if now.life == held.life && now.epoch == held.epoch => found,
            // Nobody has it: the store was made anew.
            (found, None) => found,
            _ => return Ok(None),
        };
        match self.write(key, held, found).await {
            Err(PortError::Conflict { .. }) => Ok(None),
            written => written.map(Some),
        }
    }
}

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
