//! Late labels: rows wait, labels find them, and what they found goes to the performance lane as rows of label panes.
//! It must not know who sends labels.

use std::{collections::VecDeque, sync::Arc};

use acgs_columns::{
    Cell, Column, Kind, OwnedCell, RecordBatch, RecordId, Role, Schema, builder::BatchBuilder,
};
use acgs_lane::{LaneDown, LaneId};
use acgs_vocabulary::JudgeKind;
use acgs_windowing::{
    PaneId, Steps,
    join::{Labelled, Predicted},
    watermark::BEGINNING,
};

use super::{
    Action, Core,
    label::{Carried, CarriedPlaces, Found, Label, LabelCounts, Waiting, is_carried},
    work::Unfinished,
};

/// What a label costs, in units of a row's work; as much for each window that its row is in.
const LABEL: usize = 8;

impl Core {
    /// Says to the join how much it may hold more. What finds no room goes on without its label, and is counted like what came too late: to
    /// refuse it would keep event time from moving on, and with it what gives room.
    pub(super) fn limit_join(&mut self) {
        let Some(join) = &mut self.join else { return };
        let share = self.join_room.share();
        let free = share.bytes_max().saturating_sub(share.held());
        join.set_room(free.max(share.least().saturating_sub(self.join_room.bytes())));
    }

    /// Takes labels from whoever has them; [`Core::label_counts`] says what became of them when nothing is left to do.
    pub fn label(&mut self, labels: Vec<Label>, now_us: u64) -> Vec<Action> {
        self.label_counts = LabelCounts::default();
        if self.join.is_none() {
            self.totals.dropped.labels_expired += labels.len() as u64;
            self.label_counts.dropped = labels.len() as u64;
            return Vec::new();
        }
        self.begin(Unfinished { labels: labels.into(), ..Unfinished::default() }, now_us)
    }

    /// Finds the rows of labels, as long as there is work left.
    pub(super) fn join_labels(
        &mut self,
        labels: &mut VecDeque<Label>,
        found: &mut VecDeque<Found>,
        work: &mut usize,
    ) {
        let deadline_ms = self.label_deadline_ms();
        let kind_of =
            |schema: &Schema, role| schema.index_of_role(role).map(|index| schema.fields()[index].kind);
        let id_kind = kind_of(&self.spec.schema, Role::Id).unwrap_or(Kind::Text);
        let judged = self.projections.get(&JudgeKind::Performance);
        let label_kind =
            judged.and_then(|judged| kind_of(&judged.schema, Role::Label)).unwrap_or(Kind::Double);
        let Some(join) = &mut self.join else { return };
        let (dropped, counts) = (&mut self.totals.dropped, &mut self.label_counts);
        while *work > 0
            && let Some(label) = labels.pop_front()
        {
            *work = work.saturating_sub(LABEL);
            let Some((id, value)) = label.of_kinds(id_kind, label_kind) else {
                dropped.labels_invalid += 1;
                counts.dropped += 1;
                continue;
            };
            match join.label(&id, value.clone(), deadline_ms) {
                Labelled::Matched(waiting) => {
                    counts.matched += 1;
                    found.push_back(Found { waiting, value, before: None });
                }
                Labelled::Waits => counts.waiting += 1,
                Labelled::Replaced => {
                    dropped.labels_corrected += 1;
                    counts.corrected += 1;
                }
                Labelled::Corrects { prediction: waiting, before } => {
                    counts.corrected += 1;
                    found.push_back(Found { waiting, value, before: Some(before) });
                }
                Labelled::Duplicate => {
                    dropped.labels_duplicate += 1;
                    counts.dropped += 1;
                }
                Labelled::Full => {
                    dropped.labels_expired += 1;
                    counts.dropped += 1;
                }
            }
        }
    }

