//! The lane protocol: what an orchestrator and a judge say to each other, the judge's side of it as a pure machine,
//! and the two ways of carrying it, over gRPC and in process.
//! It must never know what a judge judges.
//!
//! Reading order: [`message`], [`configs`], [`judge`], [`assessor`], [`carry`], [`panes`], [`epochs`], [`replay_log`],
//! [`wire`], [`in_process`], [`over_grpc`].

pub mod message;

pub mod configs;

pub mod judge;

pub mod assessor;

pub mod carry;

pub mod epochs;

pub mod panes;

mod opening;

mod pieces;

pub mod replay_log;

pub mod wire;

pub mod in_process;

pub mod over_grpc;

#[cfg(feature = "testing")]
pub mod testing;

#[cfg(test)]
mod toy;

#[cfg(test)]
mod carry_tests;

pub use assessor::{Assessment, Assessor, Fed, Feed};
pub use carry::Carried;
pub use configs::LaneConfigs;
pub use epochs::Epochs;
pub use judge::{Connector, Judge, LaneHandle};
pub use message::{LaneDown, LaneId, LaneUp};
pub use panes::PaneJudge;
pub use replay_log::ReplayLog;
