//! The embedded home: a durable local store in one folder, for one process. One thread writes, in groups, so that one
//! sync serves many writers; it must not know who they are.
//!
//! It never opens a port and never claims to be NATS.

mod job;
mod ledger;
mod log;
mod records;
mod state;
mod writer;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use acgs_vocabulary::ports::{Clock, PortError};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use job::{Job, Reply};
use tokio::sync::{broadcast, mpsc, watch};
use writer::Writer;

/// Writes that wait for the writer; more wait with their caller.
const JOBS_MAX: usize = 1_024;
/// Changes of keys that a watcher may be behind before it reads the keys anew.
const CHANGES_MAX: usize = 1_024;
/// Bytes that the engine holds in memory for each of its parts before it writes them out.
const MEMTABLE_BYTES: u64 = 2 << 20;
/// Bytes of blocks that the engine keeps for reading.
const CACHE_BYTES: u64 = 4 << 20;

/// When an acknowledged write is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the acknowledgement; one sync for all that wait.
    Always,
    /// When the operating system gets to it: safe when the process dies, not when the machine does.
    System,
}

/// How a home is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder; made when it is not there.
    pub folder: PathBuf,
    /// When a write is on the disk.
    pub durability: Durability,
    /// Events kept; older ones are given up.
    pub events_max: u64,
    /// How long records are kept, and how many bytes of them.
    pub records: RecordsKept,
    /// What the age of records is told by.
    pub clock: Arc<dyn Clock>,
}

/// What is kept of records; the oldest go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordsKept {
    /// Wall time since they came.
    pub age: std::time::Duration,
    /// Bytes over all topics.
    pub bytes: u64,
}

/// A home in a folder. Clones share it.
#[derive(Clone)]
pub struct Embedded {
    parts: Parts,
    jobs: mpsc::Sender<Job>,
    last: watch::Receiver<u64>,
    ledger_last: watch::Receiver<u64>,
    changes: broadcast::Sender<Change>,
    folder: Arc<Path>,
}

/// A key, and what it now holds.
type Change = (String, Option<acgs_vocabulary::ports::Versioned>);

/// The parts of the store.
#[derive(Clone)]
struct Parts {
    database: Database,
    /// Sequence to envelope.
    events: Keyspace,
    /// Event id to sequence.
    ids: Keyspace,
    /// Subject to last sequence.
    subjects: Keyspace,
    /// Key to revision and value.
    keys: Keyspace,
    /// Name to bytes.
    blobs: Keyspace,
    /// Sequence to entry.
    ledger: Keyspace,
    /// Topic and sequence to chunk.
    records: Keyspace,
    /// Sequence to topic, time and bytes.
    record_order: Keyspace,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Embedded").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// What the engine said, as a port's error.
fn trouble(error: impl fmt::Display) -> PortError {
    PortError::Unavailable(format!("the embedded store failed: {error}"))
}

impl Embedded {
    /// Opens the folder, recovering what was acknowledged.
    ///
    /// # Errors
    /// When another process has it, or it cannot be read.
    pub fn open(options: Options) -> Result<Self, PortError> {
        let database =
            Database::builder(&options.folder).cache_size(CACHE_BYTES).worker_threads(1).open().map_err(
                |error| {
                    let folder = options.folder.display();
                    PortError::Unavailable(format!(
                        "cannot open the store in {folder}: {error}; one process may use it"
                    ))
                },
            )?;
        let part = |name: &str| {
            database
                .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
                .map_err(trouble)
        };
        let parts = Parts {
            events: part("events")?,
            ids: part("ids")?,
            subjects: part("subjects")?,
            keys: part("keys")?,
            blobs: part("blobs")?,
            ledger: part("ledger")?,
            records: part("records")?,
            record_order: part("record_order")?,
            database,
        };
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let writer = Writer::recover(parts.clone(), &options, changes.clone())?;
        let (announce, last) = watch::channel(writer.last_sequence());
        let (announce_ledger, ledger_last) = watch::channel(writer.last_entry());
        thread::Builder::new()
            .name("acgs-store".into())
            .spawn(move || writer.run(queue, &announce, &announce_ledger))
            .map_err(trouble)?;
        Ok(Self { parts, jobs, last, ledger_last, changes, folder: options.folder.into() })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Hands a job to the writer and waits for its answer.
    async fn write<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, PortError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let closed = || PortError::Unavailable("the embedded store is closed".into());
        self.jobs.send(job(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

#[cfg(test)]
#[path = "embedded/tests.rs"]
pub(crate) mod tests;