    /// Sends rows whose labels were found to the judge, as long as there is work left.
    pub(super) fn send_found(
        &mut self,
        found: &mut VecDeque<Found>,
        work: &mut usize,
        actions: &mut Vec<Action>,
    ) {
        // Each may touch every window that it is in.
        let cost = LABEL * self.spec.window.overlap();
        let count = found.len().min((*work / cost).max(usize::from(*work > 0)));
        if count == 0 {
            return;
        }
        *work = work.saturating_sub(count * cost);
        self.send_labelled(found.drain(..count).collect(), actions);
    }

    /// A label without its row waits until windows that are open now take labels no more.
    fn label_deadline_ms(&self) -> i64 {
        let watermark = self.windows.watermarks.current();
        if watermark == BEGINNING {
            // Nobody knows yet what time it is: they wait for as long as there is room.
            return i64::MAX;
        }
        let horizon_ms = self.spec.window.label_horizon_ms().unwrap_or(0);
        watermark.saturating_add(self.spec.window.size_ms()).saturating_add(horizon_ms)
    }

    /// Which rows wait for a label: those with an id and without the label; empty when none can.
    pub(super) fn awaiting(&self, batch: &RecordBatch) -> Vec<bool> {
        let column = |role| self.spec.schema.index_of_role(role).map(|index| &batch.columns()[index]);
        let (Some(_), Some(ids)) = (&self.join, column(Role::Id)) else { return Vec::new() };
        let label = column(Role::Label);
        let waits = |row| ids.is_valid(row) && !label.is_some_and(|label| label.is_valid(row));
        (0..batch.rows()).map(waits).collect()
    }

    /// Rows whose label is not in them wait for it; labels that are here already are used.
    pub(super) fn await_labels(
        &mut self,
        batch: &RecordBatch,
        runs: &[(PaneId, u32)],
        found: &mut VecDeque<Found>,
    ) {
        let Some(join) = &mut self.join else { return };
        let schema = Arc::clone(&self.spec.schema);
        let column = |role| schema.index_of_role(role).map(|index| &batch.columns()[index]);
        let (Some(ids), Some(times)) = (column(Role::Id), column(Role::Timestamp)) else { return };
        let label = column(Role::Label);
        let keys = column(Role::Key);
        let places = CarriedPlaces::of(&schema);
        let panes = runs.iter().flat_map(|(pane, length)| std::iter::repeat_n(*pane, *length as usize));
        let mut first_start: Option<(PaneId, i64)> = None;
        let none: Arc<str> = Arc::from("");
        for (row, pane) in (0..batch.rows()).zip(panes) {
            if label.is_some_and(|label| label.is_valid(row)) {
                continue;
            }
            let (Some(id), Some(time_ms)) = (RecordId::of(ids, row), times.integer(row)) else { continue };
            let key = keys.map_or_else(|| Arc::clone(&none), |keys| key_of(keys, row, &none));
            if first_start.is_none_or(|(known, _)| known != pane) {
                first_start =
                    self.windows.first_start_ms(&key, time_ms, pane).map(|start_ms| (pane, start_ms));
            }
            // Without a start the row's windows took labels no more when it came.
            let Some((_, first_start_ms)) = first_start else { continue };
            let carried = Carried::of(&places, batch.columns(), row);
            let waiting = Waiting { key: Arc::clone(&key), time_ms, first_start_ms, carried };
            let deadline_ms = self.windows.label_deadline_ms(time_ms);
            match join.predict(&id, waiting.clone(), deadline_ms) {
                Predicted::Waits => {}
                Predicted::Matched(value) => found.push_back(Found { waiting, value, before: None }),
                // No label will come for a second row of an id; nor, counted as expired, for one without room.
                Predicted::Duplicate | Predicted::Full => self.windows.label_settled(&waiting.key, time_ms),
            }
        }
    }

