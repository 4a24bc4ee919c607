//! Rows to panes, panes to windows, and when windows close. It must not know what rows hold or who judges them.
//!
//! A pane is a write-once piece of a slice: once a close has named it, later rows go to a new piece, which only the
//! windows list that were live when it came to be. Label panes are pieces that late labels make of rows already judged.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    spec::WindowSpec,
    watermark::{BEGINNING, END, Watermarks},
};

mod ingest;
mod labels;
mod placement;
mod room;
mod steps;

pub use ingest::Ingest;
pub use steps::{Cause, Close, Frame, Full, Limits, PaneId, Room, Rows, Steps, WindowKey};

/// What a window costs to touch, in units of a row's work, and to close, beside its slices.
const TOUCH: usize = 8;
const CLOSE: usize = 128;

/// All windows of one stream.
#[derive(Debug)]
pub struct Windows {
    spec: WindowSpec,
    limits: Limits,
    /// The stream's clock.
    pub watermarks: Watermarks,
    slices: BTreeMap<(Arc<str>, i64), Slice>,
    windows: BTreeMap<WindowKey, WindowState>,
    unfired: BTreeSet<WindowKey>,
    late: BTreeSet<WindowKey>,
    labelled: BTreeSet<WindowKey>,
    /// Windows that were judged by some of their labels: the time of the others will be over.
    unsettled: BTreeSet<WindowKey>,
    /// Slices by the end of their newest window.
    row_expiry: BTreeSet<(i64, Arc<str>, i64)>,
    label_expiry: BTreeSet<(i64, Arc<str>, i64)>,
    /// Slices whose last awaited label came since they were last looked at.
    completed: BTreeSet<(Arc<str>, i64)>,
    labels_scanned_at: i64,
    next_pane: PaneId,
    panes: usize,
}

#[derive(Debug, Default)]
struct Slice {
    pieces: Vec<Piece>,
    /// Rows that still wait for a label.
    awaited: u64,
    /// Whether rows came that need not wait for one, though others of the stream do.
    labelled: bool,
}

#[derive(Debug)]
struct Piece {
    id: PaneId,
    /// Windows that start earlier do not list it.
    first_start_ms: i64,
    sealed: bool,
    of_labels: bool,
}

#[derive(Debug)]
struct WindowState {
    fired_at: i64,
    fired: bool,
}

/// The piece that takes the rows of one slice and key right now.
#[derive(Clone, Copy)]
struct Current {
    start_ms: i64,
    end_ms: i64,
    key: u32,
    pane: PaneId,
}

impl Windows {
    /// A stream without rows.
    #[must_use]
    pub fn new(spec: WindowSpec, out_of_orderness_ms: i64, limits: Limits) -> Self {
        Self {
            spec,
            limits,
            watermarks: Watermarks::new(out_of_orderness_ms),
            slices: BTreeMap::new(),
            windows: BTreeMap::new(),
            unfired: BTreeSet::new(),
            late: BTreeSet::new(),
            labelled: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            row_expiry: BTreeSet::new(),
            label_expiry: BTreeSet::new(),
            completed: BTreeSet::new(),
            labels_scanned_at: BEGINNING,
            next_pane: 1,
            panes: 0,
        }
    }

    /// How event time is cut.
    #[must_use]
    pub fn spec(&self) -> &WindowSpec {
        &self.spec
    }

