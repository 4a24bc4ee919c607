//! Records by row, as grpcurl and REST send them, into batches; kinds are inferred where no schema says them.

use std::sync::Arc;

use acgs_columns::{
    Cell, Field, Kind, RecordBatch, Role, Schema,
    batch::ROWS_MAX,
    builder::{BatchBuilder, infer_kind},
    schema::FIELDS_MAX,
};
use prost_types::{Struct, Value, value};

use crate::{problem::Problem, text};

/// Most rows of one call.
pub const CALL_ROWS_MAX: usize = 100_000;

/// Most cells of one call: rows times fields, nulls too.
pub const CALL_CELLS_MAX: usize = 8_000_000;

/// Columns that a call names.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamedRoles<'a> {
    /// The label.
    pub target: Option<&'a str>,
    /// The event time.
    pub timestamp: Option<&'a str>,
}

/// Batches of at most 65,536 rows from records; `path` names the request's field in problems.
///
/// # Errors
/// `EMPTY_DATA`, `TOO_MANY_ROWS`, `UNKNOWN_FIELD`, `WRONG_KIND` or `BAD_SCHEMA`, naming the field.
pub fn batches(rows: &[Struct], schema: &Arc<Schema>, path: &str) -> Result<Vec<RecordBatch>, Problem> {
    check_count(rows, path)?;
    let fields = schema.fields().len();
    if rows.len().saturating_mul(fields) > CALL_CELLS_MAX {
        let message =
            format!("{} records of {fields} fields are more than {CALL_CELLS_MAX} cells", rows.len());
        return Err(Problem::field(path, "TOO_MANY_ROWS", message));
    }
    let mut done = Vec::new();
    let mut builder = BatchBuilder::new(Arc::clone(schema));
    for (index, row) in rows.iter().enumerate() {
        if let Some(unknown) = row.fields.keys().find(|name| schema.index_of(name).is_none()) {
            let place = format!("{path}[{index}].{unknown}");
            return Err(Problem::field(place, "UNKNOWN_FIELD", "is not a field of the schema"));
        }
        let mut cells = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let cell = row.fields.get(&field.name).map_or(Ok(Cell::Null), |value| cell(value, field.kind));
            cells.push(cell.map_err(|found| {
                let message = format!("is {found}, not {:?}", field.kind);
                Problem::field(format!("{path}[{index}].{}", field.name), "WRONG_KIND", message)
            })?);
        }
        builder.push(&cells).map_err(|error| {
            Problem::field(format!("{path}[{index}].{}", error.field), "WRONG_KIND", error)
        })?;
        if builder.rows() == ROWS_MAX {
            done.push(builder.finish().map_err(super::batch::problem)?);
        }
    }
    if builder.rows() > 0 {
        done.push(builder.finish().map_err(super::batch::problem)?);
    }
    Ok(done)
}

/// A schema that holds the records: fields by name, features unless the call names them otherwise.
///
/// # Errors
/// `EMPTY_DATA`, `TOO_MANY_ROWS`, `WRONG_KIND` or `BAD_SCHEMA`, naming the field.
pub fn infer(rows: &[Struct], roles: NamedRoles<'_>, path: &str) -> Result<Arc<Schema>, Problem> {
    check_count(rows, path)?;
    let names: std::collections::BTreeSet<&str> =
        rows.iter().flat_map(|row| row.fields.keys().map(String::as_str)).collect();
    if names.len() > FIELDS_MAX {
        let message = format!("the records have {} fields, at most {FIELDS_MAX}", names.len());
        return Err(Problem::field(path, "BAD_SCHEMA", message));
    }
    for (name, parameter) in [(roles.target, "target_column"), (roles.timestamp, "timestamp_column")] {
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            return Err(Problem::field(parameter, "UNKNOWN_FIELD", format!("{name:?} is in no record")));
        }
    }
    let mut fields = Vec::with_capacity(names.len());
    for name in names {
        let role = match name {
            name if roles.target == Some(name) => Role::Label,
            name if roles.timestamp == Some(name) => Role::Timestamp,
            _ => Role::Feature,
        };
        if role == Role::Timestamp {
            fields.push(Field::new(name, Kind::Timestamp, role));
            continue;
        }
        let cells = rows.iter().filter_map(|row| row.fields.get(name)).map(plain_cell);
        let cells: Vec<Cell<'_>> = cells.collect::<Result<_, _>>().map_err(|found| {
            Problem::field(format!("{path}[].{name}"), "WRONG_KIND", format!("is {found}, not a plain value"))
        })?;
        let all_null = cells.iter().all(|cell| *cell == Cell::Null);
        let kind = match infer_kind(cells.into_iter()) {
            // JSON has one kind of number: whole ones may be features that merely look so.
            Some(Kind::Int64) => Kind::Double,
            Some(kind) => kind,
            None if all_null => Kind::Double,
            None => {
                let message = "holds values of several kinds";
                return Err(Problem::field(format!("{path}[].{name}"), "WRONG_KIND", message));
            }
        };
        fields.push(Field::new(name, kind, role));
    }
    Schema::new(fields).map(Arc::new).map_err(|error| Problem::field(path, "BAD_SCHEMA", error))
}

