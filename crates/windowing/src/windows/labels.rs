//! Late labels: panes for them, when their windows are judged again, and when panes can be freed.
//! It must not know which label belongs to which row.

use std::{collections::VecDeque, sync::Arc};

use super::{Cause, Current, PaneId, Piece, Rows, Steps, TOUCH, WindowKey, Windows};

/// Revisions by labels come at most this often over the label horizon, unless every label is there.
const REVISIONS_PER_HORIZON: i64 = 4;
/// But never more often than this, in milliseconds of event time.
const REVISION_INTERVAL_MS_MIN: i64 = 1_000;

impl Windows {
    /// Of so many rows of the current slice so many wait for their labels.
    pub(super) fn await_labels(
        &mut self,
        rows: Rows<'_>,
        current: Option<Current>,
        (came, awaited): (u64, u64),
    ) {
        let Some(current) = current.filter(|_| !rows.awaiting.is_empty() && came > 0) else { return };
        let key = rows.key_names.get(current.key as usize).map_or_else(|| Arc::from(""), Arc::clone);
        if let Some(slice) = self.slices.get_mut(&(key, current.start_ms)) {
            slice.awaited += awaited;
            slice.labelled |= awaited < came;
        }
    }

    /// A row of this key and time waits no more: its label came, or its time is over.
    pub fn label_settled(&mut self, key: &Arc<str>, time_ms: i64) {
        let place = (Arc::clone(key), self.spec.slice(time_ms).0);
        if let Some(slice) = self.slices.get_mut(&place) {
            slice.awaited = slice.awaited.saturating_sub(1);
            if slice.awaited == 0 {
                self.completed.insert(place);
            }
        }
    }

    /// Event time at which a row of this time stops waiting for its label.
    #[must_use]
    pub fn label_deadline_ms(&self, time_ms: i64) -> i64 {
        let newest_end = self.spec.newest_start(time_ms).saturating_add(self.spec.size_ms());
        newest_end.saturating_add(self.spec.label_horizon_ms().unwrap_or(0))
    }

    /// Start of the first window that lists a pane of rows, given the key and time of one of them.
    #[must_use]
    pub fn first_start_ms(&self, key: &Arc<str>, time_ms: i64, pane: PaneId) -> Option<i64> {
        let slice = self.slices.get(&(Arc::clone(key), self.spec.slice(time_ms).0))?;
        slice.pieces.iter().find(|piece| piece.id == pane).map(|piece| piece.first_start_ms)
    }

    /// The open label pane for a row of this key and time, whose own pane is listed by windows from
    /// `row_first_start_ms` on; `None` when those take labels no more.
    pub fn label_pane(
        &mut self,
        key: &Arc<str>,
        time_ms: i64,
        row_first_start_ms: i64,
        steps: &mut Steps,
    ) -> Option<PaneId> {
        let horizon_ms = self.spec.label_horizon_ms()?;
        let watermark = self.watermarks.current();
        let size_ms = self.spec.size_ms();
        let live = |start_ms: i64| start_ms.saturating_add(size_ms).saturating_add(horizon_ms) > watermark;
        let listed = |start_ms: i64| start_ms >= row_first_start_ms && live(start_ms);
        let first_start_ms = self.spec.starts(time_ms).find(|&start_ms| listed(start_ms))?;
        let slice_start = self.spec.slice(time_ms).0;
        let slice = self.slices.get_mut(&(Arc::clone(key), slice_start))?;
        let open =
            |piece: &&Piece| piece.of_labels && !piece.sealed && piece.first_start_ms == first_start_ms;
        let pane = match slice.pieces.iter().rev().find(open) {
            Some(piece) => piece.id,
            // Labels that correct others open panes without rows of their own.
            None if self.panes >= self.limits.panes_max => return None,
            None => {
                let id = self.next_pane;
                slice.pieces.push(Piece { id, first_start_ms, sealed: false, of_labels: true });
                self.next_pane += 1;
                self.panes += 1;
                steps.opened.push((id, Arc::clone(key), true));
                id
            }
        };
        for start_ms in self.spec.starts(time_ms).filter(|&start_ms| start_ms >= first_start_ms) {
            let window = WindowKey { end_ms: start_ms + size_ms, start_ms, key: Arc::clone(key) };
            if self.windows.contains_key(&window) {
                self.labelled.insert(window);
            }
        }
        Some(pane)
    }

    /// Whether it is time to look at windows with new labels.
    pub(super) fn revises_labels(&mut self, watermark: i64) -> bool {
        let Some(horizon_ms) = self.spec.label_horizon_ms() else { return false };
        let moved = watermark >= self.labels_scanned_at.saturating_add(REVISION_INTERVAL_MS_MIN);
        let expiring = self
            .label_expiry
            .first()
            .is_some_and(|(end_ms, ..)| end_ms.saturating_add(horizon_ms) <= watermark);
        if self.completed.is_empty() && !moved && !expiring {
            return false;
        }
        self.labels_scanned_at = watermark;
        true
    }

