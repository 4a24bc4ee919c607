//! What kind of drift it is: of the inputs, of what the model says, of how often the event happens, or of what the inputs mean. It must not know how
//! any of it was found.
//!
//! The words are those of Moreno-Torres et al. (2012) for the change of a joint law of inputs and labels. A rise of the loss is called concept drift
//! only where nothing else has moved that could have raised it: where inputs or base rates have, the data cannot tell the two apart.

use crate::{Z_95, harm::Risk};

/// Cohen's h up to which base rates are the same.
const PRIOR_TOLERANCE: f64 = 0.1;

/// A kind of drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// The inputs have moved, or the columns are others.
    Covariate,
    /// The score or the prediction has.
    Score,
    /// Positive labels are more frequent, or less.
    Prior,
    /// The loss has risen, and none of those explains it.
    Concept,
}

/// A share of positive labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaseRate {
    /// In [0, 1].
    pub rate: f64,
    /// Labels.
    pub count: u64,
}

/// What is known to have moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// Inputs or columns.
    pub inputs: bool,
    /// Score or prediction.
    pub score: bool,
    /// Base rates, where both are known.
    pub prior: Option<bool>,
    /// How the loss stands.
    pub risk: Risk,
}

/// Whether base rates differ: the whole interval of the difference of arcsine roots, 95 %, lies beyond what is tolerated.
#[must_use]
pub fn prior_moved(then: BaseRate, now: BaseRate) -> Option<bool> {
    if then.count == 0 || now.count == 0 {
        return None;
    }
    let angle = |rate: f64| 2.0 * rate.clamp(0.0, 1.0).sqrt().asin();
    let apart = (angle(now.rate) - angle(then.rate)).abs();
    // The arcsine root has the variance 1 / n for any rate (Freeman and Tukey 1950).
    let error = (1.0 / then.count as f64 + 1.0 / now.count as f64).sqrt();
    Some(apart - Z_95 * error > PRIOR_TOLERANCE)
}

/// The kinds that what has moved comes to.
#[must_use]
pub fn kinds(moved: Moved) -> Vec<DriftKind> {
    let prior = moved.prior == Some(true);
    let concept = moved.risk == Risk::Worse && !moved.inputs && !moved.score && !prior;
    [
        (moved.inputs, DriftKind::Covariate),
        (moved.score, DriftKind::Score),
        (prior, DriftKind::Prior),
        (concept, DriftKind::Concept),
    ]
    .into_iter()
    .filter_map(|(is, kind)| is.then_some(kind))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worse_loss_is_concept_drift_only_when_nothing_else_explains_it() {
        let still = Moved { inputs: false, score: false, prior: Some(false), risk: Risk::Worse };
        assert_eq!(kinds(still), [DriftKind::Concept]);
        assert_eq!(kinds(Moved { prior: None, ..still }), [DriftKind::Concept]);
        assert_eq!(kinds(Moved { inputs: true, ..still }), [DriftKind::Covariate]);
        assert_eq!(kinds(Moved { score: true, ..still }), [DriftKind::Score]);
        assert_eq!(kinds(Moved { prior: Some(true), ..still }), [DriftKind::Prior]);
        let all = Moved { inputs: true, score: true, prior: Some(true), risk: Risk::NotWorse };
        assert_eq!(kinds(all), [DriftKind::Covariate, DriftKind::Score, DriftKind::Prior]);
        assert_eq!(kinds(Moved { risk: Risk::Unclear, ..still }), []);
    }

    #[test]
    fn base_rates_differ_surely_and_by_more_than_is_tolerated() {
        let rate = |rate, count| BaseRate { rate, count };
        assert_eq!(prior_moved(rate(0.2, 10_000), rate(0.2, 1_000)), Some(false));
        assert_eq!(prior_moved(rate(0.2, 10_000), rate(0.3, 1_000)), Some(true));
        assert_eq!(prior_moved(rate(0.2, 10_000), rate(0.3, 20)), Some(false), "too few to tell");
        assert_eq!(prior_moved(rate(0.2, 1_000_000), rate(0.22, 1_000_000)), Some(false), "tolerated");
        assert_eq!(prior_moved(rate(0.01, 10_000), rate(0.05, 1_000)), Some(true));
        assert_eq!(prior_moved(rate(0.0, 10_000), rate(0.0, 1_000)), Some(false));
        assert_eq!(prior_moved(rate(0.2, 0), rate(0.3, 1_000)), None);
    }
}
