//! What a judge is to its lane, and how lanes are opened. It must not know how a lane is carried.

use std::fmt::Debug;

use acgs_vocabulary::Problem;
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

    /// The state that another judge needs to go on, when the lane was opened with snapshots: what a judge that stops
    /// says last.
    fn hand_over(&mut self) -> Vec<LaneUp>;
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
