//! How much of a reference's cells and rows was not sound, and between which values nearly all numbers were: what later rows are judged by. It must not
//! know thresholds.

use acgs_columns::{Field, RecordBatch, Role, Schema, numbers::numbers};
use acgs_statistics::{distinct::Repeats, frequent::Distinct, sketch::LogHistogram};

use crate::{
    runs::Runs,
    soundness::{Soundness, is_numeric, push_distinct, push_ids, push_rows, range},
};

/// Share of numbers at either end that fences are drawn from.
const END_SHARE: f64 = 0.001;
/// Numbers from which on the very last one is left out.
const FEW: usize = 100;
/// How much farther than those fences are, in distances of those from the median: what is merely moved is drift.
const BEYOND: f64 = 2.0;
/// What a sketch may be off by, with room.
const SKETCH_ERROR: f64 = 0.01;
/// Share of rows that may come before the one before them.
const BACK_MAX: f64 = 0.01;
/// Share of rows that may be the same by chance.
const CHANCE_REPEATS: f64 = 0.001;

/// Where numbers are beyond nearly all, and how many are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fences {
    /// Below which.
    pub lower: f64,
    /// Above which.
    pub upper: f64,
    /// Numbers of the reference beyond.
    pub beyond: u64,
    /// Numbers.
    pub count: u64,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldRates {
    /// The field.
    pub name: String,
    /// Its cells and runs.
    pub soundness: Soundness,
    /// Of measured values.
    pub fences: Option<Fences>,
}

/// All fields but the event time, and rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// In the schema's order.
    pub fields: Vec<FieldRates>,
    /// Whether rows were in order of event time, so that runs are runs in time.
    pub in_order: bool,
    /// Rows whose id repeats, or without ids rows that are the same, of how many; `None` where rows may be the same by nature.
    pub repeated: Option<(u64, u64)>,
}

impl Rates {
    /// Of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&FieldRates> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Of a reference's rows.
    pub(crate) fn measure(schema: &Schema, batches: &[RecordBatch]) -> Self {
        let judged = |(_, field): &(usize, &Field)| field.role != Role::Timestamp;
        let mut fields = Vec::new();
        let row_count: u64 = batches.iter().map(|batch| batch.rows() as u64).sum();
        let mut distinct = Vec::new();
        for (place, field) in schema.fields().iter().enumerate().filter(judged) {
            let (mut soundness, mut of_column) = (Soundness::default(), Distinct::default());
            let (mut sketch, mut values) = (LogHistogram::default(), Vec::new());
            for batch in batches {
                let column = &batch.columns()[place];
                soundness.push(field, column, batch.rows());
                push_distinct(&mut of_column, column);
                if is_numeric(field)
                    && let Some(found) = numbers(column)
                {
                    sketch.push_slice(&found.finite);
                    values.extend_from_slice(&found.finite);
                }
            }
            distinct.push(kinds(of_column.count().0, &soundness.runs));
            // What cannot be meant beside the others is none of the values.
            let (minimum, maximum) = range(field);
            soundness.cells.out_of_range +=
                sketch.far_count(minimum.unwrap_or(f64::NEG_INFINITY), maximum.unwrap_or(f64::INFINITY));
            soundness.runs = soundness.runs.kept();
            fields.push(FieldRates { name: field.name.clone(), soundness, fences: fences(values) });
        }
        let tell_apart = tells_rows_apart(&distinct, row_count);
        Self { fields, in_order: in_order(schema, batches), repeated: repeated(schema, batches, tell_apart) }
    }
}

/// Whether columns have so many different values each that so many rows are not the same by chance: of as many kinds of rows as there could be,
/// fewer than one in a thousand would come twice.
#[must_use]
pub fn tells_rows_apart(distinct: &[u64], rows: u64) -> bool {
    let ln_kinds: f64 = distinct.iter().map(|count| (*count).max(1) as f64).map(f64::ln).sum();
    ln_kinds > (rows.max(1) as f64 / (2.0 * CHANCE_REPEATS)).ln()
}

/// How many values a column has, counted as if all were as frequent: two rows in a row have the same with the chance that any two have.
#[must_use]
pub fn kinds(distinct: u64, runs: &Runs) -> u64 {
    distinct.min((runs.values() + 1) / (runs.repeats() + 1)).max(1)
}

fn in_order(schema: &Schema, batches: &[RecordBatch]) -> bool {
    let Some(place) = schema.index_of_role(Role::Timestamp) else { return false };
    let times = batches
        .iter()
        .flat_map(|batch| (0..batch.rows()).filter_map(move |row| batch.columns()[place].integer(row)));
    let (mut rows, mut back, mut before) = (0_u64, 0_u64, i64::MIN);
    for time_ms in times {
        rows += 1;
        back += u64::from(time_ms < before);
        before = time_ms;
    }
    back as f64 <= BACK_MAX * rows as f64
}

fn repeated(schema: &Schema, batches: &[RecordBatch], tell_apart: bool) -> Option<(u64, u64)> {
    let mut repeats = Repeats::default();
    match schema.index_of_role(Role::Id) {
        Some(id) => {
            batches.iter().for_each(|batch| push_ids(&mut repeats, &batch.columns()[id], batch.rows()))
        }
        None if tell_apart => batches.iter().for_each(|batch| push_rows(&mut repeats, batch)),
        None => return None,
    }
    (repeats.total() > 0).then(|| (repeats.repeated(), repeats.total()))
}

fn fences(mut values: Vec<f64>) -> Option<Fences> {
    if values.is_empty() {
        return None;
    }
    let last = values.len() - 1;
    // One value says nothing of where the others end.
    let from_end = ((END_SHARE * last as f64).round() as usize).max(usize::from(last >= FEW));
    let mut at = |place: usize| *values.select_nth_unstable_by(place, f64::total_cmp).1;
    let (low, median, high) = (at(from_end), at(last / 2), at(last - from_end));
    let lower = low - BEYOND * (median - low) - SKETCH_ERROR * low.abs();
    let upper = high + BEYOND * (high - median) + SKETCH_ERROR * high.abs();
    let beyond = values.iter().filter(|value| **value < lower || **value > upper).count() as u64;
    (lower.is_finite() && upper.is_finite()).then_some(Fences {
        lower,
        upper,
        beyond,
        count: values.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_hold_what_the_reference_has() {
        let heavy: Vec<f64> = (1..=10_000).map(|rank| 1.0 / (f64::from(rank) / 10_001.0)).collect();
        let found = fences(heavy).unwrap();
        assert!(found.upper > 2_500.0 && found.beyond < 5 && found.lower < 1.0, "{found:?}");
        let zeros: Vec<f64> = (0..1_000).map(|row| if row % 3 == 0 { f64::from(row) } else { 0.0 }).collect();
        let found = fences(zeros).unwrap();
        assert!(found.lower.abs() < 1e-12 && found.beyond == 0 && found.upper > 1_400.0, "{found:?}");
        assert!(tells_rows_apart(&[1_000, 600], 1_000) && !tells_rows_apart(&[5_000], 1_000));
        assert!(tells_rows_apart(&[100, 100, 100, 3, 2], 1_000) && !tells_rows_apart(&[], 1));
        assert_eq!(fences(vec![2.0; 10]).map(|it| it.beyond), Some(0));
        let mut absurd: Vec<f64> = (0..200).map(f64::from).collect();
        absurd[77] = 1e25;
        assert!(fences(absurd).unwrap().upper < 500.0, "one value does not hide others");
    }
}
