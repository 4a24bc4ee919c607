//! Does drift do harm, and is there harm without drift? What is known of the inputs on one side, and of the loss on the other, made one verdict.
//! It must not know how either came about.
//!
//! A change of the inputs that leaves the loss alone is no reason to act; a rise of the loss is. The question of the
//! harmful shift is that of Podkopaev and Ramdas (ICLR 2022); here it is asked of one window with a fixed interval.

use crate::Z_95;

/// How much less well a model may tell classes apart than it did.
const RANKING_MARGIN: f64 = 0.1;

/// What drift and loss come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// No drift, and the loss is not surely above what is tolerated.
    None,
    /// Drift, and the loss is surely not above what is tolerated.
    Harmless,
    /// Drift, and the loss is surely above what is tolerated.
    Harmful,
    /// No drift of inputs or score, and the loss is surely above what is tolerated: what the inputs mean has changed.
    Decay,
    /// Drift, but the loss cannot tell; or drift was not judged.
    Unknown,
}

/// How the loss stands against what is tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    /// The whole interval is above.
    Worse,
    /// The whole interval is at or below, and a model that knows nothing would be above.
    NotWorse,
    /// The interval holds the bound, there is none, or no loss could be told from a sound one.
    Unclear,
}

/// What the loss is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerated {
    /// The loss of the reference.
    pub baseline: f64,
    /// How much above it is tolerated.
    pub margin: f64,
    /// The loss of a model that knows nothing, on these rows.
    pub useless: Option<f64>,
    /// How well the model tells the classes apart.
    pub ranking: Option<Ranking>,
}

/// Area under the ROC curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranking {
    /// Its interval now.
    pub interval: (f64, f64),
    /// Of the reference.
    pub baseline: Option<f64>,
}

impl Tolerated {
    /// Whether harm would be seen: a useless model's loss would be above the bound, or the model surely knows something, and not surely less than it
    /// did.
    fn would_show(&self) -> bool {
        let by_loss = self.useless.is_some_and(|useless| useless > self.baseline + self.margin);
        let by_ranking = self.ranking.is_some_and(|ranking| {
            let (lower, upper) = ranking.interval;
            lower > 0.5 && ranking.baseline.is_none_or(|baseline| upper >= baseline - RANKING_MARGIN)
        });
        by_loss || by_ranking
    }
}

/// Places an interval of the loss against what is tolerated.
#[must_use]
pub fn risk(interval: Option<(f64, f64)>, tolerated: Option<Tolerated>) -> Risk {
    let (Some((lower, upper)), Some(tolerated)) = (interval, tolerated) else { return Risk::Unclear };
    let bound = tolerated.baseline + tolerated.margin;
    // Where even a useless model would not be above the bound, being below it says nothing.
    if lower > bound {
        Risk::Worse
    } else if upper <= bound && tolerated.would_show() {
        Risk::NotWorse
    } else {
        Risk::Unclear
    }
}

/// The lower end of a loss's interval where the baseline that it is held against has an error of its own: errors add up in squares.
#[must_use]
pub fn lower_end_beside(value: f64, lower: f64, baseline_standard_error: f64) -> f64 {
    value - (value - lower).hypot(Z_95 * baseline_standard_error)
}

/// The end of a one-sided 95 % interval, from that of a two-sided one: what is said not to be worse is said of one side.
#[must_use]
pub fn one_sided(value: f64, end: f64) -> f64 {
    /// The 95 % point of the normal law.
    const Z_ONE_SIDED: f64 = 1.644_853_626_951_472_7;
    value + (end - value) * Z_ONE_SIDED / Z_95
}

/// Joins both sides; `drifted` is `None` where drift was not judged.
#[must_use]
pub fn harm(drifted: Option<bool>, risk: Risk) -> Harm {
    match (drifted, risk) {
        (Some(false), Risk::Worse) => Harm::Decay,
        (Some(false), Risk::NotWorse | Risk::Unclear) => Harm::None,
        (Some(true), Risk::Worse) => Harm::Harmful,
        (Some(true), Risk::NotWorse) => Harm::Harmless,
        (Some(true), Risk::Unclear) | (None, _) => Harm::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_side_of_the_bound() {
        let tolerated = Some(Tolerated { baseline: 0.14, margin: 0.01, useless: Some(0.25), ranking: None });
        assert_eq!(risk(Some((0.16, 0.2)), tolerated), Risk::Worse);
        assert_eq!(risk(Some((0.1, 0.15)), tolerated), Risk::NotWorse);
        assert_eq!(risk(Some((0.1, 0.2)), tolerated), Risk::Unclear);
        assert_eq!(risk(None, tolerated), Risk::Unclear);
        assert_eq!(risk(Some((0.1, 0.2)), None), Risk::Unclear);
    }

    #[test]
    fn without_power_there_is_no_all_clear() {
        // One positive in a hundred: a model that knows nothing has a Brier score of 0.0099, far below 0.012 + 0.01.
        let rare = Tolerated { baseline: 0.009, margin: 0.01, useless: Some(0.0099), ranking: None };
        assert_eq!(risk(Some((0.008, 0.011)), Some(rare)), Risk::Unclear);
        assert_eq!(risk(Some((0.008, 0.011)), Some(Tolerated { useless: None, ..rare })), Risk::Unclear);
        assert_eq!(risk(Some((0.02, 0.03)), Some(rare)), Risk::Worse, "what is above is above");
        let ranked =
            |interval| Some(Tolerated { ranking: Some(Ranking { interval, baseline: Some(0.85) }), ..rare });
        assert_eq!(
            risk(Some((0.008, 0.011)), ranked((0.8, 0.88))),
            Risk::NotWorse,
            "it still knows what it knew"
        );
        assert_eq!(risk(Some((0.008, 0.011)), ranked((0.45, 0.61))), Risk::Unclear, "it may know nothing");
        assert_eq!(risk(Some((0.008, 0.011)), ranked((0.6, 0.7))), Risk::Unclear, "it knows less");
    }

    #[test]
    fn the_truth_table() {
        use Harm::{Decay, Harmful, Harmless, None as No, Unknown};
        for (drifted, [worse, not_worse, unclear]) in [
            (Some(true), [Harmful, Harmless, Unknown]),
            (Some(false), [Decay, No, No]),
            (None, [Unknown, Unknown, Unknown]),
        ] {
            assert_eq!(harm(drifted, Risk::Worse), worse);
            assert_eq!(harm(drifted, Risk::NotWorse), not_worse);
            assert_eq!(harm(drifted, Risk::Unclear), unclear);
        }
    }
}
