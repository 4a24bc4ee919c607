//! A detector of change in one variable: what has come since each of a few starts, against what was expected. It must not know what the
//! variable is.
//!
//! Evidence is averaged over starts and over what is looked at. Starts come and go by a grid that no data move, so that at every look the mean
//! has mean at most 1 while nothing has changed: the chance of an alarm at a bound is at most one in the bound at each look, and the expected
//! number of alarms in T looks at most T divided by it, under any dependence between variables and between looks, also when detectors are
//! cleared after an alarm. (An e-detector's sum over all starts, Shin, Ramdas and Rinaldo, NEJSDS 2024, needs one filtration for all of
//! them, which a finite reference that all share does not give.)

use serde::{Deserialize, Serialize};

use crate::{
    evidence::ln_mean_exp,
    shares::{Trials, ln_score_moved, ln_share_moved},
};

/// Most starts that the grid keeps at a time.
pub const STARTS: usize = 12;
/// The coarsest level of the grid: starts at multiples of 2 to this.
const LEVEL_MAX: u32 = 7;
/// Levels up to this keep their starts twice as long.
const LEVEL_FINE: u32 = 2;

/// What is looked at in a variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Component {
    /// A share of all rows.
    OfAll,
    /// A share of the rows that have a value.
    OfPresent,
    /// The same of values never seen, where the law about it is worth at most so many rows: fewer of them is no change.
    Unseen(f64),
    /// The mean score of the rows that have a value, with the score's proxy variance.
    Score(f64),
}

/// Rows of the reference that a law about it is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Concentration {
    /// All.
    pub all: f64,
    /// Those that have a value.
    pub present: f64,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Rows.
    pub rows: f64,
    /// The same, as many as count where they depend on each other.
    pub all: f64,
    /// Those that have a value.
    pub present: f64,
    /// Of the law about the reference at this look.
    pub concentration: Concentration,
    /// Hits or sums of scores, one for each component.
    pub found: Vec<f64>,
    /// What was expected of them.
    pub expected: Vec<f64>,
}

/// What has come since a start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Start {
    at: u64,
    rows: f64,
    all: f64,
    present: f64,
    /// Sums of squared rows divided by their concentration.
    error: f64,
    present_error: f64,
    found: Vec<f64>,
    expected: Vec<f64>,
}

/// The detector of one variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    starts: Vec<Start>,
}

/// Whether the grid keeps a start, from 1, at a look.
pub(crate) fn is_kept(start: u64, look: u64) -> bool {
    let level = start.trailing_zeros().min(LEVEL_MAX);
    let looks = if level <= LEVEL_FINE { 4 } else { 2 } << level;
    look - start < looks
}

impl Detector {
    /// Takes a look, the number `place` from 1 of all looks, also those before the detector was cleared.
    pub fn push(&mut self, place: u64, look: &Look) {
        self.starts.retain(|start| is_kept(start.at, place));
        // The grid never keeps more: nothing is held in reserve.
        self.starts.reserve_exact(STARTS - self.starts.len().min(STARTS));
        self.starts.push(Start {
            at: place,
            rows: 0.0,
            all: 0.0,
            present: 0.0,
            error: 0.0,
            present_error: 0.0,
            found: vec![0.0; look.found.len()],
            expected: vec![0.0; look.found.len()],
        });
        for start in &mut self.starts {
            start.rows += look.rows;
            start.all += look.all;
            start.present += look.present;
            start.error += look.all * look.all / look.concentration.all;
            start.present_error += look.present * look.present / look.concentration.present;
            start.found.iter_mut().zip(&look.found).for_each(|(sum, found)| *sum += found);
            start.expected.iter_mut().zip(&look.expected).for_each(|(sum, expected)| *sum += expected);
        }
    }

    /// The logarithm of the evidence at the last look, minus infinity for none. `concentration_max` is that of the law about the whole reference.
    /// `factors` are the design effects of so many rows in a row, of values and of whether there is one: where looks hang together, many are
    /// worth less than each of them.
    #[must_use]
    pub fn ln_evidence(
        &self,
        components: &[Component],
        concentration_max: Concentration,
        factors: impl Fn(f64) -> (f64, f64),
    ) -> f64 {
        let place = self.starts.last().map_or(0, |start| start.at);
        let mut terms = vec![f64::NEG_INFINITY; STARTS];
        for (term, start) in terms.iter_mut().zip(&self.starts) {
            let looks = (place - start.at + 1) as f64;
            let (each, all) = (factors(start.rows / looks), factors(start.rows));
            let worth = ((each.0 / all.0).min(1.0), (each.1 / all.1).min(1.0));
            *term = start.ln_evidence(components, concentration_max, worth);
        }
        ln_mean_exp(&terms)
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.starts.clear();
    }

