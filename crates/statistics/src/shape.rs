//! How values lie about their mean, and whether they move with time: third and fourth moments, and a straight line. It must not know what they are.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// Sums of powers of the distance from the mean (Pébay 2008).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    count: f64,
    mean: f64,
    second: f64,
    third: f64,
    fourth: f64,
}

impl Shape {
    /// Adds finite values, whose mean is known: one pass over the slice, then one merge.
    pub fn push_slice(&mut self, values: &[f64], mean: f64) {
        if values.is_empty() {
            return;
        }
        // Four lanes let the compiler keep several sums in flight.
        let mut sums = [[0.0; 4]; 3];
        for chunk in values.chunks(4) {
            for (lane, value) in chunk.iter().enumerate() {
                let off = value - mean;
                let square = off * off;
                sums[0][lane] += square;
                sums[1][lane] += square * off;
                sums[2][lane] += square * square;
            }
        }
        let [second, third, fourth] = sums.map(|lanes| lanes.iter().sum::<f64>());
        self.merge(&Self { count: values.len() as f64, mean, second, third, fourth });
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let (own, theirs) = (self.count, other.count);
        let all = own + theirs;
        let delta = other.mean - self.mean;
        let step = delta / all;
        let both = delta * step * own * theirs;
        self.fourth += other.fourth
            + both * step * step * (own * own - own * theirs + theirs * theirs)
            + 6.0 * step * step * (own * own * other.second + theirs * theirs * self.second)
            + 4.0 * step * (own * other.third - theirs * self.third);
        self.third += other.third
            + both * step * (own - theirs)
            + 3.0 * step * (own * other.second - theirs * self.second);
        self.second += other.second + both;
        self.mean += step * theirs;
        self.count = all;
    }

    /// The third standardized moment; `None` where values do not vary, or beyond what a double holds.
    #[must_use]
    pub fn skewness(&self) -> Option<f64> {
        let variance = self.second / self.count;
        let found = self.third / self.count / variance.powf(1.5);
        (variance > 0.0 && found.is_finite()).then_some(found)
    }

    /// The fourth standardized moment less 3, which is 0 of a normal law; likewise.
    #[must_use]
    pub fn excess_kurtosis(&self) -> Option<f64> {
        let variance = self.second / self.count;
        let found = self.fourth / self.count / (variance * variance) - 3.0;
        (variance > 0.0 && found.is_finite()).then_some(found)
    }
}

/// Sums of values and their times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    count: f64,
    time: f64,
    value: f64,
    times: f64,
    values: f64,
    both: f64,
}

/// Times of rows, about their mean: the same for all columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    off: Vec<f64>,
    mean: f64,
    squares: f64,
}

impl Times {
    /// Of rows, in milliseconds.
    #[must_use]
    pub fn of(times_ms: impl Iterator<Item = i64> + Clone) -> Self {
        let Some(first_ms) = times_ms.clone().next() else { return Self::default() };
        let mut off: Vec<f64> = times_ms.map(|time_ms| time_ms.wrapping_sub(first_ms) as f64).collect();
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        off.iter_mut().for_each(|time| *time -= mean);
        let squares = off.iter().map(|time| time * time).sum();
        Self { off, mean: mean + first_ms as f64, squares }
    }
}

/// A straight line through values over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// How much values rise in an hour.
    pub slope_per_hour: f64,
    /// The chance of a line as steep where values do not move; rows are taken as independent.
    pub p_value: f64,
}

