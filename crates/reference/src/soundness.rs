//! What is wrong with the cells of columns, and with rows, as far as cells and rows themselves tell: absent, blank, not finite, out of range, stuck,
//! repeated. Judges count it of what comes, references keep it of what was. It must not know thresholds.

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Scale, Values};
use acgs_statistics::{
    distinct::{Repeats, hash_text, mix},
    score::ROUNDING,
};
use serde::{Deserialize, Serialize};

/// Equal values in a row from which on they may be stuck.
pub const RUN_MIN: u64 = 20;
/// Chance of a run by chance below which it is none: it is stuck.
const RUN_CHANCE: f64 = 1e-6;
/// One of so many numbers is looked at for whether it is a whole one.
const FRACTION_STEP: usize = 8;
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

/// How often a value is the one before it. Panes are merged as if nothing came between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    last: Option<u64>,
    /// Rows of the run that goes on.
    length: u64,
    /// Present values.
    values: u64,
    /// Values that are the one before.
    repeats: u64,
    /// Rows of the longest run.
    longest: u64,
    /// Rows in runs of at least [`RUN_MIN`].
    long_rows: u64,
    /// Runs of at least [`RUN_MIN`].
    long_runs: u64,
    /// Of those, values other than zero: nothing happens more often than one thing.
    long_rows_not_zero: u64,
    /// Numbers that are no whole ones, about.
    fractions: u64,
    /// Whether values have changed at all.
    varied: bool,
}

impl Runs {
    /// Of a reference, as far as it is kept.
    #[must_use]
    pub fn of_reference(values: u64, repeats: u64, long_rows: u64, long_runs: u64) -> Self {
        // Values have changed unless each but the first is the one before.
        let varied = repeats + 1 < values;
        Self { values, repeats, long_rows, long_runs, varied, ..Self::default() }
    }

    #[inline]
    fn push(&mut self, bits: u64, is_zero: bool) {
        self.values += 1;
        if self.last == Some(bits) {
            self.length += 1;
            self.repeats += 1;
        } else {
            self.varied |= self.last.is_some();
            self.last = Some(bits);
            self.length = 1;
        }
        if self.length >= RUN_MIN {
            let rows = if self.length == RUN_MIN { RUN_MIN } else { 1 };
            self.long_runs += u64::from(self.length == RUN_MIN);
            self.long_rows += rows;
            self.long_rows_not_zero += if is_zero { 0 } else { rows };
        }
        self.longest = self.longest.max(self.length);
    }

    /// Adds numbers that are all finite. Most columns have no two in a row that are the same, which is seen at once.
    fn push_numbers(&mut self, values: &[f64]) {
        let bits = |value: &f64| value.to_bits();
        let Some((first, last)) = values.first().map(bits).zip(values.last().map(bits)) else { return };
        // Some of them tell what most are.
        let of_some = values.iter().step_by(FRACTION_STEP).filter(|value| is_fraction(**value)).count();
        self.fractions += ((of_some * FRACTION_STEP) as u64).min(values.len() as u64);
        let repeats: u64 = values.windows(2).map(|pair| u64::from(bits(&pair[0]) == bits(&pair[1]))).sum();
        if repeats > 0 || self.last == Some(first) {
            values.iter().for_each(|value| self.push(value.to_bits(), *value == 0.0));
            return;
        }
        self.values += values.len() as u64;
        self.varied |= self.last.is_some() || values.len() > 1;
        self.last = Some(last);
        self.length = 1;
        self.longest = self.longest.max(1);
    }

    fn merge(&mut self, other: &Self) {
        self.varied |=
            other.varied || (self.last.is_some() && other.last.is_some() && self.last != other.last);
        self.last = other.last.or(self.last);
        self.length = if other.values > 0 { other.length } else { self.length };
        self.values += other.values;
        self.repeats += other.repeats;
        self.longest = self.longest.max(other.longest);
        self.long_rows += other.long_rows;
        self.long_runs += other.long_runs;
        self.long_rows_not_zero += other.long_rows_not_zero;
        self.fractions += other.fractions;
    }

