//! Tensors of the Open Inference Protocol as columns: each tensor has one value for each row. It must not know what a model
//! makes of them.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_contracts::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor,
};
use acgs_vocabulary::Problem;
use bytes::Bytes;

/// Rows of one request.
const ROWS_MAX: usize = 1_000_000;

fn bad(tensor: &InferInputTensor, message: impl Into<String>) -> Problem {
    Problem::field(format!("inputs[{}]", tensor.name), "BAD_TENSOR", message.into())
}

/// The values of one tensor.
#[derive(Debug)]
enum Tensor {
    Numbers(Vec<f64>),
    Integers(Vec<i64>),
    Booleans(Vec<bool>),
    Texts(Vec<String>),
}

impl Tensor {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Booleans(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Numbers(_) => Kind::Double,
            Self::Integers(_) => Kind::Int64,
            Self::Booleans(_) => Kind::Boolean,
            Self::Texts(_) => Kind::Text,
        }
    }

    /// What is not a number, and an empty text, is absent.
    fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Numbers(values) if values[row].is_finite() => Cell::Number(values[row]),
            Self::Numbers(_) => Cell::Null,
            Self::Integers(values) => Cell::Integer(values[row]),
            Self::Booleans(values) => Cell::Boolean(values[row]),
            Self::Texts(values) if values[row].is_empty() => Cell::Null,
            Self::Texts(values) => Cell::Text(&values[row]),
        }
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok())
}

/// Texts of a raw tensor: each behind its length in four bytes, little-endian.
fn raw_texts(tensor: &InferInputTensor, mut bytes: &[u8]) -> Result<Vec<String>, Problem> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let text = rest.get(..u32::from_le_bytes(*length) as usize);
        let text = text.ok_or_else(|| bad(tensor, "ends within a text"))?;
        texts.push(String::from_utf8(text.to_vec()).map_err(|_| bad(tensor, "is not UTF-8"))?);
        bytes = &rest[text.len()..];
    }
    Ok(texts)
}

fn from_raw(tensor: &InferInputTensor, bytes: &[u8]) -> Result<Tensor, Problem> {
    Ok(match tensor.datatype.as_str() {
        "FP64" => Tensor::Numbers(chunks(bytes).map(f64::from_le_bytes).collect()),
        "FP32" => Tensor::Numbers(chunks(bytes).map(|chunk| f64::from(f32::from_le_bytes(chunk))).collect()),
        "INT64" => Tensor::Integers(chunks(bytes).map(i64::from_le_bytes).collect()),
        "INT32" => {
            Tensor::Integers(chunks(bytes).map(|chunk| i64::from(i32::from_le_bytes(chunk))).collect())
        }
        "BOOL" => Tensor::Booleans(bytes.iter().map(|byte| *byte != 0).collect()),
        "BYTES" => Tensor::Texts(raw_texts(tensor, bytes)?),
        other => {
            return Err(bad(tensor, format!("{other:?} is not FP64, FP32, INT64, INT32, BOOL or BYTES")));
        }
    })
}

fn from_contents(tensor: &InferInputTensor) -> Result<Tensor, Problem> {
    let none = InferTensorContents::default();
    let contents = tensor.contents.as_ref().unwrap_or(&none);
    let text = |bytes: &Bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(bad(tensor, "is not UTF-8")),
    };
    Ok(match tensor.datatype.as_str() {
        "FP64" => Tensor::Numbers(contents.fp64_contents.clone()),
        "FP32" => Tensor::Numbers(contents.fp32_contents.iter().copied().map(f64::from).collect()),
        "INT64" => Tensor::Integers(contents.int64_contents.clone()),
        "INT32" => Tensor::Integers(contents.int_contents.iter().copied().map(i64::from).collect()),
        "BOOL" => Tensor::Booleans(contents.bool_contents.clone()),
        "BYTES" => Tensor::Texts(contents.bytes_contents.iter().map(text).collect::<Result<_, _>>()?),
        other => {
            return Err(bad(tensor, format!("{other:?} is not FP64, FP32, INT64, INT32, BOOL or BYTES")));
        }
    })
}

