//! What answers among classes come to: figures of each class, and over all of them. It must not know what classes are called.
//!
//! Means over classes are taken over those that were said or were true (as scikit-learn has them); a class that was never said has precision 0.

use serde::{Deserialize, Serialize};

use crate::{estimate::Estimate, moments::Moments};

/// Rows of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// It was the truth.
    pub truth: u64,
    /// It was said.
    pub said: u64,
    /// Both.
    pub right: u64,
}

impl ClassCount {
    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        self.truth += other.truth;
        self.said += other.said;
        self.right += other.right;
    }

    /// Share of those said to be of it that are; `None` when it was never said.
    #[must_use]
    pub fn precision(&self) -> Option<Estimate> {
        Estimate::of_share(&Moments::of_shares(self.right, self.said.saturating_sub(self.right)))
    }

    /// Share of those that are of it that were said to be; `None` when none is.
    #[must_use]
    pub fn recall(&self) -> Option<Estimate> {
        Estimate::of_share(&Moments::of_shares(self.right, self.truth.saturating_sub(self.right)))
    }

    /// Harmonic mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let all = self.truth + self.said;
        if all == 0 { 0.0 } else { 2.0 * self.right as f64 / all as f64 }
    }
}

/// Figures over all classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassFigures {
    /// Mean precision.
    pub macro_precision: Estimate,
    /// Mean recall over classes that are true of some row: the balanced accuracy.
    pub macro_recall: Estimate,
    /// Mean of F1.
    pub macro_f1: f64,
    /// The same, by rows of each class.
    pub weighted_f1: f64,
    /// Cohen's kappa (1960); `None` where chance alone would be right always.
    pub kappa: Option<f64>,
    /// Matthews' correlation for several classes (Gorodkin 2004); `None` where answers or truths are all the same.
    pub matthews: Option<f64>,
}

impl ClassFigures {
    /// Over these classes; `None` without rows.
    #[must_use]
    pub fn of(classes: &[ClassCount]) -> Option<Self> {
        let present: Vec<&ClassCount> = classes.iter().filter(|it| it.truth + it.said > 0).collect();
        let rows = present.iter().map(|it| it.truth).sum::<u64>() as f64;
        if rows <= 0.0 {
            return None;
        }
        let of_all = |value: &dyn Fn(&ClassCount) -> f64| present.iter().map(|it| value(it)).sum::<f64>();
        let right = of_all(&|it| it.right as f64);
        let by_chance = of_all(&|it| it.truth as f64 * it.said as f64);
        let (said, truth) = (of_all(&|it| (it.said as f64).powi(2)), of_all(&|it| (it.truth as f64).powi(2)));
        let square = rows * rows;
        let spread = (square - said) * (square - truth);
        Some(Self {
            macro_precision: mean(present.iter().map(|it| it.precision())),
            macro_recall: mean(present.iter().filter(|it| it.truth > 0).map(|it| it.recall())),
            macro_f1: of_all(&|it| it.f1()) / present.len() as f64,
            weighted_f1: of_all(&|it| it.f1() * it.truth as f64) / rows,
            kappa: (square > by_chance).then(|| (right * rows - by_chance) / (square - by_chance)),
            matthews: (spread > 0.0).then(|| (right * rows - by_chance) / spread.sqrt()),
        })
    }
}

/// The mean of shares, each of other rows; one of no rows is 0. Its interval is as wide as those of the shares make it, which stay within [0, 1].
fn mean(shares: impl Iterator<Item = Option<Estimate>>) -> Estimate {
    let (mut value, mut middle, mut half_square, mut variance, mut count) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for share in shares {
        count += 1.0;
        let Some(share) = share else { continue };
        let half = (share.upper - share.lower) / 2.0;
        value += share.value;
        middle += (share.upper + share.lower) / 2.0;
        half_square += half * half;
        // Of a share of one row nothing is known of how it varies.
        variance += if share.standard_error.is_finite() { share.standard_error.powi(2) } else { half * half };
    }
    let half = half_square.sqrt();
    Estimate {
        value: value / count,
        standard_error: variance.sqrt() / count,
        lower: ((middle - half) / count).max(0.0),
        upper: ((middle + half) / count).min(1.0),
    }
}
