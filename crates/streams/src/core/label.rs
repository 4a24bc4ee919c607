//! Labels, and rows that wait for them. It must not know what becomes of them.

use std::sync::Arc;

use acgs_columns::{OwnedCell, RecordBatch, RecordId, Role, Schema};

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
    pub(super) key: Arc<str>,
    pub(super) time_ms: i64,
    /// Start of the first window that the row is in.
    pub(super) first_start_ms: i64,
    pub(super) score: OwnedCell,
    pub(super) prediction: OwnedCell,
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
