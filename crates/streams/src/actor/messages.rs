//! What the task of a stream is given, and what it tells its clients.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use acgs_vocabulary::{AlertSubject, Problem, budget::Reservation, ports::Chunk};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    core::{Held, Label, LabelCounts, Report, Totals},
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

/// Frames of rows of a client that were received and are not taken yet: while there are any, the client is not silent.
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

/// In place of a time: its place was given to another.
const GIVEN_UP: u64 = u64::MAX;

/// How a stream stands, for whoever decides which streams there is room for.
#[derive(Debug, Default)]
pub struct Standing {
    /// Monotonic, in microseconds; 0 while it has clients.
    detached_since_us: AtomicU64,
    /// It has taken nothing: nobody has anything to come back to.
    is_new: AtomicBool,
    given_up: CancellationToken,
}

impl Standing {
    /// Since when it has no client, `None` while it has; and whether it has taken nothing yet. False when it was given up.
    pub fn say(&self, detached_since_us: Option<u64>, is_new: bool) -> bool {
        self.is_new.store(is_new, Ordering::Relaxed);
        let since_us = detached_since_us.map_or(0, |since_us| since_us.clamp(1, GIVEN_UP - 1));
        let said = |now: u64| (now != GIVEN_UP).then_some(since_us);
        self.detached_since_us.fetch_update(Ordering::AcqRel, Ordering::Acquire, said).is_ok()
    }

    /// How much is lost when it is given up: the least for one that has taken nothing, then for the longest without a client. `None` while
    /// it has clients.
    #[must_use]
    pub fn worth(&self) -> Option<(bool, u64)> {
        let since_us = self.detached_since_us.load(Ordering::Acquire);
        (since_us > 0 && since_us != GIVEN_UP).then(|| (!self.is_new.load(Ordering::Relaxed), since_us))
    }

    /// Its place is needed: it ends. False when a client has come back meanwhile.
    pub fn give_up(&self, since_us: u64) -> bool {
        let none =
            self.detached_since_us.compare_exchange(since_us, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
        if none.is_ok() {
            self.given_up.cancel();
        }
        none.is_ok()
    }

    /// Whether its place is needed.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up.is_cancelled()
    }

    /// Done when its place is needed.
    pub async fn needed(&self) {
        self.given_up.cancelled().await;
    }
}

/// The task's end of a client.
#[derive(Debug)]
pub struct ClientEnd {
    /// Unique in the process.
    pub id: u64,
    /// What it delivers.
    pub partition: String,
    /// Of the partition, when it was here last; empty when it was not.
    pub life: String,
    /// What it is told.
    pub out: mpsc::Sender<Told>,
    /// The last report that its connection has taken: what waits before it may be lost with it.
    pub handed: Arc<AtomicU64>,
    /// Why it is let go, when it is.
    pub farewell: Arc<OnceLock<Problem>>,
    /// Its frames of rows that were received and are not taken yet.
    pub waiting: Waiting,
    /// Cancels its reader when it is let go: nothing that it sends is taken any more.
    pub reader: DropGuard,
}

/// What a client gets when it joins.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The last seq accepted from its partition.
    pub accepted_through: u64,
    /// Which client of the partition this is.
    pub join: u64,
    /// Of the partition, as this client knows it.
    pub life: String,
    /// Whether the stream was there already.
    pub resumed: bool,
}

/// Of the process's share for frames, and of what its client has of it.
pub type Rooms = (Reservation, Reservation);

/// A frame of a client.
#[derive(Debug)]
pub struct Frame {
    /// The number that the client was given when it joined.
    pub client: u64,
    /// Its number.
    pub seq: u64,
    /// What is in it.
    pub held: Held,
    /// Bytes that its client's credit counts.
    pub bytes: u64,
    /// When it was received.
    pub received_us: u64,
    /// As the record log keeps it; empty when the stream is not kept, and what they take of the process's memory.
    pub chunks: Vec<Chunk>,
    /// Given back when it is taken.
    pub room: Option<Rooms>,
    /// Rows are no silence until they are taken.
    pub waits: Option<Waits>,
}

impl Input {
    /// Rows that come with it.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Frame(Frame { held: Held::Rows(batch), .. }) => batch.rows(),
            _ => 0,
        }
    }
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
    /// A frame of rows or labels.
    Frame(Frame),
    /// Labels from another caller.
    SubmitLabels {
        /// The labels.
        labels: Vec<Label>,
        /// Where the counts go.
        reply: oneshot::Sender<LabelCounts>,
    },
    /// Whether an alert stands.
    Stands {
        /// Which.
        subject: AlertSubject,
        /// Where the answer goes.
        reply: oneshot::Sender<bool>,
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
