//! Evidence that a share or a mean score has moved away from where a finite reference has it. It must not know what is counted.
//!
//! Both samples are samples: the reference's share is not taken for the truth but for a beta law about it, whose concentration is the
//! reference's own rows, and a tolerance beside it. Against that stands a mixture of wider laws about the same share. The ratio of the two
//! beta-binomial laws has mean 1 when nothing has moved, over references and samples together: for cells between order statistics of a
//! continuous variable exactly, since their masses are Dirichlet whatever the variable (Wilks 1962); for given categories up to the prior.

use statrs::function::{erf::erfc, gamma::ln_gamma};

use crate::evidence::ln_mean_exp;

/// Concentrations of the laws that are bet on: shares that moved far, and a little.
const MOVED: [f64; 2] = [4.0, 60.0];
/// Pseudo-counts below which such a law would bet on nothing.
const MOVED_LEAST: f64 = 0.3;
/// Standard deviations of the moves of a score that are bet on, in its own standard deviations.
const MOVED_DEVIATIONS: [f64; 2] = [0.1, 0.5];
/// Deviations below which there is no evidence worth its computing: it counts as none, which is never too much.
const WORTH: f64 = 1.5;

/// Rarer hits than that are counted by the exact law.
const NORMAL_FROM: f64 = 100.0;

