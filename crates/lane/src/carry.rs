//! State of a lane that belongs to no pane: what sequential detectors have come to, and which panes they were given. It must
//! not know what a detector detects.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::message::PaneId;

/// A judge's carry with the account of what fed it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried<C> {
    /// What the detectors have come to.
    pub carry: C,
    /// Panes that they were given so far.
    pub fed_panes: u64,
    /// Panes that came too late to be given: no on-time close has named them.
    pub late_panes: u64,
    /// Panes that were given and may be named again.
    fed: BTreeSet<PaneId>,
}

impl<C> Carried<C> {
    /// Whether a pane that is released is to be given for the first time; it counts as given then.
    pub(crate) fn give_last(&mut self, pane: PaneId) -> bool {
        let fresh = !self.fed.remove(&pane);
        self.fed_panes = self.fed_panes.saturating_add(u64::from(fresh));
        fresh
    }

    /// Whether a pane is to be given for the first time; it counts as given then.
    pub(crate) fn give(&mut self, pane: PaneId) -> bool {
        let fresh = self.fed.insert(pane);
        self.fed_panes = self.fed_panes.saturating_add(u64::from(fresh));
        fresh
    }

    /// A pane will not be named again; it is late when it was never given.
    pub(crate) fn release(&mut self, pane: PaneId) {
        if !self.fed.remove(&pane) {
            self.late_panes = self.late_panes.saturating_add(1);
        }
    }
}