    /// Present values.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.values
    }

    /// Values that are the one before.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Rows in long runs, and how many runs those are.
    #[must_use]
    pub fn long(&self) -> (u64, u64) {
        (self.long_rows, self.long_runs)
    }

    /// Whether most numbers are no whole ones.
    #[must_use]
    pub fn is_fractional(&self) -> bool {
        self.fractions * 2 > self.values
    }

    /// Whether there are values, and all are the same.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.values > 0 && !self.varied
    }

    /// Rows that are stuck, of a column that varies otherwise: long runs of a number other than zero that repeats too seldom elsewhere for such
    /// runs to come by chance. What is slow by nature, only a reference can tell.
    #[must_use]
    pub fn stuck(&self) -> u64 {
        let others = self.values.saturating_sub(self.long_rows);
        let repeats = self.repeats.saturating_sub(self.long_rows.saturating_sub(self.long_runs));
        let chance = (repeats as f64 + 1.0) / (others as f64 + 2.0);
        let ln_expected =
            (self.values.max(1) as f64).ln() + (self.longest as f64 - 1.0) * chance.min(1.0).ln();
        let is_stuck = self.varied && others >= RUN_MIN && ln_expected < RUN_CHANCE.ln();
        if is_stuck { self.long_rows_not_zero } else { 0 }
    }

    fn is_sound(&self) -> bool {
        let parts = [self.repeats, self.longest, self.long_rows, self.fractions];
        parts.iter().all(|part| *part <= self.values)
            && self.long_rows_not_zero <= self.long_rows
            && self.long_runs.saturating_mul(RUN_MIN) <= self.long_rows
            && self.length <= self.values
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
        let of_each = matches!(field.role, Role::Id | Role::Timestamp);
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
                        self.runs.fractions += u64::from(is_fraction(*value));
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
            Values::Text { codes, dictionary } if !of_each => {
                let blank: Vec<bool> = dictionary.iter().map(|text| text.trim().is_empty()).collect();
                let hashes: Vec<u64> = dictionary.iter().map(|text| hash_text(text)).collect();
                for (row, code) in codes.iter().enumerate() {
                    if nulls == 0 || column.is_valid(row) {
                        if blank[*code as usize] {
                            self.cells.blank += 1;
                        } else {
                            // Words repeat as they like.
                            self.runs.push(hashes[*code as usize], true);
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
        let parts = [missing, blank, not_finite, out_of_range, misfits, self.runs.values];
        parts.iter().all(|part| *part <= rows) && self.runs.is_sound()
    }
}

/// Whether a number is no whole one; those beyond 2^63 are.
fn is_fraction(value: f64) -> bool {
    (value as i64) as f64 != value && value.abs() < 9.2e18
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

/// Adds the hashes of whole rows that have any number with a fraction: others may be the same by nature.
pub fn push_rows(into: &mut Repeats, rows: &RecordBatch) {
    let mut hashes = vec![0_u64; rows.rows()];
    let mut tells = vec![false; rows.rows()];
    for column in rows.columns() {
        match &column.values {
            Values::Double(values) => {
                add(&mut hashes, column, |row| values[row].to_bits());
                let is_told = |row: usize| is_fraction(values[row]) && column.is_valid(row);
                tells.iter_mut().enumerate().for_each(|(row, tells)| *tells |= is_told(row));
            }
            Values::Integer(values) => add(&mut hashes, column, |row| values[row] as u64),
            Values::Boolean(bits) => add(&mut hashes, column, |row| u64::from(bits.get(row))),
            Values::Text { codes, dictionary } => {
                let of: Vec<u64> = dictionary.iter().map(|text| hash_text(text)).collect();
                add(&mut hashes, column, |row| of[codes[row] as usize]);
            }
        }
    }
    hashes.iter().zip(tells).filter(|(_, tells)| *tells).for_each(|(hash, _)| into.push(*hash));
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
    use std::sync::Arc;

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
        assert_eq!((stuck.stuck(), stuck.is_constant(), stuck.is_fractional()), (800, false, true));
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
