//! What a process may hold, in shares with names, and turns of computing that takes long. It must never know what is held or computed.
//!
//! Reading order: [`memory`], [`turns`].

pub mod memory;

pub mod turns;

pub use memory::{Budget, Reservation, Share, Spent, Use, process};
pub use turns::heavy;
