//! A frame, or a step of event time, that is being taken: as much of it at a time as there is work for. It must not know who waits for the
//! rest.

use std::{
    collections::VecDeque,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use super::{Cause, Current, Frame, PaneId, Rows, Steps, TOUCH, WindowKey, Windows, placement::Placement};
use crate::watermark::FrameClock;

/// No rows.
const NO_ROWS: Rows<'static> =
    Rows { times_ms: &[], keys: None, key_names: &[], rejected: &[], awaiting: &[] };

/// What is being taken. Until it is over, nothing else may be asked of its windows.
#[derive(Debug)]
pub struct Ingest {
    /// Of a frame: its partition and clock.
    frame: Option<(String, FrameClock)>,
    row: usize,
    /// Windows are to be closed before the next row.
    fires: bool,
    stage: Stage,
    /// Slices that rows reach no more, for release.
    expired: VecDeque<(Arc<str>, i64)>,
    /// The last window whose labels were looked at.
    looked: Option<WindowKey>,
    /// Whether labels are to be looked at.
    revises: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Rows,
    Late,
    Expire,
    Labels,
    Release,
    Over,
}

impl Ingest {
    fn new(frame: Option<(String, FrameClock)>) -> Self {
        Self {
            fires: frame.is_none(),
            frame,
            row: 0,
            stage: Stage::Rows,
            expired: VecDeque::new(),
            looked: None,
            revises: false,
        }
    }

    /// Whether all is taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Rows that are taken.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.row
    }
}

impl Windows {
    /// Begins with the rows of a frame: they go into panes one by one, and a row is judged late by the watermark before it.
    /// [`Windows::room_for`] says before whether there is room for them.
    #[must_use]
    pub fn begin(&mut self, partition: &str, now_ms: i64) -> Ingest {
        let clock = self.watermarks.begin_frame(partition, now_ms);
        Ingest::new(Some((partition.to_owned(), clock)))
    }

    /// Begins with what the watermark, moved from outside (idle, end, tick), has to do.
    #[must_use]
    pub fn begin_advance(&self) -> Ingest {
        Ingest::new(None)
    }

    /// Goes on, with the same rows, for so much work; a unit is about what a row costs. What is over when it comes back is what the frame
    /// says.
    pub fn go_on(&mut self, ingest: &mut Ingest, rows: Option<Rows<'_>>, work: &mut usize) -> Frame {
        let rows = rows.unwrap_or(NO_ROWS);
        let mut steps = Steps::default();
        let (mut placed, mut late) = (Placement::default(), Vec::new());
        let from = ingest.row;
        if ingest.stage == Stage::Rows {
            self.take_rows(ingest, rows, (&mut placed, &mut late), &mut steps, work);
        }
        self.settle(ingest, &mut steps, work);
        let whole = from == 0 && ingest.row == rows.times_ms.len();
        let (kept, runs) = placed.finish(if whole { rows.times_ms.len() } else { usize::MAX });
        Frame { rows: kept, runs, late, steps }
    }

