//! The messages of a lane. `proto/acgs/lane/v1/lane.proto` says each one's meaning. They must not know the wire.

use std::sync::Arc;

use acgs_columns::{RecordBatch, Schema};
use acgs_vocabulary::{Finding, VerdictStatus, Window};
use bytes::Bytes;

/// A pane's number.
pub type PaneId = u64;
/// The SHA-256 of a config's bytes.
pub type ConfigDigest = [u8; 32];

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
        /// Ascending from 1.
        seq: u64,
        /// The rows.
        batch: RecordBatch,
        /// Panes and lengths; they cover the batch.
        runs: Vec<(PaneId, u32)>,
        /// Whether an earlier judge of the lane was given them too.
        again: bool,
    },
    /// Event time.
    Tick {
        /// Exclusive watermark in milliseconds.
        watermark_ms: i64,
    },
    /// Asks for a verdict.
    Close {
        /// The window.
        window: Window,
        /// Counts per window and judge.
        revision: u32,
        /// The window's panes.
        panes: Vec<PaneId>,
    },
    /// Frees panes.
    Release {
        /// Which.
        panes: Vec<PaneId>,
    },
}

/// The first message of a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The client stream.
    pub stream_id: Arc<str>,
    /// Always 0 in this version.
    pub slot: u32,
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
}

/// State of a judge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Frames up to here are in it.
    pub through_seq: u64,
    /// Panes, their keys and opaque bytes.
    pub panes: Vec<(PaneId, Arc<str>, Bytes)>,
    /// What belongs to no pane.
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
