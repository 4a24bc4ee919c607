//! Quantiles within a relative error, from counts of logarithmic buckets. It must not know moments.
//!
//! A bucket is named by the sign, exponent and first six bits of the mantissa of its doubles, so that finding it
//! costs a shift, and the middle of a bucket is within 1/128 (0.79 %) of every value in it. The idea of a
//! relative-error sketch is DDSketch's (Masson, Rim and Lee, VLDB 2019); the buckets here are linear within an octave.

use serde::{Deserialize, Serialize};

/// Bits of the mantissa that name a bucket.
const MANTISSA_BITS: u32 = 6;
const SHIFT: u32 = 52 - MANTISSA_BITS;
/// Most buckets of one sign: 64 octaves. Values smaller in magnitude fall into the lowest.
const BUCKETS_MAX: usize = 4_096;

/// Counts of finite values in logarithmic buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogHistogram {
    zeros: u64,
    positive: Store,
    negative: Store,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Store {
    /// Name of the bucket of `counts[0]`.
    low: u32,
    counts: Vec<u32>,
    total: u64,
}

impl LogHistogram {
    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.positive.is_sound() && self.negative.is_sound()
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
            self.positive.add((value.to_bits() >> SHIFT) as u32, 1);
        } else if value < 0.0 {
            self.negative.add(((-value).to_bits() >> SHIFT) as u32, 1);
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
        self.zeros + self.positive.total + self.negative.total
    }

    /// The value below which a share `quantile` in [0, 1] of the values lies, to 0.79 %; `None` without values.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (quantile.clamp(0.0, 1.0) * (count - 1) as f64).round() as u64;
        let mut before = 0;
        for (value, bucket) in self.buckets() {
            before += bucket;
            if before > rank {
                return Some(value);
            }
        }
        None
    }

    /// Values whose bucket's middle lies outside [`lower`, `upper`].
    #[must_use]
    pub fn count_outside(&self, lower: f64, upper: f64) -> u64 {
        self.buckets().filter(|(value, _)| *value < lower || *value > upper).map(|(_, count)| count).sum()
    }

    /// Middles and counts, ascending.
    fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let negative = self.negative.filled().rev().map(|(middle, count)| (-middle, count));
        let zeros = (self.zeros > 0).then_some((0.0, self.zeros));
        negative.chain(zeros).chain(self.positive.filled())
    }
}

impl Store {
    fn is_sound(&self) -> bool {
        let names = u64::from(self.low) + self.counts.len() as u64;
        let total: u64 = self.counts.iter().map(|&count| u64::from(count)).sum();
        self.counts.len() <= BUCKETS_MAX && names <= f64::INFINITY.to_bits() >> SHIFT && total <= self.total
    }

    #[inline]
    fn add(&mut self, bucket: u32, count: u32) {
        self.total += u64::from(count);
        let place = bucket.wrapping_sub(self.low) as usize;
        if let Some(slot) = self.counts.get_mut(place) {
            *slot = slot.saturating_add(count);
        } else {
            self.add_outside(bucket, count);
        }
    }

    #[cold]
    fn add_outside(&mut self, bucket: u32, count: u32) {
        if self.counts.is_empty() {
            self.low = bucket;
            self.counts.push(0);
        }
        let high = self.low + self.counts.len() as u32 - 1;
        if bucket > high {
            self.counts.resize((bucket - self.low) as usize + 1, 0);
            if self.counts.len() > BUCKETS_MAX {
                let excess = self.counts.len() - BUCKETS_MAX;
                let folded: u64 = self.counts.drain(..excess).map(u64::from).sum();
                self.low += excess as u32;
                self.counts[0] = self.counts[0].saturating_add(u32::try_from(folded).unwrap_or(u32::MAX));
            }
        } else {
            let room = BUCKETS_MAX - self.counts.len();
            let missing = ((self.low - bucket) as usize).min(room);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.low -= missing as u32;
        }
        let place = bucket.saturating_sub(self.low) as usize;
        self.counts[place] = self.counts[place].saturating_add(count);
    }

    fn merge(&mut self, other: &Self) {
        for (place, &count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(other.low + place as u32, count);
        }
    }

    fn filled(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> {
        let low = self.low;
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(place, &count)| {
            let bucket = u64::from(low) + place as u64;
            let (from, to) = (f64::from_bits(bucket << SHIFT), f64::from_bits((bucket + 1) << SHIFT));
            let middle = if to.is_finite() { from + (to - from) / 2.0 } else { from };
            (middle, u64::from(count))
        })
    }
}

#[cfg(test)]
#[path = "sketch_tests.rs"]
mod tests;