    /// Judges windows again whose labels are complete, overdue or at their horizon, after the one that was looked at last; true when none is
    /// left.
    pub(super) fn revise_labels(
        &mut self,
        watermark: i64,
        looked: &mut Option<WindowKey>,
        steps: &mut Steps,
        work: &mut usize,
    ) -> bool {
        let Some(horizon_ms) = self.spec.label_horizon_ms() else { return true };
        let interval_ms = (horizon_ms / REVISIONS_PER_HORIZON).max(REVISION_INTERVAL_MS_MIN);
        while let Some(window) = self.labelled_after(looked.as_ref()) {
            if *work == 0 {
                return false;
            }
            *work = work.saturating_sub(TOUCH + self.spec.overlap());
            let fired = self.windows.get(&window).filter(|state| state.fired);
            let due = fired.is_some_and(|state| {
                watermark >= state.fired_at.saturating_add(interval_ms)
                    || watermark >= window.end_ms.saturating_add(horizon_ms)
                    || self.awaited(&window) == 0
            });
            *looked = Some(window.clone());
            if due {
                self.labelled.remove(&window);
                self.close(window, Cause::LateLabels, watermark, steps, work);
            }
        }
        // What was said of some labels is said again when no more can come.
        while let Some(window) = self.unsettled.first()
            && window.end_ms.saturating_add(horizon_ms) <= watermark
        {
            if *work == 0 {
                return false;
            }
            let window = window.clone();
            self.close(window, Cause::LateLabels, watermark, steps, work);
        }
        true
    }

    fn awaited(&self, window: &WindowKey) -> u64 {
        self.awaited_between(&window.key, window.start_ms, window.end_ms)
    }

    fn awaited_between(&self, key: &Arc<str>, start_ms: i64, end_ms: i64) -> u64 {
        let range = (Arc::clone(key), start_ms)..(Arc::clone(key), end_ms);
        self.slices.range(range).map(|(_, slice)| slice.awaited).sum()
    }

    /// Whether any window that holds this slice still waits for a label.
    fn is_awaited(&self, key: &Arc<str>, slice_start_ms: i64) -> bool {
        let oldest = self.spec.starts(slice_start_ms).next().unwrap_or(slice_start_ms);
        let newest_end = self.spec.newest_start(slice_start_ms).saturating_add(self.spec.size_ms());
        self.awaited_between(key, oldest, newest_end) > 0
    }

    /// Rows reach these slices no more; labels may. True when none is left.
    pub(super) fn expire_rows(
        &mut self,
        watermark: i64,
        expired: &mut VecDeque<(Arc<str>, i64)>,
        steps: &mut Steps,
        work: &mut usize,
    ) -> bool {
        let lateness_ms = self.spec.lateness_ms();
        while let Some((end_ms, ..)) = self.row_expiry.first()
            && end_ms.saturating_add(lateness_ms) <= watermark
        {
            if *work == 0 {
                return false;
            }
            *work = work.saturating_sub(TOUCH);
            let Some(entry) = self.row_expiry.pop_first() else { break };
            let place = (Arc::clone(&entry.1), entry.2);
            let Some(slice) = self.slices.get(&place) else { continue };
            steps.released.extend(slice.pieces.iter().filter(|piece| !piece.of_labels).map(|piece| piece.id));
            expired.push_back(place);
            self.label_expiry.insert(entry);
        }
        true
    }

    /// Frees what no row, and what no label, can reach any more; true when none is left.
    pub(super) fn release(
        &mut self,
        watermark: i64,
        expired: &mut VecDeque<(Arc<str>, i64)>,
        steps: &mut Steps,
        work: &mut usize,
    ) -> bool {
        let horizon_ms = self.spec.label_horizon_ms().unwrap_or(0);
        let over = |end_ms: i64, after_ms: i64| end_ms.saturating_add(after_ms) <= watermark;
        let cost = TOUCH * self.spec.overlap();
        while let Some((end_ms, ..)) = self.label_expiry.first()
            && over(*end_ms, horizon_ms)
        {
            if *work == 0 {
                return false;
            }
            *work = work.saturating_sub(cost);
            let Some((_, key, start_ms)) = self.label_expiry.pop_first() else { break };
            self.free((key, start_ms), steps);
        }
        loop {
            while let Some((key, start_ms)) = expired.pop_front() {
                if *work == 0 {
                    expired.push_front((key, start_ms));
                    return false;
                }
                *work = work.saturating_sub(cost);
                let newest_end = self.spec.newest_start(start_ms).saturating_add(self.spec.size_ms());
                let entry = (newest_end, Arc::clone(&key), start_ms);
                if self.label_expiry.contains(&entry) && !self.is_awaited(&key, start_ms) {
                    self.label_expiry.remove(&entry);
                    self.free((key, start_ms), steps);
                }
            }
            // Labels may all be there long before the horizon; then nothing is worth waiting for.
            let Some((key, start_ms)) = self.completed.pop_first() else { return true };
            let newest_end = self.spec.newest_start(start_ms).saturating_add(self.spec.size_ms());
            let oldest = self.spec.starts(start_ms).next().unwrap_or(start_ms);
            let near = (Arc::clone(&key), oldest)..(key, newest_end);
            expired.extend(self.slices.range(near).map(|(place, _)| place.clone()));
        }
    }

    fn free(&mut self, place: (Arc<str>, i64), steps: &mut Steps) {
        let Some(slice) = self.slices.remove(&place) else { return };
        self.panes -= slice.pieces.len();
        steps.released_labels.extend(slice.pieces.iter().map(|piece| piece.id));
        let (key, slice_start_ms) = place;
        for start_ms in self.spec.starts(slice_start_ms) {
            let end_ms = start_ms.saturating_add(self.spec.size_ms());
            let range = (Arc::clone(&key), start_ms)..(Arc::clone(&key), end_ms);
            if self.slices.range(range).next().is_none() {
                let window = WindowKey { end_ms, start_ms, key: Arc::clone(&key) };
                self.labelled.remove(&window);
                self.unsettled.remove(&window);
                if self.windows.remove(&window).is_some() {
                    steps.finished.push(window);
                }
            }
        }
    }
}