/// The tensors of a request, each with one value for each row.
#[derive(Debug)]
pub struct Tensors {
    fields: Vec<(String, Kind)>,
    values: Vec<Tensor>,
    rows: usize,
}

impl Tensors {
    /// Reads them.
    ///
    /// # Errors
    /// Naming the tensor.
    pub fn read(request: &ModelInferRequest) -> Result<Self, Problem> {
        let raw = &request.raw_input_contents;
        if !raw.is_empty() && raw.len() != request.inputs.len() {
            let message = format!("has {} tensors for {} inputs", raw.len(), request.inputs.len());
            return Err(Problem::field("raw_input_contents", "BAD_TENSOR", message));
        }
        let mut fields = Vec::with_capacity(request.inputs.len());
        let mut values = Vec::with_capacity(request.inputs.len());
        let mut rows = 0;
        for (place, tensor) in request.inputs.iter().enumerate() {
            let read = match raw.get(place) {
                Some(bytes) => from_raw(tensor, bytes)?,
                None => from_contents(tensor)?,
            };
            let wanted: i64 = tensor.shape.iter().fold(1_i64, |size, side| size.saturating_mul(*side));
            if usize::try_from(wanted) != Ok(read.len()) || read.len() > ROWS_MAX {
                let message = format!("has {} values for the shape {:?}", read.len(), tensor.shape);
                return Err(bad(tensor, message));
            }
            if place == 0 {
                rows = read.len();
            } else if read.len() != rows {
                return Err(bad(tensor, format!("has {} values, the first tensor {rows}", read.len())));
            }
            fields.push((tensor.name.clone(), read.kind()));
            values.push(read);
        }
        Ok(Self { fields, values, rows })
    }

    /// Names and kinds, in order.
    #[must_use]
    pub fn fields(&self) -> &[(String, Kind)] {
        &self.fields
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a row, in order.
    pub fn cells(&self, row: usize) -> impl Iterator<Item = Cell<'_>> {
        self.values.iter().map(move |values| values.cell(row))
    }

    /// As columns.
    ///
    /// # Errors
    /// When names are missing or twice, or there are no rows.
    pub fn batch(&self) -> Result<RecordBatch, Problem> {
        let wrong = |message: String| Problem::field("inputs", "BAD_TENSOR", message);
        let fields = self.fields.iter().map(|(name, kind)| Field::new(name, *kind, Role::Feature));
        let schema = Schema::new(fields.collect()).map_err(|error| wrong(error.to_string()))?;
        let mut builder = BatchBuilder::new(Arc::new(schema));
        let mut cells = Vec::with_capacity(self.values.len());
        for row in 0..self.rows {
            cells.clear();
            cells.extend(self.cells(row));
            builder.push(&cells).map_err(|error| wrong(error.to_string()))?;
        }
        builder.finish().map_err(|error| wrong(error.to_string()))
    }
}

/// One tensor of an answer as numbers; `None` when it is not there or holds none.
#[must_use]
pub fn numbers(answer: &ModelInferResponse, name: &str) -> Option<Vec<f64>> {
    let place = answer.outputs.iter().position(|output| output.name == name)?;
    let output = &answer.outputs[place];
    // An answer's tensor has the form of a request's.
    let tensor = InferInputTensor {
        name: output.name.clone(),
        datatype: output.datatype.clone(),
        shape: output.shape.clone(),
        contents: output.contents.clone(),
        ..InferInputTensor::default()
    };
    let values = match answer.raw_output_contents.get(place) {
        Some(bytes) => from_raw(&tensor, bytes),
        None => from_contents(&tensor),
    };
    match values.ok()? {
        Tensor::Numbers(values) => Some(values),
        Tensor::Integers(values) => Some(values.into_iter().map(|value| value as f64).collect()),
        Tensor::Booleans(values) => Some(values.into_iter().map(f64::from).collect()),
        Tensor::Texts(_) => None,
    }
}