    /// Sends rows with their labels to the performance lane, grouped by pane; of those that are corrected, what was said before is taken back.
    fn send_labelled(&mut self, found: Vec<Found>, actions: &mut Vec<Action>) {
        if found.is_empty() || !self.projections.contains_key(&JudgeKind::Performance) {
            return;
        }
        let mut steps = Steps::default();
        let mut placed: Vec<(PaneId, Found)> = Vec::with_capacity(found.len());
        for found in found {
            let Waiting { key, time_ms, first_start_ms, .. } = &found.waiting;
            let pane = self.windows.label_pane(key, *time_ms, *first_start_ms, &mut steps);
            let dropped = &mut self.totals.dropped;
            match (pane, &found.before) {
                (Some(pane), before) => {
                    dropped.labels_corrected += u64::from(before.is_some());
                    placed.push((pane, found));
                }
                (None, None) => dropped.labels_expired += 1,
                (None, Some(_)) => {
                    dropped.labels_contradicted += 1;
                    self.label_counts.corrected = self.label_counts.corrected.saturating_sub(1);
                    self.label_counts.dropped += 1;
                }
            }
        }
        placed.sort_by_key(|(pane, ..)| *pane);
        self.open_panes(&steps, actions);
        let rows = placed.iter().map(|(pane, found)| (*pane, &found.waiting, &found.value));
        self.send_label_rows(&rows.collect::<Vec<_>>(), false, actions);
        let before =
            placed.iter().filter_map(|(pane, found)| Some((*pane, &found.waiting, found.before.as_ref()?)));
        self.send_label_rows(&before.collect::<Vec<_>>(), true, actions);
        for (_, Found { waiting, .. }) in placed.iter().filter(|(_, found)| found.before.is_none()) {
            self.windows.label_settled(&waiting.key, waiting.time_ms);
        }
    }

    /// Sends rows, sorted by pane, with labels that are given, or taken back.
    fn send_label_rows(
        &mut self,
        placed: &[(PaneId, &Waiting, &OwnedCell)],
        retracts: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(projection) = self.projections.get(&JudgeKind::Performance) else { return };
        let schema = Arc::clone(&projection.schema);
        for chunk in placed.chunks(acgs_columns::batch::ROWS_MAX) {
            let mut builder = BatchBuilder::new(Arc::clone(&schema));
            let mut runs: Vec<(PaneId, u32)> = Vec::new();
            for (pane, waiting, value) in chunk {
                let mut numbers = 0..;
                let cells: Vec<Cell<'_>> = schema
                    .fields()
                    .iter()
                    .map(|field| match field.role {
                        _ if is_carried(field) => {
                            waiting.carried.cell(field, numbers.next().unwrap_or_default())
                        }
                        Role::Label => value.cell(),
                        Role::Timestamp => Cell::Integer(waiting.time_ms),
                        _ => Cell::Null,
                    })
                    .collect();
                if builder.push(&cells).is_err() {
                    self.totals.dropped.labels_invalid += 1;
                    continue;
                }
                match runs.last_mut() {
                    Some((last, length)) if last == pane => *length += 1,
                    _ => runs.push((*pane, 1)),
                }
            }
            if let Ok(batch) = builder.finish() {
                let partition = "".into();
                let rows = |seq| LaneDown::Rows { seq, batch, runs, again: false, partition, retracts };
                actions.push(self.down(LaneId::whole(JudgeKind::Performance), rows));
            }
        }
    }

    /// Gives up rows and labels that event time has overtaken, as long as there is work left; true when none is left to give up.
    pub(super) fn expire_labels(&mut self, work: &mut usize) -> bool {
        let watermark = self.windows.watermarks.current();
        let Some(join) = &mut self.join else { return true };
        let mut ids = (*work / LABEL).max(usize::from(*work > 0));
        let before = ids;
        let expired = join.expire(watermark, &mut ids);
        self.totals.dropped.labels_expired += expired.labels as u64;
        *work = work.saturating_sub((before - ids) * LABEL);
        ids > 0
    }
}

fn key_of(keys: &Column, row: usize, none: &Arc<str>) -> Arc<str> {
    match keys.integer(row) {
        Some(value) => Arc::from(value.to_string()),
        None => keys.text(row).map_or_else(|| Arc::clone(none), Arc::clone),
    }
}
