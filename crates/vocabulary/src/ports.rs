//! The ports: what the rooms need from outside, as traits. It must not know any home of them.

pub mod consume;

pub mod records;

pub use crate::port_error::PortError;

use std::fmt::Debug;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    event::{
        Envelope,
        payload::{
            ConstitutionRefused, DriftDetection, PerformanceSubmitted, QualityAssessed, ReferenceStored,
        },
    },
    finding::Finding,
};

/// The wall clock.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since the epoch, UTC.
    fn now_ms(&self) -> i64;

    /// Microseconds since some fixed moment, never back: for measuring how long something took. Goes on while the machine sleeps.
    fn monotonic_us(&self) -> u64;

    /// The same in milliseconds.
    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.monotonic_us() / 1_000).unwrap_or(i64::MAX)
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Ascending from 1, without gaps.
    pub sequence: u64,
    /// The event.
    pub envelope: Envelope,
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The event's place.
    pub sequence: u64,
    /// Whether an event with this id was there already; the sequence is then that one's.
    pub duplicate: bool,
}

/// Longest event, encoded, in bytes.
pub const EVENT_BYTES_MAX: usize = 512 * 1024;

/// Events in one order.
#[async_trait]
pub trait EventLog: Debug + Send + Sync {
    /// Appends an event; a repeated `event_id` is not appended again. With `expected`, only when the last sequence of
    /// the event's subject is that (0 = none yet).
    async fn append(&self, envelope: Envelope, expected: Option<u64>) -> Result<Appended, PortError>;

    /// Events after a sequence, at most `count`, in order.
    async fn read(&self, after: u64, count: usize) -> Result<Vec<Logged>, PortError>;

    /// The last sequence; 0 when empty.
    async fn last(&self) -> Result<u64, PortError>;

    /// The newest event whose subject matches the filter; `None` when there is none, or it was given up.
    async fn newest_of(&self, filter: &str) -> Result<Option<Logged>, PortError>;

    /// Events after a sequence and then live, whose subjects match the filter. A reader that falls behind is fed from
    /// the log, so that none is left out.
    async fn subscribe(&self, after: u64, filter: &str) -> Result<mpsc::Receiver<Logged>, PortError>;
}

/// Longest entry of a ledger, and longest chunk of records, in bytes.
pub const ENTRY_BYTES_MAX: usize = 512 * 1024;

/// What is never given up: entries in one order, each written only by who has seen all before it.
#[async_trait]
pub trait Ledger: Debug + Send + Sync {
    /// Appends an entry when the last sequence is the expected one (0 = none yet); returns its sequence.
    async fn enter(&self, expected: u64, entry: Vec<u8>) -> Result<u64, PortError>;

    /// Entries after a sequence, at most `count`, in order, without gaps from 1.
    async fn entries(&self, after: u64, count: usize) -> Result<Vec<(u64, Vec<u8>)>, PortError>;

    /// Entries after a sequence and then live.
    async fn follow(&self, after: u64) -> Result<mpsc::Receiver<(u64, Vec<u8>)>, PortError>;
}

/// Some records of a topic, or labels of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Ascending in the log; 0 before it is there.
    pub sequence: u64,
    /// Least event time in it, in milliseconds; `i64::MIN` for labels, which have none.
    pub from_ms: i64,
    /// Greatest event time in it, in milliseconds; `i64::MAX` for labels.
    pub until_ms: i64,
    /// The records, encoded.
    pub content: bytes::Bytes,
}

/// Records of models, kept by time and bytes as the home is set.
#[async_trait]
pub trait RecordLog: Debug + Send + Sync {
    /// Appends to a topic, which has the form of a key without `/`; returns the sequence.
    async fn record(&self, topic: &str, chunk: Chunk) -> Result<u64, PortError>;

    /// Chunks of a topic after a sequence, at most `count`, in order.
    async fn chunks(&self, topic: &str, after: u64, count: usize) -> Result<Vec<Chunk>, PortError>;

    /// The last sequence of a topic; 0 when there is none.
    async fn last_chunk(&self, topic: &str) -> Result<u64, PortError>;
}

/// Takes events for the log, and keeps them until it has them.
#[async_trait]
pub trait EventSink: Debug + Send + Sync {
    /// Hands an event over; waits when too many are on their way.
    async fn send(&self, envelope: Envelope);

    /// Hands an event over without waiting; false, and counted as lost, when too many are on their way.
    fn offer(&self, envelope: Envelope) -> bool;

    /// Waits until all that was handed over is in the log.
    async fn flush(&self);
}

/// A value with its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// From 1; ascending in the bucket.
    pub revision: u64,
    /// The value.
    pub value: Vec<u8>,
}

/// Small values by key, with compare-and-swap. Keys: letters, digits, `_`, `-`, `.`, `/`, `=`; 1 to 256 bytes.
#[async_trait]
pub trait KeyValue: Debug + Send + Sync {
    /// The value, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Versioned>, PortError>;

    /// Writes when the revision is the expected one (0 = must not exist; `None` = whatever is there). Returns the new
    /// revision.
    async fn put(&self, key: &str, value: Vec<u8>, expected: Option<u64>) -> Result<u64, PortError>;

    /// Removes a key when its revision is the expected one (`None` = whatever is there; then absent is fine).
    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), PortError>;

    /// Keys that begin with this, sorted, after `after`, at most `count`.
    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError>;

    /// Changes of keys that begin with this, from now on: the key, and the value or `None` when it is gone.
    async fn watch(&self, prefix: &str) -> Result<mpsc::Receiver<(String, Option<Versioned>)>, PortError>;
}

/// Large immutable values by name.
#[async_trait]
pub trait Blobs: Debug + Send + Sync {
    /// Writes; the same name again must bring the same bytes.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), PortError>;

    /// Reads.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError>;

    /// Removes; absent is fine.
    async fn delete(&self, name: &str) -> Result<(), PortError>;

    /// Names that begin with this, sorted, after `after`, at most `count`.
    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError>;
}

/// What was done outside a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Judged {
    /// Rows were assessed.
    Quality(QualityAssessed),
    /// Rows were compared with a reference.
    Drift(DriftDetection),
    /// Metrics or rows were held against targets.
    Performance(PerformanceSubmitted),
    /// A reference was frozen.
    Reference(ReferenceStored),
    /// Requests were refused.
    Constitution(ConstitutionRefused),
}

/// Something judged outside a stream, for the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Unique id of the call.
    pub id: String,
    /// The service or model that it is about.
    pub about: String,
    /// What was measured.
    pub judged: Judged,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Takes what a direct call found. Never blocks; drops are counted by the sink.
pub trait FindingSink: Debug + Send + Sync {
    /// Hands a judgement over.
    fn publish(&self, judgement: Judgement);
}

/// A stored reference: the digest of its encoded message, and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReference {
    /// SHA-256 of the content.
    pub digest: [u8; 32],
    /// An encoded `acgs.drift.v1.Reference`.
    pub content: bytes::Bytes,
}

/// Where references are looked up by name and version.
#[async_trait]
pub trait ReferenceSource: Debug + Send + Sync {
    /// A reference; an empty name means the newest of the model, version 0 the newest of the name.
    ///
    /// # Errors
    /// `UNKNOWN_REFERENCE`, or the home's trouble.
    async fn find(&self, name: &str, version: u64, model_id: &str)
    -> Result<StoredReference, crate::Problem>;
}

/// A sink for services that stand alone.
#[derive(Clone, Copy, Debug)]
pub struct NoSink;

impl FindingSink for NoSink {
    fn publish(&self, _judgement: Judgement) {}
}
