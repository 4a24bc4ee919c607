//! What a pane of rows leaves behind: counts, moments, sketches and examples by column, times and repeated rows. It must not know thresholds.

use acgs_columns::{Cell, Column, Field, RecordBatch, Role, Schema, Values, numbers::numbers};
use acgs_reference::{
    rates::{kinds, tells_rows_apart},
    soundness::{Soundness, is_numeric, push_ids, push_rows, range},
};
use acgs_statistics::{
    distinct::Repeats, moments::Moments, sample::Sample, shape::Times, sketch::LogHistogram,
};
use serde::{Deserialize, Serialize};

use crate::profile::Profile;

/// Examples of a column.
pub const EXAMPLES_MAX: usize = 3;
/// Longest value of an example, in characters.
const EXAMPLE_CHARS_MAX: usize = 40;

/// One pane.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QualityPane {
    /// Rows.
    pub row_count: u64,
    /// Newest event time.
    pub newest_ms: Option<i64>,
    /// Event times, in milliseconds since the epoch.
    pub times_ms: Sample,
    /// Ids, or without an id field whole rows.
    pub repeats: Repeats,
    /// In the schema's order.
    pub columns: Vec<ColumnPane>,
}

/// One column of a pane.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ColumnPane {
    /// Its cells and runs.
    pub soundness: Soundness,
    /// Of finite numbers.
    pub moments: Moments,
    /// Of finite numbers.
    pub sketch: LogHistogram,
    /// What values are like.
    pub profile: Profile,
    /// Cells that cannot be, the first ones.
    pub examples: Vec<Example>,
}

/// A cell that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The row: its id, or its place among those of its frame.
    pub row: String,
    /// The value.
    pub value: String,
}

impl QualityPane {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let text = |example: &Example| example.row.len() + example.value.len() + size_of::<Example>();
        let of = |column: &ColumnPane| {
            column.sketch.heap_bytes()
                + column.profile.heap_bytes()
                + column.examples.iter().map(text).sum::<usize>()
        };
        let columns: usize = self.columns.iter().map(of).sum();
        self.repeats.heap_bytes()
            + self.times_ms.heap_bytes()
            + self.columns.capacity() * size_of::<ColumnPane>()
            + columns
    }

    /// Without rows.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self { columns: vec![ColumnPane::default(); schema.fields().len()], ..Self::default() }
    }

    /// Adds rows.
    pub fn push(&mut self, rows: &RecordBatch) {
        self.row_count += rows.rows() as u64;
        let schema = rows.schema();
        let id = schema.index_of_role(Role::Id).map(|place| &rows.columns()[place]);
        let time = schema.index_of_role(Role::Timestamp).map(|place| &rows.columns()[place]);
        let times_ms = time.and_then(|time| match &time.values {
            Values::Integer(values) if time.null_count() == 0 => Some(&values[..]),
            _ => None,
        });
        let times = times_ms.map(|times_ms| Times::of(times_ms.iter().copied()));
        for ((field, column), pane) in schema.fields().iter().zip(rows.columns()).zip(&mut self.columns) {
            pane.push(field, column, (rows.rows(), id), times_ms.zip(times.as_ref()));
        }
        if let Some(place) = schema.index_of_role(Role::Timestamp) {
            self.push_times(&rows.columns()[place], rows.rows());
        }
        match id {
            Some(id) => push_ids(&mut self.repeats, id, rows.rows()),
            None => push_rows(&mut self.repeats, rows),
        }
    }

    fn push_times(&mut self, column: &Column, rows: usize) {
        let mut newest_ms = self.newest_ms.unwrap_or(i64::MIN);
        match &column.values {
            Values::Integer(values) if column.null_count() == 0 => values.iter().for_each(|time_ms| {
                newest_ms = newest_ms.max(*time_ms);
                self.times_ms.push(*time_ms);
            }),
            _ => (0..rows).filter_map(|row| column.integer(row)).for_each(|time_ms| {
                newest_ms = newest_ms.max(time_ms);
                self.times_ms.push(time_ms);
            }),
        }
        self.newest_ms = (self.times_ms.count() > 0).then_some(newest_ms);
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.row_count += other.row_count;
        self.newest_ms = self.newest_ms.max(other.newest_ms);
        self.times_ms.merge(&other.times_ms);
        self.repeats.merge(&other.repeats);
        for (own, theirs) in self.columns.iter_mut().zip(&other.columns) {
            own.soundness.merge(&theirs.soundness);
            own.moments.merge(&theirs.moments);
            own.sketch.merge(&theirs.sketch);
            own.profile.merge(&theirs.profile);
            let room = EXAMPLES_MAX.saturating_sub(own.examples.len());
            own.examples.extend(theirs.examples.iter().take(room).cloned());
        }
    }

    /// First and last event time, of those that are kept; `None` without any.
    #[must_use]
    pub fn times(&self) -> Option<(i64, i64)> {
        self.times_ms.sorted().first().copied().zip(self.newest_ms)
    }

    /// Whether rows that are the same are one row: they have ids, or so many different values that others are not the same by chance.
    #[must_use]
    pub fn tells_rows_apart(&self, schema: &Schema) -> bool {
        let distinct: Vec<u64> = self
            .columns
            .iter()
            .map(|column| kinds(column.profile.distinct_count(), &column.soundness.runs))
            .collect();
        schema.index_of_role(Role::Id).is_some() || tells_rows_apart(&distinct, self.row_count)
    }

    /// Whether what came back from outside is what pushing could have made of so many columns.
    #[must_use]
    pub fn is_sound(&self, columns: usize) -> bool {
        let is_sound = |it: &ColumnPane| {
            it.soundness.is_sound()
                && it.sketch.is_sound()
                && it.profile.is_sound()
                && it.moments.is_sound()
                && it.examples.len() <= EXAMPLES_MAX
        };
        self.columns.len() == columns && self.times_ms.is_sound() && self.columns.iter().all(is_sound)
    }
}

