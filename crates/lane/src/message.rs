//! The messages of a lane. `proto/acgs/lane/v1/lane.proto` says each one's meaning. They must not know the wire.

use std::{fmt, sync::Arc};

use acgs_columns::{RecordBatch, Schema};
use acgs_vocabulary::{Finding, JudgeKind, VerdictStatus, Window};
use bytes::Bytes;

/// A pane's number.
pub type PaneId = u64;
/// The SHA-256 of a config's bytes.
pub type ConfigDigest = [u8; 32];

/// Names a lane of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// The judge.
    pub judge: JudgeKind,
    /// The part of the key space, from 0; streams without keys have one.
    pub slot: u32,
}

impl LaneId {
    /// The lane of a stream that is not split by key.
    #[must_use]
    pub fn whole(judge: JudgeKind) -> Self {
        Self { judge, slot: 0 }
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.judge.as_str(), self.slot)
    }
}

/// Orchestrator to judge.
#[derive(Clone, Debug, PartialEq)]
pub enum LaneDown {
    /// First, once.
    Open(Open),
    /// Answers [`LaneUp::Need`].
    Config {
        /// Of the content.
        digest: ConfigDigest,
        /// The bytes.
        content: Bytes,
    },
    /// State of an earlier judge of this lane, perhaps in pieces.
    Restore(State),
    /// A pane comes to be.
    OpenPane {
        /// Ascending.
        pane: PaneId,
        /// Its key; empty for none.
        key: Arc<str>,
        /// Whether its rows were in another pane before and only their labels are new.
        labels_only: bool,
    },
    /// Rows, grouped by pane.
    Rows {
        /// Ascending from 1, shared by rows, ticks, closes and releases.
        seq: u64,
        /// The rows.
        batch: RecordBatch,
        /// Panes and lengths; they cover the batch.
        runs: Vec<(PaneId, u32)>,
        /// Whether an earlier judge of the lane was given them too.
        again: bool,
        /// Who delivered them; empty where only labels are new.
        partition: Arc<str>,
        /// Whether the labels of these rows, given before, are taken back.
        retracts: bool,
    },
    /// Event time.
    Tick {
        /// As for rows.
        seq: u64,
        /// Exclusive watermark in milliseconds.
        watermark_ms: i64,
    },
    /// Asks for a verdict.
    Close(Close),
    /// Frees panes: nothing reaches them any more.
    Release {
        /// As for rows.
        seq: u64,
        /// Unknown ones are ignored.
        panes: Vec<PaneId>,
    },
}

impl LaneDown {
    /// Its place in the lane; `None` for what opens the lane or a pane.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Rows { seq, .. } | Self::Tick { seq, .. } | Self::Release { seq, .. } => Some(*seq),
            Self::Close(close) => Some(close.seq),
            Self::Open(_) | Self::Config { .. } | Self::Restore(_) | Self::OpenPane { .. } => None,
        }
    }
}

/// When a window is judged, against the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// The watermark has just reached the window's end.
    OnTime,
    /// Before that.
    Early,
    /// Again, for rows or labels that came after that.
    Late,
}

/// A window to judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Close {
    /// As for rows.
    pub seq: u64,
    /// The window.
    pub window: Window,
    /// Counts per window and judge, from 0.
    pub revision: u32,
    /// The window's panes, in order of event time, then of opening.
    pub panes: Vec<PaneId>,
    /// Only on-time closes feed detectors.
    pub timing: Timing,
    /// Whether the verdict is known: detectors are fed, and nothing is answered.
    pub again: bool,
    /// Whether the labels of its rows are settled: all are in, or no more can come.
    pub settled: bool,
}

/// The first message of a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The client stream.
    pub stream_id: Arc<str>,
    /// Always 0 in this version.
    pub slot: u32,
    /// Of the lease under which the stream is owned; 0 where streams have no leases.
    pub epoch: u64,
    /// The columns to come.
    pub schema: Arc<Schema>,
    /// What the judge must hold: kind and digest.
    pub configs: Vec<(String, ConfigDigest)>,
    /// Bytes of rows between snapshots; 0 = never.
    pub snapshot_every_bytes: u64,
    /// The model; may be empty.
    pub model_id: String,
    /// The service; may be empty.
    pub service_id: String,
    /// How long panes are in event time, in milliseconds; 0 where they have no length.
    pub pane_ms: u64,
    /// Drift is measured from the rows of so many milliseconds before each window; 0 = from the reference itself.
    pub recent_ms: i64,
    /// One window is judged and no more: by itself, nothing is monitored.
    pub once: bool,
}

/// State of a judge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// What came down through here is in it.
    pub through_seq: u64,
    /// Panes, their keys and opaque bytes.
    pub panes: Vec<(PaneId, Arc<str>, Bytes)>,
    /// What belongs to no pane; the pieces' bytes follow each other.
    pub carry: Bytes,
    /// Whether another piece of the same state follows.
    pub more: bool,
}

/// Judge to orchestrator.
#[derive(Clone, Debug, PartialEq)]
pub enum LaneUp {
    /// These bytes are missing.
    Need {
        /// Their digest.
        digest: ConfigDigest,
    },
    /// The answer to a close.
    Verdict(Verdict),
    /// State to keep.
    Snapshot(State),
    /// More may be sent.
    Credit {
        /// Bytes of rows.
        bytes: u64,
        /// Row frames.
        messages: u32,
    },
}

/// A judge's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The window.
    pub window: Window,
    /// The revision asked for.
    pub revision: u32,
    /// How it came out.
    pub status: VerdictStatus,
    /// Why it is not Ok.
    pub reason: String,
    /// The judge's encoded report.
    pub report: Bytes,
    /// What was found.
    pub findings: Vec<Finding>,
}
