//! What goes into windows and what comes out of them: frames, bounds, and what their driver has to do. It must not know how
//! windows are kept.

use std::sync::Arc;

/// A pane's number, unique in its stream, ascending from 1.
pub type PaneId = u64;

/// A window: key and half-open time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// One past the last millisecond.
    pub end_ms: i64,
    /// First millisecond.
    pub start_ms: i64,
    /// The key; empty for none.
    pub key: Arc<str>,
}

/// Why a window is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The watermark reached its end.
    OnTime,
    /// Rows came within the lateness.
    LateRows,
    /// Labels came within the horizon.
    LateLabels,
}

/// A window to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The window.
    pub window: WindowKey,
    /// What made it due.
    pub cause: Cause,
    /// Panes of rows, in order of event time, then of opening.
    pub panes: Vec<PaneId>,
    /// Panes of late labels.
    pub label_panes: Vec<PaneId>,
    /// Whether the labels of its rows are settled: all are in, or no more can come.
    pub settled: bool,
    /// Rows whose label can still come.
    pub labels_awaited: u64,
}

/// What the driver has to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Panes that came to be, with their keys; true for label panes.
    pub opened: Vec<(PaneId, Arc<str>, bool)>,
    /// Windows to judge.
    pub closes: Vec<Close>,
    /// Panes that no rows can reach any more.
    pub released: Vec<PaneId>,
    /// Panes, with those of labels, that nothing can reach any more.
    pub released_labels: Vec<PaneId>,
    /// Windows that will not be judged again.
    pub finished: Vec<WindowKey>,
}

/// Where the rows of a frame went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Places of the rows kept, grouped by pane; `None` when all rows are kept in their order.
    pub rows: Option<Vec<u32>>,
    /// Panes and how many rows of the kept order each takes.
    pub runs: Vec<(PaneId, u32)>,
    /// Rows whose windows had all closed.
    pub late: Vec<u32>,
    /// What follows.
    pub steps: Steps,
}

/// Rows of one partition, by place.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Event times in milliseconds.
    pub times_ms: &'a [i64],
    /// Key of each row, as an index into `key_names`; `None` for streams without keys.
    pub keys: Option<&'a [u32]>,
    /// The keys.
    pub key_names: &'a [Arc<str>],
    /// Rows to leave out, by place; empty for none.
    pub rejected: &'a [bool],
    /// Rows that wait for a label, by place; empty for none.
    pub awaiting: &'a [bool],
}

/// A bound that a frame would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Too many panes at once.
    #[error("the stream would hold more than {0} panes")]
    Panes(usize),
    /// Too many windows at once.
    #[error("the stream would hold more than {0} windows")]
    Windows(usize),
}

/// Panes and windows that rows need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Panes.
    pub panes: usize,
    /// Windows.
    pub windows: usize,
}

impl std::ops::Add for Room {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { panes: self.panes + other.panes, windows: self.windows + other.windows }
    }
}

/// Most panes and windows of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Panes.
    pub panes_max: usize,
    /// Windows.
    pub windows_max: usize,
}
