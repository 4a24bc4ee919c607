//! Batches from and to the client's form, packed numbers.

use std::sync::Arc;

use acgs_columns::{
    Bitmap, Column, Field, Kind, RecordBatch, Schema, Values,
    batch::{BatchError, ROWS_MAX},
};
use acgs_contracts::common::v1 as proto;
use bytes::Bytes;

use crate::problem::Problem;

/// Most entries of one dictionary.
pub const DICTIONARY_MAX: usize = 65_536;
/// Longest entry of a dictionary, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// A batch of a schema from a message; the numbers are moved, not copied.
///
/// # Errors
/// `EMPTY_BATCH`, `TOO_MANY_ROWS`, `UNKNOWN_FIELD`, `WRONG_KIND`, `WRONG_LENGTH`, `BAD_VALIDITY`, `BAD_CODE` or
/// `BAD_DICTIONARY`, naming the field.
pub fn batch(message: proto::RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, Problem> {
    let rows = check_shape(message.row_count, message.columns.len(), schema)?;
    let columns = schema.fields().iter().zip(message.columns).map(|(field, column)| {
        let filled = [
            (!column.doubles.is_empty(), Kind::Double),
            (!column.integers.is_empty(), Kind::Int64),
            (!column.booleans.is_empty(), Kind::Boolean),
            (!column.codes.is_empty() || !column.dictionary.is_empty(), Kind::Text),
        ];
        check_filled(field, &filled)?;
        let values = match field.kind {
            Kind::Double => Values::Double(column.doubles.into()),
            Kind::Int64 | Kind::Timestamp => Values::Integer(column.integers.into()),
            Kind::Boolean => Values::Boolean(bits(field, &column.booleans, rows)?),
            Kind::Text => Values::Text {
                codes: column.codes.into(),
                dictionary: dictionary(field, &column.dictionary)?,
            },
        };
        Ok(Column { values, validity: validity(field, &column.validity, rows)? })
    });
    let columns = columns.collect::<Result<Vec<_>, Problem>>()?;
    RecordBatch::new(Arc::clone(schema), rows, columns).map_err(problem)
}

/// The message of a batch.
#[must_use]
pub fn to_proto(batch: &RecordBatch) -> proto::RecordBatch {
    let columns = batch.columns().iter().map(|column| {
        let mut message = proto::Column {
            validity: column.validity.as_ref().map_or_else(Bytes::new, |bits| bits.to_bytes().into()),
            ..proto::Column::default()
        };
        match &column.values {
            Values::Double(values) => message.doubles = values.to_vec(),
            Values::Integer(values) => message.integers = values.to_vec(),
            Values::Boolean(values) => message.booleans = values.to_bytes().into(),
            Values::Text { codes, dictionary } => {
                message.codes = codes.to_vec();
                message.dictionary = dictionary.iter().map(ToString::to_string).collect();
            }
        }
        message
    });
    proto::RecordBatch { row_count: batch.rows() as u32, columns: columns.collect() }
}

pub(super) fn check_shape(row_count: u32, columns: usize, schema: &Schema) -> Result<usize, Problem> {
    let rows = row_count as usize;
    if rows == 0 {
        return Err(Problem::field("row_count", "EMPTY_BATCH", "is 0; a batch has at least one row"));
    }
    if rows > ROWS_MAX {
        return Err(Problem::field("row_count", "TOO_MANY_ROWS", format!("is {rows}, at most {ROWS_MAX}")));
    }
    let fields = schema.fields().len();
    if columns != fields {
        let reason = if columns > fields { "UNKNOWN_FIELD" } else { "MISSING_FIELD" };
        return Err(Problem::field(
            "columns",
            reason,
            format!("{columns} columns for the {fields} fields of the schema"),
        ));
    }
    Ok(rows)
}

pub(super) fn check_filled(field: &Field, filled: &[(bool, Kind)]) -> Result<(), Problem> {
    let own = if field.kind == Kind::Timestamp { Kind::Int64 } else { field.kind };
    match filled.iter().find(|(is, kind)| *is && *kind != own) {
        Some((_, kind)) => {
            let message = format!("holds values of kind {kind:?}, the schema says {:?}", field.kind);
            Err(Problem::field(path(field), "WRONG_KIND", message))
        }
        None => Ok(()),
    }
}

pub(super) fn bits(field: &Field, bytes: &[u8], rows: usize) -> Result<Bitmap, Problem> {
    Bitmap::from_bytes(bytes, rows).ok_or_else(|| {
        let message = format!("booleans has {} bytes for {rows} rows", bytes.len());
        Problem::field(path(field), "WRONG_LENGTH", message)
    })
}

pub(super) fn validity(field: &Field, bytes: &[u8], rows: usize) -> Result<Option<Bitmap>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Bitmap::from_bytes(bytes, rows).map(Some).ok_or_else(|| {
        let message = format!("validity has {} bytes, {rows} rows need {}", bytes.len(), rows.div_ceil(8));
        Problem::field(path(field), "BAD_VALIDITY", message)
    })
}

pub(super) fn dictionary(field: &Field, entries: &[String]) -> Result<Arc<[Arc<str>]>, Problem> {
    let bad = |message: String| Problem::field(path(field), "BAD_DICTIONARY", message);
    if entries.len() > DICTIONARY_MAX {
        return Err(bad(format!("dictionary has {} entries, at most {DICTIONARY_MAX}", entries.len())));
    }
    if let Some(index) = entries.iter().position(|entry| entry.len() > TEXT_BYTES_MAX) {
        return Err(bad(format!("dictionary entry {index} is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(entries.iter().map(|entry| Arc::from(entry.as_str())).collect())
}

pub(super) fn path(field: &Field) -> String {
    format!("columns[{}]", field.name)
}

pub(super) fn problem(error: BatchError) -> Problem {
    let (field, reason) = match &error {
        BatchError::RowCount(_) => (None, "TOO_MANY_ROWS"),
        BatchError::ColumnCount { .. } => (None, "MISSING_FIELD"),
        BatchError::Kind(field) => (Some(field), "WRONG_KIND"),
        BatchError::Length { field, .. } => (Some(field), "WRONG_LENGTH"),
        BatchError::Validity(field) => (Some(field), "BAD_VALIDITY"),
        BatchError::Code { field, .. } => (Some(field), "BAD_CODE"),
    };
    let path = field.map_or_else(|| "columns".to_owned(), |field| format!("columns[{field}]"));
    Problem::field(path, reason, error)
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
