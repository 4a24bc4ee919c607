//! The embedded home: a durable local store in one folder, for one process. One thread writes, in groups, so that one
//! sync serves many writers; it must not know who they are.
//!
//! It never opens a port and never claims to be NATS.

mod job;
mod ledger;
mod log;
mod records;
mod space;
mod state;
mod witness;
mod writer;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use acgs_vocabulary::ports::{Clock, KeyValue, PortError};
use async_trait::async_trait;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, LsmError};
use job::{Job, Reply};
use tokio::sync::{broadcast, mpsc, watch};
use writer::Writer;

use crate::home_state::{HomeProbe, HomeState};

/// Writes that wait for the writer; more wait with their caller.
const JOBS_MAX: usize = 1_024;
/// Changes of keys that a watcher may be behind before it reads the keys anew.
const CHANGES_MAX: usize = 1_024;
/// Bytes that the engine holds in memory for each of its parts before it writes them out.
const MEMTABLE_BYTES: u64 = 2 << 20;
/// Bytes of blocks that the engine keeps for reading.
const CACHE_BYTES: u64 = 4 << 20;

/// What a probe writes.
const PROBE: &str = "probe";
/// Between attempts to go on reading.
const RETRY: Duration = Duration::from_millis(250);

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
    /// Bytes of the disk that stay free; 0 = 256 MiB, or a twentieth of a small one.
    pub free_bytes_min: u64,
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
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    last: watch::Receiver<u64>,
    ledger_last: watch::Receiver<u64>,
    changes: broadcast::Sender<Change>,
    folder: Arc<Path>,
}

/// What readers and the writer have in common.
struct Shared {
    /// `None` while the store is opened again.
    parts: RwLock<Option<Arc<Parts>>>,
    state: watch::Sender<HomeState>,
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
fn trouble(error: impl Into<Failure>) -> PortError {
    match error.into() {
        Failure::Passing(why) => PortError::Unavailable(format!("the embedded store failed: {why}")),
        Failure::Damage(why) => PortError::Damaged(format!(
            "the embedded store (home.folder) is damaged: {why}. Restore the folder from a copy, or move it away to begin anew"
        )),
    }
}

/// A failure of the engine, or of a task that asked it.
enum Failure {
    Passing(String),
    Damage(String),
}

impl From<fjall::Error> for Failure {
    fn from(error: fjall::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        let lost = |error: &std::io::Error| matches!(error.kind(), NotFound | UnexpectedEof | InvalidData);
        let damaged = match &error {
            fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => lost(error),
            fjall::Error::Poisoned | fjall::Error::Locked | fjall::Error::KeyspaceDeleted => false,
            _ => true,
        };
        if damaged { Self::Damage(error.to_string()) } else { Self::Passing(error.to_string()) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Damage(error.to_string())
    }
}

/// Opens the engine.
fn open_parts(folder: &Path) -> Result<Parts, PortError> {
    witness::Witness::of(folder).check_files()?;
    let opened = Database::builder(folder)
        .cache_size(CACHE_BYTES)
        .max_cached_files(Some(files_kept()))
        .worker_threads(1)
        .open();
    let database = opened.map_err(|error| match error {
        fjall::Error::Locked => PortError::Unavailable(format!(
            "another process has the store in {}; one may use it",
            folder.display()
        )),
        error => trouble(error),
    })?;
    let part = |name: &str| {
        database
            .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
            .map_err(trouble)
    };
    Ok(Parts {
        events: part("events")?,
        ids: part("ids")?,
        subjects: part("subjects")?,
        keys: part("keys")?,
        blobs: part("blobs")?,
        ledger: part("ledger")?,
        records: part("records")?,
        record_order: part("record_order")?,
        database,
    })
}

/// Files that the engine keeps open: a small part of what the process may.
fn files_kept() -> usize {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    (limit.unwrap_or(4_096) / 16).clamp(12, 512)
}

impl Embedded {
    /// Opens the folder, recovering what was acknowledged.
    ///
    /// # Errors
    /// When another process has it, or it cannot be read.
    pub fn open(options: Options) -> Result<Self, PortError> {
        let parts = Arc::new(open_parts(&options.folder)?);
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let shared = Arc::new(Shared { parts: RwLock::default(), state: watch::channel(HomeState::Well).0 });
        let folder = options.folder.as_path().into();
        let writer = Writer::recover(&shared, parts, options, changes.clone())?;
        let (announce, last) = watch::channel(writer.last_sequence());
        let (announce_ledger, ledger_last) = watch::channel(writer.last_entry());
        thread::Builder::new()
            .name("acgs-store".into())
            .spawn(move || writer.run(queue, &announce, &announce_ledger))
            .map_err(trouble)?;
        Ok(Self { shared, jobs, last, ledger_last, changes, folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The store, to read from; not to be held over a wait.
    fn parts(&self) -> Result<Arc<Parts>, PortError> {
        let parts = self.shared.parts.read().unwrap_or_else(PoisonError::into_inner).clone();
        parts.ok_or_else(|| PortError::Unavailable("the embedded store failed and is opened again".into()))
    }

    /// Hands a job to the writer and waits for its answer.
    async fn write<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, PortError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let closed = || PortError::Unavailable("the embedded store is closed".into());
        self.jobs.send(job(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl HomeProbe for Embedded {
    async fn probe(&self) -> Result<(), PortError> {
        KeyValue::put(self, PROBE, Vec::new(), None).await.map(drop)
    }

    fn state(&self) -> HomeState {
        self.shared.state.borrow().clone()
    }
}

#[cfg(test)]
#[path = "embedded/tests.rs"]
pub(crate) mod tests;
