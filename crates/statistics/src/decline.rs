//! Evidence that losses have come to be larger than a bound on average, or that classes are told apart less well than a bound, looked at after
//! every batch. It must not know what the losses are of.
//!
//! A loss is never negative, so that its relative excess Y = (loss - bound) / bound is at least -1, and exp(b Y - (-ln(1 - b) - b) Y^2) has mean
//! at most 1 for every b in [0, 1) while the mean of Y is at most 0, whatever the law of large losses (Fan, Grama and Liu, Electronic Journal of
//! Probability 20, 2015, Lemma 4.1). A mixture over b needs sums of Y and of its squares alone. The area under the ROC curve is asymptotically
//! normal; its shortfalls are bet on by their variance at the bound. Evidence is summed over starts (the e-detector of Shiryaev and Roberts: Shin,
//! Ramdas and Rinaldo, NEJSDS 2024), which the grid of [`crate::detector`] keeps few: while nothing declines, the sum has mean at most the number
//! of looks, so that an alarm at N is to be expected no sooner than after N looks.

use serde::{Deserialize, Serialize};

use crate::{
    detector::{STARTS, is_kept},
    evidence::ln_mean_exp,
};

/// Bets on losses: the largest is half of what may not be lost, each further a third of the one before.
const BETS: usize = 6;
const BET_MAX: f64 = 0.5;
/// Shortfalls of the area that are bet on.
const SHORTFALLS: [f64; 4] = [0.02, 0.05, 0.1, 0.2];

/// Sums of relative excesses of losses over a bound, and of their squares; rows that depend on each other count by what they are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Excess {
    /// Sum.
    pub sum: f64,
    /// Sum of squares.
    pub squares: f64,
}

impl Excess {
    /// Of so many losses with this mean and population variance, over a bound above 0.
    #[must_use]
    pub fn new(count: f64, mean: f64, variance: f64, bound: f64) -> Self {
        let excess = (mean - bound) / bound;
        Self { sum: count * excess, squares: count * (variance / (bound * bound) + excess * excess) }
    }

    /// The same of rows that are worth less.
    #[must_use]
    pub fn times(self, worth: f64) -> Self {
        Self { sum: self.sum * worth, squares: self.squares * worth }
    }

    fn ln_evidence(self) -> f64 {
        let mut next = BET_MAX;
        let terms: [f64; BETS] = std::array::from_fn(|_| {
            let bet = next;
            next /= 3.0;
            bet * self.sum - (-(-bet).ln_1p() - bet) * self.squares
        });
        ln_mean_exp(&terms)
    }
}

/// Shortfalls of areas below a bound, each weighted by the inverse of its variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shortfall {
    /// Sum of shortfalls by their variances.
    pub sum: f64,
    /// Sum of inverse variances.
    pub weight: f64,
}

impl Shortfall {
    /// Of one area with a standard error.
    #[must_use]
    pub fn new(area: f64, bound: f64, standard_error: f64) -> Self {
        let weight = if standard_error > 0.0 { 1.0 / (standard_error * standard_error) } else { 0.0 };
        Self { sum: (bound - area) * weight, weight }
    }

    /// The same of rows that are worth less.
    #[must_use]
    pub fn times(self, worth: f64) -> Self {
        Self { sum: self.sum * worth, weight: self.weight * worth }
    }