impl Trend {
    /// Adds finite values with the times of their rows, whose mean and sum of squares about it are known: as many as there are times.
    pub fn push(&mut self, times: &Times, numbers: &[f64], (value, values): (f64, f64)) {
        if numbers.is_empty() || numbers.len() != times.off.len() {
            return;
        }
        let mut sums = [0.0; 4];
        for (times, numbers) in times.off.chunks(4).zip(numbers.chunks(4)) {
            for (lane, (of_time, number)) in times.iter().zip(numbers).enumerate() {
                sums[lane] += of_time * (number - value);
            }
        }
        let (count, both) = (numbers.len() as f64, sums.iter().sum::<f64>());
        self.merge(&Self { count, time: times.mean, value, times: times.squares, values, both });
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let all = self.count + other.count;
        let (of_time, of_value) = (other.time - self.time, other.value - self.value);
        let weight = self.count * other.count / all;
        self.times += other.times + of_time * of_time * weight;
        self.values += other.values + of_value * of_value * weight;
        self.both += other.both + of_time * of_value * weight;
        self.time += of_time * other.count / all;
        self.value += of_value * other.count / all;
        self.count = all;
    }

    /// The line of least squares; `None` of fewer than three values, or where neither varies.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        let free = self.count - 2.0;
        if free < 1.0 || self.times <= 0.0 || self.values <= 0.0 {
            return None;
        }
        let slope = self.both / self.times;
        let share = (self.both / self.times.sqrt() / self.values.sqrt()).clamp(-1.0, 1.0);
        let t = share.abs() * (free / (1.0 - share * share).max(f64::MIN_POSITIVE)).sqrt();
        if !(slope.is_finite() && t.is_finite()) {
            return None;
        }
        let law = StudentsT::new(0.0, 1.0, free).ok()?;
        let line = Line { slope_per_hour: slope * HOUR_MS, p_value: 2.0 * law.sf(t) };
        (line.slope_per_hour.is_finite() && line.p_value.is_finite()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::moments::Moments;

    fn sums(values: &[f64]) -> (f64, f64) {
        let mut moments = Moments::default();
        moments.push_slice(values);
        (moments.mean().unwrap(), moments.population_variance().unwrap() * values.len() as f64)
    }

    fn shape(values: &[f64]) -> Shape {
        let mut shape = Shape::default();
        shape.push_slice(values, sums(values).0);
        shape
    }

    #[test]
    fn shapes_are_those_of_the_definitions() {
        // scipy.stats.skew and kurtosis.
        let found = shape(&[1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 8.0, 9.0, 12.0]);
        assert!((found.skewness().unwrap() - 0.959_511_209_082_167_4).abs() < 1e-12);
        assert!((found.excess_kurtosis().unwrap() + 0.490_783_076_273_519).abs() < 1e-12);
        let same = shape(&[2.0; 5]);
        assert_eq!((same.skewness(), same.excess_kurtosis()), (None, None));
    }

    #[test]
    fn lines_are_those_of_least_squares() {
        // scipy.stats.linregress.
        let (times, values) = ([0, 1, 2, 3, 4].map(|hour| hour * 3_600_000), [1.0, 4.0, 3.0, 7.0, 8.0]);
        let mut trend = Trend::default();
        for part in [0..2, 2..5] {
            let numbers = &values[part.clone()];
            trend.push(&Times::of(times[part].iter().copied()), numbers, sums(numbers));
        }
        let line = trend.line().unwrap();
        assert!((line.slope_per_hour - 1.7).abs() < 1e-9, "{line:?}");
        assert!((line.p_value - 0.020_609_582_469_198_1).abs() < 1e-9, "{line:?}");
        assert_eq!(Trend::default().line(), None);
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(values in prop::collection::vec(-50.0..50.0_f64, 3..60), split in 1..59_usize) {
            let split = split.min(values.len() - 1);
            let (whole, mut parts) = (shape(&values), shape(&values[..split]));
            parts.merge(&shape(&values[split..]));
            for (one, other) in [(whole.skewness(), parts.skewness()), (whole.excess_kurtosis(), parts.excess_kurtosis())] {
                prop_assert_eq!(one.is_some(), other.is_some());
                prop_assert!(one.zip(other).is_none_or(|(one, other)| (one - other).abs() < 1e-6));
            }
        }
    }
}
