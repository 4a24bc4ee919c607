//! Do two numeric features go together? How often both lie on the same side of their medians. It must not know rows, nor what change of that
//! matters.

use serde::{Deserialize, Serialize};

use crate::variation::Variation;

/// Numeric features whose pairs are counted; of more, the first in the schema's order.
pub const FEATURES_MAX: usize = 64;

/// Pairs of a reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Numbers of the features, ascending.
    pub features: Vec<usize>,
    /// Medians that sides are told by.
    pub medians: Vec<f64>,
    /// Rows of each pair, first by first.
    pub counts: PairCounts,
    /// How much more the side that pairs are on varies than that of independent rows.
    pub variation: Vec<Variation>,
}

/// Rows by pair: those on the same side, and all that have both values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PairCounts {
    /// Rows on the same side of both medians.
    pub same: Vec<u64>,
    /// Rows with both values.
    pub both: Vec<u64>,
}

impl Pairs {
    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.features.len() * self.features.len().saturating_sub(1) / 2
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The features of each pair, by their numbers.
    pub fn names(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.features
            .iter()
            .enumerate()
            .flat_map(|(at, first)| self.features[at + 1..].iter().map(move |second| (*first, *second)))
    }

    /// The share of rows on the same side, for each pair; a half where nothing is known.
    #[must_use]
    pub fn share(&self, pair: usize) -> f64 {
        (self.counts.same[pair] as f64 + 0.5) / (self.counts.both[pair] as f64 + 1.0)
    }
}

impl PairCounts {
    /// Without rows.
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        Self { same: vec![0; pairs], both: vec![0; pairs] }
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.same.iter_mut().zip(&other.same).for_each(|(own, theirs)| *own += theirs);
        self.both.iter_mut().zip(&other.both).for_each(|(own, theirs)| *own += theirs);
    }

    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        (self.same.capacity() + self.both.capacity()) * size_of::<u64>()
    }
}

/// The correlation of a normal pair that is on the same side so often (Sheppard 1899).
#[must_use]
pub fn correlation(same_share: f64) -> f64 {
    (std::f64::consts::PI * (same_share - 0.5)).sin()
}
