//! One frequency in blocks of time: the candidate's share beside the baseline's, and alone. It must not know how long a block is.

use acgs_statistics::{
    blocks::{Blocks, Found},
    evidence::{frequency_upper, ln_above},
};
use serde::{Deserialize, Serialize};

/// What a candidate without a baseline beside it may have more than the baseline's bound: hours differ.
const UNPAIRED_SLACK: f64 = 1.5;
/// Confidence of the bound of the baseline that stands in for one that is not beside it.
const UNPAIRED_CONFIDENCE: f64 = 0.999;
/// A block in which one side has had so many draws, and the other none, says nothing of the two.
const ONE_SIDED_MAX: u64 = 32;
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

impl BesideFound {
    /// Logarithm of the evidence that the candidate is better than the baseline.
    #[must_use]
    pub fn ln_better(&self) -> f64 {
        let ln = ln_above(self.paired.better, self.paired.worse, 0.5);
        if ln > 0.0 { ln / self.paired.together.max(1.0) } else { ln }
    }
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
}

fn share((hits, draws): (u64, u64)) -> f64 {
    hits as f64 / draws as f64
}

impl Beside {
    /// After a restart.
    #[must_use]
    pub fn go_on(from: BesideFound) -> Self {
        Self { paired: Blocks::go_on(from.paired), alone: Blocks::go_on(from.alone) }
    }

    /// A block is long enough: what was drawn in it, and what the baseline had in all before it. Where a side has nothing yet, the block
    /// goes on.
    pub fn block(&mut self, drawn: &Drawn, tolerated: f64, baseline_before: (u64, u64)) -> Done {
        let mut done = Done::default();
        let (own, base) = (drawn.candidate, drawn.baseline);
        if own.1 > 0 && base.1 > 0 {
            self.paired.push(share(own), share(base), tolerated);
            done.paired = true;
        } else {
            done.paired = own.1.max(base.1) >= ONE_SIDED_MAX;
        }
        if drawn.alone.1 > 0 {
            let (hits, draws) = baseline_before;
            let upper = frequency_upper(hits, draws, UNPAIRED_CONFIDENCE);
            let bound = if draws == 0 { tolerated } else { tolerated.max(upper * UNPAIRED_SLACK) };
            if bound < 1.0 {
                self.alone.push_alone(share(drawn.alone), bound);
            }
            done.alone = true;
        }
        done
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

    #[test]
    fn a_block_waits_for_both_and_not_for_ever() {
        let mut beside = Beside::default();
        let drawn = |own, base| Drawn { candidate: (0, own), baseline: (0, base), alone: (0, 0) };
        assert_eq!(beside.block(&drawn(3, 0), 0.1, (0, 0)), Done::default());
        assert_eq!(beside.block(&drawn(3, 1), 0.1, (0, 0)), Done { paired: true, alone: false });
        assert!(beside.block(&drawn(0, 32), 0.1, (0, 0)).paired, "a side that is away is no draw");
        assert_eq!(beside.found().paired.blocks, 1);
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
