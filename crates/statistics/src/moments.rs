//! Count, mean, variance, minimum and maximum. It must not know quantiles.

use serde::{Deserialize, Serialize};

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
        let mean = (sums[0] + sums[1] + sums[2] + sums[3]) / count;
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
        self.mean += delta * theirs / total;
        self.m2 += other.m2 + delta * delta * own * theirs / total;
        self.count += other.count;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
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

    /// Standard deviation of a sample (n - 1); `None` below two values.
    #[must_use]
    pub fn sample_standard_deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.m2 / (self.count - 1) as f64).sqrt())
    }

    /// Standard deviation of a population (n); `None` without values.
    #[must_use]
    pub fn population_standard_deviation(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.m2 / self.count as f64).sqrt())
    }

    /// Standard error of the mean of independent values; `None` below two values.
    #[must_use]
    pub fn standard_error(&self) -> Option<f64> {
        self.sample_standard_deviation().map(|deviation| deviation / (self.count as f64).sqrt())
    }
}
