//! What the stream is in the middle of: frames, labels and steps of event time are taken as much at a time as there is work for. Until one
//! is over, nothing else is taken. It must not know who waits for it.

use std::{collections::VecDeque, sync::Arc};

use acgs_columns::RecordBatch;
use acgs_windowing::{
    LabelJoin,
    windows::{Ingest, Rows},
};

use super::{
    Action, Core,
    label::{Found, Label, LabelCounts},
};

/// Work of a first step, in units of about a row: what nearly every frame takes, in one.
pub(super) const LIGHT: usize = 1 << 17;
/// Work of every further step.
pub const HEAVY: usize = 1 << 19;

/// The rows of a frame.
#[derive(Debug)]
pub(super) struct FrameRows {
    pub(super) batch: RecordBatch,
    pub(super) time_column: usize,
    pub(super) keys: Option<Vec<u32>>,
    pub(super) key_names: Vec<Arc<str>>,
    pub(super) rejected: Vec<bool>,
    pub(super) awaiting: Vec<bool>,
    pub(super) partition: Arc<str>,
}

impl FrameRows {
    pub(super) fn rows(&self) -> Option<Rows<'_>> {
        let acgs_columns::Values::Integer(times_ms) = &self.batch.columns()[self.time_column].values else {
            return None;
        };
        Some(Rows {
            times_ms,
            keys: self.keys.as_deref(),
            key_names: &self.key_names,
            rejected: &self.rejected,
            awaiting: &self.awaiting,
        })
    }
}

/// What is not taken yet.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    pub(super) ingest: Option<Ingest>,
    pub(super) frame: Option<FrameRows>,
    /// Rows and their labels that are to go to their panes.
    pub(super) found: VecDeque<Found>,
    pub(super) labels: VecDeque<Label>,
    pub(super) receipt_us: Option<u64>,
}

impl Core {
    /// Whether something is not taken to its end yet, or told.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.unfinished.is_some() || self.owes_reports
    }

    /// Whether to look at so many rows may take long: each may need as many windows as overlap.
    #[must_use]
    pub fn is_long(&self, rows: usize) -> bool {
        rows.saturating_mul(self.spec.window.overlap()) > LIGHT
    }

    /// What became of the labels that were taken last.
    #[must_use]
    pub fn label_counts(&self) -> LabelCounts {
        self.label_counts
    }

    pub(super) fn begin(&mut self, unfinished: Unfinished, now_us: u64) -> Vec<Action> {
        self.unfinished = Some(unfinished);
        self.go_on(now_us, self.light)
    }

    /// Goes on with what was begun, for so much work.
    pub fn go_on(&mut self, now_us: u64, mut work: usize) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(mut unfinished) = self.unfinished.take() else {
            self.emit(now_us, &mut actions);
            return actions;
        };
        self.receipt_us = unfinished.receipt_us;
        self.limit_join();
        let over = self.step(&mut unfinished, now_us, &mut work, &mut actions);
        self.join_room.force(self.join.as_ref().map_or(0, LabelJoin::heap_bytes));
        self.receipt_us = None;
        if !over {
            self.unfinished = Some(unfinished);
        }
        actions
    }

    /// One step; true when it was the last.
    fn step(
        &mut self,
        unfinished: &mut Unfinished,
        now_us: u64,
        work: &mut usize,
        actions: &mut Vec<Action>,
    ) -> bool {
        // Rows come before the labels that they find, and those before windows close.
        if let Some(frame) = unfinished.frame.take() {
            let over = self.take_rows(unfinished, &frame, now_us, work, actions);
            if !over {
                unfinished.frame = Some(frame);
                return false;
            }
            self.send_found(&mut unfinished.found, work, actions);
            return unfinished.found.is_empty() && self.expire_labels(work);
        }
        self.join_labels(&mut unfinished.labels, &mut unfinished.found, work);
        self.send_found(&mut unfinished.found, work, actions);
        if !(unfinished.labels.is_empty() && unfinished.found.is_empty()) {
            return false;
        }
        let ingest = unfinished.ingest.get_or_insert_with(|| self.windows.begin_advance());
        let steps = self.windows.go_on(ingest, None, work).steps;
        let over = ingest.is_over();
        self.follow(steps, now_us, actions);
        over && self.expire_labels(work)
    }
}