    /// Panes and windows held now.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.panes, self.windows.len())
    }

    /// Panes that a snapshot holds take no more rows.
    pub fn seal(&mut self, panes: &[PaneId]) {
        let sealed: HashSet<PaneId> = panes.iter().copied().collect();
        for piece in self.slices.values_mut().flat_map(|slice| &mut slice.pieces) {
            piece.sealed |= sealed.contains(&piece.id);
        }
    }

    fn next_fire(&self) -> i64 {
        self.unfired.first().map_or(END, |window| window.end_ms)
    }

    /// The open piece for a row, made when there is none; `None` when all the row's windows are over.
    fn pane_for(
        &mut self,
        key: &Arc<str>,
        time_ms: i64,
        watermark: i64,
        steps: &mut Steps,
    ) -> Option<PaneId> {
        let lateness_ms = self.spec.lateness_ms();
        let live = |start_ms: i64, size_ms: i64| start_ms.saturating_add(size_ms + lateness_ms) > watermark;
        let size_ms = self.spec.size_ms();
        let first_start_ms = self.spec.starts(time_ms).find(|&start_ms| live(start_ms, size_ms))?;
        let (slice_start, _) = self.spec.slice(time_ms);
        let place = (Arc::clone(key), slice_start);
        let slice = self.slices.entry(place).or_default();
        let open = slice.pieces.iter_mut().rev().find(|piece| !piece.of_labels && !piece.sealed);
        let pane = if let Some(piece) = open
            && piece.first_start_ms == first_start_ms
        {
            piece.id
        } else {
            let id = self.next_pane;
            slice.pieces.push(Piece { id, first_start_ms, sealed: false, of_labels: false });
            self.next_pane += 1;
            self.panes += 1;
            steps.opened.push((id, Arc::clone(key), false));
            let newest_end = self.spec.newest_start(time_ms).saturating_add(size_ms);
            self.row_expiry.insert((newest_end, Arc::clone(key), slice_start));
            id
        };
        for start_ms in self.spec.starts(time_ms).filter(|&start_ms| start_ms >= first_start_ms) {
            let window = WindowKey { end_ms: start_ms + size_ms, start_ms, key: Arc::clone(key) };
            match self.windows.get(&window) {
                Some(state) if state.fired => {
                    self.late.insert(window);
                }
                Some(_) => {}
                None => {
                    self.unfired.insert(window.clone());
                    self.windows.insert(window, WindowState { fired_at: watermark, fired: false });
                }
            }
        }
        Some(pane)
    }

    /// Closes windows whose end the watermark has reached, in order of end, start and key, as long as there is work left; true when none is
    /// left.
    fn fire(&mut self, watermark: i64, steps: &mut Steps, work: &mut usize) -> bool {
        while self.next_fire() <= watermark && !self.unfired.is_empty() {
            if *work == 0 {
                return false;
            }
            let Some(window) = self.unfired.pop_first() else { break };
            self.labelled.remove(&window);
            self.unsettled.remove(&window);
            self.close(window, Cause::OnTime, watermark, steps, work);
        }
        true
    }

    fn close(
        &mut self,
        window: WindowKey,
        cause: Cause,
        watermark: i64,
        steps: &mut Steps,
        work: &mut usize,
    ) {
        let mut panes = Vec::new();
        let mut label_panes = Vec::new();
        let from = (Arc::clone(&window.key), window.start_ms);
        let to = (Arc::clone(&window.key), window.end_ms);
        let (mut slices, mut awaited, mut labelled) = (0, 0, false);
        for slice in self.slices.range_mut(from..to).map(|(_, slice)| slice) {
            slices += 1;
            awaited += slice.awaited;
            labelled |= slice.labelled;
            for piece in slice.pieces.iter_mut().filter(|piece| piece.first_start_ms <= window.start_ms) {
                piece.sealed = true;
                if piece.of_labels { label_panes.push(piece.id) } else { panes.push(piece.id) }
            }
        }
        if let Some(state) = self.windows.get_mut(&window) {
            state.fired = true;
            state.fired_at = watermark;
        }
        let horizon_ms = self.spec.label_horizon_ms().unwrap_or(0);
        let is_over = window.end_ms.saturating_add(horizon_ms) <= watermark;
        let labels_awaited = if is_over { 0 } else { awaited };
        if (labelled || !label_panes.is_empty()) && labels_awaited > 0 {
            self.unsettled.insert(window.clone());
        } else {
            self.unsettled.remove(&window);
        }
        // Of overlapping windows later ones take labels of the same slices longer.
        let settled = awaited == 0 || (is_over && self.spec.overlap() == 1);
        steps.closes.push(Close { window, cause, panes, label_panes, settled, labels_awaited });
        *work = work.saturating_sub(CLOSE + slices);
    }
}

#[cfg(test)]
#[path = "windows/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "windows/labels_tests.rs"]
mod labels_tests;
