//! Batches from and to the lane's form: the same bytes on the wire as the client's, with numbers left as bytes.

use std::sync::Arc;

use acgs_columns::{Column, Field, Kind, RecordBatch, Schema, Values};
use acgs_contracts::lane::v1 as proto;
use bytes::Bytes;

use super::batch::{bits, check_filled, check_shape, dictionary, path, problem, validity};
use crate::problem::Problem;

/// A batch of a schema from a lane message.
///
/// # Errors
/// Those of [`super::batch::batch`].
pub fn batch(message: &proto::LaneBatch, schema: &Arc<Schema>) -> Result<RecordBatch, Problem> {
    let rows = check_shape(message.row_count, message.columns.len(), schema)?;
    let columns = schema.fields().iter().zip(&message.columns).map(|(field, column)| {
        let filled = [
            (!column.doubles.is_empty(), Kind::Double),
            (!column.integers.is_empty(), Kind::Int64),
            (!column.booleans.is_empty(), Kind::Boolean),
            (!column.codes.is_empty() || !column.dictionary.is_empty(), Kind::Text),
        ];
        check_filled(field, &filled)?;
        let values = match field.kind {
            Kind::Double => Values::Double(numbers(field, &column.doubles, rows, f64::from_le_bytes)?.into()),
            Kind::Int64 | Kind::Timestamp => {
                Values::Integer(numbers(field, &column.integers, rows, i64::from_le_bytes)?.into())
            }
            Kind::Boolean => Values::Boolean(bits(field, &column.booleans, rows)?),
            Kind::Text => Values::Text {
                codes: numbers(field, &column.codes, rows, u32::from_le_bytes)?.into(),
                dictionary: dictionary(field, &column.dictionary)?,
            },
        };
        Ok(Column { values, validity: validity(field, &column.validity, rows)? })
    });
    let columns = columns.collect::<Result<Vec<_>, Problem>>()?;
    RecordBatch::new(Arc::clone(schema), rows, columns).map_err(problem)
}

/// The lane message of a batch.
#[must_use]
pub fn to_proto(batch: &RecordBatch) -> proto::LaneBatch {
    let columns = batch.columns().iter().map(|column| {
        let mut message = proto::LaneColumn {
            validity: column.validity.as_ref().map_or_else(Bytes::new, |bits| bits.to_bytes().into()),
            ..proto::LaneColumn::default()
        };
        match &column.values {
            Values::Double(values) => message.doubles = bytes_of(values, |value| value.to_le_bytes()),
            Values::Integer(values) => message.integers = bytes_of(values, |value| value.to_le_bytes()),
            Values::Boolean(values) => message.booleans = values.to_bytes().into(),
            Values::Text { codes, dictionary } => {
                message.codes = bytes_of(codes, |value| value.to_le_bytes());
                message.dictionary = dictionary.iter().map(ToString::to_string).collect();
            }
        }
        message
    });
    proto::LaneBatch { row_count: batch.rows() as u32, columns: columns.collect() }
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], encode: impl Fn(T) -> [u8; N]) -> Bytes {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for &value in values {
        bytes.extend_from_slice(&encode(value));
    }
    bytes.into()
}

/// One number for each row. A sender that splits the field or does not pack it leaves the wrong number of bytes.
fn numbers<T, const N: usize>(
    field: &Field,
    bytes: &[u8],
    rows: usize,
    decode: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, Problem> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    if chunks.len() != rows || !rest.is_empty() {
        let message = format!("has {} bytes, {rows} rows packed in one piece need {}", bytes.len(), rows * N);
        return Err(Problem::field(path(field), "WRONG_LENGTH", message));
    }
    Ok(chunks.iter().map(|chunk| decode(*chunk)).collect())
}
