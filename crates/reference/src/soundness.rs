//! What is wrong with the cells of columns, and with rows, as far as cells and rows themselves tell: absent, blank, not finite, out of range, stuck,
//! repeated. Judges count it of what comes, references keep it of what was. It must not know thresholds.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Scale, Values};
use acgs_statistics::{
    distinct::{Repeats, hash_text, mix},
    frequent::Distinct,
    score::ROUNDING,
};
use serde::{Deserialize, Serialize};

use crate::runs::Runs;

/// Most rows of one column.
const ROWS_MAX: u64 = 1 << 48;
/// Stands for an absent cell in the hash of a row.
const ABSENT: u64 = 0x6a09_e667_f3bc_c908;

/// Cells of one column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellCounts {
    /// Cells.
    pub rows: u64,
    /// Null.
    pub missing: u64,
    /// Texts without a letter.
    pub blank: u64,
    /// Numbers that are none, or infinite.
    pub not_finite: u64,
    /// Numbers outside the field's range.
    pub out_of_range: u64,
    /// Values of another kind than the field's.
    pub misfits: u64,
}

impl CellCounts {
    /// Cells with a value that cannot be.
    #[must_use]
    pub fn invalid(&self) -> u64 {
        self.not_finite + self.out_of_range + self.misfits
    }

    /// Cells without a value.
    #[must_use]
    pub fn absent(&self) -> u64 {
        self.missing + self.blank
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.missing += other.missing;
        self.blank += other.blank;
        self.not_finite += other.not_finite;
        self.out_of_range += other.out_of_range;
        self.misfits += other.misfits;
    }
}

/// One column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soundness {
    /// Its cells.
    pub cells: CellCounts,
    /// Its values, one after the other.
    pub runs: Runs,
}

impl Soundness {
    /// Adds rows.
    pub fn push(&mut self, field: &Field, column: &Column, rows: usize) {
        let nulls = column.null_count();
        self.cells.rows += rows as u64;
        self.cells.missing += nulls as u64;
        // A key is the same in all rows of its windows.
        let of_each = matches!(field.role, Role::Id | Role::Timestamp | Role::Key);
        match &column.values {
            Values::Double(values) => {
                let (from, to) = ends(field);
                if nulls == 0 && values.iter().all(|value| value.is_finite()) {
                    self.cells.out_of_range +=
                        values.iter().map(|value| u64::from(*value < from || *value > to)).sum::<u64>();
                    self.runs.push_numbers(values);
                    return;
                }
                for (row, value) in values.iter().enumerate() {
                    if nulls > 0 && !column.is_valid(row) {
                        continue;
                    }
                    if value.is_finite() {
                        self.cells.out_of_range += u64::from(*value < from || *value > to);
                        self.runs.push(value.to_bits(), *value == 0.0);
                    } else {
                        self.cells.not_finite += 1;
                    }
                }
            }
            Values::Integer(values) if !of_each => {
                let (from, to) = ends(field);
                for (row, value) in values.iter().enumerate() {
                    if nulls == 0 || column.is_valid(row) {
                        let number = *value as f64;
                        self.cells.out_of_range += u64::from(number < from || number > to);
                        self.runs.push(*value as u64, *value == 0);
                    }
                }
            }
            Values::Text { codes, dictionary } if !of_each || field.role == Role::Key => {
                let words = Words::of(codes, dictionary);
                for (row, code) in codes.iter().enumerate() {
                    if nulls == 0 || column.is_valid(row) {
                        let (hash, is_blank) = words.get(*code);
                        if is_blank {
                            self.cells.blank += 1;
                        } else if field.role != Role::Key {
                            // Words repeat as they like.
                            self.runs.push(hash, true);
                        }
                    }
                }
            }
            Values::Boolean(bits) => (0..rows).filter(|row| column.is_valid(*row)).for_each(|row| {
                self.runs.push(u64::from(bits.get(row)), true);
            }),
            Values::Integer(_) | Values::Text { .. } => {}
        }
    }

