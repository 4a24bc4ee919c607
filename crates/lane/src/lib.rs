//! The lane protocol: what an orchestrator and a judge say to each other, the judge's side of it as a pure machine,
//! and the two ways of carrying it, over gRPC and in process.
//! It must never know what a judge judges.
//!
//! Reading order: [`message`], [`judge`], [`panes`], [`replay_log`], [`wire`], [`in_process`], [`over_grpc`].

pub mod message;

pub mod judge;

pub mod panes;

pub mod replay_log;

pub mod wire;

pub mod in_process;

pub mod over_grpc;

#[cfg(feature = "testing")]
pub mod testing;

pub use judge::{Connector, Judge, LaneHandle};
pub use message::{LaneDown, LaneUp};
pub use panes::{Assessment, Assessor, PaneJudge};
pub use replay_log::ReplayLog;