    /// Takes rows until the work is done or all are taken.
    fn take_rows(
        &mut self,
        ingest: &mut Ingest,
        rows: Rows<'_>,
        (placed, late): (&mut Placement, &mut Vec<u32>),
        steps: &mut Steps,
        work: &mut usize,
    ) {
        let Some((partition, mut clock)) = ingest.frame.take() else {
            ingest.fires = !self.fire(self.watermarks.current(), steps, work);
            if !ingest.fires {
                ingest.stage = Stage::Late;
            }
            return;
        };
        let overlap = self.spec.overlap();
        let mut current: Option<Current> = None;
        // Rows of the current slice, and those of them that wait for a label; counted before anything can close or free it.
        let mut awaited = (0, 0);
        let mut next_fire = self.next_fire();
        loop {
            if ingest.fires {
                self.await_labels(rows, current, std::mem::take(&mut awaited));
                // The piece may be sealed then.
                current = None;
                ingest.fires = !self.fire(clock.current(), steps, work);
                next_fire = self.next_fire();
            }
            if ingest.fires || ingest.row == rows.times_ms.len() || *work == 0 {
                break;
            }
            let row = ingest.row;
            ingest.row += 1;
            *work -= 1;
            if rows.rejected.get(row).copied().unwrap_or(false) {
                continue;
            }
            let time_ms = rows.times_ms[row];
            let key = rows.keys.map_or(0, |keys| keys[row]);
            let fits = current.filter(|it| it.key == key && it.start_ms <= time_ms && time_ms < it.end_ms);
            let pane = match fits {
                Some(it) => Some(it.pane),
                None => {
                    self.await_labels(rows, current, std::mem::take(&mut awaited));
                    *work = work.saturating_sub(TOUCH * overlap);
                    let found = self.place_row(rows, (key, time_ms), clock.current(), steps);
                    current = found;
                    next_fire = self.next_fire();
                    found.map(|found| found.pane)
                }
            };
            match pane {
                Some(pane) => {
                    placed.put(row as u32, pane);
                    awaited.0 += 1;
                    awaited.1 += u64::from(rows.awaiting.get(row).copied().unwrap_or(false));
                }
                None => late.push(row as u32),
            }
            // Only a move of the watermark closes windows: one that was late when it came to be waits for the next.
            ingest.fires = clock.observe(time_ms) && clock.current() >= next_fire;
        }
        self.await_labels(rows, current, awaited);
        if ingest.fires || ingest.row < rows.times_ms.len() {
            ingest.frame = Some((partition, clock));
            return;
        }
        self.watermarks.end_frame(&partition, &clock);
        ingest.stage = Stage::Late;
    }

    fn place_row(
        &mut self,
        rows: Rows<'_>,
        (key, time_ms): (u32, i64),
        watermark: i64,
        steps: &mut Steps,
    ) -> Option<Current> {
        let name = rows.key_names.get(key as usize).map_or_else(|| Arc::from(""), Arc::clone);
        let pane: PaneId = self.pane_for(&name, time_ms, watermark, steps)?;
        let (start_ms, end_ms) = self.spec.slice(time_ms);
        Some(Current { start_ms, end_ms, key, pane })
    }

    /// Revisions and releases, once for each frame.
    fn settle(&mut self, ingest: &mut Ingest, steps: &mut Steps, work: &mut usize) {
        let watermark = self.watermarks.current();
        if ingest.stage == Stage::Late {
            while *work > 0
                && let Some(window) = self.late.pop_first()
            {
                self.labelled.remove(&window);
                self.unsettled.remove(&window);
                self.close(window, Cause::LateRows, watermark, steps, work);
            }
            if self.late.is_empty() {
                ingest.stage = Stage::Expire;
            }
        }
        // What is to be freed must be judged for the last time before.
        if ingest.stage == Stage::Expire && self.expire_rows(watermark, &mut ingest.expired, steps, work) {
            ingest.revises = self.revises_labels(watermark);
            ingest.stage = Stage::Labels;
        }
        if ingest.stage == Stage::Labels {
            let done = !ingest.revises || self.revise_labels(watermark, &mut ingest.looked, steps, work);
            if done {
                ingest.stage = Stage::Release;
            }
        }
        if ingest.stage == Stage::Release && self.release(watermark, &mut ingest.expired, steps, work) {
            ingest.stage = Stage::Over;
        }
    }

    /// The next window with new labels after the one that was looked at.
    pub(super) fn labelled_after(&self, looked: Option<&WindowKey>) -> Option<WindowKey> {
        match looked {
            Some(looked) => self.labelled.range((Excluded(looked), Unbounded)).next().cloned(),
            None => self.labelled.first().cloned(),
        }
    }

    /// All of a frame at once.
    ///
    /// # Errors
    /// As for [`Windows::room_for`].
    #[cfg(test)]
    pub fn ingest(&mut self, partition: &str, now_ms: i64, rows: Rows<'_>) -> Result<Frame, super::Full> {
        self.room_for(rows, super::Room::default())?;
        let mut ingest = self.begin(partition, now_ms);
        let frame = self.go_on(&mut ingest, Some(rows), &mut usize::MAX.clone());
        assert!(ingest.is_over());
        Ok(frame)
    }

    /// All that the watermark has to do at once.
    #[cfg(test)]
    pub fn advance(&mut self) -> Steps {
        let mut ingest = self.begin_advance();
        self.go_on(&mut ingest, None, &mut usize::MAX.clone()).steps
    }
}