    /// Whether what came back from outside, after so many looks, has these components.
    #[must_use]
    pub fn fits(&self, components: usize, looks: u64) -> bool {
        let fits = |start: &Start| start.found.len() == components && start.expected.len() == components;
        let ascend = self.starts.is_sorted_by(|a, b| a.at < b.at)
            && self.starts.last().is_none_or(|last| last.at <= looks);
        self.starts.len() <= STARTS && ascend && self.starts.iter().all(fits)
    }

    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let start = |start: &Start| (start.found.capacity() + start.expected.capacity()) * size_of::<f64>();
        self.starts.capacity() * size_of::<Start>() + self.starts.iter().map(start).sum::<usize>()
    }
}

impl Start {
    /// `worth` is that of a look among these beside one alone, of values and of whether there is one.
    fn ln_evidence(&self, components: &[Component], most: Concentration, worth: (f64, f64)) -> f64 {
        let of_all = (self.all * self.all / self.error).min(most.all);
        let of_present = (self.present * self.present / self.present_error).min(most.present);
        let (all, present) = (self.all * worth.1, self.present * worth.0);
        let values = Trials { count: present, concentration: of_present };
        let terms: Vec<f64> = components
            .iter()
            .zip(self.found.iter().zip(&self.expected))
            .map(|(component, (&found, &expected))| match component {
                Component::OfAll if all > 0.0 => {
                    let trials = Trials { count: all, concentration: of_all };
                    ln_share_moved(found * worth.1, trials, expected / self.all)
                }
                Component::OfPresent if present > 0.0 => {
                    ln_share_moved(found * worth.0, values, expected / self.present)
                }
                Component::Unseen(_) if found <= expected => f64::NEG_INFINITY,
                Component::Unseen(most) if present > 0.0 => {
                    let trials = Trials { concentration: of_present.min(*most), ..values };
                    ln_share_moved(found * worth.0, trials, expected / self.present)
                }
                Component::Score(proxy) if present > 0.0 => {
                    ln_score_moved((found - expected) * worth.0, values, *proxy)
                }
                Component::OfAll | Component::OfPresent | Component::Unseen(_) | Component::Score(_) => {
                    f64::NEG_INFINITY
                }
            })
            .collect();
        ln_mean_exp(&terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_small_and_every_change_has_a_start_near_it() {
        for look in 1_u64..2_000 {
            let kept: Vec<u64> = (1..=look).filter(|start| is_kept(*start, look)).collect();
            assert!(kept.len() <= STARTS, "{look}: {kept:?}");
            assert!(kept.contains(&look) && (look == 1 || kept.contains(&(look - 1))), "{look}: {kept:?}");
            for (age, share) in [(2_u64, 1.0), (5, 0.8), (10, 0.7), (20, 0.6), (40, 0.4), (120, 0.4)] {
                if look > 2 * age + 300 {
                    let from = look + 1 - age;
                    let best = kept.iter().filter(|start| **start >= from).min().unwrap();
                    assert!(
                        (look + 1 - best) as f64 >= share * age as f64,
                        "{look}: {age} looks ago, best from {best}"
                    );
                }
            }
        }
    }

    const FROZEN: Concentration = Concentration { all: 5_000.0, present: 5_000.0 };

    fn look(found: f64, expected: f64) -> Look {
        Look {
            rows: 100.0,
            all: 100.0,
            present: 100.0,
            concentration: FROZEN,
            found: vec![found],
            expected: vec![expected],
        }
    }

    #[test]
    fn a_change_is_evident_soon_and_what_was_before_it_does_not_hide_it() {
        let components = [Component::OfPresent];
        let mut detector = Detector::default();
        for place in 1..=500 {
            let noise = if place % 2 == 0 { 53.0 } else { 47.0 };
            detector.push(place, &look(noise, 50.0));
            assert!(detector.ln_evidence(&components, FROZEN, |_| (1.0, 1.0)) < 1.0, "{place}");
        }
        detector.push(501, &look(75.0, 50.0));
        detector.push(502, &look(75.0, 50.0));
        assert!(detector.ln_evidence(&components, FROZEN, |_| (1.0, 1.0)) > 10.0);
        // Where rows of many looks all move together, many say no more than one.
        let free = detector.ln_evidence(&components, FROZEN, |_| (1.0, 1.0));
        let bound = detector.ln_evidence(&components, FROZEN, |rows| (rows, rows));
        assert!(bound < free - 5.0, "{free} {bound}");
        assert!(
            detector.fits(1, 502)
                && !detector.fits(2, 502)
                && !detector.fits(1, 501)
                && detector.heap_bytes() < 4_096
        );
        detector.clear();
        assert!(detector.ln_evidence(&components, FROZEN, |_| (1.0, 1.0)).is_infinite());
    }

    #[test]
    fn what_a_feature_costs_stays_small() {
        // Two scores, twelve outcomes and nulls: as many as a feature of numbers has.
        let look = Look { found: vec![50.0; 15], expected: vec![50.0; 15], ..look(50.0, 50.0) };
        let mut detector = Detector::default();
        for place in 1..=2_000 {
            detector.push(place, &look);
            let bytes = detector.heap_bytes();
            assert!(bytes <= 4_096, "{place}: {bytes}");
        }
    }
}
