//! What a judge is to its lane, and how lanes are opened. It must not know how a lane is carried.

use std::fmt::Debug;

use acgs_vocabulary::{Problem, budget::heavy};
use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::message::{LaneDown, LaneId, LaneUp};

/// Messages that wait in one direction of a lane.
pub const LANE_QUEUE: usize = 64;

/// A judge's side of one lane: a pure machine.
pub trait Judge: Send {
    /// Takes a message and answers it.
    ///
    /// # Errors
    /// When the message breaks the protocol; the lane is then over.
    fn apply(&mut self, message: LaneDown) -> Result<Vec<LaneUp>, Problem>;

    /// What a message costs by what is held here, in cells, about; beside what it costs by itself.
    fn cells(&self, message: &LaneDown) -> usize;

    /// The state that another judge needs to go on, when the lane was opened with snapshots: what a judge that stops
    /// says last.
    fn hand_over(&mut self) -> Vec<LaneUp>;
}

/// Work of a message, in cells, from which it is done aside, so that whoever else needs the thread has it.
const HEAVY: usize = 1 << 17;
/// What a pane that is named costs, in cells.
const PANE: usize = 32;

/// What a message costs by itself, in cells, about.
fn work(message: &LaneDown) -> usize {
    match message {
        LaneDown::Rows { batch, runs, .. } => (batch.rows() + runs.len()) * batch.columns().len(),
        LaneDown::Close(close) => close.panes.len() * PANE,
        LaneDown::Release { panes, .. } => panes.len() * PANE,
        LaneDown::Config { content, .. } => content.len() / 8,
        LaneDown::Restore(state) => state.panes.iter().map(|(.., bytes)| bytes.len()).sum::<usize>() / 8,
        LaneDown::Open(_) | LaneDown::OpenPane { .. } | LaneDown::Tick { .. } => 0,
    }
}

/// Lets a judge take a message, aside when it is long.
pub(crate) async fn applied<J: Judge + ?Sized>(
    judge: &mut J,
    message: LaneDown,
) -> Result<Vec<LaneUp>, Problem> {
    let cells = work(&message) + judge.cells(&message);
    if cells < HEAVY { judge.apply(message) } else { heavy(|| judge.apply(message)).await }
}

/// The orchestrator's end of a lane. Dropping `down` ends it.
#[derive(Debug)]
pub struct LaneHandle {
    /// To the judge.
    pub down: mpsc::Sender<LaneDown>,
    /// From the judge; an error is the lane's last message.
    pub up: mpsc::Receiver<Result<LaneUp, Problem>>,
}

/// Opens lanes to judges, wherever they are.
#[async_trait]
pub trait Connector: Debug + Send + Sync {
    /// A new lane.
    async fn open(&self, lane: LaneId) -> Result<LaneHandle, Problem>;

    /// Whether judges can be lost and found again elsewhere, so that lanes need snapshots.
    fn is_remote(&self) -> bool;
}
