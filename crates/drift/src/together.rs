//! Do numeric features go together as they did? Tests of some rows, and one detector for all pairs of a reference. It must not know single features.
//!
//! The detector looks at each pane by itself, and at all since the last of every eight: a pair takes two numbers.

use acgs_reference::{
    pairs::{PairCounts, Pairs, correlation},
    variation::{factor_among, factor_at},
};
use acgs_statistics::{
    evidence::ln_mean_exp,
    shares::{Trials, ln_share_moved},
};
use serde::{Deserialize, Serialize};

use crate::rate::{Rate, TOLERATED_ROWS};

/// Looks after which what was gathered begins anew.
const GATHERED_LOOKS: u64 = 8;
/// Squared standard errors from which a pair is tested.
const RARE_FROM: f64 = 6.0;
/// Pairs that are named.
const NAMED_MAX: usize = 16;

/// What has come of all pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Together {
    same: Vec<f64>,
    both: Vec<f64>,
    /// Looks that were gathered, and their rows.
    looks: u64,
    rows: f64,
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
        denser: f64,
    ) -> (f64, Vec<usize>) {
        if self.same.len() != pairs.len() || place.is_multiple_of(GATHERED_LOOKS) {
            self.same = vec![0.0; pairs.len()];
            self.both = vec![0.0; pairs.len()];
            (self.looks, self.rows) = (0, 0.0);
        }
        self.looks += 1;
        self.rows += counts.both.iter().max().map_or(0.0, |rows| *rows as f64);
        // Where looks hang together, many are worth less than each of them.
        let factor = |rows: f64| factor_among(&pairs.variation, rows.max(1.0), denser);
        let among = (factor(self.rows / self.looks as f64) / factor(self.rows)).min(1.0);
        let factor_then = |rows: u64| factor_at(&pairs.variation, rows as f64);
        let mut found: Vec<(f64, usize)> = Vec::with_capacity(pairs.len());
        for pair in 0..pairs.len() {
            let rows = counts.both[pair] as f64;
            let worth = if rows > 0.0 { 1.0 / factor(rows) } else { 0.0 };
            let (same, both) = (counts.same[pair] as f64 * worth, rows * worth);
            self.same[pair] += same;
            self.both[pair] += both;
            let then = pairs.counts.both[pair];
            let then = (then as f64 / factor_then(then)).max(1.0);
            let concentration = 1.0 / (1.0 / then + 1.0 / TOLERATED_ROWS);
            let share = pairs.share(pair);
            let ln = |hits: f64, count: f64| ln_share_moved(hits, Trials { count, concentration }, share);
            let all = ln(self.same[pair] * among, self.both[pair] * among);
            let here = ln_mean_exp(&[ln(same, both), all]);
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
        let sums = self.same.len() == self.both.len() && (self.same.is_empty() || self.same.len() == pairs);
        sums && self.looks <= GATHERED_LOOKS && self.rows.is_finite()
    }
}

/// What tests of all pairs said of some rows.
#[derive(Debug)]
pub(crate) struct PairTests {
    /// The chance of the rarest, were it chance; `None` without pairs.
    pub(crate) least_p_value: Option<f64>,
    /// Chances that any of all pairs is so rare, for those that are rare at all.
    rare: Vec<(f64, PairDrift)>,
}

impl PairTests {
    /// Those whose chance survives correction over other units, which raised the least to `adjusted`, and that have moved by more than is
    /// tolerated; those that have moved most first.
    pub(crate) fn moved(self, alpha: f64, adjusted: f64, tolerance: f64) -> Vec<PairDrift> {
        let least = self.least_p_value.unwrap_or(1.0);
        let factor = if least > 0.0 { adjusted / least } else { 1.0 };
        let is_drift = |(p_value, pair): &(f64, PairDrift)| {
            p_value * factor < alpha && pair.in_tolerances(tolerance) > 1.0
        };
        let mut moved: Vec<PairDrift> =
            self.rare.into_iter().filter(is_drift).map(|(_, pair)| pair).collect();
        moved.sort_by(|a, b| b.in_tolerances(tolerance).total_cmp(&a.in_tolerances(tolerance)));
        moved.truncate(NAMED_MAX);
        moved
    }
}

/// Tests of some rows by themselves, by how often each pair is on the same side.
pub(crate) fn tests(pairs: &Pairs, counts: &PairCounts, denser: f64) -> PairTests {
    let factor_then = |rows: u64| factor_at(&pairs.variation, rows as f64);
    let count = pairs.len() as f64;
    let test = |(pair, features): (usize, (usize, usize))| {
        let (rows, same) = (counts.both[pair] as f64, counts.same[pair] as f64);
        let then = pairs.counts.both[pair];
        let (then, share) = (then as f64 / factor_then(then), pairs.share(pair));
        if rows == 0.0 || then < 1.0 {
            return None;
        }
        let worth = rows / factor_among(&pairs.variation, rows, denser);
        let now = same / rows;
        let variance = share * (1.0 - share) * (1.0 / worth + 1.0 / then);
        if (now - share) * (now - share) < RARE_FROM * variance {
            return None;
        }
        let chance = Rate::of(same, worth, rows, share, then).two_sided;
        let drift = PairDrift { features, then: correlation(share), now: correlation(now) };
        Some(((count * chance).min(1.0), drift))
    };
    let rare: Vec<_> = pairs.names().enumerate().filter_map(test).collect();
    let least = rare.iter().map(|(p_value, _)| *p_value).fold(1.0, f64::min);
    PairTests { least_p_value: (!pairs.is_empty()).then_some(least), rare }
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
            let (ln, _) = together.look(place, &pairs, &still, 1.0);
            assert!(ln < 2.0, "{place}: {ln}");
        }
        let moved = PairCounts { same: vec![900, 895, 488], both: vec![1_000; 3] };
        let (ln, named) = together.look(20, &pairs, &moved, 1.0);
        assert!(ln > 100.0 && named == [0], "{ln} {named:?}");
        let drift = measure(&pairs, 0, &moved).unwrap();
        assert!(drift.then.abs() < 0.01 && drift.now > 0.9 && drift.features == (0, 1));
        assert!(drift.in_tolerances(0.1) > 9.0);
        assert_eq!(measure(&pairs, 0, &PairCounts::new(3)), None, "no rows");
    }

    #[test]
    fn rows_by_themselves_tell_a_pair_that_has_moved_and_no_other() {
        let pairs = pairs();
        let moved = |counts: &PairCounts| {
            let tests = tests(&pairs, counts, 1.0);
            let least = tests.least_p_value.unwrap();
            (least, tests.moved(0.05, least, 0.25))
        };
        let (least, none) = moved(&PairCounts { same: vec![510, 895, 488], both: vec![1_000; 3] });
        assert!(least > 0.3 && none.is_empty(), "{least}");
        let (least, found) = moved(&PairCounts { same: vec![900, 895, 488], both: vec![1_000; 3] });
        assert!(least < 1e-6 && found.len() == 1 && found[0].features == (0, 1), "{least} {found:?}");
        // Surely, but by less than is tolerated: a correlation of 0.06.
        let (least, none) = moved(&PairCounts { same: vec![52_000, 90_000, 50_000], both: vec![100_000; 3] });
        assert!(least < 0.05 && none.is_empty(), "{least} {none:?}");
        let (least, none) = moved(&PairCounts::new(3));
        assert!(least > 0.99 && none.is_empty());
        assert_eq!(super::tests(&Pairs::default(), &PairCounts::default(), 1.0).least_p_value, None);
    }
}
