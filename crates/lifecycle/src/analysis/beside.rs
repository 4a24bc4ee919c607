//! One frequency in blocks of time: the candidate's share beside the baseline's, and alone. It must not know how long a block is.

use acgs_statistics::{
    blocks::{Blocks, Found},
    draws::Draws,
    evidence::frequency_upper,
};
use serde::{Deserialize, Serialize};

/// What a candidate without a baseline beside it may have more than the baseline's bound: hours differ.
const UNPAIRED_SLACK: f64 = 1.5;
/// Confidence of the bound of the baseline that stands in for one that is not beside it.
const UNPAIRED_CONFIDENCE: f64 = 0.999;
/// A block in which one side has had so many draws, and the other none, says nothing of the two.
const ONE_SIDED_MAX: u64 = 32;
/// Sides whose numbers of draws differ by more than so much are compared by as many draws of each.
const UNEQUAL: u64 = 2;
/// Draws before that is said of them.
const DRAWS_MIN: u64 = 64;
/// Draws that are compared then, at most.
const THINNED_MAX: u64 = 10_000;
/// How much more often than it may a baseline is thought to fail, as an odds ratio.
const FAILING_ODDS: f64 = 10.0;

/// What was found, beside a baseline and alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BesideFound {
    /// In blocks in which both ran.
    pub paired: Found,
    /// In blocks of the candidate alone.
    pub alone: Found,
}

/// Hits and draws of each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// The candidate's, with a baseline of the same size beside it.
    pub candidate: (u64, u64),
    /// That baseline's.
    pub baseline: (u64, u64),
    /// The candidate's, without one.
    pub alone: (u64, u64),
}

/// What a frequency is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// What is tolerated of it, with a baseline or without.
    pub tolerated: f64,
    /// The most that a candidate alone may have, however much the baseline had.
    pub alone_max: f64,
    /// Whether one alone is judged where nothing is known of the baseline.
    pub unknown: bool,
}

/// Which parts of a block are done with, and begin anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What is beside one another.
    pub paired: bool,
    /// What is alone.
    pub alone: bool,
}

/// A frequency, block by block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    paired: Blocks,
    alone: Blocks,
    /// Blocks of both.
    blocks: u64,
    /// Draws in them, of the candidate and the baseline.
    draws: (u64, u64),
}

fn share((hits, draws): (u64, u64)) -> f64 {
    // Read while they grow, hits may be a little ahead.
    hits.min(draws) as f64 / draws as f64
}

impl Beside {
    /// After a restart.
    #[must_use]
    pub fn go_on(from: BesideFound) -> Self {
        let (paired, alone) = (Blocks::go_on(from.paired), Blocks::go_on(from.alone));
        Self { paired, alone, blocks: from.paired.blocks, draws: (0, 0) }
    }

    /// A block is long enough: what was drawn in it, and what the baseline had in all before it. Where a side has nothing yet, the block
    /// goes on.
    pub fn block(&mut self, drawn: &Drawn, held: Held, baseline_before: (u64, u64)) -> Done {
        let mut done = Done::default();
        let (own, base) = (drawn.candidate, drawn.baseline);
        if own.1 > 0 && base.1 > 0 {
            let shares = (share(own), share(base));
            self.blocks += 1;
            let few = own.1.min(base.1);
            // Of many draws a share is seldom nothing: where one side always has more, they are compared by as many.
            let compared = match self.is_unequal() {
                true => (share(self.thinned(own, few)), share(self.thinned(base, few))),
                false => shares,
            };
            self.draws = (self.draws.0.saturating_add(own.1), self.draws.1.saturating_add(base.1));
            self.paired.push(shares, compared, held.tolerated);
            done.paired = true;
        } else {
            done.paired = own.1.max(base.1) >= ONE_SIDED_MAX;
        }
        if drawn.alone.1 > 0 {
            let (hits, draws) = baseline_before;
            if draws > 0 || held.unknown {
                // Blocks in which little goes through weigh as much as others, with the baseline too.
                let upper = if draws == 0 { 0.0 } else { frequency_upper(hits, draws, UNPAIRED_CONFIDENCE) };
                let seen = UNPAIRED_SLACK * upper.max(self.paired.found().baseline_mean);
                let bound = held.tolerated.max(seen.min(held.alone_max));
                self.alone.push_alone(share(drawn.alone), bound);
            }
            done.alone = true;
        }
        done
    }

