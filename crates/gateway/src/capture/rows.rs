//! Calls as rows: tensors become fields, by the names that the policy gives meanings to. It must not know streams.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_contracts::{
    inference::{ModelInferRequest, ModelInferResponse},
    lifecycle::v1::Capture,
};
use acgs_inference::{
    framing,
    tensors::{self, Tensors},
};
use acgs_vocabulary::CALL_FIELD;
use bytes::Bytes;
use prost::Message;
use tonic::Code;

use super::Exchange;
use crate::body::joined;

const TIME: &str = "acgs_time_ms";
const ID: &str = "acgs_id";
const LATENCY: &str = "acgs_latency_ms";
const ERROR: &str = "acgs_error";

/// Fields of a version's records.
pub(super) type Shape = Arc<Schema>;

/// A call that can be a record.
pub(super) struct Call {
    inputs: Tensors,
    id: String,
    scores: Option<Vec<f64>>,
}

/// A compressed message is not unpacked here.
fn message(pieces: &[Bytes]) -> Option<Bytes> {
    framing::message(joined(pieces))
}

impl Call {
    /// `None` when it is no call of one value for each row.
    pub(super) fn read(exchange: &Exchange) -> Option<Self> {
        let request = ModelInferRequest::decode(message(&exchange.request)?).ok()?;
        let inputs = Tensors::read(&request).ok().filter(|inputs| inputs.rows() > 0)?;
        let spec = &exchange.captured.spec;
        let scores = match (&exchange.answer, exchange.code) {
            (Some(pieces), Code::Ok) => {
                let answer = ModelInferResponse::decode(message(pieces)?).ok()?;
                Some(tensors::numbers(&answer, &spec.score).filter(|scores| scores.len() == inputs.rows())?)
            }
            _ => None,
        };
        Some(Self { inputs, id: request.id, scores })
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

    /// The fields of its records; `None` when a tensor cannot be what the policy says it is.
    pub(super) fn shape(&self, spec: &Capture) -> Option<Shape> {
        shape(self.inputs.fields(), spec)
    }
}

/// Fields that are not tensors: score, latency, error and call, and time and id where no tensor has them.
fn ours(spec: &Capture) -> usize {
    4 + usize::from(spec.timestamp.is_empty()) + usize::from(spec.id.is_empty())
}

fn shape(inputs: &[(String, Kind)], spec: &Capture) -> Option<Shape> {
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
            return None;
        }
        fields.push(Field::new(name, kind, role));
    }
    let has = |role: Role| fields.iter().any(|field: &Field| field.role == role);
    let (timed, named) = (has(Role::Timestamp), has(Role::Id));
    if (!spec.timestamp.is_empty() && !timed) || (!spec.id.is_empty() && !named) {
        return None;
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
    Schema::new(fields).ok().map(Arc::new)
}

/// Rows of one schema.
pub(super) struct Rows {
    builder: BatchBuilder,
    shape: Shape,
    calls: u64,
}

impl Rows {
    pub(super) fn new(shape: Shape) -> Self {
        Self { builder: BatchBuilder::new(Arc::clone(&shape)), shape, calls: 0 }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn push(&mut self, call: Call, exchange: &Exchange) -> Option<()> {
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
            self.builder.push(&cells).ok()?;
        }
        self.calls += 1;
        Some(())
    }

    pub(super) fn finish(mut self) -> Option<RecordBatch> {
        self.builder.finish().ok()
    }
}
