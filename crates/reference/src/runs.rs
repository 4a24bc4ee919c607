//! Values one after the other: how often one is the one before, and what is stuck. It must not know cells.

use serde::{Deserialize, Serialize};

/// Equal values in a row from which on they may be stuck.
pub const RUN_MIN: u64 = 20;
/// Values outside of long runs from which on a column varies otherwise.
const OTHERS_MIN: u64 = 3;
/// Chance of a run by chance below which it is none: it is stuck.
const RUN_CHANCE: f64 = 1e-6;

/// How often a value is the one before it. Parts are merged as if one came right after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// The first value, and rows of the first run.
    first: Option<(u64, u64)>,
    last: Option<u64>,
    /// Whether the last value is one that is none of what is stuck.
    last_is_zero: bool,
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
        self.last_is_zero = is_zero;
        if self.last == Some(bits) {
            self.length += 1;
            self.repeats += 1;
            if let Some((_, rows)) = self.first.as_mut().filter(|_| !self.varied) {
                *rows += 1;
            }
        } else {
            self.first.get_or_insert((bits, 1));
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
        self.first.get_or_insert((first, 1));
        self.last_is_zero = values.last().is_some_and(|value| *value == 0.0);
        self.values += values.len() as u64;
        self.varied |= self.last.is_some() || values.len() > 1;
        self.last = Some(last);
        self.length = 1;
        self.longest = self.longest.max(1);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let Some((first, first_rows)) = other.first else { return };
        if self.first.is_none() {
            *self = *other;
            return;
        }
        let goes_on = self.last == Some(first);
        if goes_on {
            self.join(first_rows);
        }
        let is_one_run = !other.varied;
        if let Some((_, rows)) = self.first.as_mut().filter(|_| goes_on && !self.varied) {
            *rows += first_rows;
        }
        self.varied |= other.varied || !goes_on;
        self.length = if goes_on && is_one_run { self.length + other.length } else { other.length };
        self.last = other.last;
        self.last_is_zero = other.last_is_zero;
        self.values += other.values;
        self.repeats += other.repeats;
        self.longest = self.longest.max(other.longest);
        self.long_rows += other.long_rows;
        self.long_runs += other.long_runs;
        self.long_rows_not_zero += other.long_rows_not_zero;
    }

    /// The run that goes on goes on for so many rows of another part.
    fn join(&mut self, rows: u64) {
        let all = self.length + rows;
        self.repeats += 1;
        self.longest = self.longest.max(all);
        if all >= RUN_MIN {
            let parts = [self.length, rows];
            let new: u64 = parts.iter().filter(|part| **part < RUN_MIN).sum();
            let known = parts.iter().filter(|part| **part >= RUN_MIN).count() as u64;
            self.long_rows += new;
            self.long_rows_not_zero += if self.last_is_zero { 0 } else { new };
            // What were two runs are one; the other part's are added after this.
            self.long_runs = (self.long_runs + 1).saturating_sub(known);
        }
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
        // The share of the most frequent value is at most the root of how often two are the same.
        let chance = ((repeats as f64 + 1.0) / (others as f64 + 2.0)).sqrt();
        let ln_expected =
            (self.values.max(1) as f64).ln() + (self.longest as f64 - 1.0) * chance.min(1.0).ln();
        let is_stuck = self.varied && others >= OTHERS_MIN && ln_expected < RUN_CHANCE.ln();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Runs {
        let mut runs = Runs::default();
        values.iter().for_each(|value| runs.push(*value, *value == 0));
        assert!(runs.is_sound());
        runs
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(runs in prop::collection::vec((0..3_u64, 1..30_usize), 0..8), cuts in prop::collection::vec(0..200_usize, 0..5)) {
            let values: Vec<u64> =
                runs.iter().flat_map(|(value, length)| std::iter::repeat_n(*value, *length)).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(values.len())).collect();
            cuts.extend([0, values.len()]);
            cuts.sort_unstable();
            let mut merged = Runs::default();
            cuts.windows(2).for_each(|cut| merged.merge(&of(&values[cut[0]..cut[1]])));
            prop_assert_eq!(merged, of(&values));
            let numbers: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            let (mut bulk, mut each) = (Runs::default(), Runs::default());
            bulk.push_numbers(&numbers);
            numbers.iter().for_each(|value| each.push(value.to_bits(), *value == 0.0));
            prop_assert_eq!(bulk, each);
        }
    }
}