/// What is the same in all shares of a sample.
#[derive(Clone, Copy, Debug)]
pub struct Trials {
    /// How many, perhaps fewer than rows where rows depend on each other.
    pub count: f64,
    /// Of the law about the reference's share, in rows.
    pub concentration: f64,
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The logarithm of the evidence that a share, whose expectation is `share`, has moved; minus infinity for none.
#[must_use]
pub fn ln_share_moved(hits: f64, trials: Trials, share: f64) -> f64 {
    let (n, share) = (trials.count, share.clamp(1e-12, 1.0 - 1e-12));
    let variance = n * share * (1.0 - share) * (1.0 + n / trials.concentration);
    if (hits - n * share).powi(2) < WORTH * WORTH * variance || n <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let hits = hits.clamp(0.0, n);
    let ln_law = |a: f64, b: f64| ln_beta(a + hits, b + n - hits) - ln_beta(a, b);
    let null = ln_law(trials.concentration * share, trials.concentration * (1.0 - share));
    let moved = |by: f64| ln_law((by * share).max(MOVED_LEAST), (by * (1.0 - share)).max(MOVED_LEAST)) - null;
    ln_mean_exp(&MOVED.map(moved))
}

/// The chance of at least so many hits, and of at most so many, under the beta-binomial law about the reference's share; by the normal law where
/// that is close.
#[must_use]
pub fn share_tails(hits: f64, trials: Trials, share: f64) -> (f64, f64) {
    let (n, share) = (trials.count.round(), share.clamp(1e-12, 1.0 - 1e-12));
    let (hits, mean) = (hits.round().clamp(0.0, n), n * share);
    let variance = mean * (1.0 - share) * (1.0 + n / trials.concentration);
    if n < 1.0 {
        return (1.0, 1.0);
    }
    if mean.min(n - mean) > NORMAL_FROM {
        let tail = |distance: f64| erfc((distance - 0.5) / (2.0 * variance).sqrt()) / 2.0;
        return (tail(hits - mean), tail(mean - hits));
    }
    // Of hits and misses, the rarer; away from the mean, so that small tails are sums of small terms.
    let rare_hits = mean <= n - mean;
    let (rare, share) = if rare_hits { (hits, share) } else { (n - hits, 1.0 - share) };
    let (a, b) = (trials.concentration * share, trials.concentration * (1.0 - share));
    let ln_choose = ln_gamma(n + 1.0) - ln_gamma(rare + 1.0) - ln_gamma(n - rare + 1.0);
    let here = (ln_choose + ln_beta(a + rare, b + n - rare) - ln_beta(a, b)).exp();
    let is_upper = rare > n * share;
    let (mut tail, mut term, mut at) = (here, here, rare);
    while term > tail * 1e-12 {
        if is_upper {
            term *= (n - at) * (a + at) / ((at + 1.0) * (b + n - at - 1.0));
            at += 1.0;
        } else if at > 0.0 {
            term *= at * (b + n - at) / ((n - at + 1.0) * (a + at - 1.0));
            at -= 1.0;
        } else {
            break;
        }
        tail += term;
    }
    let (tail, other) = (tail.min(1.0), (1.0 - tail + here).clamp(0.0, 1.0));
    let (upper, lower) = if is_upper { (tail, other) } else { (other, tail) };
    if rare_hits { (upper, lower) } else { (lower, upper) }
}

/// The logarithm of the evidence that the mean of a score has moved. `deviation` is the sum of scores less its expectation, `proxy` of
/// [`proxy_variance`]: a normal mixture of exponential supermartingales (Robbins 1970), to which the reference's own error is added.
#[must_use]
pub fn ln_score_moved(deviation: f64, trials: Trials, proxy: f64) -> f64 {
    let variance = trials.count * proxy * (1.0 + trials.count / trials.concentration);
    if variance <= 0.0 || deviation * deviation < WORTH * WORTH * variance {
        return f64::NEG_INFINITY;
    }
    let ln = |deviations: f64| {
        let rate = deviations * deviations / proxy;
        let grown = 1.0 + rate * variance;
        rate * deviation * deviation / (2.0 * grown) - grown.ln() / 2.0
    };
    ln_mean_exp(&MOVED_DEVIATIONS.map(ln))
}

/// The least variance of a normal law whose exponential moments are at least a score's: its sub-Gaussian proxy. 0 for a constant.
#[must_use]
pub fn proxy_variance(scores: &[f64], shares: &[f64]) -> f64 {
    let mean: f64 = scores.iter().zip(shares).map(|(score, share)| score * share).sum();
    let range = scores.iter().fold(0.0, |most: f64, score| most.max((score - mean).abs()));
    if range <= 0.0 {
        return 0.0;
    }
    let variance: f64 = scores.iter().zip(shares).map(|(score, share)| share * (score - mean).powi(2)).sum();
    let at = |rate: f64| {
        let moment: f64 =
            scores.iter().zip(shares).map(|(score, share)| share * (rate * (score - mean)).exp()).sum();
        2.0 * moment.ln() / (rate * rate)
    };
    let rates = (1..=32).map(|step| 0.3 * f64::from(step) / range);
    rates.flat_map(|rate| [at(rate), at(-rate)]).fold(variance, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_mean_is_one_over_references_and_samples() {
        // Exact sums over both laws: the reference's share is beta, the sample binomial.
        for (share, concentration, n) in [(0.1, 200.0, 50_u32), (0.5, 2_000.0, 200), (0.003, 500.0, 80)] {
            let trials = Trials { count: f64::from(n), concentration };
            let ln_choose = |hits: u32| {
                let of = |count: u32| ln_gamma(f64::from(count) + 1.0);
                of(n) - of(hits) - of(n - hits)
            };
            let (a, b) = (concentration * share, concentration * (1.0 - share));
            let mean: f64 = (0..=n)
                .map(|hits| {
                    let law = ln_choose(hits) + ln_beta(a + f64::from(hits), b + f64::from(n - hits))
                        - ln_beta(a, b);
                    (law + ln_share_moved(f64::from(hits), trials, share)).exp()
                })
                .sum();
            assert!(mean <= 1.0 + 1e-9 && mean > 0.1, "{share} {n}: {mean}");
        }
    }

    #[test]
    fn a_reference_that_is_small_knows_less() {
        let with = |concentration| ln_share_moved(330.0, Trials { count: 1_000.0, concentration }, 0.25);
        assert!(with(1e6) > 10.0 && with(300.0) < 2.0, "{} {}", with(1e6), with(300.0));
        let score =
            |concentration| ln_score_moved(60.0, Trials { count: 1_000.0, concentration }, 1.0 / 12.0);
        assert!(score(1e6) > 15.0 && score(300.0) < 4.0);
    }

    #[test]
    fn what_vanishes_and_what_comes_is_evident() {
        let trials = Trials { count: 1_000.0, concentration: 4_000.0 };
        for (hits, share) in [(1_000.0, 1e-4), (0.0, 0.3), (50.0, 1e-4), (1_000.0, 0.5)] {
            assert!(ln_share_moved(hits, trials, share) > 30.0, "{hits} of {share}");
        }
        assert!(ln_share_moved(0.0, trials, 1e-4).is_infinite());
    }

    #[test]
    fn tails_are_those_of_the_law() {
        // scipy.stats.betabinom(100, 0.5, 100.5).sf(6) and .cdf(0).
        let trials = Trials { count: 100.0, concentration: 101.0 };
        let (upper, lower) = share_tails(7.0, trials, 0.5 / 101.0);
        assert!((upper / 0.001_933_800_386_844_653 - 1.0).abs() < 1e-9 && lower > 0.99, "{upper}");
        let (upper, lower) = share_tails(0.0, trials, 0.5 / 101.0);
        assert!(
            (lower / 0.707_548_857_835_894_7 - 1.0).abs() < 1e-9 && (upper - 1.0).abs() < 1e-12,
            "{lower}"
        );
        // All are hits, and the same the other way round.
        let (all, _) = share_tails(50.0, Trials { count: 50.0, concentration: 1e6 }, 0.5);
        assert!((all / 0.5_f64.powi(50) - 1.0).abs() < 0.01, "{all}");
        let (up, down) = share_tails(620.0, Trials { count: 1_000.0, concentration: 1e9 }, 0.5);
        assert!(up < 1e-13 && down > 0.999, "{up}");
    }

    #[test]
    fn a_proxy_is_no_smaller_than_the_variance_and_that_of_bits_is_known() {
        let tenths: Vec<f64> = (0..10).map(f64::from).collect();
        let uniform = proxy_variance(&tenths, &[0.1; 10]);
        assert!((uniform - 8.25).abs() < 1e-6, "strictly sub-Gaussian: {uniform}");
        // Kearns and Saul (1998).
        let share: f64 = 0.05;
        let known = (1.0 - 2.0 * share) / (2.0 * ((1.0 - share) / share).ln());
        let found = proxy_variance(&[0.0, 1.0], &[1.0 - share, share]);
        assert!((found - known).abs() < 1e-3 && found <= known + 1e-9, "{found} {known}");
        assert!(proxy_variance(&[3.0, 3.0], &[0.5, 0.5]).abs() < 1e-12);
    }
}