    /// So many of the cells that are missing have a value of another kind, which was left out.
    pub fn misfit(&mut self, count: u64) {
        let count = count.min(self.cells.missing);
        self.cells.missing -= count;
        self.cells.misfits += count;
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.cells.merge(&other.cells);
        self.runs.merge(&other.runs);
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let CellCounts { rows, missing, blank, not_finite, out_of_range, misfits } = self.cells;
        let parts = [missing, blank, not_finite, out_of_range, misfits];
        let sum = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part));
        rows <= ROWS_MAX && sum <= rows && self.runs.values() <= rows && self.runs.is_sound()
    }
}

/// Whether the field's values are measured, not only counted.
#[must_use]
pub fn is_numeric(field: &Field) -> bool {
    matches!(field.kind, Kind::Double | Kind::Int64)
        && !matches!(field.role, Role::Id | Role::Key | Role::Timestamp)
        && field.scale != Some(Scale::Nominal)
}

/// The valid range: what the schema says; a score is a probability, to rounding, whatever the schema says.
#[must_use]
pub fn range(field: &Field) -> (Option<f64>, Option<f64>) {
    if field.role == Role::Score {
        return (field.minimum.or(Some(-ROUNDING)), field.maximum.or(Some(1.0 + ROUNDING)));
    }
    (field.minimum, field.maximum)
}

fn ends(field: &Field) -> (f64, f64) {
    if matches!(field.role, Role::Id | Role::Key) {
        return (f64::NEG_INFINITY, f64::INFINITY);
    }
    let (minimum, maximum) = range(field);
    (minimum.unwrap_or(f64::NEG_INFINITY), maximum.unwrap_or(f64::INFINITY))
}

/// Adds the hashes of whole rows.
pub fn push_rows(into: &mut Repeats, rows: &RecordBatch) {
    let mut hashes = vec![0_u64; rows.rows()];
    for column in rows.columns() {
        match &column.values {
            Values::Double(values) => add(&mut hashes, column, |row| values[row].to_bits()),
            Values::Integer(values) => add(&mut hashes, column, |row| values[row] as u64),
            Values::Boolean(bits) => add(&mut hashes, column, |row| u64::from(bits.get(row))),
            Values::Text { codes, dictionary } => {
                let words = Words::of(codes, dictionary);
                add(&mut hashes, column, |row| words.get(codes[row]).0);
            }
        }
    }
    hashes.iter().for_each(|hash| into.push(*hash));
}

/// Adds the different values of a column.
pub fn push_distinct(into: &mut Distinct, column: &Column) {
    let all = column.null_count() == 0;
    let is_there = |row: usize| all || column.is_valid(row);
    match &column.values {
        Values::Double(values) => {
            for (row, value) in values.iter().enumerate() {
                if value.is_finite() && is_there(row) {
                    into.push(mix((value + 0.0).to_bits()));
                }
            }
        }
        Values::Integer(values) => {
            for (row, value) in values.iter().enumerate() {
                if is_there(row) {
                    into.push(mix(*value as u64));
                }
            }
        }
        Values::Boolean(bits) => (0..bits.len()).filter(|row| is_there(*row)).for_each(|row| {
            into.push(mix(u64::from(bits.get(row))));
        }),
        Values::Text { codes, dictionary } => {
            let words = Words::of(codes, dictionary);
            for (row, code) in codes.iter().enumerate() {
                if is_there(row) {
                    into.push(words.get(*code).0);
                }
            }
        }
    }
}

/// Hashes of the words of a dictionary, and whether they are blank: of those that rows have, where a dictionary is shared by many more.
enum Words {
    All(Vec<(u64, bool)>),
    Used(HashMap<u32, (u64, bool)>),
}

