//! Quantiles within a relative error, from counts of logarithmic buckets. It must not know moments.
//!
//! A bucket is named by the sign, exponent and first six bits of the mantissa of its doubles, so that finding it
//! costs a shift, and the middle of a bucket is within 1/128 (0.79 %) of every value in it. The idea of a
//! relative-error sketch is DDSketch's (Masson, Rim and Lee, VLDB 2019); the buckets here are linear within an octave.

mod store;

use serde::{Deserialize, Serialize};

use store::{Store, TOTAL_MAX, middle, name_of};

/// Beyond so many times what is typical, and beyond this much at all, a magnitude cannot be meant: 2^64.
pub const FAR: f64 = 18_446_744_073_709_551_616.0;

/// So many numbers beside zeros say what is typical without them: sparse amounts are as large as they are.
pub const TYPICAL_MIN: u64 = 20;

/// Counts of finite values in logarithmic buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogHistogram {
    zeros: u64,
    positive: Store,
    negative: Store,
}

impl LogHistogram {
    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.zeros <= TOTAL_MAX && self.positive.is_sound() && self.negative.is_sound()
    }

    /// Adds finite values.
    pub fn push_slice(&mut self, values: &[f64]) {
        for &value in values {
            self.push(value);
        }
    }

    /// Adds a finite value.
    #[inline]
    pub fn push(&mut self, value: f64) {
        if value > 0.0 {
            self.positive.add(name_of(value), 1);
        } else if value < 0.0 {
            self.negative.add(name_of(-value), 1);
        } else {
            self.zeros += 1;
        }
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
    }

    /// Values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.zeros + self.positive.total() + self.negative.total()
    }

    /// The value below which a share `quantile` in [0, 1] of the values lies, to 0.79 %; `None` without values.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (quantile.clamp(0.0, 1.0) * (count - 1) as f64).round() as u64;
        let (mut before, mut last) = (0, None);
        for (value, bucket) in self.buckets() {
            before += bucket;
            last = Some(value);
            if before > rank {
                break;
            }
        }
        // A count that is at its limit says less than its total.
        last
    }

    /// The same, kept within the extremes that were seen: a bucket's middle may lie beyond the only value in it.
    #[must_use]
    pub fn quantile_within(&self, quantile: f64, minimum: f64, maximum: f64) -> Option<f64> {
        self.quantile(quantile).map(|value| value.max(minimum).min(maximum))
    }

    /// Values whose bucket's middle lies outside [`lower`, `upper`].
    #[must_use]
    pub fn count_outside(&self, lower: f64, upper: f64) -> u64 {
        self.buckets().filter(|(value, _)| *value < lower || *value > upper).map(|(_, count)| count).sum()
    }

    /// Values between two bounds whose magnitude cannot be meant beside the others: more than 2^64 times the typical one, and more than 2^64 at
    /// all. They are in [`LogHistogram::quantile`] only by their rank.
    #[must_use]
    pub fn far_count(&self, lower: f64, upper: f64) -> u64 {
        let is_beyond =
            |store: &Store| store.filled().next_back().is_some_and(|(name, _)| middle(name) > FAR);
        if !is_beyond(&self.positive) && !is_beyond(&self.negative) {
            return 0;
        }
        let limit = far_limit(self.typical_magnitude());
        let is_far = |value: f64| value.abs() > limit && lower <= value && value <= upper;
        self.buckets().filter(|(value, _)| is_far(*value)).map(|(_, count)| count).sum()
    }

    /// Different buckets that have values: magnitudes with their sign, to 1.6 %.
    #[must_use]
    pub fn magnitudes(&self) -> usize {
        self.buckets().count()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.positive.heap_bytes() + self.negative.heap_bytes()
    }

    /// Median of the magnitudes, without the zeros where there is enough beside them; 0 without values.
    fn typical_magnitude(&self) -> f64 {
        let mut magnitudes: Vec<(u32, u32)> = self.positive.filled().chain(self.negative.filled()).collect();
        magnitudes.sort_unstable();
        let others = self.positive.total() + self.negative.total();
        let (half, mut before) =
            if others >= TYPICAL_MIN { (others / 2, 0) } else { (self.count() / 2, self.zeros) };
        for (name, count) in magnitudes {
            if before > half {
                break;
            }
            before += u64::from(count);
            if before > half {
                return middle(name);
            }
        }
        0.0
    }

    /// Middles and counts, ascending.
    fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let negative = self.negative.filled().rev().map(|(name, count)| (-middle(name), u64::from(count)));
        let zeros = (self.zeros > 0).then_some((0.0, self.zeros));
        let positive = self.positive.filled().map(|(name, count)| (middle(name), u64::from(count)));
        negative.chain(zeros).chain(positive)
    }
}

/// The magnitude from which values cannot be meant beside a typical one.
#[must_use]
pub fn far_limit(typical_magnitude: f64) -> f64 {
    (typical_magnitude.abs().max(1.0) * FAR).min(f64::MAX)
}

#[cfg(test)]
#[path = "sketch_tests.rs"]
mod tests;
