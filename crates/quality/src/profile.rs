//! What the values of a column are like: shape, trend, different and frequent values, numbers by quantile. It must not know what is sound.

use std::collections::HashMap;

use acgs_columns::{Column, Field, Role, Values};
use acgs_reference::soundness::push_distinct;
use acgs_statistics::{
    frequent::{Distinct, Frequent},
    moments::Moments,
    shape::{Line, Shape, Times, Trend},
    sketch::LogHistogram,
};
use serde::{Deserialize, Serialize};

/// The shares that quantiles are told of.
pub const QUANTILES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
/// Frequent values that are told.
const TOP: usize = 10;

/// Sums over the values of a column.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Profile {
    shape: Shape,
    trend: Trend,
    distinct: Distinct,
    frequent: Frequent,
}

/// What they come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnProfile {
    /// The third standardized moment.
    pub skewness: Option<f64>,
    /// The fourth less 3.
    pub excess_kurtosis: Option<f64>,
    /// A line through the values over time.
    pub trend: Option<Line>,
    /// Different values, and whether that is exact.
    pub distinct: (u64, bool),
    /// Frequent values, and by how much their counts may be too small.
    pub frequent: (Vec<(String, u64)>, u64),
    /// Numbers at [`QUANTILES`]; empty without any.
    pub quantiles: Vec<f64>,
}

impl Profile {
    /// Adds the values of a column, for how many different ones there are, and which are frequent.
    pub fn push(&mut self, field: &Field, column: &Column) {
        push_distinct(&mut self.distinct, column);
        // Keys are told by their windows.
        if field.role != Role::Key {
            self.push_frequent(column);
        }
    }

    /// Different values, about.
    #[must_use]
    pub fn distinct_count(&self) -> u64 {
        self.distinct.count().0
    }

    /// Adds the finite numbers of a column and their moments, with the times of its rows where those are all known.
    pub fn push_numbers(
        &mut self,
        column: &Column,
        (numbers, moments): (&[f64], &Moments),
        times: Option<(&[i64], &Times)>,
    ) {
        let Some((mean, variance)) = moments.mean().zip(moments.population_variance()) else { return };
        self.shape.push_slice(numbers, mean);
        let Some((times_ms, all)) = times else { return };
        let sums = (mean, variance * numbers.len() as f64);
        if numbers.len() == times_ms.len() {
            self.trend.push(all, numbers, sums);
        } else {
            let is_there = |row: &usize| column.number(*row).is_some_and(f64::is_finite);
            let present = (0..times_ms.len()).filter(is_there).map(|row| times_ms[row]);
            self.trend.push(&Times::of(present), numbers, sums);
        }
    }

    fn push_frequent(&mut self, column: &Column) {
        match &column.values {
            Values::Text { codes, dictionary } => {
                let present = codes.iter().enumerate().filter(|(row, _)| column.is_valid(*row));
                // A dictionary may be shared by many more rows.
                let mut counts: HashMap<u32, u64> = HashMap::new();
                present.for_each(|(_, code)| *counts.entry(*code).or_default() += 1);
                let mut counts: Vec<(u32, u64)> = counts.into_iter().collect();
                counts.sort_unstable();
                counts
                    .iter()
                    .for_each(|(code, count)| self.frequent.add(&dictionary[*code as usize], *count));
            }
            Values::Boolean(bits) => {
                for (wanted, name) in [(false, "false"), (true, "true")] {
                    let is_it = |row: &usize| column.is_valid(*row) && bits.get(*row) == wanted;
                    self.frequent.add(name, (0..bits.len()).filter(is_it).count() as u64);
                }
            }
            Values::Double(_) | Values::Integer(_) => {}
        }
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        self.shape.merge(&other.shape);
        self.trend.merge(&other.trend);
        self.distinct.merge(&other.distinct);
        self.frequent.merge(&other.frequent);
    }

    /// What it comes to, with the column's other sums.
    #[must_use]
    pub fn told(&self, moments: &Moments, sketch: &LogHistogram) -> ColumnProfile {
        let (frequent, off) = self.frequent.most(TOP);
        let quantile = |share: &f64| sketch.quantile_within(*share, moments.minimum()?, moments.maximum()?);
        ColumnProfile {
            skewness: self.shape.skewness(),
            excess_kurtosis: self.shape.excess_kurtosis(),
            trend: self.trend.line(),
            distinct: self.distinct.count(),
            frequent: (frequent.into_iter().map(|(value, count)| (value.to_owned(), count)).collect(), off),
            quantiles: QUANTILES.iter().filter_map(quantile).collect(),
        }
    }

    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.distinct.heap_bytes() + self.frequent.heap_bytes()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.distinct.is_sound() && self.frequent.is_sound()
    }
}
