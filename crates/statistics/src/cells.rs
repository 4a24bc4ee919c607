//! A numeric variable frozen into cells at the quantiles of a reference, and what falls into them.
//! It must not know any test.
//!
//! A sample in cells merges exactly, so panes can be summed; values outside the reference's range are kept apart with
//! their distance from it, which makes the tails of a Wasserstein distance exact.

use serde::{Deserialize, Serialize};

use crate::sketch::{FAR, far_limit};

/// Cells asked for; fewer where the reference has ties.
pub const CELLS: usize = 200;
/// Most edges that a reference may bring.
pub const EDGES_MAX: usize = 255;

/// Frozen cells: (minimum, e1], (e1, e2], … (ek, maximum], the first with the minimum in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cells {
    edges: Vec<f64>,
    minimum: f64,
    maximum: f64,
    /// Whether the edges are all values but the largest, so that the distribution steps at them.
    discrete: bool,
}

/// How many values of a sample lie in each cell, and beyond.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellCounts {
    /// One for each cell.
    pub counts: Vec<u64>,
    /// Values below the reference's smallest.
    pub below: u64,
    /// Values above the reference's largest.
    pub above: u64,
    /// Sum of their distances from the smallest.
    pub below_distance: f64,
    /// Sum of their distances from the largest.
    pub above_distance: f64,
}

impl Cells {
    /// Cells at the quantiles of a sorted, finite, not empty sample.
    ///
    /// # Panics
    /// When the sample is empty.
    #[must_use]
    pub fn of_sorted(sorted: &[f64]) -> Self {
        let (minimum, maximum) = (sorted[0], sorted[sorted.len() - 1]);
        let mut distinct: Vec<f64> = Vec::with_capacity(CELLS);
        for &value in sorted {
            if distinct.last() != Some(&value) {
                distinct.push(value);
            }
            if distinct.len() > CELLS {
                break;
            }
        }
        if distinct.len() <= CELLS {
            distinct.pop();
            return Self { edges: distinct, minimum, maximum, discrete: true };
        }
        let mut edges: Vec<f64> = Vec::with_capacity(CELLS - 1);
        for cell in 1..CELLS {
            let edge = sorted[(cell * sorted.len() / CELLS).min(sorted.len() - 1)];
            if edge < maximum && edges.last().is_none_or(|&last| edge > last) {
                edges.push(edge);
            }
        }
        Self { edges, minimum, maximum, discrete: false }
    }

    /// Cells from stored edges; `None` when they do not ascend within a finite range.
    #[must_use]
    pub fn from_edges(edges: Vec<f64>, minimum: f64, maximum: f64, discrete: bool) -> Option<Self> {
        let finite = minimum.is_finite() && maximum.is_finite() && minimum <= maximum;
        let ascend = edges.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = edges.iter().all(|&edge| minimum <= edge && edge < maximum);
        (finite && ascend && inside && edges.len() <= EDGES_MAX).then_some(Self {
            edges,
            minimum,
            maximum,
            discrete,
        })
    }

    /// Inner edges, ascending.
    #[must_use]
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Whether the edges are all values but the largest.
    #[must_use]
    pub fn is_discrete(&self) -> bool {
        self.discrete
    }

    /// Smallest reference value.
    #[must_use]
    pub fn minimum(&self) -> f64 {
        self.minimum
    }

    /// Largest reference value.
    #[must_use]
    pub fn maximum(&self) -> f64 {
        self.maximum
    }

    /// Cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.edges.len() + 1
    }

    /// Never: there is at least one cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// No values yet.
    #[must_use]
    pub fn empty_counts(&self) -> CellCounts {
        CellCounts { counts: vec![0; self.len()], ..CellCounts::default() }
    }

    /// How far a value lies beyond a bound. One whose magnitude cannot be meant beside the reference's is beyond, and no more: its distance would
    /// be all that there is.
    #[cold]
    fn distance(&self, value: f64, bound: f64) -> f64 {
        if value.abs() > FAR && value.abs() > self.far_limit() { 0.0 } else { (value - bound).abs() }
    }

    /// The magnitude from which values cannot be meant beside those of the reference.
    #[must_use]
    pub fn far_limit(&self) -> f64 {
        let ends = self.edges.iter().chain([&self.minimum, &self.maximum]);
        let mut magnitudes: Vec<f64> =
            ends.map(|end| end.abs()).filter(|magnitude| *magnitude > 0.0).collect();
        magnitudes.sort_unstable_by(f64::total_cmp);
        let typical = magnitudes.get(magnitudes.len() / 2).copied().unwrap_or(0.0);
        far_limit(typical).max(self.minimum.abs()).max(self.maximum.abs())
    }

    /// Adds finite values.
    pub fn count_slice(&self, values: &[f64], into: &mut CellCounts) {
        for &value in values {
            if value < self.minimum {
                into.below += 1;
                into.below_distance =
                    (into.below_distance + self.distance(value, self.minimum)).min(f64::MAX);
            } else if value > self.maximum {
                into.above += 1;
                into.above_distance =
                    (into.above_distance + self.distance(value, self.maximum)).min(f64::MAX);
            } else {
                into.counts[self.cell_of(value)] += 1;
            }
        }
    }

    /// The cell of a value within the range.
    #[inline]
    #[must_use]
    pub fn cell_of(&self, value: f64) -> usize {
        self.edges.partition_point(|&edge| edge < value)
    }

    /// Cells joined into at most `groups` of about equal reference mass: for each cell the number of its group.
    #[must_use]
    pub fn groups(&self, reference: &[u64], groups: usize) -> Vec<usize> {
        let total: u64 = reference.iter().sum();
        let mut group = 0;
        let mut before = 0_u64;
        let mut of_cell = Vec::with_capacity(reference.len());
        for &count in reference {
            of_cell.push(group);
            before += count;
            let share = before as f64 / total.max(1) as f64;
            // A group is full when the mass so far reaches its upper quantile.
            if share >= (group + 1) as f64 / groups as f64 - 1e-12 && group + 1 < groups {
                group = (((share * groups as f64) + 1e-9).floor() as usize).clamp(group + 1, groups - 1);
            }
        }
        of_cell
    }
}

impl CellCounts {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        for (own, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *own += theirs;
        }
        self.below += other.below;
        self.above += other.above;
        self.below_distance = (self.below_distance + other.below_distance).min(f64::MAX);
        self.above_distance = (self.above_distance + other.above_distance).min(f64::MAX);
    }

    /// Values.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.below + self.above
    }
}
