//! Calls as rows: tensors become fields, by the names that the policy gives meanings to. It must not know streams.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, batch::ROWS_MAX, builder::BatchBuilder};
use acgs_contracts::{
    inference::{ModelInferRequest, ModelInferResponse},
    lifecycle::v1::Capture,
};
use acgs_inference::{
    framing,
    tensors::{self, Tensors},
};
use acgs_vocabulary::{CALL_FIELD, convert::batch::TEXT_BYTES_MAX};
use bytes::Bytes;
use prost::Message;
use tonic::Code;

use super::Exchange;
use crate::{
    body::joined,
    losses::{Dropped, Reason},
};

const TIME: &str = "acgs_time_ms";
const ID: &str = "acgs_id";
const LATENCY: &str = "acgs_latency_ms";
const ERROR: &str = "acgs_error";

/// Bytes of a message once it is unpacked.
const UNPACKED_BYTES_MAX: usize = 16 << 20;
/// Bytes of an id that is made, beside the caller's.
const ID_BYTES: usize = 32;
/// Bytes of a frame of several calls.
const FRAME_BYTES: usize = 1 << 20;
/// Rows of a frame.
const FRAME_ROWS_MAX: usize = ROWS_MAX;

/// Fields of a version's records.
pub(super) type Shape = Arc<Schema>;

/// A call that can be a record.
pub(super) struct Call {
    inputs: Tensors,
    id: String,
    scores: Option<Vec<f64>>,
}

/// A message that came in pieces, unpacked.
fn message(pieces: &[Bytes], encoding: Option<&str>) -> Result<Bytes, Dropped> {
    let unpacked = framing::unpacked(joined(pieces), encoding, UNPACKED_BYTES_MAX);
    unpacked.map_err(|error| Dropped::new(Reason::Encoding, error))
}

impl Call {
    /// # Errors
    /// When it is no call of one value for each row, or holds what no record may.
    pub(super) fn read(exchange: &Exchange) -> Result<Self, Dropped> {
        let captured = &exchange.captured;
        let request = message(&exchange.request, captured.encoding.as_deref())?;
        let request = ModelInferRequest::decode(request)
            .map_err(|error| Dropped::new(Reason::NotInference, format!("the request: {error}")))?;
        let inputs = Tensors::read(&request).map_err(|problem| Dropped::new(Reason::Tensor, problem))?;
        if inputs.rows() == 0 {
            return Err(Dropped::new(Reason::Tensor, "the request has no rows"));
        }
        let texts = (0..inputs.rows()).flat_map(|row| inputs.cells(row));
        let longest = texts.map(|cell| if let Cell::Text(text) = cell { text.len() } else { 0 }).max();
        let made = if captured.spec.id.is_empty() { request.id.len() + ID_BYTES } else { 0 };
        let longest = longest.unwrap_or(0).max(made);
        if longest > TEXT_BYTES_MAX {
            let told = format!("a text has {longest} bytes, at most {TEXT_BYTES_MAX}");
            return Err(Dropped::new(Reason::TextTooLong, told));
        }
        let scores = match (&exchange.answer, exchange.code) {
            (Some(pieces), Code::Ok) => {
                let answer = message(pieces, captured.answer_encoding.as_deref())?;
                let answer = ModelInferResponse::decode(answer)
                    .map_err(|error| Dropped::new(Reason::NotInference, format!("the answer: {error}")))?;
                let scores = tensors::numbers(&answer, &captured.spec.score)
                    .map_err(|told| Dropped::new(Reason::Score, told))?;
                if scores.len() != inputs.rows() {
                    let told = format!("{} scores for {} rows", scores.len(), inputs.rows());
                    return Err(Dropped::new(Reason::Score, told));
                }
                Some(scores)
            }
            _ => None,
        };
        Ok(Self { inputs, id: request.id, scores })
    }

    /// Bytes of its columns, about.
    fn bytes(&self) -> usize {
        self.inputs.rows().saturating_mul(8 * (self.inputs.fields().len() + 6))
    }

    /// Whether its tensors are those of a shape that was made under the same policy.
    pub(super) fn fits(&self, shape: &Schema, spec: &Capture) -> bool {
        let (found, known) = (self.inputs.fields(), shape.fields());
        let alike = |((name, kind), field): (&(String, Kind), &Field)| {
            let same = *kind == field.kind || field.role == Role::Timestamp && *kind == Kind::Int64;
            same && *name == field.name
        };
        known.len() == found.len() + ours(spec) && found.iter().zip(known).all(alike)
    }

    /// # Errors
    /// When a tensor cannot be what the policy says it is.
    pub(super) fn shape(&self, spec: &Capture) -> Result<Shape, Dropped> {
        shape(self.inputs.fields(), spec)
    }
}

