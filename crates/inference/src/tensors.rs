//! Tensors of the Open Inference Protocol as columns: the first side of a shape is the rows. It must not know what a model makes of them.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_contracts::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor,
};
use acgs_vocabulary::Problem;
use bytes::Bytes;

/// Values of one tensor.
const ROWS_MAX: usize = 1_000_000;
/// Columns of one tensor.
const WIDTH_MAX: usize = 256;
/// Datatypes that are read.
const KNOWN: [&str; 14] = [
    "FP64", "FP32", "FP16", "BF16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8",
    "BOOL", "BYTES",
];

fn bad(tensor: &InferInputTensor, message: impl Into<String>) -> Problem {
    Problem::field(format!("inputs[{}]", tensor.name), "BAD_TENSOR", message.into())
}

/// The values of one tensor.
#[derive(Debug)]
enum Values {
    Numbers(Vec<f64>),
    Integers(Vec<i64>),
    Booleans(Vec<bool>),
    Texts(Vec<String>),
}

impl Values {
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
    fn cell(&self, place: usize) -> Cell<'_> {
        match self {
            Self::Numbers(values) if values[place].is_finite() => Cell::Number(values[place]),
            Self::Numbers(_) => Cell::Null,
            Self::Integers(values) => Cell::Integer(values[place]),
            Self::Booleans(values) => Cell::Boolean(values[place]),
            Self::Texts(values) if values[place].is_empty() => Cell::Null,
            Self::Texts(values) => Cell::Text(&values[place]),
        }
    }
}

/// One tensor: so many values for each row.
#[derive(Debug)]
struct Tensor {
    values: Values,
    rows: usize,
    width: usize,
}

/// Values of so many bytes each.
fn chunks<const N: usize>(
    tensor: &InferInputTensor,
    bytes: &[u8],
) -> Result<impl Iterator<Item = [u8; N]>, Problem> {
    if !bytes.len().is_multiple_of(N) {
        let message = format!("has {} bytes, not a multiple of {N}", bytes.len());
        return Err(bad(tensor, message));
    }
    Ok(bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok()))
}

/// A number of half the precision (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1_024.0);
    sign * match exponent {
        0 => fraction * 2.0_f64.powi(-14),
        0x1f if fraction > 0.0 => f64::NAN,
        0x1f => f64::INFINITY,
        exponent => (1.0 + fraction) * 2.0_f64.powi(exponent - 15),
    }
}

/// An integer that has no sign, and may have one bit too many.
fn signed(tensor: &InferInputTensor, values: impl Iterator<Item = u64>) -> Result<Vec<i64>, Problem> {
    let signed = |value| i64::try_from(value).map_err(|_| bad(tensor, format!("has {value}, beyond Int64")));
    values.map(signed).collect()
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

fn unknown(tensor: &InferInputTensor) -> Problem {
    let message = format!("{:?} is none of {}", tensor.datatype, KNOWN.join(", "));
    bad(tensor, message)
}

fn from_raw(tensor: &InferInputTensor, bytes: &[u8]) -> Result<Values, Problem> {
    use Values::{Booleans, Integers, Numbers, Texts};
    Ok(match tensor.datatype.as_str() {
        "FP64" => Numbers(chunks(tensor, bytes)?.map(f64::from_le_bytes).collect()),
        "FP32" => Numbers(chunks(tensor, bytes)?.map(|one| f64::from(f32::from_le_bytes(one))).collect()),
        "FP16" => Numbers(chunks(tensor, bytes)?.map(|one| half(u16::from_le_bytes(one))).collect()),
        "BF16" => {
            let wide = |one| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(one)) << 16));
            Numbers(chunks(tensor, bytes)?.map(wide).collect())
        }
        "INT64" => Integers(chunks(tensor, bytes)?.map(i64::from_le_bytes).collect()),
        "INT32" => Integers(chunks(tensor, bytes)?.map(|one| i64::from(i32::from_le_bytes(one))).collect()),
        "INT16" => Integers(chunks(tensor, bytes)?.map(|one| i64::from(i16::from_le_bytes(one))).collect()),
        "INT8" => Integers(chunks(tensor, bytes)?.map(|one| i64::from(i8::from_le_bytes(one))).collect()),
        "UINT64" => Integers(signed(tensor, chunks(tensor, bytes)?.map(u64::from_le_bytes))?),
        "UINT32" => Integers(chunks(tensor, bytes)?.map(|one| i64::from(u32::from_le_bytes(one))).collect()),
        "UINT16" => Integers(chunks(tensor, bytes)?.map(|one| i64::from(u16::from_le_bytes(one))).collect()),
        "UINT8" => Integers(bytes.iter().map(|byte| i64::from(*byte)).collect()),
        "BOOL" => Booleans(bytes.iter().map(|byte| *byte != 0).collect()),
        "BYTES" => Texts(raw_texts(tensor, bytes)?),
        _ => return Err(unknown(tensor)),
    })
}

