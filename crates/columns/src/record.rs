//! A record's id, and values that outlive their batch. It must not know what is done with them.

use std::sync::Arc;

use crate::{
    batch::{Column, Values},
    cell::Cell,
};

/// What names a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordId {
    /// Of an integer field.
    Integer(i64),
    /// Of a text field.
    Text(Arc<str>),
}

impl RecordId {
    /// Bytes that it holds beside itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Integer(_) => 0,
            Self::Text(text) => text.len() + 16,
        }
    }
}

/// A value without its batch.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedCell {
    /// Absent.
    Null,
    /// A double.
    Number(f64),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// Text.
    Text(Arc<str>),
}

impl OwnedCell {
    /// The value of a row.
    #[must_use]
    pub fn of(column: &Column, row: usize) -> Self {
        if !column.is_valid(row) {
            return Self::Null;
        }
        match &column.values {
            Values::Double(values) => Self::Number(values[row]),
            Values::Integer(values) => Self::Integer(values[row]),
            Values::Boolean(bits) => Self::Boolean(bits.get(row)),
            Values::Text { codes, dictionary } => Self::Text(Arc::clone(&dictionary[codes[row] as usize])),
        }
    }

    /// Borrowed.
    #[must_use]
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Number(value) => Cell::Number(*value),
            Self::Integer(value) => Cell::Integer(*value),
            Self::Boolean(value) => Cell::Boolean(*value),
            Self::Text(value) => Cell::Text(value),
        }
    }
}

impl RecordId {
    /// The id of a row, if it has one.
    #[must_use]
    pub fn of(column: &Column, row: usize) -> Option<Self> {
        column
            .integer(row)
            .map(Self::Integer)
            .or_else(|| column.text(row).map(|text| Self::Text(Arc::clone(text))))
    }
}
