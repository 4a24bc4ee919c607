//! Evidence from blocks of time: what hangs together inside a block (a burst, a pause, a noisy neighbour) is one draw, not as many as it has
//! calls. It must not know what is counted, or how long a block is.
//!
//! Two e-processes, of which the weaker counts: that shares of hits lie above a bound (the likelihood ratio of a coin, which is linear in the
//! share and so evidence for any distribution of shares with at most that mean), and that one side has the higher share more often than the
//! other, ties left out. What reaches from block to block is weighed by their correlation (Bartlett, JRSS Supplement 8, 1946).

use serde::{Deserialize, Serialize};

use crate::evidence::{ODDS_RATIOS, ln_above, ln_mean_exp};

/// Blocks before their correlation is looked at.
const CORRELATED_MIN: u64 = 4;
/// A correlation beyond this says that nothing can be said.
const CORRELATION_MAX: f64 = 0.9;

/// Shares of one side, block by block: enough of them to know how neighbours hang together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Series {
    count: u64,
    first: f64,
    last: f64,
    sum: f64,
    squares: f64,
    products: f64,
}

impl Series {
    fn push(&mut self, share: f64) {
        if self.count == 0 {
            self.first = share;
        } else {
            self.products += share * self.last;
        }
        (self.count, self.last) = (self.count + 1, share);
        self.sum += share;
        self.squares += share * share;
    }

    /// Variance, and covariance of neighbours.
    fn spread(&self) -> (f64, f64) {
        let count = self.count as f64;
        let mean = self.sum / count;
        let ends = 2.0 * self.sum - self.first - self.last;
        let variance = (self.squares / count - mean * mean).max(0.0);
        (variance, (self.products - mean * ends) / (count - 1.0) + mean * mean)
    }
}

/// So many neighbouring blocks say no more than one that stands alone.
fn together(sides: &[Series; 2]) -> f64 {
    let count = sides[0].count;
    if count < CORRELATED_MIN {
        return 1.0;
    }
    let known = sides.iter().filter(|side| side.count > 1).map(Series::spread);
    let (variance, covariance) = known.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    if variance < 1e-12 {
        return 1.0;
    }
    // A short series looks less correlated than it is.
    let correlation = (covariance / variance + 1.0 / count as f64).clamp(0.0, CORRELATION_MAX);
    (1.0 + correlation) / (1.0 - correlation)
}

/// What blocks have found, and all that has to be kept of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Blocks in which there was something to look at.
    pub blocks: u64,
    /// In which the candidate had the higher share.
    pub worse: u64,
    /// In which the baseline had.
    pub better: u64,
    /// Logarithm of the evidence that the candidate's share lies above the bound.
    pub ln_above: f64,
    /// So many neighbouring blocks say no more than one.
    pub together: f64,
}

impl Found {
    fn weighed(&self, ln_evidence: f64) -> f64 {
        if ln_evidence > 0.0 { ln_evidence / self.together.max(1.0) } else { ln_evidence }
    }

    /// Logarithm of the evidence that the candidate is above the bound, and worse than the baseline.
    #[must_use]
    pub fn ln_worse(&self) -> f64 {
        self.weighed(self.ln_above.min(ln_above(self.worse, self.better, 0.5)))
    }

    /// Logarithm of the evidence that it is above the bound, where there is no baseline beside it.
    #[must_use]
    pub fn ln_alone(&self) -> f64 {
        self.weighed(self.ln_above)
    }
}

/// Blocks as they come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocks {
    above: [f64; ODDS_RATIOS.len()],
    worse: u64,
    better: u64,
    blocks: u64,
    sides: [Series; 2],
    /// At least what was found before a restart.
    together: f64,
}

impl Blocks {
    /// After a restart: a product of evidence is evidence.
    #[must_use]
    pub fn go_on(from: Found) -> Self {
        Self {
            above: [from.ln_above; ODDS_RATIOS.len()],
            worse: from.worse,
            better: from.better,
            blocks: from.blocks,
            sides: Default::default(),
            together: from.together,
        }
    }

    /// A block in which both sides had something: their shares, in [0, 1], and the bound, in (0, 1), which was known before it.
    pub fn push(&mut self, candidate: f64, baseline: f64, bound: f64) {
        self.bet(candidate, bound);
        self.worse += u64::from(candidate > baseline);
        self.better += u64::from(baseline > candidate);
        self.sides[1].push(baseline);
    }

    /// A block of the candidate alone.
    pub fn push_alone(&mut self, share: f64, bound: f64) {
        self.bet(share, bound);
    }

    fn bet(&mut self, share: f64, bound: f64) {
        self.blocks += 1;
        let odds = bound / (1.0 - bound);
        for (wealth, by) in self.above.iter_mut().zip(ODDS_RATIOS) {
            let more = by * odds / (1.0 + by * odds);
            *wealth += (share * more / bound + (1.0 - share) * (1.0 - more) / (1.0 - bound)).ln();
        }
        self.sides[0].push(share);
    }

    /// What they say.
    #[must_use]
    pub fn found(&self) -> Found {
        Found {
            blocks: self.blocks,
            worse: self.worse,
            better: self.better,
            ln_above: ln_mean_exp(&self.above),
            together: together(&self.sides).max(self.together),
        }
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
