//! What yes and no answers at a threshold come to, and how well scores are ranked and calibrated: figures beside the loss. It must not know models.

use crate::{estimate::Estimate, moments::Moments};

/// Answers of yes and no beside the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Said yes, and it was.
    pub true_positives: u64,
    /// Said yes, and it was not.
    pub false_positives: u64,
    /// Said no, and it was yes.
    pub false_negatives: u64,
    /// Said no, and it was.
    pub true_negatives: u64,
}

/// A share of so many with its interval (Wilson 1927); `None` of none.
fn share(hits: u64, misses: u64) -> Option<Estimate> {
    Estimate::of_share(&Moments::of_shares(hits, misses))
}

impl Confusion {
    /// Share of those said to be yes that are.
    #[must_use]
    pub fn precision(&self) -> Option<Estimate> {
        share(self.true_positives, self.false_positives)
    }

    /// Share of those that are yes that were said to be: sensitivity.
    #[must_use]
    pub fn recall(&self) -> Option<Estimate> {
        share(self.true_positives, self.false_negatives)
    }

    /// Share of those that are no that were said to be.
    #[must_use]
    pub fn specificity(&self) -> Option<Estimate> {
        share(self.true_negatives, self.false_positives)
    }

    /// Harmonic mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        let twice = 2.0 * self.true_positives as f64;
        let all = twice + (self.false_positives + self.false_negatives) as f64;
        (all > 0.0).then(|| twice / all)
    }

    /// Mean of recall and specificity.
    #[must_use]
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some((self.recall()?.value + self.specificity()?.value) / 2.0)
    }

    /// Matthews' correlation (1975); `None` where either answers or truths are all the same.
    #[must_use]
    pub fn matthews(&self) -> Option<f64> {
        let [tp, fp, fn_, tn] =
            [self.true_positives, self.false_positives, self.false_negatives, self.true_negatives]
                .map(|count| count as f64);
        let product = (tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_);
        (product > 0.0).then(|| (tp * tn - fp * fn_) / product.sqrt())
    }
}

/// Groups of tied scores, ascending: positives and negatives of each.
pub(crate) type Groups<'a> = dyn DoubleEndedIterator<Item = (u64, u64)> + 'a;

/// Mean precision over the recall that each threshold adds (as scikit-learn has it: a sum, no interpolation); `None` without positives.
pub(crate) fn average_precision(groups: &mut Groups<'_>) -> Option<f64> {
    let (mut found, mut said, mut area) = (0_u64, 0_u64, 0.0);
    while let Some((positive, negative)) = groups.next_back() {
        found += positive;
        said += positive + negative;
        if positive > 0 {
            area += positive as f64 * found as f64 / said as f64;
        }
    }
    (found > 0).then(|| area / found as f64)
}

/// How many times as many positives are among the tenth of rows with the highest scores as among all; ties are shared out. `None` without positives.
pub(crate) fn lift_of_top_tenth(groups: &mut Groups<'_>, positives: u64, all: u64) -> Option<f64> {
    let wanted = all as f64 / 10.0;
    let (mut rows, mut found) = (0.0, 0.0);
    while let Some((positive, negative)) = groups.next_back() {
        let here = (positive + negative) as f64;
        let part = if here > 0.0 { ((wanted - rows) / here).clamp(0.0, 1.0) } else { 0.0 };
        found += part * positive as f64;
        rows += part * here;
    }
    (positives > 0).then(|| found / wanted / (positives as f64 / all as f64))
}

/// Scores of one bin, and what they turned out to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationBin {
    /// Pairs.
    pub count: u64,
    /// Mean score.
    pub mean_score: f64,
    /// Share of positives.
    pub positive_rate: f64,
}

/// The Brier score in parts (Murphy 1973), by bins of the score: reliability - resolution + uncertainty, up to how scores vary within bins.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BrierParts {
    /// How far scores are from the share of positives in their bins; 0 is best.
    pub reliability: f64,
    /// How far shares in bins are from that of all; the more the better.
    pub resolution: f64,
    /// What the base rate leaves open.
    pub uncertainty: f64,
}

/// From bins that are not empty.
pub(crate) fn brier_parts(bins: &[CalibrationBin]) -> Option<BrierParts> {
    let all = bins.iter().map(|bin| bin.count).sum::<u64>() as f64;
    let rate = bins.iter().map(|bin| bin.count as f64 * bin.positive_rate).sum::<f64>() / all;
    let mean = |of: &dyn Fn(&CalibrationBin) -> f64| {
        bins.iter().map(|bin| bin.count as f64 * of(bin)).sum::<f64>() / all
    };
    (all > 0.0).then(|| BrierParts {
        reliability: mean(&|bin| (bin.mean_score - bin.positive_rate).powi(2)),
        resolution: mean(&|bin| (bin.positive_rate - rate).powi(2)),
        uncertainty: rate * (1.0 - rate),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lift_shares_ties_out() {
        // Ten of a hundred are positive, and have the highest scores.
        let groups = [(0, 90), (10, 0)];
        let lift = |groups: &[(u64, u64)]| lift_of_top_tenth(&mut groups.iter().copied(), 10, 100).unwrap();
        assert!((lift(&groups) - 10.0).abs() < 1e-12);
        assert!((lift(&[(10, 90)]) - 1.0).abs() < 1e-12, "all tied: as good as none");
        assert!((lift(&[(0, 80), (10, 10)]) - 5.0).abs() < 1e-12);
        assert_eq!(lift_of_top_tenth(&mut [(0, 100)].into_iter(), 0, 100), None);
    }

    #[test]
    fn parts_add_up_to_the_brier_score_of_bins() {
        let bin = |count, mean_score, positive_rate| CalibrationBin { count, mean_score, positive_rate };
        let parts = brier_parts(&[bin(50, 0.2, 0.1), bin(50, 0.8, 0.9)]).unwrap();
        let brier = 0.5 * (0.9 * 0.04 + 0.1 * 0.64) + 0.5 * (0.9 * 0.04 + 0.1 * 0.64);
        assert!(
            (parts.reliability - parts.resolution + parts.uncertainty - brier).abs() < 1e-12,
            "{parts:?}"
        );
        assert_eq!(brier_parts(&[]), None);
    }
}
