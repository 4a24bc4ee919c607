//! What the gateway counts of itself. It must not know who reads it.

use std::sync::atomic::{AtomicU64, AtomicUsize};

use crate::losses::Losses;

/// What the gateway counts of itself.
#[derive(Debug, Default)]
pub struct Stats {
    /// Calls that went to a version.
    pub calls: AtomicU64,
    /// Calls that were answered by the gateway itself, and why.
    pub refused: AtomicU64,
    /// Calls that came without the constitutional hash, and were stamped.
    pub unstamped: AtomicU64,
    /// Answers under another constitution, which were not passed on.
    pub breaches: AtomicU64,
    /// Calls in flight.
    pub in_flight: AtomicUsize,
    /// Calls that have not said yet what they ask for.
    pub unheard: AtomicUsize,
    /// Calls that wait for an instance.
    pub waiting: AtomicUsize,
    /// Copies that were sent to shadows.
    pub copies: AtomicU64,
    /// Copies that were not, for want of room.
    pub copies_dropped: AtomicU64,
    /// Calls that became records: their streams have accepted them.
    pub captures: AtomicU64,
    /// Sampled calls that did not.
    pub losses: Losses,
}
