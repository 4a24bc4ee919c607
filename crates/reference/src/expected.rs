//! What a reference says is to be expected of a sample, phase by phase. It must not know what the outcomes are.

use crate::unseen::UNSURE;

/// Rows of the whole that a phase is given, so that one of few rows is not taken for its few.
const SHRUNK_BY: f64 = 2.0;

/// What is expected of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Shares of the rows that have a value.
    pub shares: Vec<f64>,
    /// The share of nulls.
    pub null_share: f64,
    /// Rows of the reference that say so, as many as count.
    pub reference_rows: f64,
}

impl Expected {
    /// Of the reference's rows, those that have a value.
    #[must_use]
    pub fn present_rows(&self) -> f64 {
        present(self.reference_rows, self.null_share)
    }
}

/// Rows that have a value, at least one.
pub(crate) fn present(rows: f64, null_share: f64) -> f64 {
    (rows * (1.0 - null_share)).max(1.0)
}

/// A phase of a season.
pub(crate) struct Phase {
    /// Shares of rows that have a value.
    pub(crate) shares: Vec<f64>,
    /// Of nulls.
    pub(crate) null: f64,
    /// Rows, as many as count.
    pub(crate) rows: f64,
}

/// A phase's shares, from its counts by outcome with nulls last, and what may be expected of each beside them in the whole reference: each phase
/// has its part of that, so that phases together expect no more than the whole.
pub(crate) fn phase(counts: &[u64], unsure: &[f64], overall: &[f64], null: f64, part: f64) -> Phase {
    let nulls = counts.last().copied().unwrap_or(0) as f64;
    let of = &counts[..counts.len().saturating_sub(1)];
    let present: f64 = of.iter().map(|count| *count as f64).sum();
    let all = present + part * unsure.iter().sum::<f64>() + SHRUNK_BY;
    let share = |((count, unsure), overall): ((&u64, &f64), &f64)| {
        (*count as f64 + part * unsure + SHRUNK_BY * overall) / all
    };
    Phase {
        shares: of.iter().zip(unsure).zip(overall).map(share).collect(),
        null: (nulls + part * UNSURE + SHRUNK_BY * null)
            / (present + nulls + 2.0 * part * UNSURE + SHRUNK_BY),
        rows: present + nulls + SHRUNK_BY,
    }
}

/// Shares of several, by weight.
pub(crate) fn mean(shares: &[Vec<f64>], weights: &[f64], len: usize) -> Vec<f64> {
    let all: f64 = weights.iter().sum();
    let mut mean = vec![0.0; len];
    for (shares, weight) in shares.iter().zip(weights) {
        mean.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share * weight / all);
    }
    mean
}

/// One number of several, by weight.
pub(crate) fn weighted(values: &[f64], weights: &[f64]) -> f64 {
    let all: f64 = weights.iter().sum();
    values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>() / all
}
