//! A pane as the machine holds it, and what panes and messages count. It must not know what is in them.

use std::sync::Arc;

use crate::message::PaneId;

/// How rows were given.
pub(super) struct Given {
    /// To an earlier judge of the lane, too.
    pub(super) again: bool,
    /// To take their labels back.
    pub(super) retracts: bool,
    /// By whom.
    pub(super) partition: Arc<str>,
}

/// A pane, its key, and the bytes that it was counted with.
#[derive(Debug)]
pub(super) struct Held<P> {
    pub(super) key: Arc<str>,
    pub(super) pane: P,
    pub(super) bytes: usize,
}

/// What a pane takes: what it holds, its key, its place.
pub(super) fn weight<P>(key: &str, heap_bytes: usize) -> usize {
    heap_bytes + key.len() + 2 * size_of::<(PaneId, Held<P>)>()
}

/// What a tick, close or release counts towards the next snapshot, with the panes that it names.
pub(super) fn control_bytes(panes: &[PaneId]) -> u64 {
    128 + 8 * panes.len() as u64
}
