//! What the task of a stream is given, and what it tells its clients.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use acgs_columns::RecordBatch;
use acgs_vocabulary::Problem;
use tokio::sync::{mpsc, oneshot};

use crate::{
    core::{Label, LabelCounts, Report, Totals},
    spec::StreamSpec,
};

/// What a client is told.
#[derive(Clone, Debug)]
pub enum Told {
    /// Frames are in.
    Accepted {
        /// Through this seq.
        through_seq: u64,
        /// Bytes that may be sent in addition.
        credit_bytes: u64,
        /// How the stream stands.
        totals: Totals,
    },
    /// A window is judged.
    Report(Arc<Report>),
    /// The stream is over.
    Closed(Totals),
}

/// Frames of a client that were received and are not taken yet: while there are any, the client is not silent.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// One more, until what is returned is dropped.
    #[must_use]
    pub fn one(&self) -> Waits {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waits(self.clone())
    }

    /// Whether there are any.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A frame that waits.
#[derive(Debug)]
pub struct Waits(Waiting);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The task's end of a client.
#[derive(Debug)]
pub struct ClientEnd {
    /// Unique in the process.
    pub id: u64,
    /// What it delivers.
    pub partition: String,
    /// What it is told.
    pub out: mpsc::Sender<Told>,
    /// Why it is let go, when it is.
    pub farewell: Arc<OnceLock<Problem>>,
    /// Its frames that were received and are not taken yet.
    pub waiting: Waiting,
}

/// What a client gets when it joins.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// The last seq accepted from its partition.
    pub accepted_through: u64,
    /// Which client of the partition this is.
    pub join: u64,
    /// Whether the stream was there already.
    pub resumed: bool,
}

/// What the task is given.
#[derive(Debug)]
pub enum Input {
    /// A client joins.
    Join {
        /// What it believes the stream to be.
        spec: Box<StreamSpec>,
        /// The last report it has.
        resume_after: u64,
        /// Its end.
        client: ClientEnd,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Joined, Problem>>,
    },
    /// A frame of rows.
    Rows {
        /// The number that the client was given when it joined.
        client: u64,
        /// Its number.
        seq: u64,
        /// The rows.
        batch: RecordBatch,
        /// When it was received.
        received_us: u64,
        /// It waits until it is taken.
        waits: Waits,
    },
    /// A frame of labels.
    Labels {
        /// The number that the client was given when it joined.
        client: u64,
        /// Its number.
        seq: u64,
        /// The labels.
        labels: Vec<Label>,
        /// Bytes that its credit counts.
        bytes: u64,
        /// It waits until it is taken.
        waits: Waits,
    },
    /// Labels from another caller.
    SubmitLabels {
        /// The labels.
        labels: Vec<Label>,
        /// Where the counts go.
        reply: oneshot::Sender<LabelCounts>,
    },
    /// A client has reports.
    Ack {
        /// The number that the client was given when it joined.
        client: u64,
        /// Through this report.
        through: u64,
    },
    /// A client's partition ends.
    End {
        /// The number that the client was given when it joined.
        client: u64,
    },
    /// What a client sent is refused.
    Refuse {
        /// The number that the client was given when it joined.
        client: u64,
        /// Why.
        problem: Problem,
    },
    /// A client is gone.
    Leave {
        /// The number that the client was given when it joined.
        client: u64,
    },
}
