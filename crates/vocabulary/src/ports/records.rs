//! Records of models as ports: a stream writes its frames, whoever trains or judges models reads them. It must not know how a
//! frame is encoded or what home it is in.

use std::{fmt::Debug, sync::Arc};

use acgs_columns::{RecordBatch, Schema};
use async_trait::async_trait;

use super::{Chunk, PortError};
use crate::{Problem, budget::Reservation};

/// Whose frames a recorder writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSource {
    /// Of the client's `Open`.
    pub stream_id: Arc<str>,
    /// Unique to one life of the stream: a client that opens it anew from the start sends its frames again.
    pub instance: Arc<str>,
    /// Records are kept for a model; not empty.
    pub model_id: Arc<str>,
    /// The version that served; may be empty.
    pub model_version: Arc<str>,
    /// Of the lease under which the stream runs; 0 where there are no leases.
    pub epoch: u64,
}

/// A frame's place in its stream.
///
/// A frame is recorded before it is taken, so some are recorded that never are: the home is lost in between, or another client has joined by
/// then and sends the same rows again, cut as it likes. What a client sent counts through the frame after which the next one joined.
#[derive(Clone, Copy, Debug)]
pub struct FramePlace<'a> {
    /// `partition_id` of the client's `Open`.
    pub partition: &'a str,
    /// Counts the clients of the partition in one life of the stream, and what they failed in.
    pub join: u64,
    /// What had been accepted of the partition when this client joined.
    pub joined_after: u64,
    /// Ascending from 1 in the partition.
    pub seq: u64,
}

/// Writes the frames of one life of a stream.
#[async_trait]
pub trait FrameRecorder: Debug + Send + Sync {
    /// A frame of rows as it would be kept; nothing is kept yet.
    ///
    /// # Errors
    /// `RECORD_TOO_LARGE`.
    fn encode_rows(&self, place: FramePlace<'_>, batch: &RecordBatch) -> Result<Vec<Chunk>, Problem>;

    /// A frame of labels as it would be kept; nothing is kept yet.
    ///
    /// # Errors
    /// As for rows.
    fn encode_labels(&self, place: FramePlace<'_>, batch: &RecordBatch) -> Result<Vec<Chunk>, Problem>;

    /// Keeps a frame.
    ///
    /// # Errors
    /// The home's trouble after a while; it may be kept all the same.
    async fn keep(&self, chunks: Vec<Chunk>) -> Result<(), Problem>;

    /// Keeps that of what earlier joins sent nothing counts after `joined_after`.
    ///
    /// # Errors
    /// The home's trouble after a while.
    async fn void(&self, place: FramePlace<'_>) -> Result<(), Problem>;
}

/// Where streams get their recorders.
pub trait FrameLog: Debug + Send + Sync {
    /// A recorder for one life of a stream.
    fn recorder(&self, source: FrameSource) -> Arc<dyn FrameRecorder>;
}

/// A range of a model's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Event time of the first, inclusive, in milliseconds.
    pub from_ms: i64,
    /// Event time of the last, exclusive, in milliseconds.
    pub until_ms: i64,
    /// Only records whose label is known.
    pub labelled: bool,
    /// Most records; the newest are kept.
    pub rows_max: usize,
}

/// A table of records: each once, with its label where it is known.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Fields of the records, and the label when there is one.
    pub schema: Arc<Schema>,
    /// In the order of event time.
    pub batches: Vec<RecordBatch>,
    /// The sum over the batches.
    pub rows: u64,
    /// What it takes of the process's memory.
    pub room: Option<Arc<Reservation>>,
}

/// What a frame holds.
#[derive(Clone, Debug)]
pub enum FrameRows {
    /// Records as they were served.
    Records(Vec<RecordBatch>),
    /// Ids with their truth.
    Labels(Vec<RecordBatch>),
}

/// Where a kept frame stands in one life of a partition. Frames are in the log in the order in which they arrived there, not in this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeptPlace {
    /// Of the lease under which the stream ran.
    pub epoch: u64,
    /// Of [`FramePlace`].
    pub join: u64,
    /// Of [`FramePlace`].
    pub seq: u64,
    /// Of a frame that is too long for one chunk.
    pub part: u32,
}

/// A frame, or a part of one, as it was kept.
#[derive(Clone, Debug)]
pub struct RecordFrame {
    /// One life of a stream, and a partition of it.
    pub life: (String, String),
    /// Which frame of it, and which part.
    pub place: KeptPlace,
    /// The version that served; empty for labels.
    pub model_version: String,
    /// The rows.
    pub rows: FrameRows,
}

/// Frames in the order in which they were kept.
#[derive(Clone, Debug)]
pub struct FramePage {
    /// Those that could be read.
    pub frames: Vec<RecordFrame>,
    /// Where to go on; `None` when there is nothing more for now.
    pub through_sequence: Option<u64>,
}

/// The records of models.
#[async_trait]
pub trait ModelRecords: Debug + Send + Sync {
    /// A range as one table. The same records make the same table, whatever order they came in.
    ///
    /// # Errors
    /// `DATASET_TOO_LARGE`, or the home's trouble.
    async fn dataset(&self, model_id: &str, selection: Selection) -> Result<Dataset, Problem>;

    /// Frames after a sequence, a page at a time.
    ///
    /// # Errors
    /// The home's trouble.
    async fn frames(&self, model_id: &str, after: u64) -> Result<FramePage, Problem>;

    /// The last sequence; 0 when no records of the model are kept.
    ///
    /// # Errors
    /// The home's trouble.
    async fn last_sequence(&self, model_id: &str) -> Result<u64, PortError>;
}
