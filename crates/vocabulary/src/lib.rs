//! The words that every room says: findings, windows, errors, events, the constitution, and the ports to the world
//! outside. Also the only translation between protobuf and these words, and the only map from errors to gRPC.
//! It must never know channels, servers or NATS.
//!
//! Reading order: [`problem`], [`finding`], [`constitution`], [`alert`], [`event`], [`ports`], [`allow_list`], [`text`], [`names`], [`convert`].

pub mod names;

mod port_error;

pub mod problem;

pub mod finding;

pub mod constitution;

pub mod alert;

pub mod event;

pub mod ports;

pub mod allow_list;

pub mod text;

pub mod steady;

pub mod convert;

pub use acgs_budget as budget;
pub use alert::{Alert, AlertId, AlertState, AlertSubject};
pub use allow_list::AllowList;
pub use constitution::Constitution;
pub use finding::{Finding, JudgeKind, Severity, VerdictStatus, Window};
pub use problem::Problem;

/// The field by which gateways say which records came in one call, an integer: neighbours with the same value did. What is drawn to a
/// version is a call, so whoever compares versions has to know.
pub const CALL_FIELD: &str = "acgs_call";
