//! Evidence that may be looked at after every observation: e-processes, whose value is at least 1/alpha with probability
//! at most alpha, however often and whenever one looks (Ville's inequality). It must not know what is counted.
//!
//! A likelihood ratio against a fixed alternative is a test martingale, and a mixture of such is one (Robbins 1970;
//! Ramdas, Grunwald, Vovk and Shafer, Statistical Science 38, 2023). For counts it depends on the counts alone, not on their
//! order, so that sums of several observers are as good as one. For bounded values it is a product of bets (Waudby-Smith and
//! Ramdas, JRSS B 86, 2024), whose logarithms add up.

use serde::{Deserialize, Serialize};

/// Odds ratios that are bet on: from a little more to much more.
pub(crate) const ODDS_RATIOS: [f64; 6] = [1.5, 2.0, 3.0, 5.0, 10.0, 40.0];
/// Shares of the largest bet that cannot lose everything.
const STAKES: [f64; 8] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8];

/// The logarithm of the mean of exponentials, without overflow.
#[must_use]
pub fn ln_mean_exp(terms: &[f64]) -> f64 {
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    let sum: f64 = terms.iter().map(|term| (term - most).exp()).sum();
    most + (sum / terms.len() as f64).ln()
}

fn ln_ratio(hits: u64, misses: u64, null: f64, alternative: f64) -> f64 {
    let times = |count: u64, ratio: f64| if count == 0 { 0.0 } else { count as f64 * ratio };
    times(hits, (alternative / null).ln()) + times(misses, (-alternative).ln_1p() - (-null).ln_1p())
}

fn ln_evidence(hits: u64, misses: u64, null: f64, ratio: impl Fn(f64) -> f64) -> f64 {
    let odds = null / (1.0 - null);
    let terms = ODDS_RATIOS.map(|by| {
        let odds = ratio(by) * odds;
        ln_ratio(hits, misses, null, odds / (1.0 + odds))
    });
    ln_mean_exp(&terms)
}

/// The logarithm of the evidence that hits are more frequent than `null`, in (0, 1): against every frequency at most that.
#[must_use]
pub fn ln_above(hits: u64, misses: u64, null: f64) -> f64 {
    ln_evidence(hits, misses, null, |by| by)
}

/// The logarithm of the evidence that hits are less frequent than `null`, in (0, 1): against every frequency at least that.
#[must_use]
pub fn ln_below(hits: u64, misses: u64, null: f64) -> f64 {
    ln_evidence(hits, misses, null, |by| 1.0 / by)
}

/// The logarithm of the mean of two kinds of evidence against the same hypothesis, which is evidence against it.
#[must_use]
pub fn ln_either(one: f64, other: f64) -> f64 {
    ln_mean_exp(&[one, other])
}

/// Bets on the mean of differences in [-1, 1], one after the other: that it is above `tolerated`, and that it is below
/// `unacceptable`. Bets of several observers are added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeanBets {
    /// Differences that were bet on.
    pub draws: u64,
    /// Their sum.
    pub sum: f64,
    /// Logarithms of what each stake on "above" has become.
    above: [f64; STAKES.len()],
    /// Likewise on "below".
    below: [f64; STAKES.len()],
}

impl MeanBets {
    /// Bets on one difference, cut to [-1, 1]; one that is not a number is not bet on. The bounds, within (-1, 1), must be the same
    /// every time.
    pub fn push(&mut self, difference: f64, tolerated: f64, unacceptable: f64) {
        if difference.is_nan() {
            return;
        }
        let difference = difference.clamp(-1.0, 1.0);
        self.draws += 1;
        self.sum += difference;
        for (wealth, stake) in self.above.iter_mut().zip(STAKES) {
            *wealth += (stake / (1.0 + tolerated) * (difference - tolerated)).ln_1p();
        }
        for (wealth, stake) in self.below.iter_mut().zip(STAKES) {
            *wealth += (stake / (1.0 - unacceptable) * (unacceptable - difference)).ln_1p();
        }
    }

    /// The logarithm of the evidence that the mean is above `tolerated`.
    #[must_use]
    pub fn ln_above(&self) -> f64 {
        ln_mean_exp(&self.above)
    }

    /// The logarithm of the evidence that the mean is below `unacceptable`.
    #[must_use]
    pub fn ln_below(&self) -> f64 {
        ln_mean_exp(&self.below)
    }

    /// The mean; 0 without any.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.draws == 0 { 0.0 } else { self.sum / self.draws as f64 }
    }
}

/// The upper bound of a frequency of which `hits` of `draws` were seen, exact (Clopper and Pearson 1934); 1 without any.
#[must_use]
pub fn frequency_upper(hits: u64, draws: u64, confidence: f64) -> f64 {
    use statrs::distribution::{Beta, ContinuousCDF};
    if hits >= draws {
        return 1.0;
    }
    Beta::new((hits + 1) as f64, (draws - hits) as f64).map_or(1.0, |beta| beta.inverse_cdf(confidence))
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
