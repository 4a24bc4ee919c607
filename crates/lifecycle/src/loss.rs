//! The loss of one record: the one rule of gates and deployments. It must not know what is decided by it.

use crate::policy::Loss;

/// A probability is taken to be at least this far from 0 and 1, so that what came true against it is not the end of every mean.
const PROBABILITY_MIN: f64 = 1e-9;

/// The loss of a score against a label in [0, 1]; a label between them is a share of ones.
#[must_use]
pub fn loss(kind: Loss, score: f64, label: f64) -> f64 {
    match kind {
        Loss::Squared => (score - label) * (score - label),
        Loss::Absolute => (score - label).abs(),
        Loss::Log => {
            let probability = score.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
            -(label * probability.ln() + (1.0 - label) * (1.0 - probability).ln())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_label_costs_between_the_hard_ones_and_nothing_is_endless() {
        let at = |label| loss(Loss::Log, 0.8, label);
        assert!((at(0.5) - (at(0.0) + at(1.0)) / 2.0).abs() < 1e-12);
        for (score, label) in [(0.0, 1.0), (1.0, 0.0), (-0.1, 1.0), (1.1, 0.0)] {
            let found = loss(Loss::Log, score, label);
            assert!(found > 20.0 && found < 21.0, "{found}");
        }
        assert_eq!(loss(Loss::Squared, 0.5, 1.0), 0.25);
        assert_eq!(loss(Loss::Absolute, 0.5, 0.0), 0.5);
    }
}