fn check_count(rows: &[Struct], path: &str) -> Result<(), Problem> {
    if rows.is_empty() {
        return Err(Problem::field(path, "EMPTY_DATA", "holds no records"));
    }
    if rows.len() > CALL_ROWS_MAX {
        let message = format!("holds {} records, at most {CALL_ROWS_MAX} in one call", rows.len());
        return Err(Problem::field(path, "TOO_MANY_ROWS", message));
    }
    Ok(())
}

fn plain_cell(value: &Value) -> Result<Cell<'_>, &'static str> {
    match &value.kind {
        None | Some(value::Kind::NullValue(_)) => Ok(Cell::Null),
        Some(value::Kind::NumberValue(number)) => Ok(Cell::Number(*number)),
        Some(value::Kind::BoolValue(boolean)) => Ok(Cell::Boolean(*boolean)),
        Some(value::Kind::StringValue(text)) => Ok(Cell::Text(text)),
        Some(value::Kind::StructValue(_)) => Err("an object"),
        Some(value::Kind::ListValue(_)) => Err("a list"),
    }
}

fn cell(value: &Value, kind: Kind) -> Result<Cell<'_>, String> {
    match (plain_cell(value)?, kind) {
        (Cell::Text(text), Kind::Timestamp) => {
            text::parse_rfc3339(text).map(Cell::Integer).ok_or_else(|| format!("text {text:?}"))
        }
        (Cell::Text(text), Kind::Text) if text.len() > super::batch::TEXT_BYTES_MAX => {
            Err(format!("text of {} bytes, at most {}", text.len(), super::batch::TEXT_BYTES_MAX))
        }
        (cell, _) => Ok(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, Value)]) -> Struct {
        Struct { fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect() }
    }

    #[test]
    fn records_become_batches_and_problems_name_the_place() {
        let rows = vec![
            record(&[("a", Value::from(1.0)), ("t", Value::from("2013-01-01T00:00Z".to_owned()))]),
            record(&[("b", Value::from("x".to_owned())), ("t", Value::from(5.0))]),
        ];
        let roles = NamedRoles { timestamp: Some("t"), target: None };
        let schema = infer(&rows, roles, "data").unwrap();
        let batch = &batches(&rows, &schema, "data").unwrap()[0];
        assert_eq!(batch.rows(), 2);
        let times = &batch.columns()[schema.index_of("t").unwrap()];
        assert_eq!((times.integer(0), times.integer(1)), (Some(1_356_998_400_000), Some(5)));
        let path = |problem: Problem| problem.field_path().unwrap().to_owned();
        assert_eq!(path(infer(&[], NamedRoles::default(), "data").unwrap_err()), "data");
        let missing = NamedRoles { target: Some("zzz"), timestamp: None };
        assert_eq!(path(infer(&rows, missing, "data").unwrap_err()), "target_column");
        let mixed = vec![record(&[("a", Value::from(1.0))]), record(&[("a", Value::from(true))])];
        assert_eq!(path(infer(&mixed, NamedRoles::default(), "data").unwrap_err()), "data[].a");
        let bad = vec![record(&[("t", Value::from("soon".to_owned()))])];
        assert_eq!(path(batches(&bad, &schema, "data").unwrap_err()), "data[0].t");
        let unknown = vec![record(&[("q", Value::from(1.0))])];
        assert_eq!(path(batches(&unknown, &schema, "data").unwrap_err()), "data[0].q");
    }
}
