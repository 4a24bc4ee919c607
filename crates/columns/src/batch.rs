//! A batch: one column for each field of a schema, all of one length. It must not know what a role means.

use std::{any::Any, fmt, sync::Arc};

use crate::{
    buffer::{Bitmap, Buffer},
    cell::Cell,
    schema::{Kind, Schema},
};

/// Most rows of one batch.
pub const ROWS_MAX: usize = 65_536;

/// The values of a column; a null's slot holds any value.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Kind `Double`.
    Double(Buffer<f64>),
    /// Kinds `Int64` and `Timestamp`.
    Integer(Buffer<i64>),
    /// Kind `Boolean`.
    Boolean(Bitmap),
    /// Kind `Text`: indices into distinct values.
    Text {
        /// One for each row.
        codes: Buffer<u32>,
        /// Distinct values.
        dictionary: Arc<[Arc<str>]>,
    },
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The values.
    pub values: Values,
    /// 1 = present; `None` = all are.
    pub validity: Option<Bitmap>,
}

/// Why columns make no batch.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BatchError {
    /// No rows, or too many.
    #[error("a batch has 1 to {ROWS_MAX} rows, this one {0}")]
    RowCount(usize),
    /// Not one column for each field.
    #[error("{columns} columns for {fields} fields")]
    ColumnCount {
        /// Columns given.
        columns: usize,
        /// Fields of the schema.
        fields: usize,
    },
    /// Values of another kind.
    #[error("values of field {0:?} are not of its kind")]
    Kind(String),
    /// Values of another length.
    #[error("field {field:?} has {values} values for {rows} rows")]
    Length {
        /// The field.
        field: String,
        /// Values given.
        values: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// Validity of another length.
    #[error("validity of field {0:?} does not have one bit for each row")]
    Validity(String),
    /// A code without an entry.
    #[error("field {field:?} has code {code} for a dictionary of {entries}")]
    Code {
        /// The field.
        field: String,
        /// The code.
        code: u32,
        /// Entries of the dictionary.
        entries: usize,
    },
}

/// What is kept with each column, for as long as any part of it is; empty for nothing.
#[derive(Clone, Default)]
struct Kept(Arc<[Arc<dyn Any + Send + Sync>]>);

impl PartialEq for Kept {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} kept", self.0.len())
    }
}

/// Records by column.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordBatch {
    schema: Arc<Schema>,
    rows: usize,
    columns: Vec<Column>,
    kept: Kept,
}

impl Column {
    /// Whether the row is present.
    #[must_use]
    pub fn is_valid(&self, row: usize) -> bool {
        self.validity.as_ref().is_none_or(|validity| validity.get(row))
    }

    /// Rows that are null.
    #[must_use]
    pub fn null_count(&self) -> usize {
        self.validity.as_ref().map_or(0, |validity| validity.len() - validity.count_ones())
    }

    /// The number of a row, for kinds that are numbers or booleans; `None` for nulls and text.
    #[must_use]
    pub fn number(&self, row: usize) -> Option<f64> {
        if !self.is_valid(row) {
            return None;
        }
        match &self.values {
            Values::Double(values) => Some(values[row]),
            #[expect(clippy::cast_precision_loss, reason = "judged as a double, as documented")]
            Values::Integer(values) => Some(values[row] as f64),
            Values::Boolean(values) => Some(f64::from(u8::from(values.get(row)))),
            Values::Text { .. } => None,
        }
    }

    /// The text of a row; `None` for nulls and other kinds.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<&Arc<str>> {
        match &self.values {
            Values::Text { codes, dictionary } if self.is_valid(row) => {
                Some(&dictionary[codes[row] as usize])
            }
            _ => None,
        }
    }

    /// Where a row's text is in the dictionary; `None` for nulls and other kinds.
    #[must_use]
    pub fn code(&self, row: usize) -> Option<u32> {
        match &self.values {
            Values::Text { codes, .. } if self.is_valid(row) => Some(codes[row]),
            _ => None,
        }
    }

    /// The integer of a row, for kinds `Int64` and `Timestamp`; `None` for nulls and other kinds.
    #[must_use]
    pub fn integer(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::Integer(values) if self.is_valid(row) => Some(values[row]),
            _ => None,
        }
    }

    /// The value of a row, whatever its kind.
    #[must_use]
    pub fn cell(&self, row: usize) -> Cell<'_> {
        if !self.is_valid(row) {
            return Cell::Null;
        }
        match &self.values {
            Values::Double(values) => Cell::Number(values[row]),
            Values::Integer(values) => Cell::Integer(values[row]),
            Values::Boolean(bits) => Cell::Boolean(bits.get(row)),
            Values::Text { codes, dictionary } => Cell::Text(&dictionary[codes[row] as usize]),
        }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::Double(values) => values.len(),
            Values::Integer(values) => values.len(),
            Values::Boolean(values) => values.len(),
            Values::Text { codes, .. } => codes.len(),
        }
    }

    fn size_bytes(&self) -> usize {
        match &self.values {
            Values::Double(values) => values.len() * 8,
            Values::Integer(values) => values.len() * 8,
            Values::Text { codes, .. } => codes.len() * 4,
            Values::Boolean(values) => values.len().div_ceil(8),
        }
    }

    fn heap_bytes(&self) -> usize {
        let dictionary = match &self.values {
            Values::Text { dictionary, .. } => dictionary.iter().map(|entry| entry.len() + 32).sum(),
            _ => 0,
        };
        self.size_bytes() + dictionary
    }

    fn is_of(&self, kind: Kind) -> bool {
        matches!(
            (&self.values, kind),
            (Values::Double(_), Kind::Double)
                | (Values::Integer(_), Kind::Int64 | Kind::Timestamp)
                | (Values::Boolean(_), Kind::Boolean)
                | (Values::Text { .. }, Kind::Text)
        )
    }

    fn slice(&self, start: usize, length: usize) -> Self {
        let values = match &self.values {
            Values::Double(values) => Values::Double(values.slice(start, length)),
            Values::Integer(values) => Values::Integer(values.slice(start, length)),
            Values::Boolean(values) => Values::Boolean(values.slice(start, length)),
            Values::Text { codes, dictionary } => {
                Values::Text { codes: codes.slice(start, length), dictionary: Arc::clone(dictionary) }
            }
        };
        Self { values, validity: self.validity.as_ref().map(|validity| validity.slice(start, length)) }
    }

    fn take(&self, rows: &[u32]) -> Self {
        let values = match &self.values {
            Values::Double(values) => Values::Double(values.take(rows)),
            Values::Integer(values) => Values::Integer(values.take(rows)),
            Values::Boolean(values) => Values::Boolean(values.take(rows)),
            Values::Text { codes, dictionary } => {
                Values::Text { codes: codes.take(rows), dictionary: Arc::clone(dictionary) }
            }
        };
        Self { values, validity: self.validity.as_ref().map(|validity| validity.take(rows)) }
    }
}