impl ColumnPane {
    fn push(
        &mut self,
        field: &Field,
        column: &Column,
        (rows, id): (usize, Option<&Column>),
        times: Option<(&[i64], &Times)>,
    ) {
        let before = self.soundness.cells.invalid();
        self.soundness.push(field, column, rows);
        if self.soundness.cells.invalid() > before && self.examples.len() < EXAMPLES_MAX {
            self.keep_examples(field, column, rows, id);
        }
        // Of names of rows there is nothing to tell.
        if !matches!(field.role, Role::Id | Role::Timestamp) {
            self.profile.push(field, column);
        }
        if let Some(numbers) = numbers(column).filter(|_| is_numeric(field)) {
            let mut moments = Moments::default();
            moments.push_slice(&numbers.finite);
            self.moments.merge(&moments);
            self.sketch.push_slice(&numbers.finite);
            self.profile.push_numbers(column, (&numbers.finite, &moments), times);
        }
    }

    fn keep_examples(&mut self, field: &Field, column: &Column, rows: usize, id: Option<&Column>) {
        let (minimum, maximum) = range(field);
        let is_invalid = |row: &usize| {
            column.number(*row).is_some_and(|number| {
                !number.is_finite()
                    || minimum.is_some_and(|minimum| number < minimum)
                    || maximum.is_some_and(|maximum| number > maximum)
            })
        };
        for row in (0..rows).filter(is_invalid).take(EXAMPLES_MAX - self.examples.len()) {
            let name = id.map_or(Cell::Null, |id| id.cell(row));
            let row_name = if name == Cell::Null { row.to_string() } else { short(name) };
            self.examples.push(Example { row: row_name, value: short(column.cell(row)) });
        }
    }
}

/// A number as text, of any size.
pub(crate) fn written(number: f64) -> String {
    let text = number.to_string();
    if text.len() > EXAMPLE_CHARS_MAX { format!("{number:e}") } else { text }
}

/// A cell as text, not too long.
fn short(cell: Cell<'_>) -> String {
    let text = match cell {
        Cell::Null => String::new(),
        Cell::Number(number) => written(number),
        Cell::Integer(number) => number.to_string(),
        Cell::Boolean(value) => value.to_string(),
        Cell::Text(text) => text.to_owned(),
    };
    text.chars().take(EXAMPLE_CHARS_MAX).collect()
}
