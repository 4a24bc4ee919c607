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

mod labels;
mod placement;
mod steps;

use placement::Placement;
pub use steps::{Cause, Close, Frame, Full, Limits, PaneId, Rows, Steps, WindowKey};

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

    /// Puts rows into panes, one by one: a row is judged late by the watermark before it.
    ///
    /// # Errors
    /// When a bound would be broken; nothing has happened then.
    pub fn ingest(&mut self, partition: &str, now_ms: i64, rows: Rows<'_>) -> Result<Frame, Full> {
        self.check_room(rows)?;
        let mut clock = self.watermarks.begin_frame(partition, now_ms);
        let mut steps = Steps::default();
        let mut late = Vec::new();
        let mut placed = Placement::default();
        let mut current: Option<Current> = None;
        // Rows of the current slice that wait for a label; counted before anything can close or free it.
        let mut awaited = 0;
        let mut next_fire = self.next_fire();
        for (row, &time_ms) in rows.times_ms.iter().enumerate() {
            if rows.rejected.get(row).copied().unwrap_or(false) {
                continue;
            }
            let key = rows.keys.map_or(0, |keys| keys[row]);
            let fits = current.filter(|it| it.key == key && it.start_ms <= time_ms && time_ms < it.end_ms);
            let pane = match fits {
                Some(it) => Some(it.pane),
                None => {
                    self.await_labels(rows, current, std::mem::take(&mut awaited));
                    let name = rows.key_names.get(key as usize).map_or_else(|| Arc::from(""), Arc::clone);
                    let found = self.pane_for(&name, time_ms, clock.current(), &mut steps);
                    current = found.map(|pane| {
                        let (start_ms, end_ms) = self.spec.slice(time_ms);
                        Current { start_ms, end_ms, key, pane }
                    });
                    next_fire = self.next_fire();
                    found
                }
            };
            match pane {
                Some(pane) => {
                    placed.put(row as u32, pane);
                    awaited += u64::from(rows.awaiting.get(row).copied().unwrap_or(false));
                }
                None => late.push(row as u32),
            }
            if clock.observe(time_ms) && clock.current() >= next_fire {
                self.await_labels(rows, current, std::mem::take(&mut awaited));
                self.fire(clock.current(), &mut steps);
                next_fire = self.next_fire();
                // The piece may be sealed now.
                current = None;
            }
        }
        self.await_labels(rows, current, awaited);
        self.watermarks.end_frame(partition, &clock);
        self.settle(&mut steps);
        let (kept, runs) = placed.finish(rows.times_ms.len());
        Ok(Frame { rows: kept, runs, late, steps })
    }

    /// Lets the watermark, moved from outside (idle, end, tick), do its work.
    pub fn advance(&mut self) -> Steps {
        let mut steps = Steps::default();
        self.fire(self.watermarks.current(), &mut steps);
        self.settle(&mut steps);
        steps
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

    /// Whether the panes and windows that the rows need have room.
    fn check_room(&self, rows: Rows<'_>) -> Result<(), Full> {
        let mut fresh = HashSet::new();
        let mut last = None;
        for (row, &time_ms) in rows.times_ms.iter().enumerate() {
            if rows.rejected.get(row).copied().unwrap_or(false) {
                continue;
            }
            let key = rows.keys.map_or(0, |keys| keys[row]);
            if last.is_some_and(|(known, start, end)| known == key && start <= time_ms && time_ms < end) {
                continue;
            }
            let (start, end) = self.spec.slice(time_ms);
            last = Some((key, start, end));
            fresh.insert((key, start));
        }
        // Most frames fit even if nothing that they need were there; only else it is worth a look.
        let roomy = self.panes + fresh.len() <= self.limits.panes_max
            && self.windows.len() + fresh.len() * self.spec.overlap() <= self.limits.windows_max;
        if roomy {
            return Ok(());
        }
        let (mut panes, mut windows) = (self.panes, HashSet::new());
        for (key, start) in fresh {
            let name = rows.key_names.get(key as usize).map_or_else(|| Arc::from(""), Arc::clone);
            let slice = self.slices.get(&(Arc::clone(&name), start));
            let open = |piece: &Piece| !piece.of_labels && !piece.sealed;
            panes += usize::from(!slice.is_some_and(|slice| slice.pieces.iter().any(open)));
            for start_ms in self.spec.starts(start) {
                let end_ms = start_ms.saturating_add(self.spec.size_ms());
                let window = WindowKey { end_ms, start_ms, key: Arc::clone(&name) };
                if !self.windows.contains_key(&window) {
                    windows.insert((key, start_ms));
                }
            }
            if panes > self.limits.panes_max {
                return Err(Full::Panes(self.limits.panes_max));
            }
            if self.windows.len() + windows.len() > self.limits.windows_max {
                return Err(Full::Windows(self.limits.windows_max));
            }
        }
        Ok(())
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

    /// Closes every window whose end the watermark has reached, in order of end, start and key.
    fn fire(&mut self, watermark: i64, steps: &mut Steps) {
        while self.unfired.first().is_some_and(|window| window.end_ms <= watermark) {
            let Some(window) = self.unfired.pop_first() else { break };
            self.labelled.remove(&window);
            self.close(window, Cause::OnTime, watermark, steps);
        }
    }

    fn close(&mut self, window: WindowKey, cause: Cause, watermark: i64, steps: &mut Steps) {
        let mut panes = Vec::new();
        let mut label_panes = Vec::new();
        let from = (Arc::clone(&window.key), window.start_ms);
        let to = (Arc::clone(&window.key), window.end_ms);
        for slice in self.slices.range_mut(from..to).map(|(_, slice)| slice) {
            for piece in slice.pieces.iter_mut().filter(|piece| piece.first_start_ms <= window.start_ms) {
                piece.sealed = true;
                if piece.of_labels { label_panes.push(piece.id) } else { panes.push(piece.id) }
            }
        }
        if let Some(state) = self.windows.get_mut(&window) {
            state.fired = true;
            state.fired_at = watermark;
        }
        steps.closes.push(Close { window, cause, panes, label_panes });
    }

    /// Revisions and releases, once for each call.
    fn settle(&mut self, steps: &mut Steps) {
        let watermark = self.watermarks.current();
        for window in std::mem::take(&mut self.late) {
            self.labelled.remove(&window);
            self.close(window, Cause::LateRows, watermark, steps);
        }
        // What is to be freed must be judged for the last time before.
        let candidates = self.expire_rows(watermark, steps);
        self.revise_labels(watermark, steps);
        self.release(watermark, candidates, steps);
    }
}

#[cfg(test)]
#[path = "windows/tests.rs"]
mod tests;
