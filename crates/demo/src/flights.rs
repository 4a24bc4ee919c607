//! The year of flights that ships with the binary: rows as the model saw them, and labels when the flights landed.
//! It must not know what the judges make of them. Origin and licence: examples/data/README.md.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_vocabulary::text::parse_rfc3339;
use anyhow::Context;
use flate2::read::MultiGzDecoder;

use acgs_console::input::csv_records;

pub(crate) const DATA: &[u8] = include_bytes!("../../../examples/data/flights_lga_2013.csv.gz");
/// The reference is what was before this: January and February.
pub(crate) const REFERENCE_END: &str = "2013-03-01T00:00:00Z";
/// Numeric inputs of the model.
pub(crate) const NUMERIC: [&str; 8] =
    ["distance", "temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"];
const OUTCOMES: [&str; 3] = ["dep_delay", "arr_delay", "air_time"];

/// One flight.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    /// Its number in the file.
    pub(crate) id: i64,
    /// Scheduled departure.
    pub(crate) time_ms: i64,
    /// When it landed, and so when the truth is known; `None` when it was cancelled.
    pub(crate) landed_ms: Option<i64>,
    /// Who flies.
    pub(crate) carrier: String,
    /// What the model knows besides, as `NUMERIC` names it.
    pub(crate) numbers: [Option<f64>; NUMERIC.len()],
    /// The model's probability of landing late.
    pub(crate) score: Option<f64>,
    outcomes: [Option<f64>; OUTCOMES.len()],
    /// Whether it landed late; `None` when it was cancelled.
    pub(crate) late: Option<bool>,
}

/// All flights in order of departure.
pub(crate) fn load() -> anyhow::Result<Vec<Flight>> {
    let records = csv_records(Box::new(MultiGzDecoder::new(DATA)))?;
    let names = records.names.clone();
    let place =
        |name: &str| names.iter().position(|known| known == name).with_context(|| format!("column {name}"));
    let numeric: Vec<usize> = NUMERIC.iter().map(|name| place(name)).collect::<anyhow::Result<_>>()?;
    let outcome: Vec<usize> = OUTCOMES.iter().map(|name| place(name)).collect::<anyhow::Result<_>>()?;
    let (ts, carrier, score, late) = (place("ts")?, place("carrier")?, place("p_late")?, place("late")?);
    let mut flights = Vec::with_capacity(105_000);
    for (id, record) in records.enumerate() {
        let record = record?;
        let number = |place: usize| record.get(place).and_then(|text| text.parse::<f64>().ok());
        let time_ms = parse_rfc3339(&record[ts]).with_context(|| format!("time of record {id}"))?;
        let outcomes = [number(outcome[0]), number(outcome[1]), number(outcome[2])];
        let late = number(late).map(|late| late != 0.0);
        // In the air, and late at the gate: minutes.
        let until_landed = outcomes[0].zip(outcomes[2]).map(|(delay, in_air)| (delay + in_air) * 60_000.0);
        flights.push(Flight {
            id: id as i64,
            time_ms,
            landed_ms: late.and(until_landed).map(|after_ms| time_ms + after_ms as i64),
            carrier: record[carrier].clone(),
            numbers: std::array::from_fn(|index| number(numeric[index])),
            score: number(score),
            outcomes,
            late,
        });
    }
    flights.sort_by_key(|flight| flight.time_ms);
    Ok(flights)
}

/// The score as the file names it.
pub(crate) const SHIPPED_SCORE: &str = "p_late";
/// The score as the Open Inference Protocol's servers here name it.
pub(crate) const SERVED_SCORE: &str = "score";

/// What the model knew at departure, and its score by that name.
pub(crate) fn row_schema(score: &str) -> anyhow::Result<Arc<Schema>> {
    let mut fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("id", Kind::Int64, Role::Id),
        Field::new("carrier", Kind::Text, Role::Feature),
    ];
    fields.extend(NUMERIC.iter().map(|name| Field::new(*name, Kind::Double, Role::Feature)));
    fields.push(Field::new(score, Kind::Double, Role::Score));
    Ok(Arc::new(Schema::new(fields)?))
}

/// What is known when the flight has landed.
pub(crate) fn label_schema() -> anyhow::Result<Arc<Schema>> {
    let mut fields =
        vec![Field::new("id", Kind::Int64, Role::Id), Field::new("late", Kind::Boolean, Role::Label)];
    fields.extend(OUTCOMES.iter().map(|name| Field::new(*name, Kind::Double, Role::None)));
    Ok(Arc::new(Schema::new(fields)?))
}

/// Only whether the flight was late.
pub(crate) fn truth_schema() -> anyhow::Result<Arc<Schema>> {
    let fields = label_schema()?.fields().iter().filter(|field| field.role != Role::None).cloned().collect();
    Ok(Arc::new(Schema::new(fields)?))
}

/// Rows with their labels, as a reference has them.
pub(crate) fn reference_schema(score: &str) -> anyhow::Result<Arc<Schema>> {
    let mut fields = row_schema(score)?.fields().to_vec();
    fields.push(Field::new("late", Kind::Boolean, Role::Label));
    Ok(Arc::new(Schema::new(fields)?))
}

/// A batch of flights in one of the three schemas.
pub(crate) fn batch<'a>(
    schema: &Arc<Schema>,
    flights: impl Iterator<Item = &'a Flight>,
) -> anyhow::Result<RecordBatch> {
    let mut builder = BatchBuilder::new(Arc::clone(schema));
    for flight in flights {
        let number = |value: Option<f64>| value.map_or(Cell::Null, Cell::Number);
        let cell = |field: &'a str| match field {
            "ts" => Cell::Integer(flight.time_ms),
            "id" => Cell::Integer(flight.id),
            "carrier" => Cell::Text(&flight.carrier),
            SHIPPED_SCORE | SERVED_SCORE => number(flight.score),
            "late" => flight.late.map_or(Cell::Null, Cell::Boolean),
            name => match NUMERIC.iter().position(|known| *known == name) {
                Some(index) => number(flight.numbers[index]),
                None => number(
                    OUTCOMES.iter().position(|known| *known == name).and_then(|index| flight.outcomes[index]),
                ),
            },
        };
        let names: Vec<&'static str> = schema.fields().iter().map(|field| known_name(&field.name)).collect();
        let cells: Vec<Cell<'_>> = names.into_iter().map(cell).collect();
        builder.push(&cells)?;
    }
    Ok(builder.finish()?)
}

/// The name as we wrote it, so that cells may outlive the schema's borrow.
fn known_name(name: &str) -> &'static str {
    let all = ["ts", "id", "carrier", SHIPPED_SCORE, SERVED_SCORE, "late"]
        .into_iter()
        .chain(NUMERIC)
        .chain(OUTCOMES);
    all.into_iter().find(|known| *known == name).unwrap_or("")
}
