//! Count, mean, variance, minimum and maximum. It must not know quantiles.

use serde::{Deserialize, Serialize};

/// Share of what a sum of squares was below which what is left of it has lost its digits: a double has 16.
const LOST: f64 = 1e-12;

/// More values than any pane can have: sums of such counts stay far below their type's end.
const COUNT_MAX: u64 = 1 << 48;

/// Moments of finite values, merged after Chan, Golub and LeVeque (1979).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    mean: f64,
    /// Sum of squared differences from the mean.
    m2: f64,
    minimum: f64,
    maximum: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0, mean: 0.0, m2: 0.0, minimum: f64::INFINITY, maximum: f64::NEG_INFINITY }
    }
}

impl Moments {
    /// Of ones and zeros.
    #[must_use]
    pub fn of_shares(ones: u64, zeros: u64) -> Self {
        let count = ones + zeros;
        if count == 0 {
            return Self::default();
        }
        let mean = ones as f64 / count as f64;
        Self {
            count,
            mean,
            m2: count as f64 * mean * (1.0 - mean),
            minimum: if zeros > 0 { 0.0 } else { 1.0 },
            maximum: if ones > 0 { 1.0 } else { 0.0 },
        }
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_within = self.minimum <= self.mean && self.mean <= self.maximum;
        let is_finite = self.minimum.is_finite() && self.maximum.is_finite();
        self.count == 0 || (self.count <= COUNT_MAX && is_finite && is_within && self.m2 >= 0.0)
    }

    /// Adds finite values: two passes over the slice, then one merge.
    pub fn push_slice(&mut self, values: &[f64]) {
        if values.is_empty() {
            return;
        }
        let count = values.len() as f64;
        // Four lanes let the compiler keep several additions in flight.
        let mut sums = [0.0; 4];
        let (mut minimum, mut maximum) = (f64::INFINITY, f64::NEG_INFINITY);
        for chunk in values.chunks(4) {
            for (sum, &value) in sums.iter_mut().zip(chunk) {
                *sum += value;
                minimum = if value < minimum { value } else { minimum };
                maximum = if value > maximum { value } else { maximum };
            }
        }
        let sum = sums[0] + sums[1] + sums[2] + sums[3];
        // Two values of 1e308 have a mean, though their sum is beyond a double.
        let mean =
            if sum.is_finite() { sum / count } else { values.iter().map(|value| value / count).sum::<f64>() };
        // Rounding takes a mean beyond the extremes, of the largest doubles beyond all.
        let mean = mean.max(minimum).min(maximum);
        let mut squares = [0.0; 4];
        for chunk in values.chunks(4) {
            for (square, &value) in squares.iter_mut().zip(chunk) {
                *square += (value - mean) * (value - mean);
            }
        }
        let m2 = squares[0] + squares[1] + squares[2] + squares[3];
        self.merge(&Self { count: values.len() as u64, mean, m2, minimum, maximum });
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (own, theirs) = (self.count as f64, other.count as f64);
        let total = own + theirs;
        let delta = other.mean - self.mean;
        if delta.is_finite() {
            self.mean += delta * (theirs / total);
            self.m2 += other.m2 + delta * delta * own * theirs / total;
        } else {
            self.mean = self.mean * (own / total) + other.mean * (theirs / total);
            self.m2 = f64::INFINITY;
        }
        self.count += other.count;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.mean = self.mean.max(self.minimum).min(self.maximum);
    }

    /// Takes back values that were added before; false, and nothing is done, where those are more than there are. Extremes stay as they were. Where
    /// what is left is so small beside what was taken that its digits are lost, it overflows; values that are known to be `bounded` by a few tens
    /// then do not vary.
    #[must_use]
    pub fn take_back(&mut self, other: &Self, bounded: bool) -> bool {
        if other.count > self.count {
            return false;
        }
        if other.count == self.count {
            *self = Self::default();
        } else if other.count > 0 {
            let (all, theirs) = (self.count as f64, other.count as f64);
            let own = all - theirs;
            let mean = self.mean + (self.mean - other.mean) * (theirs / own);
            let delta = other.mean - mean;
            let m2 = self.m2 - other.m2 - delta * delta * own * theirs / all;
            if m2 < -LOST.sqrt() * self.m2.max(f64::MIN_POSITIVE) {
                // What is taken varies more than all did.
                return false;
            }
            let is_lost = !bounded && (!m2.is_finite() || m2 < self.m2 * LOST);
            self.m2 = if is_lost { f64::INFINITY } else { m2.max(0.0) };
            self.mean = mean.max(self.minimum).min(self.maximum);
            self.count -= other.count;
        }
        true
    }

