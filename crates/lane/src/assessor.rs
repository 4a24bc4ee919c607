//! What a judge says of itself to the lane's machine: what a pane holds, what its detectors carry, and what a window comes
//! to. It must not know the protocol.

use acgs_columns::RecordBatch;
use acgs_vocabulary::{Finding, Problem, VerdictStatus, Window};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    carry::Carried,
    message::{Open, PaneId},
};

/// What a window came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// How it came out.
    pub status: VerdictStatus,
    /// Why it is not Ok.
    pub reason: String,
    /// The encoded report.
    pub report: Bytes,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Assessment {
    /// An answer that judges nothing.
    #[must_use]
    pub fn without(status: VerdictStatus, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), report: Bytes::new(), findings: Vec::new() }
    }
}

/// Which panes a judge's sequential detectors are given, and when. A judge that was restored is given again what came
/// after the state that it was restored from, so that its carry ends where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// There are no detectors.
    Nothing,
    /// Each pane once, at the first on-time close that names it, in that close's order. Panes that only later closes
    /// name are counted as late, not given.
    OnTime,
    /// Each pane that bears labels once: at the first settled close that names it, or else when it is released.
    Settled,
}

/// A pane that detectors are given.
#[derive(Clone, Copy, Debug)]
pub struct Fed<'a, P> {
    /// The pane's number.
    pub pane: PaneId,
    /// The key of its rows; empty for none.
    pub key: &'a str,
    /// What it holds.
    pub held: &'a P,
    /// The window that names it; `None` for one that is released.
    pub window: Option<&'a Window>,
}

/// What makes a judge this one and not another. Panes merge; evaluating does not consume them.
pub trait Assessor: Send {
    /// What follows from the schema and the configs, once for a lane.
    type Plan: Send;
    /// What a pane holds.
    type Pane: Clone + Send + Serialize + DeserializeOwned;
    /// State of sequential detectors, which belongs to no pane: saved in snapshots and restored; `()` for none.
    type Carry: Default + Send + Serialize + DeserializeOwned;

    /// What feeds the carry.
    const FEED: Feed = Feed::Nothing;

    /// Reads the schema and the configs.
    ///
    /// # Errors
    /// When they make no sense; the lane is then over.
    fn plan(&self, open: &Open, configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem>;

    /// A pane without rows; with `labels_only` its rows were in another pane before.
    fn pane(&self, plan: &Self::Plan, labels_only: bool) -> Self::Pane;

    /// Bytes that a pane holds on the heap now: what bounds the panes of a lane.
    fn heap_bytes(&self, pane: &Self::Pane) -> usize;

    /// Whether a pane that came back from outside can be used under this plan.
    fn fits(&self, plan: &Self::Plan, pane: &Self::Pane) -> bool;

    /// Adds rows of a partition to a pane.
    fn push(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch, partition: &str);

    /// Takes back the labels of rows that were added before, perhaps to another pane of the same windows.
    fn retract(&self, _plan: &Self::Plan, _pane: &mut Self::Pane, _rows: &RecordBatch) {}

    /// Rows were added that no judge of the lane had been given before: for what is counted beside the lane.
    fn noticed(&self, _plan: &Self::Plan, _pane: &Self::Pane, _rows: &RecordBatch) {}

    /// Adds another pane's rows.
    fn merge(&self, plan: &Self::Plan, pane: &mut Self::Pane, other: &Self::Pane);

    /// Whether a carry that came back from outside can be used under this plan.
    fn carries(&self, _plan: &Self::Plan, _carry: &Self::Carry) -> bool {
        true
    }

    /// Whether labels are known for rows of a pane: only such panes are given to a [`Feed::Settled`].
    fn bears_labels(&self, _plan: &Self::Plan, _pane: &Self::Pane) -> bool {
        true
    }

    /// Gives a pane to the detectors; [`Self::FEED`] says which and when.
    fn feed(&self, _plan: &Self::Plan, _carry: &mut Self::Carry, _fed: Fed<'_, Self::Pane>) {}

    /// The panes of a close have been given, before it is judged.
    fn given(&self, _plan: &Self::Plan, _carry: &mut Self::Carry) {}

    /// The watermark, in milliseconds, has moved: before the closes that follow from it.
    fn tick(&self, _plan: &Self::Plan, _carry: &mut Self::Carry, _watermark_ms: i64) {}

    /// Judges the rows of a window; the carry holds what the close has fed.
    fn evaluate(
        &self,
        plan: &Self::Plan,
        pane: &Self::Pane,
        carried: &Carried<Self::Carry>,
        window: &Window,
    ) -> Assessment;
}