/// Fields that are not tensors: score, latency, error and call, and time and id where no tensor has them.
fn ours(spec: &Capture) -> usize {
    4 + usize::from(spec.timestamp.is_empty()) + usize::from(spec.id.is_empty())
}

fn shape(inputs: &[(String, Kind)], spec: &Capture) -> Result<Shape, Dropped> {
    let wrong = |told: String| Err(Dropped::new(Reason::Meaning, told));
    let mut fields = Vec::new();
    for (name, found) in inputs {
        let (kind, role) = match name.as_str() {
            name if name == spec.timestamp => (Kind::Timestamp, Role::Timestamp),
            name if name == spec.id => (*found, Role::Id),
            _ => (*found, Role::Feature),
        };
        let fits = match role {
            Role::Timestamp => *found == Kind::Int64,
            Role::Id => matches!(found, Kind::Int64 | Kind::Text),
            _ => true,
        };
        if !fits {
            return wrong(format!("tensor {name:?} is of kind {found:?}, and cannot be the {role:?}"));
        }
        fields.push(Field::new(name, kind, role));
    }
    let has = |role: Role| fields.iter().any(|field: &Field| field.role == role);
    let (timed, named) = (has(Role::Timestamp), has(Role::Id));
    for (wanted, there) in [(&spec.timestamp, timed), (&spec.id, named)] {
        if !wanted.is_empty() && !there {
            let names: Vec<&String> = inputs.iter().map(|(name, _)| name).collect();
            return wrong(format!("there is no input {wanted:?}; the request has {names:?}"));
        }
    }
    if !timed {
        fields.push(Field::new(TIME, Kind::Timestamp, Role::Timestamp));
    }
    if !named {
        fields.push(Field::new(ID, Kind::Text, Role::Id));
    }
    fields.push(Field::new(&spec.score, Kind::Double, Role::Score));
    fields.push(Field::new(LATENCY, Kind::Double, Role::Latency));
    fields.push(Field::new(ERROR, Kind::Boolean, Role::Error));
    fields.push(Field::new(CALL_FIELD, Kind::Int64, Role::None));
    Schema::new(fields).map(Arc::new).or_else(|error| wrong(error.to_string()))
}

/// Rows of one schema.
pub(super) struct Rows {
    builder: BatchBuilder,
    shape: Shape,
    calls: u64,
    rows: usize,
    bytes: usize,
}

impl Rows {
    pub(super) fn new(shape: Shape) -> Self {
        Self { builder: BatchBuilder::new(Arc::clone(&shape)), shape, calls: 0, rows: 0, bytes: 0 }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether a call goes into the same frame.
    pub(super) fn has_room_for(&self, call: &Call) -> bool {
        let rows = self.rows + call.inputs.rows();
        self.rows == 0 || rows <= FRAME_ROWS_MAX && self.bytes + call.bytes() <= FRAME_BYTES
    }

    /// # Errors
    /// When a row of it cannot be; it has left none then.
    pub(super) fn push(&mut self, call: &Call, exchange: &Exchange) -> Result<(), Dropped> {
        if call.inputs.rows() > FRAME_ROWS_MAX {
            let told = format!("a call has {} rows, at most {FRAME_ROWS_MAX}", call.inputs.rows());
            return Err(Dropped::new(Reason::TooLarge, told));
        }
        let failed = exchange.code != Code::Ok;
        let timed = exchange.code == Code::Ok;
        for row in 0..call.inputs.rows() {
            let id = match exchange.captured.spec.id.is_empty() {
                true => format!("{}-{:016x}-{row}", call.id, exchange.number),
                false => String::new(),
            };
            let score = call.scores.as_ref().map(|scores| scores[row]).filter(|score| score.is_finite());
            let mut cells: Vec<Cell<'_>> = Vec::with_capacity(self.shape.fields().len());
            cells.extend(call.inputs.cells(row));
            for field in &self.shape.fields()[cells.len()..] {
                cells.push(match field.role {
                    Role::Timestamp => Cell::Integer(exchange.captured.received_ms),
                    Role::Id => Cell::Text(&id),
                    Role::Score => score.map_or(Cell::Null, Cell::Number),
                    // A call that is refused is over at once, and that is not fast.
                    Role::Latency if timed => Cell::Number(exchange.latency_ms),
                    Role::Latency => Cell::Null,
                    Role::Error => Cell::Boolean(failed),
                    _ => Cell::Integer(exchange.number),
                });
            }
            let size = |cell: &Cell<'_>| if let Cell::Text(text) = cell { text.len() + 36 } else { 8 };
            self.bytes += cells.iter().map(size).sum::<usize>();
            self.builder.push(&cells).map_err(|error| Dropped::new(Reason::Meaning, error))?;
        }
        self.rows += call.inputs.rows();
        self.calls += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Option<RecordBatch> {
        self.builder.finish().ok()
    }
}
