//! Batches of columns as Arrow arrays, and back. It must not know files.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{
    Cell, Column, Field, Kind, RecordBatch, Role, Scale, Schema, Values, builder::BatchBuilder,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray,
    cast::AsArray,
    types::{Float64Type, Int64Type, TimestampMillisecondType},
};
use arrow_schema::{DataType, TimeUnit};

use crate::error::Error;

const KIND: &str = "acgs.kind";
const ROLE: &str = "acgs.role";
const SCALE: &str = "acgs.scale";
const POSITIVE: &str = "acgs.positive";
const CLASS: &str = "acgs.class";
const QUANTILE: &str = "acgs.quantile";
const SLICE: &str = "acgs.slice";
/// All times are UTC.
const ZONE: &str = "UTC";

const KINDS: [(Kind, &str); 5] = [
    (Kind::Double, "double"),
    (Kind::Int64, "int64"),
    (Kind::Boolean, "boolean"),
    (Kind::Text, "string"),
    (Kind::Timestamp, "timestamp"),
];
const ROLES: [(Role, &str); 10] = [
    (Role::None, "none"),
    (Role::Feature, "feature"),
    (Role::Prediction, "prediction"),
    (Role::Score, "score"),
    (Role::Label, "label"),
    (Role::Id, "id"),
    (Role::Timestamp, "timestamp"),
    (Role::Key, "key"),
    (Role::Latency, "latency"),
    (Role::Error, "error"),
];

const SCALES: [(Scale, &str); 2] = [(Scale::Nominal, "nominal"), (Scale::Numeric, "numeric")];

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Double => DataType::Float64,
        Kind::Int64 => DataType::Int64,
        Kind::Boolean => DataType::Boolean,
        Kind::Text => DataType::Utf8,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some(ZONE.into())),
    }
}

fn word<T: PartialEq>(known: &[(T, &'static str)], value: &T) -> String {
    known.iter().find(|(known, _)| known == value).map_or("", |(_, word)| word).to_owned()
}

/// A schema with kinds and roles as metadata.
#[must_use]
pub fn schema_to_arrow(schema: &Schema) -> Arc<arrow_schema::Schema> {
    let fields = schema.fields().iter().map(|field| {
        let mut metadata = HashMap::from([
            (KIND.to_owned(), word(&KINDS, &field.kind)),
            (ROLE.to_owned(), word(&ROLES, &field.role)),
        ]);
        metadata.extend(field.scale.map(|scale| (SCALE.to_owned(), word(&SCALES, &scale))));
        metadata.extend(field.positive.as_ref().map(|positive| (POSITIVE.to_owned(), positive.to_string())));
        metadata.extend(field.class.as_ref().map(|class| (CLASS.to_owned(), class.to_string())));
        metadata.extend(field.slice.then(|| (SLICE.to_owned(), String::new())));
        metadata.extend(field.quantile.map(|quantile| (QUANTILE.to_owned(), quantile.to_string())));
        arrow_schema::Field::new(&field.name, data_type(field.kind), true).with_metadata(metadata)
    });
    Arc::new(arrow_schema::Schema::new(fields.collect::<Vec<_>>()))
}

/// A schema as it was; what others wrote has kinds by its types, and no roles.
///
/// # Errors
/// When a type has no kind.
pub fn schema_from_arrow(schema: &arrow_schema::Schema) -> Result<Arc<Schema>, Error> {
    let fields = schema.fields().iter().map(|field| {
        let kind = KINDS.iter().map(|(kind, _)| *kind).find(|kind| data_type(*kind) == *field.data_type());
        let kind = kind.ok_or_else(|| Error::Unreadable(format!("{} has no kind of ours", field.name())))?;
        let role = field.metadata().get(ROLE);
        let role = role.and_then(|word| ROLES.iter().find(|(_, known)| known == word));
        let scale = field.metadata().get(SCALE);
        let scale = scale.and_then(|word| SCALES.iter().find(|(_, known)| known == word));
        Ok(Field {
            scale: scale.map(|(scale, _)| *scale),
            positive: field.metadata().get(POSITIVE).map(|positive| positive.as_str().into()),
            class: field.metadata().get(CLASS).map(|class| class.as_str().into()),
            slice: field.metadata().contains_key(SLICE),
            quantile: field.metadata().get(QUANTILE).and_then(|quantile| quantile.parse().ok()),
            ..Field::new(field.name(), kind, role.map_or(Role::None, |(role, _)| *role))
        })
    });
    let fields = fields.collect::<Result<Vec<_>, Error>>()?;
    Schema::new(fields).map(Arc::new).map_err(|error| Error::Unreadable(error.to_string()))
}

fn array(kind: Kind, column: &Column, rows: usize) -> ArrayRef {
    let valid = |row: &usize| column.is_valid(*row);
    match &column.values {
        Values::Double(values) => {
            Arc::new((0..rows).map(|row| valid(&row).then(|| values[row])).collect::<Float64Array>())
        }
        Values::Integer(values) => {
            let values = (0..rows).map(|row| valid(&row).then(|| values[row]));
            if kind == Kind::Timestamp {
                Arc::new(values.collect::<TimestampMillisecondArray>().with_timezone(ZONE))
            } else {
                Arc::new(values.collect::<Int64Array>())
            }
        }
        Values::Boolean(values) => {
            Arc::new((0..rows).map(|row| valid(&row).then(|| values.get(row))).collect::<BooleanArray>())
        }
        Values::Text { codes, dictionary } => {
            let text = |row: usize| valid(&row).then(|| &*dictionary[codes[row] as usize]);
            Arc::new((0..rows).map(text).collect::<StringArray>())
        }
    }
}

/// A batch as arrays.
///
/// # Errors
/// Never for a batch that fits its schema.
pub fn batch_to_arrow(
    schema: &Arc<arrow_schema::Schema>,
    batch: &RecordBatch,
) -> Result<arrow_array::RecordBatch, Error> {
    let fields = batch.schema().fields().iter().zip(batch.columns());
    let arrays = fields.map(|(field, column)| array(field.kind, column, batch.rows())).collect();
    Ok(arrow_array::RecordBatch::try_new(Arc::clone(schema), arrays)?)
}

fn cell(kind: Kind, array: &ArrayRef, row: usize) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Null;
    }
    match kind {
        Kind::Double => Cell::Number(array.as_primitive::<Float64Type>().value(row)),
        Kind::Int64 => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        Kind::Timestamp => Cell::Integer(array.as_primitive::<TimestampMillisecondType>().value(row)),
        Kind::Boolean => Cell::Boolean(array.as_boolean().value(row)),
        Kind::Text => Cell::Text(array.as_string::<i32>().value(row)),
    }
}

/// Arrays as a batch of the schema.
///
/// # Errors
/// When they have more rows than a batch may, or do not fit.
pub fn batch_from_arrow(
    schema: &Arc<Schema>,
    arrays: &arrow_array::RecordBatch,
) -> Result<RecordBatch, Error> {
    let unreadable = |error: &dyn std::fmt::Display| Error::Unreadable(error.to_string());
    let mut builder = BatchBuilder::new(Arc::clone(schema));
    let mut cells = Vec::with_capacity(schema.fields().len());
    for row in 0..arrays.num_rows() {
        cells.clear();
        let fields = schema.fields().iter().zip(arrays.columns());
        cells.extend(fields.map(|(field, array)| cell(field.kind, array, row)));
        builder.push(&cells).map_err(|error| unreadable(&error))?;
    }
    builder.finish().map_err(|error| unreadable(&error))
}
