//! Frames of rows: sequence, event times, panes, lanes. It must not know labels beyond handing rows to the join.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use acgs_columns::{Column, OwnedCell, RecordBatch, Role, Values};
use acgs_lane::{
    LaneDown, LaneId,
    message::{Close, Timing},
};
use acgs_vocabulary::{JudgeKind, Problem, problem::Kind};
use acgs_windowing::{Cause, Frame, Steps, windows::Full};

use super::{
    Action, Answer, Core, Memory, Pending, Receipt,
    label::Waiting,
    monotonic_ms,
    totals::Taken,
    work::{FrameRows, Unfinished},
};

/// 1900-01-01 and 2200-01-01: event times beyond are a wrong unit, not history.
const EARLIEST_MS: i64 = -2_208_988_800_000;
const LATEST_MS: i64 = 7_258_118_400_000;
/// A caller may try again after this long when panes or windows are full.
const RETRY_MS: u64 = 1_000;

impl Core {
    /// Whether the next frame of a partition may have this seq; a duplicate is counted.
    ///
    /// # Errors
    /// `SEQUENCE_GAP` when frames are missing before it, `ENDED` after the partition's end.
    pub fn check_seq(&mut self, partition: &str, seq: u64, field: &str) -> Result<Taken, Problem> {
        let state = self.partitions.entry(partition.to_owned()).or_default();
        if state.ended {
            return Err(Problem::new(
                Kind::Precondition,
                "ENDED",
                format!("partition {partition:?} has ended"),
            ));
        }
        let expected = state.accepted_through + 1;
        if seq > expected {
            let message = format!("{field}.seq: is {seq}, expected {expected}; go on from there");
            return Err(Problem::new(Kind::OutOfRange, "SEQUENCE_GAP", message));
        }
        if seq < expected {
            self.totals.dropped.duplicate_frames += 1;
            return Ok(Taken::Duplicate);
        }
        Ok(Taken::Accepted)
    }

    pub(super) fn accept_seq(&mut self, partition: &str, seq: u64) {
        self.partitions.entry(partition.to_owned()).or_default().accepted_through = seq;
    }

    /// Takes a frame of rows.
    ///
    /// # Errors
    /// `SEQUENCE_GAP`, or a bound: `PANES` or `WINDOWS`. The frame has left no trace then.
    pub fn rows(
        &mut self,
        partition: &str,
        seq: u64,
        batch: &RecordBatch,
        now_ms: i64,
        receipt: Receipt,
    ) -> Result<Vec<Action>, Problem> {
        if self.check_seq(partition, seq, "rows")? == Taken::Duplicate {
            return Ok(Vec::new());
        }
        let time_column = self.spec.time_column().filter(|index| *index < batch.columns().len());
        let time = time_column.map(|index| &batch.columns()[index]);
        let (Some(time_column), Some(Column { values: Values::Integer(times_ms), .. })) = (time_column, time)
        else {
            return Err(Problem::internal("a stream's batch has no event times"));
        };
        let mut dropped = self.totals.dropped;
        let rejected = self.reject(time, times_ms, now_ms, &mut dropped);
        let (keys, key_names) = keys(&self.spec.schema, batch);
        let awaiting = self.awaiting(batch);
        let frame = FrameRows { batch: batch.clone(), time_column, keys, key_names, rejected, awaiting };
        let Some(rows) = frame.rows() else { return Ok(Vec::new()) };
        let ingest = self.windows.begin(partition, monotonic_ms(receipt.now_us), rows).map_err(full)?;
        self.totals.dropped = dropped;
        self.accept_seq(partition, seq);
        let unfinished = Unfinished {
            ingest: Some(ingest),
            frame: Some(frame),
            receipt_us: Some(receipt.received_us),
            ..Unfinished::default()
        };
        Ok(self.begin(unfinished, receipt.now_us))
    }