    /// Values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Smallest value; `None` without values.
    #[must_use]
    pub fn minimum(&self) -> Option<f64> {
        (self.count > 0).then_some(self.minimum)
    }

    /// Largest value; `None` without values.
    #[must_use]
    pub fn maximum(&self) -> Option<f64> {
        (self.count > 0).then_some(self.maximum)
    }

    /// Standard deviation of a sample (n - 1); `None` below two values, and beyond what a double holds.
    #[must_use]
    pub fn sample_standard_deviation(&self) -> Option<f64> {
        (self.count > 1 && !self.overflows()).then(|| (self.m2 / (self.count - 1) as f64).sqrt())
    }

    /// Standard deviation of a population (n); `None` without values, and beyond what a double holds.
    #[must_use]
    pub fn population_standard_deviation(&self) -> Option<f64> {
        (self.count > 0 && !self.overflows()).then(|| (self.m2 / self.count as f64).sqrt())
    }

    /// Variance of a population (n); `None` as for the standard deviation.
    #[must_use]
    pub fn population_variance(&self) -> Option<f64> {
        (self.count > 0 && !self.overflows()).then(|| self.m2 / self.count as f64)
    }

    /// Whether the squares of the differences are more than a double holds; the mean is right all the same.
    #[must_use]
    pub fn overflows(&self) -> bool {
        !self.m2.is_finite()
    }

    /// Standard error of the mean of independent values; `None` where there is no deviation.
    #[must_use]
    pub fn standard_error(&self) -> Option<f64> {
        self.sample_standard_deviation().map(|deviation| deviation / (self.count as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        moments.push_slice(values);
        moments
    }

    #[test]
    fn what_an_enormous_value_leaves_behind_is_not_known() {
        let mut all = moments(&[1.0, 2.0, 3.0, 1e12]);
        assert!(all.take_back(&moments(&[1e12]), false) && all.count() == 3 && all.overflows());
        let mut near = moments(&[1.0, 2.0, 3.0, 1e3]);
        assert!(near.take_back(&moments(&[1e3]), false));
        assert!((near.sample_standard_deviation().unwrap() - 1.0).abs() < 1e-6);
        let mut shares = moments(&[1.0, 1.0, 1.0, 0.0]);
        assert!(shares.take_back(&moments(&[0.0]), true));
        assert!(
            (shares.mean().unwrap() - 1.0).abs() < 1e-15 && shares.population_variance().unwrap() < 1e-15
        );
        assert!(!moments(&[1.0]).take_back(&moments(&[1.0, 1.0]), true));
    }

    proptest! {
        #[test]
        fn what_was_added_can_be_taken_back(
            kept in prop::collection::vec(-50.0..50.0_f64, 2..40),
            taken in prop::collection::vec(-50.0..50.0_f64, 0..40)
        ) {
            let (wanted, mut all) = (moments(&kept), moments(&kept));
            all.merge(&moments(&taken));
            prop_assert!(all.take_back(&moments(&taken), true) && all.is_sound());
            prop_assert_eq!(all.count(), wanted.count());
            prop_assert!((all.mean().unwrap() - wanted.mean().unwrap()).abs() < 1e-10);
            let (found, variance) = (all.population_variance().unwrap(), wanted.population_variance().unwrap());
            prop_assert!((found - variance).abs() < 1e-8);
        }
    }

    #[test]
    fn the_largest_doubles_have_a_mean() {
        let same = moments(&[1e308, 1e308]);
        assert_eq!((same.mean(), same.sample_standard_deviation()), (Some(1e308), Some(0.0)));
        let opposite = moments(&[1e308, -1e308]);
        assert_eq!((opposite.mean(), opposite.sample_standard_deviation()), (Some(0.0), None));
        for (one, other) in [(f64::MAX, -f64::MAX), (-f64::MAX, f64::MAX), (f64::MAX, f64::MAX)] {
            let mut merged = moments(&[one]);
            merged.merge(&moments(&[other]));
            assert_eq!(merged.mean(), Some(one / 2.0 + other / 2.0));
        }
    }

    proptest! {
        #[test]
        fn means_of_finite_values_are_finite(
            parts in prop::collection::vec(
                prop::collection::vec(
                    prop_oneof![prop::num::f64::NORMAL | prop::num::f64::ZERO, Just(f64::MAX), Just(-f64::MAX)], 1..13),
                1..9),
        ) {
            let mut merged = Moments::default();
            for part in &parts {
                merged.merge(&moments(part));
            }
            for found in [merged, moments(&parts.concat())] {
                prop_assert!(found.mean().is_some_and(f64::is_finite) && found.is_sound());
                prop_assert!(found.sample_standard_deviation().is_none_or(f64::is_finite));
            }
        }
    }
}