    /// Whether one side has had more draws all along.
    fn is_unequal(&self) -> bool {
        let (own, base) = self.draws;
        own.saturating_add(base) >= DRAWS_MIN && own.max(base) > own.min(base).saturating_mul(UNEQUAL)
    }

    /// As many of these draws, drawn by the number of the block.
    fn thinned(&self, (hits, draws): (u64, u64), wanted: u64) -> (u64, u64) {
        let wanted = wanted.min(THINNED_MAX).min(draws);
        let mut drawn = Draws::new(self.blocks ^ (draws << 32));
        (drawn.hits_without_return((hits.min(draws), draws), wanted), wanted)
    }

    /// What was found so far.
    #[must_use]
    pub fn found(&self) -> BesideFound {
        BesideFound { paired: self.paired.found(), alone: self.alone.found() }
    }
}

/// Evidence that a baseline fails now, after a block in which it had this share of failures (a cumulative sum, Page 1954): failures of an hour
/// ago do not count, and neither does health.
#[must_use]
pub fn failing(before: f64, baseline: (u64, u64), errors_max: f64, enough: f64) -> f64 {
    if baseline.1 == 0 {
        return before;
    }
    let odds = FAILING_ODDS * errors_max / (1.0 - errors_max);
    let more = odds / (1.0 + odds);
    let share = share(baseline);
    let step = (share * more / errors_max + (1.0 - share) * (1.0 - more) / (1.0 - errors_max)).ln();
    (before + step).clamp(0.0, enough + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Held = Held { tolerated: 0.1, alone_max: 0.5, unknown: true };

    #[test]
    fn a_block_waits_for_both_and_not_for_ever() {
        let mut beside = Beside::default();
        let drawn = |own, base| Drawn { candidate: (0, own), baseline: (0, base), alone: (0, 0) };
        assert_eq!(beside.block(&drawn(3, 0), HELD, (0, 0)), Done::default());
        assert_eq!(beside.block(&drawn(3, 1), HELD, (0, 0)), Done { paired: true, alone: false });
        assert!(beside.block(&drawn(0, 32), HELD, (0, 0)).paired, "a side that is away is no draw");
        assert_eq!(beside.found().paired.blocks, 1);
    }

    #[test]
    fn sides_of_very_different_size_are_as_likely_to_be_worse() {
        let (mut beside, mut draws) = (Beside::default(), Draws::new(1));
        let mut draw = |count: u64| (draws.hits(count, 0.03), count);
        for _ in 0..600 {
            let drawn = Drawn { candidate: draw(1_000), baseline: draw(10), alone: (0, 0) };
            beside.block(&drawn, HELD, (0, 0));
        }
        let found = beside.found().paired;
        let (worse, better) = (found.worse as f64, found.better as f64);
        assert!((worse / (worse + better) - 0.5).abs() < 0.1, "{worse} {better}");
    }

    #[test]
    fn a_baseline_that_fails_is_no_measure_and_one_that_nobody_knows_may_be_none() {
        let alone = Drawn { alone: (50, 50), ..Drawn::default() };
        let (mut failing, mut unknown) = (Beside::default(), Beside::default());
        for _ in 0..20 {
            failing.block(&alone, HELD, (900, 1_000));
            unknown.block(&alone, Held { unknown: false, ..HELD }, (0, 0));
        }
        assert!(failing.found().alone.evidence().alone > 1_000_f64.ln());
        assert_eq!(unknown.found().alone.blocks, 0);
    }

    #[test]
    fn a_baseline_that_fails_now_is_found_and_forgiven() {
        let enough = 100_f64.ln();
        let mut found = 0.0;
        for _ in 0..1_000 {
            found = failing(found, (0, 100), 0.10, enough);
        }
        assert!(found.abs() < 1e-9);
        for _ in 0..3 {
            found = failing(found, (100, 100), 0.10, enough);
        }
        assert!(found >= enough, "{found}");
        for _ in 0..10 {
            found = failing(found, (0, 100), 0.10, enough);
        }
        assert!(found < enough, "{found}");
    }
}
