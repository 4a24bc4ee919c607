//! Rows that are taken: panes, lanes, closes. It must not know labels beyond handing rows to the join.

use std::{collections::VecDeque, sync::Arc};

use acgs_columns::RecordBatch;
use acgs_lane::{
    LaneDown, LaneId,
    message::{Close, Timing},
};
use acgs_vocabulary::JudgeKind;
use acgs_windowing::{Cause, Frame, Steps};

use super::{
    Action, Answer, Core, Memory, Pending,
    label::Found,
    work::{FrameRows, Unfinished},
};

impl Core {
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
        self.place((&frame.batch, &frame.partition), taken, now_us, &mut unfinished.found, actions);
        over
    }

    fn place(
        &mut self,
        (batch, partition): (&RecordBatch, &Arc<str>),
        frame: Frame,
        now_us: u64,
        found: &mut VecDeque<Found>,
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
                let rows = |seq| LaneDown::Rows {
                    seq,
                    batch,
                    runs,
                    again: false,
                    partition: Arc::clone(partition),
                    retracts: false,
                };
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
            let memory = self.memory.of(&close.window);
            let revision = memory.next_revision;
            memory.next_revision += 1;
            memory.pending += 1;
            memory.labels_awaited = close.labels_awaited;
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
                let settled = close.settled;
                let close = |seq| Close { seq, window, revision, panes, timing, again: false, settled };
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