impl RecordBatch {
    /// Checks the columns against the schema.
    ///
    /// # Errors
    /// The first rule that the columns break, naming the field.
    pub fn new(schema: Arc<Schema>, rows: usize, columns: Vec<Column>) -> Result<Self, BatchError> {
        if rows == 0 || rows > ROWS_MAX {
            return Err(BatchError::RowCount(rows));
        }
        let fields = schema.fields();
        if fields.len() != columns.len() {
            return Err(BatchError::ColumnCount { columns: columns.len(), fields: fields.len() });
        }
        for (field, column) in fields.iter().zip(&columns) {
            if !column.is_of(field.kind) {
                return Err(BatchError::Kind(field.name.clone()));
            }
            if column.len() != rows {
                return Err(BatchError::Length { field: field.name.clone(), values: column.len(), rows });
            }
            if column.validity.as_ref().is_some_and(|validity| validity.len() != rows) {
                return Err(BatchError::Validity(field.name.clone()));
            }
            if let Values::Text { codes, dictionary } = &column.values
                && let Some(&code) = codes.iter().find(|&&code| code as usize >= dictionary.len())
            {
                let entries = dictionary.len();
                return Err(BatchError::Code { field: field.name.clone(), code, entries });
            }
        }
        Ok(Self { schema, rows, columns, kept: Kept::default() })
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Rows, at least 1.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns in the schema's order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// `length` rows from `start`, sharing the storage.
    ///
    /// # Panics
    /// When the slice is empty or does not lie inside.
    #[must_use]
    pub fn slice(&self, start: usize, length: usize) -> Self {
        assert!(length > 0 && start + length <= self.rows, "slice inside the batch");
        if length == self.rows {
            return self.clone();
        }
        let columns = self.columns.iter().map(|column| column.slice(start, length)).collect();
        Self { schema: Arc::clone(&self.schema), rows: length, columns, kept: self.kept.clone() }
    }

    /// The rows at these places, in this order, copied.
    ///
    /// # Panics
    /// When there are none or one does not lie inside.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        assert!(!rows.is_empty(), "at least one row");
        let columns = self.columns.iter().map(|column| column.take(rows)).collect();
        Self { schema: Arc::clone(&self.schema), rows: rows.len(), columns, kept: self.kept.clone() }
    }

    /// Keeps something with each column until the last part of it is gone: slices, rows taken, the column in another batch. It is asked for
    /// with the bytes that the column takes, its dictionary included.
    ///
    /// # Errors
    /// The first of `keep`.
    pub fn keeping<T: Any + Send + Sync, E>(
        mut self,
        mut keep: impl FnMut(usize) -> Result<T, E>,
    ) -> Result<Self, E> {
        let of = |column: &Column| {
            let kept: Arc<dyn Any + Send + Sync> = Arc::new(keep(column.heap_bytes())?);
            Ok(kept)
        };
        self.kept = Kept(self.columns.iter().map(of).collect::<Result<_, E>>()?);
        Ok(self)
    }

    /// Keeps what another keeps with those of its columns that are in this one, by their places in it.
    #[must_use]
    pub fn keeping_with(mut self, other: &Self, places: impl Iterator<Item = usize>) -> Self {
        self.kept = Kept(places.filter_map(|place| other.kept.0.get(place).cloned()).collect());
        self
    }

    /// Bytes that it takes, dictionaries included.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.columns.iter().map(Column::heap_bytes).sum()
    }

    /// Bytes that the values take, without shared dictionaries: what credits count.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.columns.iter().map(Column::size_bytes).sum()
    }
}

#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;