    /// Takes some rows of a frame, and does what follows from them; true when all are taken.
    pub(super) fn take_rows(
        &mut self,
        unfinished: &mut Unfinished,
        frame: &FrameRows,
        now_us: u64,
        work: &mut usize,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(ingest) = &mut unfinished.ingest else { return true };
        if ingest.is_over() {
            return true;
        }
        let taken = self.windows.go_on(ingest, frame.rows(), work);
        let over = ingest.is_over();
        self.totals.dropped.late += taken.late.len() as u64;
        self.place(&frame.batch, taken, now_us, &mut unfinished.found, actions);
        over
    }

    /// Rows without a usable event time; empty when all have one.
    fn reject(
        &self,
        time: Option<&Column>,
        times_ms: &[i64],
        now_ms: i64,
        dropped: &mut super::Dropped,
    ) -> Vec<bool> {
        let latest_ms = now_ms.saturating_add(self.config.future_ms_max).min(LATEST_MS);
        let nulls = time.is_some_and(|column| column.null_count() > 0);
        if !nulls && times_ms.iter().all(|time_ms| (EARLIEST_MS..=latest_ms).contains(time_ms)) {
            return Vec::new();
        }
        let mut verdict = |row: usize, time_ms: i64| {
            let count = if time.is_some_and(|column| !column.is_valid(row)) {
                &mut dropped.null_timestamp
            } else if !(EARLIEST_MS..=LATEST_MS).contains(&time_ms) {
                &mut dropped.timestamp_out_of_range
            } else if time_ms > latest_ms {
                &mut dropped.timestamp_in_future
            } else {
                return false;
            };
            *count += 1;
            true
        };
        times_ms.iter().enumerate().map(|(row, &time_ms)| verdict(row, time_ms)).collect()
    }

    fn place(
        &mut self,
        batch: &RecordBatch,
        frame: Frame,
        now_us: u64,
        found: &mut VecDeque<(Waiting, OwnedCell)>,
        actions: &mut Vec<Action>,
    ) {
        let Frame { rows, runs, steps, .. } = frame;
        let kept: u64 = runs.iter().map(|(_, length)| u64::from(*length)).sum();
        self.totals.accepted_rows += kept;
        let batch = match &rows {
            _ if kept == 0 => None,
            Some(places) => Some(batch.take(places)),
            None => Some(batch.clone()),
        };
        self.open_panes(&steps, actions);
        if let Some(batch) = &batch {
            for judge in self.spec.judges.clone() {
                let Some(batch) = self.projections.get(&judge).and_then(|projection| projection.apply(batch))
                else {
                    continue;
                };
                let runs = runs.clone();
                let rows = |seq| LaneDown::Rows { seq, batch, runs, again: false };
                actions.push(self.down(LaneId::whole(judge), rows));
            }
            self.await_labels(batch, &runs, found);
        }
        self.close_and_release(steps, now_us, actions);
    }

    /// Does what the windows ask for.
    pub(super) fn follow(&mut self, steps: Steps, now_us: u64, actions: &mut Vec<Action>) {
        self.open_panes(&steps, actions);
        self.close_and_release(steps, now_us, actions);
    }

    pub(super) fn open_panes(&self, steps: &Steps, actions: &mut Vec<Action>) {
        for (pane, key, labels_only) in &steps.opened {
            for &judge in &self.spec.judges {
                if *labels_only && judge != JudgeKind::Performance {
                    continue;
                }
                let open =
                    LaneDown::OpenPane { pane: *pane, key: Arc::clone(key), labels_only: *labels_only };
                actions.push(Action::Down(Self::lane_of(judge, key), open));
            }
        }
    }

