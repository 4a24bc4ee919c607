//! Builds batches from cells, and guesses kinds where nobody says them. It must not know where cells come from.

use std::{collections::HashMap, sync::Arc};

use crate::{
    batch::{BatchError, Column, RecordBatch, Values},
    buffer::Bitmap,
    cell::Cell,
    schema::{Kind, Schema},
};

/// A cell that its column cannot hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("row {row} of field {field:?} is {found}, not {kind:?}")]
pub struct CellError {
    /// From 0.
    pub row: usize,
    /// The field.
    pub field: String,
    /// The field's kind.
    pub kind: Kind,
    /// What came instead.
    pub found: String,
}

/// Collects rows of a schema.
#[derive(Debug)]
pub struct BatchBuilder {
    schema: Arc<Schema>,
    rows: usize,
    columns: Vec<ColumnBuilder>,
}

#[derive(Debug, Default)]
struct ColumnBuilder {
    doubles: Vec<f64>,
    integers: Vec<i64>,
    booleans: Vec<bool>,
    codes: Vec<u32>,
    dictionary: Vec<Arc<str>>,
    by_text: HashMap<Arc<str>, u32>,
    present: Vec<bool>,
}

impl BatchBuilder {
    /// An empty batch in the making.
    #[must_use]
    pub fn new(schema: Arc<Schema>) -> Self {
        let columns = schema.fields().iter().map(|_| ColumnBuilder::default()).collect();
        Self { schema, rows: 0, columns }
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row; cells follow the schema's order, missing ones at the end are null.
    ///
    /// # Errors
    /// The first cell that its column cannot hold; the row is then not added.
    pub fn push(&mut self, cells: &[Cell<'_>]) -> Result<(), CellError> {
        for (index, field) in self.schema.fields().iter().enumerate() {
            let cell = cells.get(index).copied().unwrap_or(Cell::Null);
            if !self.columns[index].push(field.kind, cell) {
                for column in &mut self.columns[..index] {
                    column.truncate(self.rows);
                }
                return Err(CellError {
                    row: self.rows,
                    field: field.name.clone(),
                    kind: field.kind,
                    found: describe(cell),
                });
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The batch; the builder starts again.
    ///
    /// # Errors
    /// When there are no rows or too many.
    pub fn finish(&mut self) -> Result<RecordBatch, BatchError> {
        let rows = std::mem::take(&mut self.rows);
        let kinds = self.schema.fields().iter().map(|field| field.kind);
        let columns =
            self.columns.iter_mut().zip(kinds).map(|(column, kind)| std::mem::take(column).finish(kind));
        RecordBatch::new(Arc::clone(&self.schema), rows, columns.collect())
    }
}

impl ColumnBuilder {
    fn push(&mut self, kind: Kind, cell: Cell<'_>) -> bool {
        let present = cell != Cell::Null;
        match (kind, cell) {
            (Kind::Double, Cell::Number(value)) => self.doubles.push(value),
            #[expect(clippy::cast_precision_loss, reason = "the field is a double")]
            (Kind::Double, Cell::Integer(value)) => self.doubles.push(value as f64),
            (Kind::Double, Cell::Null) => self.doubles.push(0.0),
            (Kind::Int64 | Kind::Timestamp, Cell::Integer(value)) => self.integers.push(value),
            (Kind::Int64 | Kind::Timestamp, Cell::Number(value)) => match whole(value) {
                Some(value) => self.integers.push(value),
                None => return false,
            },
            (Kind::Int64 | Kind::Timestamp, Cell::Null) => self.integers.push(0),
            (Kind::Boolean, Cell::Boolean(value)) => self.booleans.push(value),
            (Kind::Boolean, Cell::Null) => self.booleans.push(false),
            (Kind::Text, Cell::Text(value)) => {
                let code = self.code_of(value);
                self.codes.push(code);
            }
            (Kind::Text, Cell::Null) => {
                let code = self.code_of("");
                self.codes.push(code);
            }
            _ => return false,
        }
        self.present.push(present);
        true
    }

    fn code_of(&mut self, value: &str) -> u32 {
        if let Some(&code) = self.by_text.get(value) {
            return code;
        }
        let text: Arc<str> = Arc::from(value);
        let code = self.dictionary.len() as u32;
        self.dictionary.push(Arc::clone(&text));
        self.by_text.insert(text, code);
        code
    }

    fn truncate(&mut self, rows: usize) {
        self.doubles.truncate(rows);
        self.integers.truncate(rows);
        self.booleans.truncate(rows);
        self.codes.truncate(rows);
        self.present.truncate(rows);
    }

    fn finish(self, kind: Kind) -> Column {
        let values = match kind {
            Kind::Double => Values::Double(self.doubles.into()),
            Kind::Int64 | Kind::Timestamp => Values::Integer(self.integers.into()),
            Kind::Boolean => Values::Boolean(Bitmap::from_bits(self.booleans.into_iter())),
            Kind::Text => Values::Text { codes: self.codes.into(), dictionary: self.dictionary.into() },
        };
        let all = self.present.iter().all(|&present| present);
        Column { values, validity: (!all).then(|| Bitmap::from_bits(self.present.into_iter())) }
    }
}

/// The integer that a number is, if it is one that a double holds exactly.
#[must_use]
pub fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    (value.fract() == 0.0 && value.abs() < EXACT).then_some(value as i64)
}

/// The kind that holds all these cells; `None` when they are all null or do not go together.
pub fn infer_kind<'a>(cells: impl Iterator<Item = Cell<'a>>) -> Option<Kind> {
    let mut kind = None;
    for cell in cells {
        let this = match cell {
            Cell::Null => continue,
            Cell::Number(value) if whole(value).is_none() => Kind::Double,
            Cell::Number(_) | Cell::Integer(_) => Kind::Int64,
            Cell::Boolean(_) => Kind::Boolean,
            Cell::Text(_) => Kind::Text,
        };
        kind = match (kind, this) {
            (None, this) => Some(this),
            (Some(known), this) if known == this => Some(this),
            (Some(Kind::Double | Kind::Int64), Kind::Double | Kind::Int64) => Some(Kind::Double),
            _ => return None,
        };
    }
    kind
}

fn describe(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Number(value) => format!("number {value}"),
        Cell::Integer(value) => format!("integer {value}"),
        Cell::Boolean(value) => format!("boolean {value}"),
        Cell::Text(value) => format!("text {:?}", value.chars().take(32).collect::<String>()),
    }
}

#[cfg(test)]
#[path = "builder/tests.rs"]
mod tests;
