//! How columns become numbers: learned once from the records that are trained on, then the same for every record that is
//! scored. It must not know how the numbers are weighed.

use std::collections::BTreeMap;

use acgs_columns::{Column, Kind, RecordBatch, Role, Schema, Values};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// Values of a text column that have a weight of their own; rarer ones share one.
pub const VALUES_MAX: usize = 64;
/// A number this many deviations away counts as this far.
const CLIP: f64 = 8.0;

/// One column, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Feature {
    /// (value - mean) / deviation; an absent one is the mean, and said so where there were any.
    Number {
        /// The column.
        name: String,
        /// Of the values that were there.
        mean: f64,
        /// Of the values that were there; 1 for a constant.
        deviation: f64,
        /// Whether absence has a weight.
        absence: bool,
    },
    /// One number for each known value.
    Text {
        /// The column.
        name: String,
        /// In order of the weights.
        values: Vec<String>,
    },
    /// Sine and cosine of the hour of the day in UTC, for each harmonic.
    HourOfDay {
        /// The column of event times.
        name: String,
        /// 1 is once a day, 2 adds twice a day.
        harmonics: u32,
    },
    /// One number for each day of the week in UTC, Monday first.
    DayOfWeek {
        /// The column of event times.
        name: String,
    },
}

impl Feature {
    /// How many numbers it becomes.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Number { absence, .. } => 1 + usize::from(*absence),
            Self::Text { values, .. } => values.len(),
            Self::HourOfDay { harmonics, .. } => 2 * *harmonics as usize,
            Self::DayOfWeek { .. } => 7,
        }
    }

    /// The column that it is of.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Number { name, .. }
            | Self::Text { name, .. }
            | Self::HourOfDay { name, .. }
            | Self::DayOfWeek { name } => name,
        }
    }

    /// Writes the numbers of a row; a column that is not there is absent.
    fn write(&self, column: Option<&Column>, row: usize, out: &mut [f64]) {
        out.fill(0.0);
        match self {
            Self::Number { mean, deviation, absence, .. } => {
                match column.and_then(|column| column.number(row)).filter(|value| value.is_finite()) {
                    Some(value) => out[0] = ((value - mean) / deviation).clamp(-CLIP, CLIP),
                    None if *absence => out[1] = 1.0,
                    None => {}
                }
            }
            Self::Text { values, .. } => {
                let value = column.and_then(|column| column.text(row)).map_or("", |text| &**text);
                if let Some(place) = values.iter().position(|known| known == value) {
                    out[place] = 1.0;
                }
            }
            Self::HourOfDay { .. } => {
                let Some(time_ms) = column.and_then(|column| column.integer(row)) else { return };
                let turn = time_ms.rem_euclid(86_400_000) as f64 / 86_400_000.0 * std::f64::consts::TAU;
                for (harmonic, pair) in out.chunks_exact_mut(2).enumerate() {
                    let angle = turn * (harmonic + 1) as f64;
                    (pair[0], pair[1]) = (angle.sin(), angle.cos());
                }
            }
            Self::DayOfWeek { .. } => {
                let Some(time_ms) = column.and_then(|column| column.integer(row)) else { return };
                if let Ok(time) = Timestamp::from_millisecond(time_ms) {
                    let day = time.to_zoned(TimeZone::UTC).weekday().to_monday_zero_offset();
                    out[day as usize] = 1.0;
                }
            }
        }
    }
}

/// Learns how each feature of the schema becomes numbers; `harmonics` of the hour and the weekday when there are event times.
#[must_use]
pub fn learn(schema: &Schema, batches: &[RecordBatch], harmonics: u32) -> Vec<Feature> {
    let mut features = Vec::new();
    for (place, field) in schema.fields().iter().enumerate() {
        let columns = || batches.iter().map(|batch| (&batch.columns()[place], batch.rows()));
        match (field.role, field.kind) {
            (Role::Feature, Kind::Text) => features.push(text(&field.name, columns())),
            (Role::Feature, _) => features.push(number(&field.name, columns())),
            (Role::Timestamp, _) if harmonics > 0 => {
                features.push(Feature::HourOfDay { name: field.name.clone(), harmonics });
                features.push(Feature::DayOfWeek { name: field.name.clone() });
            }
            _ => {}
        }
    }
    features
}

fn number<'a>(name: &str, columns: impl Iterator<Item = (&'a Column, usize)>) -> Feature {
    let (mut count, mut mean, mut squares, mut absent) = (0.0, 0.0, 0.0, false);
    for (column, rows) in columns {
        for row in 0..rows {
            match column.number(row).filter(|value| value.is_finite()) {
                Some(value) => {
                    count += 1.0;
                    let before = value - mean;
                    mean += before / count;
                    squares += before * (value - mean);
                }
                None => absent = true,
            }
        }
    }
    let deviation = if count > 1.0 { (squares / count).sqrt() } else { 0.0 };
    let deviation = if deviation > 1e-12 { deviation } else { 1.0 };
    Feature::Number { name: name.to_owned(), mean, deviation, absence: absent }
}

fn text<'a>(name: &str, columns: impl Iterator<Item = (&'a Column, usize)>) -> Feature {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (column, rows) in columns {
        if !matches!(column.values, Values::Text { .. }) {
            continue;
        }
        for row in 0..rows {
            *counts.entry(column.text(row).map_or("", |text| &**text)).or_default() += 1;
        }
    }
    let mut values: Vec<(&str, usize)> = counts.into_iter().collect();
    values.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    values.truncate(VALUES_MAX);
    let mut values: Vec<String> = values.into_iter().map(|(value, _)| value.to_owned()).collect();
    values.sort_unstable();
    Feature::Text { name: name.to_owned(), values }
}

/// The numbers of every row, row after row.
#[must_use]
pub fn matrix(features: &[Feature], batches: &[RecordBatch]) -> (usize, Vec<f64>) {
    let width: usize = features.iter().map(Feature::width).sum();
    let rows: usize = batches.iter().map(RecordBatch::rows).sum();
    let mut numbers = vec![0.0; rows * width];
    let mut at = 0;
    for batch in batches {
        let columns: Vec<Option<&Column>> = features
            .iter()
            .map(|feature| batch.schema().index_of(feature.name()).map(|place| &batch.columns()[place]))
            .collect();
        for row in 0..batch.rows() {
            for (feature, column) in features.iter().zip(&columns) {
                let width = feature.width();
                feature.write(*column, row, &mut numbers[at..at + width]);
                at += width;
            }
        }
    }
    (width, numbers)
}
