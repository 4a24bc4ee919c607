//! Files of records: CSV and NDJSON, plain or gzipped, with a schema given or inferred. It must not know the mesh.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Scale, Schema, builder::BatchBuilder};
use acgs_vocabulary::text::parse_rfc3339;
use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;

/// Rows that the kinds of columns are inferred from.
const INFER_ROWS: usize = 1_000;

/// Roles by column, as flags give them.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// Event time.
    pub timestamp: String,
    /// Names of the columns of each role.
    pub roles: Vec<(String, Role)>,
    /// Columns left out.
    pub ignored: Vec<String>,
}

/// A record: the text of each field; empty is null.
pub type Record = Vec<String>;

/// Records of a file, in its order.
pub struct Records {
    /// Names of the fields.
    pub names: Vec<String>,
    rows: Box<dyn Iterator<Item = anyhow::Result<Record>> + Send>,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Records").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Iterator for Records {
    type Item = anyhow::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

/// Opens a file by its ending: `.csv`, `.ndjson`, `.jsonl`, each perhaps with `.gz`.
///
/// # Errors
/// Naming the file and what is wrong.
pub fn open(path: &Path) -> anyhow::Result<Records> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
    let plain = shown.strip_suffix(".gz").unwrap_or(&shown);
    let reader: Box<dyn Read + Send> =
        if plain.len() < shown.len() { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    if plain.ends_with(".csv") {
        csv_records(reader).with_context(|| shown.clone())
    } else if plain.ends_with(".ndjson") || plain.ends_with(".jsonl") {
        json_records(reader).with_context(|| shown.clone())
    } else {
        bail!("{shown}: the name ends in neither .csv nor .ndjson nor .jsonl (each may be followed by .gz)")
    }
}

/// Records of CSV with a header line.
///
/// # Errors
/// When there is no header.
pub fn csv_records(reader: Box<dyn Read + Send>) -> anyhow::Result<Records> {
    let mut reader = csv::Reader::from_reader(reader);
    let names =
        reader.headers().context("the header line cannot be read")?.iter().map(str::to_owned).collect();
    let rows = reader.into_records().enumerate().map(|(row, record)| {
        let record = record.with_context(|| format!("line {}", row + 2))?;
        Ok(record.iter().map(str::to_owned).collect())
    });
    Ok(Records { names, rows: Box::new(rows) })
}

fn json_records(reader: Box<dyn Read + Send>) -> anyhow::Result<Records> {
    let mut lines = BufReader::new(reader).lines().enumerate();
    let (_, first) = lines.next().context("the file is empty")?;
    let first: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&first?).context("line 1 is not a JSON object")?;
    let names: Vec<String> = first.keys().cloned().collect();
    let fields = names.clone();
    let cell = |value: Option<&serde_json::Value>| match value {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let first_record: Record = names.iter().map(|name| cell(first.get(name))).collect();
    let rest = lines.filter(|(_, line)| !matches!(line, Ok(line) if line.trim().is_empty())).map(
        move |(row, line)| {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line?)
                .with_context(|| format!("line {} is not a JSON object", row + 1))?;
            if let Some(unknown) = object.keys().find(|name| !fields.contains(name)) {
                bail!("line {}: field {unknown:?} is not in the first line", row + 1);
            }
            Ok(fields.iter().map(|name| cell(object.get(name))).collect())
        },
    );
    Ok(Records { names, rows: Box::new(std::iter::once(Ok(first_record)).chain(rest)) })
}

/// The schema that holds the records: numbers are doubles, `true` and `false` booleans, all else text.
///
/// # Errors
/// When a named column is not there, or a role does not fit.
pub fn infer(names: &[String], sample: &[Record], columns: &Columns) -> anyhow::Result<Arc<Schema>> {
    let named =
        columns.roles.iter().map(|(name, _)| name).chain([&columns.timestamp]).chain(&columns.ignored);
    for name in named {
        if !names.contains(name) {
            bail!("there is no column {name:?}; the file has {}", names.join(", "));
        }
    }
    let mut fields = Vec::new();
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !columns.ignored.contains(name)) {
        if *name == columns.timestamp {
            fields.push(Field::new(name, Kind::Timestamp, Role::Timestamp));
            continue;
        }
        let role =
            columns.roles.iter().find(|(known, _)| known == name).map_or(Role::Feature, |(_, role)| *role);
        let present = || sample.iter().filter_map(|row| row.get(index)).filter(|text| !text.is_empty());
        let kind = match role {
            Role::Id | Role::Key if present().all(|text| text.parse::<i64>().is_ok()) => Kind::Int64,
            Role::Id | Role::Key => Kind::Text,
            Role::Score => Kind::Double,
            _ if present().all(|text| text.parse::<f64>().is_ok()) => Kind::Double,
            _ if present().all(|text| matches!(text.as_str(), "true" | "false")) => Kind::Boolean,
            _ => Kind::Text,
        };
        fields.push(Field::new(name, kind, role));
    }
    Ok(Arc::new(Schema::new(fields)?))
}

/// A field as a schema file says it.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    name: String,
    kind: KindText,
    #[serde(default)]
    role: RoleText,
    minimum: Option<f64>,
    maximum: Option<f64>,
    #[serde(default)]
    required: bool,
    positive: Option<String>,
    scale: Option<ScaleText>,
    class_name: Option<String>,
    quantile: Option<f64>,
    #[serde(default)]
    slice: bool,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaText {
    fields: Vec<FieldText>,
}

#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum ScaleText {
    Nominal,
    Numeric,
}

#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindText {
    Double,
    Int64,
    Boolean,
    String,
    Timestamp,
}

