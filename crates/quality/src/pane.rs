//! What a pane of rows leaves behind: counts, moments and sketches by column. It must not know thresholds.

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Scale, Schema, Values, numbers::numbers};
use acgs_statistics::{
    distinct::{Repeats, hash_text, mix},
    moments::Moments,
    score::ROUNDING,
    sketch::LogHistogram,
};
use serde::{Deserialize, Serialize};

/// One pane.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QualityPane {
    /// Rows.
    pub row_count: u64,
    /// Newest event time.
    pub newest_ms: Option<i64>,
    /// Ids, when there is an id field.
    pub ids: Repeats,
    /// In the schema's order.
    pub columns: Vec<ColumnPane>,
}

/// One column of a pane.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ColumnPane {
    /// Null cells.
    pub missing_count: u64,
    /// Cells that break finiteness, range or requirement.
    pub invalid_count: u64,
    /// Of those, numbers that are not finite.
    pub not_finite_count: u64,
    /// Of finite numbers.
    pub moments: Moments,
    /// Of finite numbers.
    pub sketch: LogHistogram,
}

impl QualityPane {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let sketches: usize = self.columns.iter().map(|column| column.sketch.heap_bytes()).sum();
        self.ids.heap_bytes() + self.columns.capacity() * size_of::<ColumnPane>() + sketches
    }

    /// Without rows.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self { columns: vec![ColumnPane::default(); schema.fields().len()], ..Self::default() }
    }

    /// Adds rows.
    pub fn push(&mut self, rows: &RecordBatch) {
        self.row_count += rows.rows() as u64;
        let fields = rows.schema().fields();
        for ((field, column), pane) in fields.iter().zip(rows.columns()).zip(&mut self.columns) {
            let missing = column.null_count() as u64;
            pane.missing_count += missing;
            if field.required {
                pane.invalid_count += missing;
            }
            match field.role {
                Role::Timestamp => self.newest_ms = self.newest_ms.max(newest(column, rows.rows())),
                Role::Id => push_ids(&mut self.ids, column, rows.rows()),
                Role::Key => {}
                _ => pane.push(field, column),
            }
        }
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.row_count += other.row_count;
        self.newest_ms = self.newest_ms.max(other.newest_ms);
        self.ids.merge(&other.ids);
        for (own, theirs) in self.columns.iter_mut().zip(&other.columns) {
            own.missing_count += theirs.missing_count;
            own.invalid_count += theirs.invalid_count;
            own.not_finite_count += theirs.not_finite_count;
            own.moments.merge(&theirs.moments);
            own.sketch.merge(&theirs.sketch);
        }
    }
}

impl ColumnPane {
    fn push(&mut self, field: &Field, column: &Column) {
        if !can_be_checked(field) {
            return;
        }
        let Some(numbers) = numbers(column) else { return };
        self.invalid_count += numbers.not_finite_count as u64;
        self.not_finite_count += numbers.not_finite_count as u64;
        let (minimum, maximum) = range(field);
        if minimum.is_some() || maximum.is_some() {
            let (from, to) = (minimum.unwrap_or(f64::NEG_INFINITY), maximum.unwrap_or(f64::INFINITY));
            let outside = numbers.finite.iter().filter(|&&value| value < from || value > to).count();
            self.invalid_count += outside as u64;
        }
        if !is_numeric(field) {
            return;
        }
        self.moments.push_slice(&numbers.finite);
        self.sketch.push_slice(&numbers.finite);
    }
}

/// Whether the field's values are numbers that have a range, names among them.
fn can_be_checked(field: &Field) -> bool {
    matches!(field.kind, Kind::Double | Kind::Int64)
        && !matches!(field.role, Role::Id | Role::Key | Role::Timestamp)
}

/// Whether the field's values are measured, not only counted.
#[must_use]
pub fn is_numeric(field: &Field) -> bool {
    can_be_checked(field) && field.scale != Some(Scale::Nominal)
}

/// The valid range: what the schema says; a score is a probability, to rounding, whatever the schema says.
#[must_use]
pub fn range(field: &Field) -> (Option<f64>, Option<f64>) {
    if field.role == Role::Score {
        return (field.minimum.or(Some(-ROUNDING)), field.maximum.or(Some(1.0 + ROUNDING)));
    }
    (field.minimum, field.maximum)
}

fn newest(column: &Column, rows: usize) -> Option<i64> {
    (0..rows).filter_map(|row| column.integer(row)).max()
}

fn push_ids(ids: &mut Repeats, column: &Column, rows: usize) {
    match &column.values {
        Values::Integer(values) if column.validity.is_none() => {
            values.iter().for_each(|&value| ids.push(mix(value as u64)));
        }
        Values::Integer(_) => {
            (0..rows).filter_map(|row| column.integer(row)).for_each(|value| ids.push(mix(value as u64)));
        }
        Values::Text { .. } => {
            (0..rows).filter_map(|row| column.text(row)).for_each(|text| ids.push(hash_text(text)));
        }
        Values::Double(_) | Values::Boolean(_) => {}
    }
}
