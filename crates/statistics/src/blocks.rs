//! Evidence from blocks of time: what hangs together inside a block (a burst, a pause, a noisy neighbour) is one draw, not as many as it has
//! calls. It must not know what is counted, or how long a block is.
//!
//! Two e-processes, of which the weaker counts: that shares of hits lie above a bound (the likelihood ratio of a coin, which is linear in the
//! share and so evidence for any distribution of shares with at most that mean), and that one side has the higher share more often than the
//! other, ties left out. What reaches from block to block is weighed by their correlation (Bartlett, JRSS Supplement 8, 1946).

use serde::{Deserialize, Serialize};

use crate::evidence::{ODDS_RATIOS, ln_above, ln_mean_exp};

/// The share of the blocks since the beginning in what may be wrong; the rest is that of stretches.
const WHOLE_PART: f64 = 0.75;
/// Blocks of a stretch.
const STRETCH: u64 = 60;
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

/// Logarithms of evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// That the candidate is above the bound, and worse than the baseline.
    pub worse: f64,
    /// That it is above the bound.
    pub alone: f64,
    /// That it is better than the baseline.
    pub better: f64,
}

impl Evidence {
    /// The larger of each, the second at a price.
    fn or(self, other: Self, price: f64) -> Self {
        Self {
            worse: self.worse.max(other.worse - price),
            alone: self.alone.max(other.alone - price),
            better: self.better.max(other.better - price),
        }
    }
}

/// What blocks have found, and all that has to be kept of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// Mean of the baseline's shares.
    pub baseline_mean: f64,
    /// The most that a stretch of blocks alone has found, at its price.
    pub stretch: Evidence,
    /// Stretches that have begun.
    pub stretches: u64,
}

impl Found {
    fn whole(&self) -> Evidence {
        let weighed = |ln: f64| if ln > 0.0 { ln / self.together.max(1.0) } else { ln };
        Evidence {
            worse: weighed(self.ln_above.min(ln_above(self.worse, self.better, 0.5))),
            alone: weighed(self.ln_above),
            better: weighed(ln_above(self.better, self.worse, 0.5)),
        }
    }

    /// All that was found: from the beginning, or in a stretch.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.stretch.or(self.whole(), (1.0 / WHOLE_PART).ln())
    }
}

/// Shares of a run of blocks, and what they are worth.
#[derive(Clone, Debug, Default, PartialEq)]
struct Run {
    above: [f64; ODDS_RATIOS.len()],
    worse: u64,
    better: u64,
    blocks: u64,
    sides: [Series; 2],
}

impl Run {
    fn bet(&mut self, share: f64, bound: f64) {
        self.blocks += 1;
        let odds = bound / (1.0 - bound);
        for (wealth, by) in self.above.iter_mut().zip(ODDS_RATIOS) {
            let more = by * odds / (1.0 + by * odds);
            *wealth += (share * more / bound + (1.0 - share) * (1.0 - more) / (1.0 - bound)).ln();
        }
        self.sides[0].push(share);
    }

    fn compare(&mut self, candidate: f64, baseline: f64) {
        self.worse += u64::from(candidate > baseline);
        self.better += u64::from(baseline > candidate);
    }

    fn found(&self) -> Found {
        Found {
            blocks: self.blocks,
            worse: self.worse,
            better: self.better,
            ln_above: ln_mean_exp(&self.above),
            together: together(&self.sides),
            ..Found::default()
        }
    }
}

/// Blocks as they come. Beside the run from the beginning, which finds what is small, runs of a stretch each begin anew, which find what has
/// changed: to the first a change of level is correlation. Each has its share of what may be wrong, so that together they are evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocks {
    whole: Run,
    /// Two, half a stretch apart: what begins in the middle of one is in most of the other.
    runs: [Run; 2],
    stretches: u64,
    stretch: Evidence,
    /// What was found before a restart.
    before: Found,
}

impl Blocks {
    /// After a restart: a product of evidence is evidence.
    #[must_use]
    pub fn go_on(from: Found) -> Self {
        let above = [from.ln_above; ODDS_RATIOS.len()];
        let whole =
            Run { above, worse: from.worse, better: from.better, blocks: from.blocks, ..Run::default() };
        let Found { stretches, stretch, .. } = from;
        Self { whole, runs: Default::default(), stretches, stretch, before: from }
    }

    /// A block in which both sides had something: their shares, in [0, 1], and the bound, in (0, 1), which was known before it. Shares are
    /// compared as `compared` has them, for sides of about the same number of draws.
    pub fn push(&mut self, shares: (f64, f64), compared: (f64, f64), bound: f64) {
        self.each(|run| {
            run.bet(shares.0, bound);
            run.compare(compared.0, compared.1);
            run.sides[1].push(shares.1);
        });
    }

    /// A block of the candidate alone.
    pub fn push_alone(&mut self, share: f64, bound: f64) {
        self.each(|run| run.bet(share, bound));
    }

    fn each(&mut self, take: impl Fn(&mut Run)) {
        let block = self.whole.sides[0].count;
        take(&mut self.whole);
        for (place, run) in self.runs.iter_mut().enumerate() {
            let offset = place as u64 * STRETCH / 2;
            if block < offset {
                continue;
            }
            if (block - offset).is_multiple_of(STRETCH) {
                self.stretches += 1;
                *run = Run::default();
            }
            take(run);
            // Of what is not the whole's the j-th stretch has 1 / (j (j + 1)).
            let place = self.stretches as f64;
            let price = (place * (place + 1.0) / (1.0 - WHOLE_PART)).ln();
            self.stretch = self.stretch.or(run.found().whole(), price);
        }
    }

    /// What they say.
    #[must_use]
    pub fn found(&self) -> Found {
        let found = self.whole.found();
        let new = self.whole.sides[0].count;
        let [_, baseline] = &self.whole.sides;
        // What was before a restart weighs as many blocks as it had.
        let blend = |before: f64, now: f64, count: u64| {
            let all = (self.before.blocks + count).max(1) as f64;
            (before * self.before.blocks as f64 + now * count as f64) / all
        };
        let mean = if baseline.count > 0 { baseline.sum / baseline.count as f64 } else { 0.0 };
        Found {
            together: blend(self.before.together, found.together, new),
            baseline_mean: blend(self.before.baseline_mean, mean, baseline.count),
            stretch: self.stretch,
            stretches: self.stretches,
            ..found
        }
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