#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleText {
    None,
    #[default]
    Feature,
    Prediction,
    Score,
    Label,
    Id,
    Timestamp,
    Key,
    Latency,
    Error,
}

/// A schema from a JSON file.
///
/// # Errors
/// Naming the file and what is wrong in it.
pub fn read_schema(path: &Path) -> anyhow::Result<Arc<Schema>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let schema: SchemaText =
        serde_json::from_str(&text).with_context(|| format!("{shown} is not a schema"))?;
    let field = |field: FieldText| Field {
        name: field.name,
        kind: match field.kind {
            KindText::Double => Kind::Double,
            KindText::Int64 => Kind::Int64,
            KindText::Boolean => Kind::Boolean,
            KindText::String => Kind::Text,
            KindText::Timestamp => Kind::Timestamp,
        },
        role: match field.role {
            RoleText::None => Role::None,
            RoleText::Feature => Role::Feature,
            RoleText::Prediction => Role::Prediction,
            RoleText::Score => Role::Score,
            RoleText::Label => Role::Label,
            RoleText::Id => Role::Id,
            RoleText::Timestamp => Role::Timestamp,
            RoleText::Key => Role::Key,
            RoleText::Latency => Role::Latency,
            RoleText::Error => Role::Error,
        },
        minimum: field.minimum,
        maximum: field.maximum,
        required: field.required,
        positive: field.positive.map(Into::into),
        scale: field.scale.map(|scale| match scale {
            ScaleText::Nominal => Scale::Nominal,
            ScaleText::Numeric => Scale::Numeric,
        }),
        class: field.class_name.map(Into::into),
        quantile: field.quantile,
        slice: field.slice,
    };
    Ok(Arc::new(Schema::new(schema.fields.into_iter().map(field).collect())?))
}

/// Rows to look at before the rest, and the rest.
///
/// # Errors
/// When a row cannot be read.
pub fn sample(records: &mut Records) -> anyhow::Result<Vec<Record>> {
    records.take(INFER_ROWS).collect()
}

/// Turns records into batches of a schema.
#[derive(Debug)]
pub struct Batcher {
    schema: Arc<Schema>,
    places: Vec<usize>,
    builder: BatchBuilder,
    row: usize,
    bytes: usize,
}

/// Rows of one frame.
const FRAME_ROWS: usize = 1_024;
/// Bytes of one frame, about: wide rows make frames of fewer. A quarter of what a frame may have (gRPC's default for messages).
const FRAME_BYTES: usize = 1 << 20;

impl Batcher {
    /// For records with these names.
    ///
    /// # Errors
    /// When a field of the schema is not among them.
    pub fn new(schema: &Arc<Schema>, names: &[String]) -> anyhow::Result<Self> {
        let place = |field: &Field| {
            let place = names.iter().position(|name| *name == field.name);
            place.with_context(|| format!("there is no column {:?}", field.name))
        };
        let places = schema.fields().iter().map(place).collect::<anyhow::Result<_>>()?;
        let builder = BatchBuilder::new(Arc::clone(schema));
        Ok(Self { schema: Arc::clone(schema), places, builder, row: 0, bytes: 0 })
    }

    /// Rows in the making.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.builder.rows()
    }

    /// Whether they are enough for a frame.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows() >= FRAME_ROWS || self.bytes >= FRAME_BYTES
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Naming the record and the field.
    pub fn push(&mut self, record: &[String]) -> anyhow::Result<()> {
        self.row += 1;
        let mut cells = Vec::with_capacity(self.places.len());
        for (field, &place) in self.schema.fields().iter().zip(&self.places) {
            let text = record.get(place).map_or("", String::as_str);
            self.bytes += if field.kind == Kind::Text { 4 + text.len() } else { 8 };
            cells.push(cell(text, field.kind).with_context(|| {
                format!("record {}: {} is {text:?}, not {:?}", self.row, field.name, field.kind)
            })?);
        }
        self.builder.push(&cells).with_context(|| format!("record {}", self.row))
    }

    /// The batch.
    ///
    /// # Errors
    /// When there are no rows.
    pub fn finish(&mut self) -> anyhow::Result<RecordBatch> {
        self.bytes = 0;
        Ok(self.builder.finish()?)
    }
}

/// Reads a field's text; empty is null. Times are RFC 3339, or milliseconds since the epoch.
fn cell(text: &str, kind: Kind) -> Option<Cell<'_>> {
    if text.is_empty() {
        return Some(Cell::Null);
    }
    match kind {
        Kind::Double => text.parse().ok().map(Cell::Number),
        Kind::Int64 => text.parse().ok().map(Cell::Integer),
        Kind::Boolean => text.parse().ok().map(Cell::Boolean),
        Kind::Text => Some(Cell::Text(text)),
        Kind::Timestamp => text.parse().ok().or_else(|| parse_rfc3339(text)).map(Cell::Integer),
    }
}

#[cfg(test)]
mod tests {
    use acgs_columns::{Role, batch::ROWS_MAX};

    use super::*;

    #[test]
    fn wide_rows_make_small_frames() {
        for (columns, most) in [(1, FRAME_ROWS), (700, 200)] {
            let names: Vec<String> = (0..columns).map(|at| format!("x{at}")).collect();
            let fields =
                names.iter().map(|name| Field::new(name.as_str(), Kind::Double, Role::Feature)).collect();
            let mut batcher = Batcher::new(&Arc::new(Schema::new(fields).unwrap()), &names).unwrap();
            let record = vec!["1.5".to_owned(); columns];
            for _ in 0..2 {
                while !batcher.is_full() {
                    batcher.push(&record).unwrap();
                    assert!(batcher.rows() <= most.min(ROWS_MAX), "{columns} columns");
                }
                batcher.finish().unwrap();
            }
        }
    }
}
