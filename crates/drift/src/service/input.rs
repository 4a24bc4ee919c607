//! The rows of a `Detect`: records or columns, of now and of what is normal, as batches of one schema. A part of the service.

use std::sync::Arc;

use acgs_columns::{RecordBatch, Schema};
use acgs_contracts::{common::v1 as common, drift::v1 as proto};
use acgs_vocabulary::{
    Problem,
    convert::{
        batch,
        rows::{self, NamedRoles},
        schema,
    },
    text,
};
use prost_types::{Struct, value};

/// Rows of one schema.
pub(super) struct Input {
    pub(super) schema: Arc<Schema>,
    /// Empty where a stored reference says what is normal.
    pub(super) then: Vec<RecordBatch>,
    pub(super) now: Vec<RecordBatch>,
}

/// Whether the request says by itself what is normal.
pub(super) fn has_reference(request: &proto::DetectRequest) -> bool {
    !request.reference_data.is_empty() || request.reference_batch.is_some()
}

/// The rows of a request; its batches are taken out of it. Without `stored` it has to say what is normal.
///
/// # Errors
/// The first thing that is wrong, naming the field.
pub(super) fn input(request: &mut proto::DetectRequest, stored: bool) -> Result<Input, Problem> {
    let (then, now) = (request.reference_batch.take(), request.current_batch.take());
    for (batch, records, path) in [
        (&then, request.reference_data.len(), "reference_batch"),
        (&now, request.current_data.len(), "current_batch"),
    ] {
        if batch.is_some() && records > 0 {
            return Err(Problem::field(path, "MIXED_SAMPLES", "is given beside records: give one of them"));
        }
        if batch.is_some() && request.schema.is_none() {
            return Err(Problem::field("schema", "MISSING", format!("is needed with `{path}`")));
        }
    }
    let schema = match &request.schema {
        Some(fields) => schema::schema(fields).map_err(|problem| problem.within("schema"))?,
        None => infer(request, stored)?,
    };
    let columns = |message: common::RecordBatch, path| {
        Ok::<_, Problem>(vec![batch::batch(message, &schema).map_err(|problem| problem.within(path))?])
    };
    let then = match then {
        _ if stored => Vec::new(),
        Some(message) => columns(message, "reference_batch")?,
        None => rows::batches(&request.reference_data, &schema, "reference_data")?,
    };
    let now = match now {
        Some(message) => columns(message, "current_batch")?,
        None => rows::batches(&request.current_data, &schema, "current_data")?,
    };
    Ok(Input { schema, then, now })
}

/// The event time where nothing says which it is.
const TIMESTAMP: &str = "timestamp";
/// Milliseconds since the epoch from which a number is a time: March 1973.
const TIME_MS_MIN: f64 = 1e11;

/// The field that is the event time: the one that is named, or `timestamp` where every value of it is a time.
pub(super) fn named<'a>(named: Option<&'a str>, data: impl Iterator<Item = &'a Struct>) -> NamedRoles<'a> {
    let mut data = data.peekable();
    let is_time = |row: &Struct| match row.fields.get(TIMESTAMP).and_then(|value| value.kind.as_ref()) {
        Some(value::Kind::StringValue(text)) => text::parse_rfc3339(text).is_some(),
        Some(value::Kind::NumberValue(number)) => *number >= TIME_MS_MIN,
        _ => false,
    };
    let timestamp = named.or_else(|| (data.peek().is_some() && data.all(is_time)).then_some(TIMESTAMP));
    NamedRoles { timestamp, target: None }
}

fn infer(request: &proto::DetectRequest, stored: bool) -> Result<Arc<Schema>, Problem> {
    let timestamp = request.timestamp_column.as_deref();
    let named = named(timestamp, request.reference_data.iter().chain(&request.current_data));
    let of_now = rows::infer(&request.current_data, named, "current_data")?;
    if stored {
        return Ok(of_now);
    }
    if request.reference_data.is_empty() {
        return Err(Problem::field("reference_data", "EMPTY_DATA", "holds no records; or give `reference`"));
    }
    let both: Vec<_> = request.reference_data.iter().chain(&request.current_data).cloned().collect();
    rows::infer(&both, named, "reference_data+current_data")
}
