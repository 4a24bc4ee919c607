//! Do numeric features go together as they did? One detector for all pairs of a reference. It must not know single features.
//!
//! It looks at each pane by itself, and at all since the last of every eight: a pair takes two numbers.

use acgs_reference::{
    pairs::{PairCounts, Pairs, correlation},
    variation::factor_at,
};
use acgs_statistics::{
    evidence::ln_mean_exp,
    shares::{Trials, ln_share_moved},
};
use serde::{Deserialize, Serialize};

/// Looks after which what was gathered begins anew.
const GATHERED_LOOKS: u64 = 8;
/// Pairs that are named.
const NAMED_MAX: usize = 16;

/// What has come of all pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Together {
    same: Vec<f64>,
    both: Vec<f64>,
}

/// A pair that does not go together as it did.
#[derive(Clone, Debug, PartialEq)]
pub struct PairDrift {
    /// Numbers of its features.
    pub features: (usize, usize),
    /// Correlation in the reference, as that of normal variables.
    pub then: f64,
    /// Now.
    pub now: f64,
}

impl PairDrift {
    /// How far it has moved, in tolerances.
    #[must_use]
    pub fn in_tolerances(&self, tolerance: f64) -> f64 {
        (self.now - self.then).abs() / tolerance
    }
}

impl Together {
    /// Takes a look, the number `place` of all; the logarithm of the evidence over all pairs, and the pairs that have the most.
    pub(crate) fn look(
        &mut self,
        place: u64,
        pairs: &Pairs,
        counts: &PairCounts,
        tolerated_rows: f64,
    ) -> (f64, Vec<usize>) {
        if self.same.len() != pairs.len() || place.is_multiple_of(GATHERED_LOOKS) {
            self.same = vec![0.0; pairs.len()];
            self.both = vec![0.0; pairs.len()];
        }
        let factor_then = pairs.variation.last().map_or(1.0, |longest| longest.factor);
        let mut found: Vec<(f64, usize)> = Vec::with_capacity(pairs.len());
        for pair in 0..pairs.len() {
            let rows = counts.both[pair] as f64;
            let worth = if rows > 0.0 { 1.0 / factor_at(&pairs.variation, rows) } else { 0.0 };
            let (same, both) = (counts.same[pair] as f64 * worth, rows * worth);
            self.same[pair] += same;
            self.both[pair] += both;
            let then = (pairs.counts.both[pair] as f64 / factor_then).max(1.0);
            let concentration = 1.0 / (1.0 / then + 1.0 / tolerated_rows);
            let share = pairs.share(pair);
            let ln = |hits: f64, count: f64| ln_share_moved(hits, Trials { count, concentration }, share);
            let here = ln_mean_exp(&[ln(same, both), ln(self.same[pair], self.both[pair])]);
            found.push((here, pair));
        }
        let ln = ln_mean_exp(&found.iter().map(|(ln, _)| *ln).collect::<Vec<f64>>());
        found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let most = found.first().map_or(f64::NEG_INFINITY, |(ln, _)| *ln);
        // Those that have as much as the first, but for what chance may take of it.
        let named = found.iter().take(NAMED_MAX).take_while(|(ln, _)| *ln > most / 2.0 && *ln > 0.0);
        (ln, named.map(|(_, pair)| *pair).collect())
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.same.clear();
        self.both.clear();
    }

    /// Whether what came back from outside is of so many pairs.
    pub(crate) fn fits(&self, pairs: usize) -> bool {
        self.same.len() == self.both.len() && (self.same.is_empty() || self.same.len() == pairs)
    }
}

/// How a pair goes together, then and now; `None` without rows.
pub(crate) fn measure(pairs: &Pairs, pair: usize, counts: &PairCounts) -> Option<PairDrift> {
    let features = pairs.names().nth(pair)?;
    let (same, both) = (*counts.same.get(pair)?, *counts.both.get(pair)?);
    let now = (both > 0).then(|| same as f64 / both as f64)?;
    Some(PairDrift { features, then: correlation(pairs.share(pair)), now: correlation(now) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Pairs {
        Pairs {
            features: vec![0, 1, 2],
            medians: vec![0.0; 3],
            counts: PairCounts { same: vec![5_000, 9_000, 5_000], both: vec![10_000; 3] },
            variation: Vec::new(),
        }
    }

    #[test]
    fn a_pair_that_comes_to_go_together_is_named_and_others_are_not() {
        let (pairs, mut together) = (pairs(), Together::default());
        let still = PairCounts { same: vec![510, 895, 488], both: vec![1_000; 3] };
        for place in 1..20 {
            let (ln, _) = together.look(place, &pairs, &still, 8_000.0);
            assert!(ln < 2.0, "{place}: {ln}");
        }
        let moved = PairCounts { same: vec![900, 895, 488], both: vec![1_000; 3] };
        let (ln, named) = together.look(20, &pairs, &moved, 8_000.0);
        assert!(ln > 100.0 && named == [0], "{ln} {named:?}");
        let drift = measure(&pairs, 0, &moved).unwrap();
        assert!(drift.then.abs() < 0.01 && drift.now > 0.9 && drift.features == (0, 1));
        assert!(drift.in_tolerances(0.1) > 9.0);
        assert_eq!(measure(&pairs, 0, &PairCounts::new(3)), None, "no rows");
    }
}