impl Words {
    fn of(codes: &[u32], dictionary: &[Arc<str>]) -> Self {
        let word = |text: &Arc<str>| (hash_text(text), text.trim().is_empty());
        if dictionary.len() <= codes.len() {
            return Self::All(dictionary.iter().map(word).collect());
        }
        Self::Used(codes.iter().map(|code| (*code, word(&dictionary[*code as usize]))).collect())
    }

    fn get(&self, code: u32) -> (u64, bool) {
        match self {
            Self::All(words) => words[code as usize],
            Self::Used(words) => words.get(&code).copied().unwrap_or_default(),
        }
    }
}

fn add(hashes: &mut [u64], column: &Column, value: impl Fn(usize) -> u64) {
    let nulls = column.null_count() > 0;
    for (row, hash) in hashes.iter_mut().enumerate() {
        let own = if nulls && !column.is_valid(row) { ABSENT } else { value(row) };
        *hash = mix(hash.rotate_left(5) ^ own);
    }
}

/// Adds the hashes of ids.
pub fn push_ids(into: &mut Repeats, column: &Column, rows: usize) {
    match &column.values {
        Values::Integer(values) => (0..rows).filter(|row| column.is_valid(*row)).for_each(|row| {
            into.push(mix(values[row] as u64));
        }),
        Values::Text { .. } => {
            (0..rows).filter_map(|row| column.text(row)).for_each(|text| into.push(hash_text(text)));
        }
        Values::Double(_) | Values::Boolean(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use acgs_columns::{Cell, Schema, builder::BatchBuilder};

    use super::*;

    fn of(values: impl Iterator<Item = f64>) -> Soundness {
        let field = Field::new("x", Kind::Double, Role::Feature);
        let mut builder = BatchBuilder::new(Arc::new(Schema::new(vec![field.clone()]).unwrap()));
        values.for_each(|value| builder.push(&[Cell::Number(value)]).unwrap());
        let batch = builder.finish().unwrap();
        let mut found = Soundness::default();
        found.push(&field, &batch.columns()[0], batch.rows());
        assert!(found.is_sound());
        found
    }

    #[test]
    fn a_stuck_sensor_is_told_from_what_repeats_by_nature() {
        let noise = |row: u64| (mix(row) % 10_007) as f64 / 7.0;
        let stuck = of((0..1_000).map(|row| if row < 200 { noise(row) } else { 3.25 })).runs;
        assert_eq!((stuck.stuck(), stuck.is_constant(), stuck.longest()), (800, false, 800));
        let zeros = of((0..1_000).map(|row| if mix(row).is_multiple_of(5) { noise(row) } else { 0.0 })).runs;
        assert_eq!(zeros.stuck(), 0, "nothing happens by nature");
        let few = of((0..1_000).map(|row| if mix(row).is_multiple_of(5) { 2.0 } else { 1.0 })).runs;
        assert_eq!(few.stuck(), 0, "runs come by chance where values repeat");
        assert!(of((0..100).map(|_| 1.5)).runs.is_constant());
        assert_eq!(of((0..5_000).map(noise)).runs.stuck(), 0);
    }

    #[test]
    fn the_same_rows_have_the_same_hash_and_no_others() {
        let fields =
            vec![Field::new("x", Kind::Double, Role::Feature), Field::new("s", Kind::Text, Role::Feature)];
        let schema = Arc::new(Schema::new(fields).unwrap());
        let mut builder = BatchBuilder::new(Arc::clone(&schema));
        for row in 0..1_000 {
            let text = (row % 7).to_string();
            let x = Cell::Number(f64::from(row % 100) + 0.5);
            builder.push(&[x, Cell::Text(&text)]).unwrap();
        }
        let batch = builder.finish().unwrap();
        let mut repeats = Repeats::default();
        push_rows(&mut repeats, &batch);
        let rows: std::collections::BTreeSet<String> = (0..1_000)
            .map(|row| format!("{:?}", (batch.columns()[0].number(row), batch.columns()[1].text(row))))
            .collect();
        assert_eq!(repeats.repeated(), 1_000 - rows.len() as u64);
    }
}
