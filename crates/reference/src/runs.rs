//! Values one after the other: how often one is the one before, and what is stuck. It must not know cells.

use serde::{Deserialize, Serialize};

/// Equal values in a row from which on they may be stuck.
pub const RUN_MIN: u64 = 20;
/// Chance of a run by chance below which it is none: it is stuck.
const RUN_CHANCE: f64 = 1e-6;

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
    /// Whether values have changed at all.
    varied: bool,
}

impl Runs {
    /// Of a reference, as far as it is kept.
    #[must_use]
    pub fn of_reference(values: u64, repeats: u64, long_rows: u64, long_runs: u64) -> Self {
        // Values have changed unless each but the first is the one before.
        let varied = repeats.saturating_add(1) < values;
        Self { values, repeats, long_rows, long_runs, varied, ..Self::default() }
    }

    /// What of them a reference keeps.
    #[must_use]
    pub(crate) fn kept(&self) -> Self {
        Self::of_reference(self.values, self.repeats, self.long_rows, self.long_runs)
    }

    #[inline]
    pub(crate) fn push(&mut self, bits: u64, is_zero: bool) {
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
    pub(crate) fn push_numbers(&mut self, values: &[f64]) {
        let bits = |value: &f64| value.to_bits();
        let Some((first, last)) = values.first().map(bits).zip(values.last().map(bits)) else { return };
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

    pub(crate) fn merge(&mut self, other: &Self) {
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

    /// Rows of the longest run.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.longest
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

    pub(crate) fn is_sound(&self) -> bool {
        let parts = [self.repeats, self.longest, self.long_rows];
        parts.iter().all(|part| *part <= self.values)
            && self.long_rows_not_zero <= self.long_rows
            && self.long_runs.saturating_mul(RUN_MIN) <= self.long_rows
            && self.length <= self.values
    }
}
