//! What answers among classes come to: figures of each class, and over all of them. It must not know what classes are called.
//!
//! Means over classes are taken over those that were said or were true (as scikit-learn has them); a class that was never said has precision 0.

use serde::{Deserialize, Serialize};

use crate::{
    estimate::Estimate,
    moments::Moments,
    score::{ROUNDING, log_loss, probability},
};

/// How far a probability of two decimals is from its own, at most.
const DECIMALS: f64 = 0.005;
/// How far from 1 the probabilities of all classes may add up to, at most.
const SUM_TOLERANCE_MAX: f64 = 0.05;

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

    /// Takes back rows that were added before; false where more would be taken than there are.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        let left = |own: u64, theirs: u64| own.checked_sub(theirs);
        let parts =
            (left(self.truth, other.truth), left(self.said, other.said), left(self.right, other.right));
        let (Some(truth), Some(said), Some(right)) = parts else { return false };
        *self = Self { truth, said, right };
        true
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

/// Losses of probabilities that were said of each class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassLosses {
    log_loss: Moments,
    squares: Moments,
    /// Rows whose scores are no probabilities of all classes.
    other_count: u64,
}

impl ClassLosses {
    /// Adds rows: the probabilities that each said, and the place of the class that is true.
    pub fn push<'a>(&mut self, rows: impl Iterator<Item = (&'a [f64], usize)>) {
        let (mut logs, mut squares) = (Vec::new(), Vec::new());
        for (scores, truth) in rows {
            let sum: f64 = scores.iter().sum();
            let tolerance = (DECIMALS * scores.len() as f64 + ROUNDING).min(SUM_TOLERANCE_MAX);
            let are_shares = scores.iter().all(|score| probability(*score).is_some());
            if !are_shares || (sum - 1.0).abs() > tolerance {
                self.other_count += 1;
                continue;
            }
            let share = |place: usize| scores.get(place).map_or(0.0, |score| score.clamp(0.0, 1.0) / sum);
            logs.push(log_loss(share(truth), true));
            let all: f64 = (0..scores.len()).map(|place| share(place).powi(2)).sum();
            squares.push((all - 2.0 * share(truth) + 1.0).max(0.0));
        }
        self.log_loss.push_slice(&logs);
        self.squares.push_slice(&squares);
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.log_loss.merge(&other.log_loss);
        self.squares.merge(&other.squares);
        self.other_count += other.other_count;
    }

    /// Takes back rows that were added before; false where more would be taken than there are, and what is left is of no use.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        let others = self.other_count.checked_sub(other.other_count);
        self.other_count = others.unwrap_or(0);
        others.is_some()
            && self.log_loss.take_back(&other.log_loss, true)
            && self.squares.take_back(&other.squares, true)
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.log_loss.is_sound() && self.squares.is_sound() && self.log_loss.count() == self.squares.count()
    }

    /// Rows whose scores were probabilities, and rows whose were not.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.log_loss.count(), self.other_count)
    }

    /// Mean logarithmic loss of the class that was true, natural log.
    #[must_use]
    pub fn log_loss(&self) -> Option<Estimate> {
        Estimate::of_losses(&self.log_loss)
    }

    /// Mean over rows of the squared differences summed over classes, in [0, 2] (Brier 1950).
    #[must_use]
    pub fn brier(&self) -> Option<Estimate> {
        Estimate::of_losses(&self.squares)
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