    fn close_and_release(&mut self, steps: Steps, now_us: u64, actions: &mut Vec<Action>) {
        // Releases feed too: whoever is fed knows what time it is.
        if !(steps.closes.is_empty() && steps.released.is_empty() && steps.released_labels.is_empty()) {
            self.tell_time(actions);
        }
        for close in steps.closes {
            let timing = if close.cause == Cause::OnTime { Timing::OnTime } else { Timing::Late };
            let memory = self.memory.entry(close.window.clone()).or_default();
            let revision = memory.next_revision;
            memory.next_revision += 1;
            memory.pending += 1;
            let mut awaited = Vec::new();
            let mut asked = Vec::new();
            for &judge in &self.spec.judges {
                let labels = judge == JudgeKind::Performance;
                let lane = Self::lane_of(judge, &close.window.key);
                if (close.cause == Cause::LateLabels && !labels) || self.lost.contains(&lane) {
                    continue;
                }
                let mut panes = close.panes.clone();
                if labels {
                    panes.extend(&close.label_panes);
                }
                let last = memory.answers.remove(&lane);
                let next = last.as_ref().map_or(0, |answer| answer.revision + 1);
                let verdict = last.and_then(|answer| answer.verdict);
                memory.answers.insert(lane, Answer { revision: next, verdict, waived: false });
                self.awaited.insert((close.window.clone(), lane, next));
                awaited.push((lane, next));
                asked.push((lane, next, panes));
            }
            for (lane, revision, panes) in asked {
                let window = window_of(&self.spec.stream_id, &close.window);
                let close = |seq| Close { seq, window, revision, panes, timing, again: false };
                actions.push(self.down(lane, |seq| LaneDown::Close(close(seq))));
            }
            if close.cause == Cause::OnTime {
                self.totals.windows += 1;
            }
            self.pending.push_back(Pending {
                window: close.window,
                revision,
                awaited,
                deadline_us: now_us.saturating_add(self.config.verdict_deadline_ms * 1_000),
                closed_at_us: (close.cause == Cause::OnTime).then(|| self.receipt_us.unwrap_or(now_us)),
            });
        }
        for judge in self.spec.judges.clone() {
            let panes = match judge {
                JudgeKind::Performance => &steps.released_labels,
                JudgeKind::Quality | JudgeKind::Drift => &steps.released,
            };
            if !panes.is_empty() {
                let panes = panes.clone();
                actions.push(self.down(LaneId::whole(judge), |seq| LaneDown::Release { seq, panes }));
            }
        }
        for window in steps.finished {
            if let Some(memory) = self.memory.get_mut(&window) {
                memory.finished = true;
                if memory.is_over() {
                    self.memory.remove(&window);
                }
            }
        }
        self.emit(now_us, actions);
    }

    /// A window's memory, if it is still held.
    pub(super) fn memory_of(&mut self, window: &acgs_windowing::WindowKey) -> Option<&mut Memory> {
        self.memory.get_mut(window)
    }
}

/// A window in the words of everyone.
pub(super) fn window_of(stream_id: &Arc<str>, window: &acgs_windowing::WindowKey) -> acgs_vocabulary::Window {
    acgs_vocabulary::Window {
        stream_id: Arc::clone(stream_id),
        key: Arc::clone(&window.key),
        start_ms: window.start_ms,
        end_ms: window.end_ms,
    }
}

fn full(full: Full) -> Problem {
    let reason = match full {
        Full::Panes(_) => "PANES",
        Full::Windows(_) => "WINDOWS",
    };
    Problem::exhausted(reason, full.to_string(), RETRY_MS)
}

/// Keys of the rows, as indices into their names; nulls share the empty key.
fn keys(schema: &acgs_columns::Schema, batch: &RecordBatch) -> (Option<Vec<u32>>, Vec<Arc<str>>) {
    let Some(column) = schema.index_of_role(Role::Key).map(|index| &batch.columns()[index]) else {
        return (None, Vec::new());
    };
    let mut names: Vec<Arc<str>> = vec![Arc::from("")];
    match &column.values {
        Values::Text { codes, dictionary } => {
            names.extend(dictionary.iter().cloned());
            let key = |row: usize| if column.is_valid(row) { codes[row] + 1 } else { 0 };
            (Some((0..batch.rows()).map(key).collect()), names)
        }
        _ => {
            let mut known: HashMap<i64, u32> = HashMap::new();
            let keys = (0..batch.rows()).map(|row| match column.integer(row) {
                None => 0,
                Some(value) => *known.entry(value).or_insert_with(|| {
                    names.push(Arc::from(value.to_string()));
                    names.len() as u32 - 1
                }),
            });
            (Some(keys.collect()), names)
        }
    }
}
