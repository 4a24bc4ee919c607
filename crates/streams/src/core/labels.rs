//! Late labels: rows wait, labels find them, and what they found goes to the performance lane as rows of label panes.
//! It must not know who sends labels.

use std::sync::Arc;

use acgs_columns::{
    Cell, Column, Kind, OwnedCell, RecordBatch, RecordId, Role, Schema, builder::BatchBuilder,
};
use acgs_lane::{LaneDown, LaneId};
use acgs_vocabulary::{JudgeKind, Problem};
use acgs_windowing::{
    PaneId, Steps,
    join::{Labelled, Predicted},
    watermark::BEGINNING,
};

use super::{Action, Core, frames::Taken};

/// A label with what it labels; `None` where the sender left it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The record.
    pub id: Option<RecordId>,
    /// The truth.
    pub value: OwnedCell,
}

/// A row that waits for its label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    key: Arc<str>,
    time_ms: i64,
    /// Start of the first window that the row is in.
    first_start_ms: i64,
    score: OwnedCell,
    prediction: OwnedCell,
}

/// What became of some labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelCounts {
    /// Found their row.
    pub matched: u64,
    /// Wait for it.
    pub waiting: u64,
    /// Too late, twice, or without id or value.
    pub dropped: u64,
}

/// Labels of a batch, by the roles of its schema.
#[must_use]
pub fn labels(schema: &Schema, batch: &RecordBatch) -> Vec<Label> {
    let column = |role| schema.index_of_role(role).map(|index| &batch.columns()[index]);
    let (id, label) = (column(Role::Id), column(Role::Label));
    let of = |row| Label {
        id: id.and_then(|column| RecordId::of(column, row)),
        value: label.map_or(OwnedCell::Null, |column| OwnedCell::of(column, row)),
    };
    (0..batch.rows()).map(of).collect()
}

impl Core {
    /// Takes a frame of labels from a partition.
    ///
    /// # Errors
    /// `SEQUENCE_GAP`.
    pub fn label_frame(
        &mut self,
        partition: &str,
        seq: u64,
        labels: Vec<Label>,
        now_us: u64,
    ) -> Result<Vec<Action>, Problem> {
        if self.check_seq(partition, seq, "labels")? == Taken::Duplicate {
            return Ok(Vec::new());
        }
        self.accept_seq(partition, seq);
        Ok(self.label(labels, now_us).0)
    }