fn from_contents(tensor: &InferInputTensor) -> Result<Values, Problem> {
    use Values::{Booleans, Integers, Numbers, Texts};
    let none = InferTensorContents::default();
    let contents = tensor.contents.as_ref().unwrap_or(&none);
    let text = |bytes: &Bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(bad(tensor, "is not UTF-8")),
    };
    Ok(match tensor.datatype.as_str() {
        "FP64" => Numbers(contents.fp64_contents.clone()),
        "FP32" => Numbers(contents.fp32_contents.iter().copied().map(f64::from).collect()),
        "INT64" => Integers(contents.int64_contents.clone()),
        "INT32" | "INT16" | "INT8" => {
            Integers(contents.int_contents.iter().copied().map(i64::from).collect())
        }
        "UINT64" => Integers(signed(tensor, contents.uint64_contents.iter().copied())?),
        "UINT32" | "UINT16" | "UINT8" => {
            Integers(contents.uint_contents.iter().copied().map(i64::from).collect())
        }
        "BOOL" => Booleans(contents.bool_contents.clone()),
        "BYTES" => Texts(contents.bytes_contents.iter().map(text).collect::<Result<_, _>>()?),
        "FP16" | "BF16" => return Err(bad(tensor, "comes raw only, by the protocol")),
        _ => return Err(unknown(tensor)),
    })
}

/// A tensor with its shape: the first side is the rows, what is left of it the columns.
fn read(tensor: &InferInputTensor, raw: Option<&Bytes>) -> Result<Tensor, Problem> {
    let values = match raw {
        Some(bytes) => from_raw(tensor, bytes)?,
        None => from_contents(tensor)?,
    };
    let sides: Option<Vec<usize>> = tensor.shape.iter().map(|side| usize::try_from(*side).ok()).collect();
    let size = |sides: &[usize]| sides.iter().try_fold(1_usize, |size, side| size.checked_mul(*side));
    let known = sides.and_then(|sides| {
        let (rows, rest) = sides.split_first().map_or((1, &[][..]), |(rows, rest)| (*rows, rest));
        Some((rows, size(rest)?, size(&sides)?))
    });
    match known {
        Some((rows, width, all)) if all == values.len() && all <= ROWS_MAX && rows <= ROWS_MAX => {
            Ok(Tensor { values, rows, width })
        }
        _ => Err(bad(tensor, format!("has {} values for the shape {:?}", values.len(), tensor.shape))),
    }
}

/// The tensors of a request: each column of each has one value for each row.
#[derive(Debug)]
pub struct Tensors {
    fields: Vec<(String, Kind)>,
    tensors: Vec<Tensor>,
    rows: usize,
}

impl Tensors {
    /// Reads them. A tensor of several columns is as many fields: `name[0]`, `name[1]` and so on.
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
        let mut tensors: Vec<Tensor> = Vec::with_capacity(request.inputs.len());
        for (place, tensor) in request.inputs.iter().enumerate() {
            let found = read(tensor, raw.get(place))?;
            if let Some(first) = tensors.first().filter(|first| first.rows != found.rows) {
                let message = format!("has {} rows, the first tensor {}", found.rows, first.rows);
                return Err(bad(tensor, message));
            }
            if found.width > WIDTH_MAX {
                return Err(bad(tensor, format!("has {} columns, at most {WIDTH_MAX}", found.width)));
            }
            if found.width == 0 && found.rows > 0 {
                return Err(bad(tensor, "has no columns"));
            }
            let kind = found.values.kind();
            match found.width {
                1 => fields.push((tensor.name.clone(), kind)),
                width => fields.extend((0..width).map(|column| (format!("{}[{column}]", tensor.name), kind))),
            }
            tensors.push(found);
        }
        let rows = tensors.first().map_or(0, |first| first.rows);
        Ok(Self { fields, tensors, rows })
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
        let of = move |tensor| {
            let Tensor { values, width, .. }: &Tensor = tensor;
            (row * width..(row + 1) * width).map(|place| values.cell(place))
        };
        self.tensors.iter().flat_map(of)
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
        let mut cells = Vec::with_capacity(self.fields.len());
        for row in 0..self.rows {
            cells.clear();
            cells.extend(self.cells(row));
            builder.push(&cells).map_err(|error| wrong(error.to_string()))?;
        }
        builder.finish().map_err(|error| wrong(error.to_string()))
    }
}

/// One tensor of an answer as numbers, one for each row.
///
/// # Errors
/// What is wrong with it, for people.
pub fn numbers(answer: &ModelInferResponse, name: &str) -> Result<Vec<f64>, String> {
    let Some(place) = answer.outputs.iter().position(|output| output.name == name) else {
        let names: Vec<&str> = answer.outputs.iter().map(|output| output.name.as_str()).collect();
        return Err(format!("there is no output {name:?}; the answer has {names:?}"));
    };
    let output = &answer.outputs[place];
    // An answer's tensor has the form of a request's.
    let tensor = InferInputTensor {
        name: output.name.clone(),
        datatype: output.datatype.clone(),
        shape: output.shape.clone(),
        contents: output.contents.clone(),
        ..InferInputTensor::default()
    };
    let found =
        read(&tensor, answer.raw_output_contents.get(place)).map_err(|problem| problem.to_string())?;
    if found.width != 1 {
        return Err(format!("output {name:?} has the shape {:?}, not one value for each row", output.shape));
    }
    match found.values {
        Values::Numbers(values) => Ok(values),
        Values::Integers(values) => Ok(values.into_iter().map(|value| value as f64).collect()),
        Values::Booleans(values) => Ok(values.into_iter().map(f64::from).collect()),
        Values::Texts(_) => Err(format!("output {name:?} is of texts")),
    }
}

#[cfg(test)]
#[path = "tensors_tests.rs"]
mod tests;