    fn ln_evidence(self) -> f64 {
        if self.weight <= 0.0 {
            return f64::NEG_INFINITY;
        }
        ln_mean_exp(&SHORTFALLS.map(|by| by * self.sum - by * by * self.weight / 2.0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Start {
    at: u64,
    rows: f64,
    excess: Excess,
    shortfall: Shortfall,
}

/// The detector of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decline {
    starts: Vec<Start>,
}

/// The logarithm of the evidence summed over starts, minus infinity for none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LnEvidence {
    /// That losses are larger.
    pub loss: f64,
    /// That classes are told apart less well.
    pub ranking: f64,
}

impl LnEvidence {
    /// Their mean, which is that against both being as they were.
    #[must_use]
    pub fn both(self) -> f64 {
        ln_mean_exp(&[self.loss, self.ranking])
    }
}

impl Decline {
    /// Takes a look of so many rows, the number `place` from 1 of all looks, also those before the detector was cleared.
    pub fn push(&mut self, place: u64, rows: f64, excess: Excess, shortfall: Shortfall) {
        self.starts.retain(|start| is_kept(start.at, place));
        self.starts.push(Start {
            at: place,
            rows: 0.0,
            excess: Excess::default(),
            shortfall: Shortfall::default(),
        });
        for start in &mut self.starts {
            start.rows += rows;
            start.excess.sum += excess.sum;
            start.excess.squares += excess.squares;
            start.shortfall.sum += shortfall.sum;
            start.shortfall.weight += shortfall.weight;
        }
    }

    /// What it has come to. `factors` are the design effects of so many rows in a row, of losses and of ranks: where looks hang together, many are
    /// worth less than each.
    #[must_use]
    pub fn ln_evidence(&self, factors: impl Fn(f64) -> (f64, f64)) -> LnEvidence {
        let place = self.starts.last().map_or(0, |start| start.at);
        let worth = |start: &Start| {
            let looks = (place - start.at + 1) as f64;
            let (each, all) = (factors(start.rows / looks), factors(start.rows));
            ((each.0 / all.0).min(1.0), (each.1 / all.1).min(1.0))
        };
        let sum = |of: &dyn Fn(&Start) -> f64| {
            let mut terms = [f64::NEG_INFINITY; STARTS];
            terms.iter_mut().zip(&self.starts).for_each(|(term, start)| *term = of(start));
            ln_mean_exp(&terms) + (STARTS as f64).ln()
        };
        LnEvidence {
            loss: sum(&|start| start.excess.times(worth(start).0).ln_evidence()),
            ranking: sum(&|start| start.shortfall.times(worth(start).1).ln_evidence()),
        }
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.starts.clear();
    }

    /// Whether what came back from outside, after so many looks, is what pushing could have made.
    #[must_use]
    pub fn fits(&self, looks: u64) -> bool {
        let ascend = self.starts.is_sorted_by(|a, b| a.at < b.at)
            && self.starts.last().is_none_or(|last| last.at <= looks);
        let is_sound = |start: &Start| {
            let sums = [start.excess.sum, start.shortfall.sum];
            let weights = [start.rows, start.excess.squares, start.shortfall.weight];
            sums.iter().chain(&weights).all(|sum| sum.is_finite()) && weights.iter().all(|sum| *sum >= 0.0)
        };
        self.starts.len() <= STARTS && ascend && self.starts.iter().all(is_sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{draws::Draws, moments::Moments};

    #[test]
    fn its_mean_is_at_most_one_whatever_the_tails_of_losses() {
        // A loss that is 0 or large, exactly: chances that keep the mean at the bound.
        for (large, bound) in [(1.0_f64, 0.5_f64), (1.0, 0.01), (100.0, 0.3)] {
            let chance = bound / large;
            for rows in [1_u32, 7, 40] {
                let ln_choose = |hits: u32| {
                    let of = |count: u32| statrs::function::gamma::ln_gamma(f64::from(count) + 1.0);
                    of(rows) - of(hits) - of(rows - hits)
                };
                let mean: f64 = (0..=rows)
                    .map(|hits| {
                        let (hit, missed) = (f64::from(hits), f64::from(rows - hits));
                        let law = ln_choose(hits) + hit * chance.ln() + missed * (-chance).ln_1p();
                        let share = hit / f64::from(rows);
                        let variance = large * large * share * (1.0 - share);
                        let excess = Excess::new(f64::from(rows), large * share, variance, bound);
                        (law + excess.ln_evidence()).exp()
                    })
                    .sum();
                assert!(mean <= 1.0 + 1e-9 && mean > 0.3, "{large} {bound} {rows}: {mean}");
            }
        }
    }

    #[test]
    fn a_rise_is_evident_soon_and_a_good_time_before_does_not_hide_it() {
        let mut draws = Draws::new(5);
        let mut decline = Decline::default();
        let mut look = |place: u64, rate: f64, area: f64, decline: &mut Decline| {
            let losses: Vec<f64> = (0..500).map(|_| f64::from(u8::from(draws.unit() < rate))).collect();
            let mut moments = Moments::default();
            moments.push_slice(&losses);
            let mean = moments.mean().unwrap();
            let excess = Excess::new(500.0, mean, mean * (1.0 - mean), 0.1);
            decline.push(place, 500.0, excess, Shortfall::new(area, 0.75, 0.03));
            decline.ln_evidence(|_| (1.0, 1.0))
        };
        for place in 1..=300 {
            let found = look(place, 0.08, 0.8, &mut decline);
            assert!(found.both() < 5.0, "{place}: {found:?}");
        }
        look(301, 0.2, 0.8, &mut decline);
        let risen = look(302, 0.2, 0.8, &mut decline);
        assert!(risen.loss > 15.0 && risen.ranking < 2.0, "{risen:?}");
        decline.clear();
        look(303, 0.08, 0.55, &mut decline);
        let blind = look(304, 0.08, 0.55, &mut decline);
        assert!(blind.ranking > 15.0 && blind.loss < 2.0, "{blind:?}");
        assert!(decline.fits(304) && !decline.fits(303));
    }
}