    /// Takes labels from whoever has them.
    pub fn label(&mut self, labels: Vec<Label>, now_us: u64) -> (Vec<Action>, LabelCounts) {
        let mut counts = LabelCounts::default();
        let mut found = Vec::new();
        let deadline_ms = self.label_deadline_ms();
        let Some(join) = &mut self.join else {
            self.totals.dropped.labels_expired += labels.len() as u64;
            return (Vec::new(), LabelCounts { dropped: labels.len() as u64, ..counts });
        };
        let dropped = &mut self.totals.dropped;
        for label in labels {
            let is_said = match label.value {
                OwnedCell::Null => false,
                OwnedCell::Number(value) => value.is_finite(),
                _ => true,
            };
            let (Some(id), true) = (label.id, is_said) else {
                dropped.labels_invalid += 1;
                counts.dropped += 1;
                continue;
            };
            match join.label(&id, label.value.clone(), deadline_ms) {
                Labelled::Matched(waiting) => {
                    counts.matched += 1;
                    found.push((waiting, label.value));
                }
                Labelled::Waits => counts.waiting += 1,
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
        let mut actions = Vec::new();
        self.send_labelled(found, &mut actions);
        let steps = self.windows.advance();
        self.follow(steps, now_us, &mut actions);
        (actions, counts)
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
        _now_us: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(join) = &mut self.join else { return };
        let schema = Arc::clone(&self.spec.schema);
        let column = |role| schema.index_of_role(role).map(|index| &batch.columns()[index]);
        let (Some(ids), Some(times)) = (column(Role::Id), column(Role::Timestamp)) else { return };
        let (label, score, prediction) = (column(Role::Label), column(Role::Score), column(Role::Prediction));
        let keys = column(Role::Key);
        let panes = runs.iter().flat_map(|(pane, length)| std::iter::repeat_n(*pane, *length as usize));
        let mut first_start: Option<(PaneId, i64)> = None;
        let none: Arc<str> = Arc::from("");
        let mut found = Vec::new();
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
            let cell =
                |column: Option<&Column>| column.map_or(OwnedCell::Null, |column| OwnedCell::of(column, row));
            let (score, prediction) = (cell(score), cell(prediction));
            let waiting = Waiting { key: Arc::clone(&key), time_ms, first_start_ms, score, prediction };
            let deadline_ms = self.windows.label_deadline_ms(time_ms);
            match join.predict(&id, waiting.clone(), deadline_ms) {
                Predicted::Waits => {}
                Predicted::Matched(value) => found.push((waiting, value)),
                // No label will come for a second row of an id; nor, counted as expired, for one without room.
                Predicted::Duplicate | Predicted::Full => self.windows.label_settled(&key, time_ms),
            }
        }
        self.send_labelled(found, actions);
    }

    /// Sends rows with their labels to the performance lane, grouped by pane.
    fn send_labelled(&mut self, found: Vec<(Waiting, OwnedCell)>, actions: &mut Vec<Action>) {
        if found.is_empty() {
            return;
        }
        let Some(projection) = self.projections.get(&JudgeKind::Performance) else { return };
        let schema = Arc::clone(&projection.schema);
        let mut steps = Steps::default();
        let mut placed: Vec<(PaneId, Waiting, OwnedCell)> = Vec::with_capacity(found.len());
        for (waiting, value) in found {
            match self.windows.label_pane(&waiting.key, waiting.time_ms, waiting.first_start_ms, &mut steps) {
                Some(pane) => placed.push((pane, waiting, value)),
                None => self.totals.dropped.labels_expired += 1,
            }
        }
        placed.sort_by_key(|(pane, ..)| *pane);
        self.open_panes(&steps, actions);
        for chunk in placed.chunks(acgs_columns::batch::ROWS_MAX) {
            let mut builder = BatchBuilder::new(Arc::clone(&schema));
            let mut runs: Vec<(PaneId, u32)> = Vec::new();
            for (pane, waiting, value) in chunk {
                let cells: Vec<Cell<'_>> = schema
                    .fields()
                    .iter()
                    .map(|field| cell_for(field.role, field.kind, waiting, value))
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
                let rows = |seq| LaneDown::Rows { seq, batch, runs, again: false };
                actions.push(self.down(LaneId::whole(JudgeKind::Performance), rows));
            }
        }
        for (_, waiting, _) in &placed {
            self.windows.label_settled(&waiting.key, waiting.time_ms);
        }
    }

    /// Gives up rows and labels that event time has overtaken.
    pub(super) fn expire_labels(&mut self) {
        let watermark = self.windows.watermarks.current();
        let Some(join) = &mut self.join else { return };
        let expired = join.expire(watermark);
        self.totals.dropped.labels_expired += expired.labels as u64;
    }
}

fn key_of(keys: &Column, row: usize, none: &Arc<str>) -> Arc<str> {
    match keys.integer(row) {
        Some(value) => Arc::from(value.to_string()),
        None => keys.text(row).map_or_else(|| Arc::clone(none), Arc::clone),
    }
}

fn cell_for<'a>(role: Role, kind: Kind, waiting: &'a Waiting, value: &'a OwnedCell) -> Cell<'a> {
    match role {
        Role::Score => waiting.score.cell(),
        Role::Prediction => waiting.prediction.cell(),
        Role::Label => match (kind, value) {
            // A truth may come as a boolean where the rows have a number.
            (Kind::Double | Kind::Int64, OwnedCell::Boolean(value)) => Cell::Integer(i64::from(*value)),
            _ => value.cell(),
        },
        _ => Cell::Null,
    }
}
