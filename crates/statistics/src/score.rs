//! How good probabilities are against truth: Brier, log loss, accuracy, calibration, area under the ROC curve.
//! It must not know models or baselines.

use serde::{Deserialize, Serialize};

pub use crate::estimate::Estimate;
use crate::{
    area_cells::{AREA_CELLS, HALF_CELLS, area_cell, cell_start},
    classification::{
        BrierParts, CalibrationBin, Confusion, average_precision, brier_parts, lift_of_top_tenth,
    },
    moments::Moments,
};

/// Bins of the calibration error, of equal width over [0, 1].
pub const CALIBRATION_BINS: usize = 10;
/// Scores are kept this far from 0 and 1 before the logarithm.
const LOG_CLIP: f64 = 1e-15;

/// How far beyond 0 and 1 a probability may lie by rounding: sums of single-precision shares do.
pub const ROUNDING: f64 = 1e-6;

/// A score as a probability in [0, 1], without what rounding added; `None` when it is none.
#[must_use]
pub fn probability(score: f64) -> Option<f64> {
    (-ROUNDING..=1.0 + ROUNDING).contains(&score).then(|| score.clamp(0.0, 1.0))
}

/// Sums over scores in [0, 1] with their labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreSums {
    brier: Moments,
    log_loss: Moments,
    correct: Moments,
    bins: [Bin; CALIBRATION_BINS],
    /// Positives and negatives by score; empty until the first pair.
    positives: Vec<u32>,
    negatives: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bin {
    count: u64,
    scores: f64,
    positives: u64,
}

impl Bin {
    fn take_back(&mut self, other: Self) -> bool {
        let left = self.count.checked_sub(other.count).zip(self.positives.checked_sub(other.positives));
        let (count, positives) = left.unwrap_or_default();
        // Of no scores there is no sum, whatever rounding leaves.
        let scores = if count == 0 { 0.0 } else { self.scores - other.scores };
        *self = Self { count, scores, positives };
        left.is_some()
    }
}

impl ScoreSums {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        (self.positives.capacity() + self.negatives.capacity()) * size_of::<u32>()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let sums = [&self.brier, &self.log_loss, &self.correct];
        let cells =
            [0, AREA_CELLS].contains(&self.positives.len()) && self.positives.len() == self.negatives.len();
        let bins = self.bins.iter().all(|bin| bin.count <= sums[0].count() && bin.positives <= bin.count);
        cells && bins && sums.iter().all(|sum| sum.is_sound())
    }

    /// Adds pairs: scores in [0, 1], and whether the label is positive.
    pub fn push_slice(&mut self, scores: &[f64], labels: &[bool]) {
        if scores.is_empty() {
            return;
        }
        if self.positives.is_empty() {
            self.positives = vec![0; AREA_CELLS];
            self.negatives = vec![0; AREA_CELLS];
        }
        let pairs = || scores.iter().copied().zip(labels.iter().copied());
        let of = |value: &dyn Fn(f64, bool) -> f64| {
            let values: Vec<f64> = pairs().map(|(score, label)| value(score, label)).collect();
            let mut moments = Moments::default();
            moments.push_slice(&values);
            moments
        };
        self.brier.merge(&of(&|score, label| (score - f64::from(u8::from(label))).powi(2)));
        self.log_loss.merge(&of(&log_loss));
        self.correct.merge(&of(&|score, label| f64::from(u8::from((score >= 0.5) == label))));
        for (score, label) in pairs() {
            let bin = &mut self.bins[place(score, CALIBRATION_BINS)];
            bin.count += 1;
            bin.scores += score;
            bin.positives += u64::from(label);
            let cell = area_cell(score);
            let cells = if label { &mut self.positives } else { &mut self.negatives };
            cells[cell] = cells[cell].saturating_add(1);
        }
    }

    /// Adds another's pairs.
    pub fn merge(&mut self, other: &Self) {
        self.brier.merge(&other.brier);
        self.log_loss.merge(&other.log_loss);
        self.correct.merge(&other.correct);
        for (own, theirs) in self.bins.iter_mut().zip(&other.bins) {
            own.count += theirs.count;
            own.scores += theirs.scores;
            own.positives += theirs.positives;
        }
        add(&mut self.positives, &other.positives);
        add(&mut self.negatives, &other.negatives);
    }

    /// Takes back what was added before; false where more would be taken than there is, and what is left is of no use.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        let bins = self.bins.iter_mut().zip(&other.bins).all(|(own, theirs)| own.take_back(*theirs));
        bins && self.brier.take_back(&other.brier, true)
            && self.log_loss.take_back(&other.log_loss, true)
            && self.correct.take_back(&other.correct, true)
            && subtract(&mut self.positives, &other.positives)
            && subtract(&mut self.negatives, &other.negatives)
    }

    /// Pairs.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.brier.count()
    }

    /// Squared differences.
    #[must_use]
    pub fn squares(&self) -> &Moments {
        &self.brier
    }

    /// Mean squared difference (Brier 1950).
    #[must_use]
    pub fn brier(&self) -> Option<Estimate> {
        Estimate::of_losses(&self.brier)
    }

    /// Mean logarithmic loss, natural logarithm.
    #[must_use]
    pub fn log_loss(&self) -> Option<Estimate> {
        Estimate::of_losses(&self.log_loss)
    }

    /// Share of pairs on the right side of 0.5.
    #[must_use]
    pub fn accuracy(&self) -> Option<Estimate> {
        Estimate::of_share(&self.correct)
    }

    /// Expected calibration error: mean over bins, by weight, of |mean score - share of positives|.
    #[must_use]
    pub fn calibration_error(&self) -> Option<f64> {
        let total = self.count();
        let gap = |bin: &Bin| (bin.scores - bin.positives as f64).abs();
        (total > 0).then(|| self.bins.iter().map(gap).sum::<f64>() / total as f64)
    }

    /// Mean score and share of positives.
    #[must_use]
    pub fn means(&self) -> Option<(f64, f64)> {
        let total = self.count() as f64;
        let (scores, positives) = self
            .bins
            .iter()
            .fold((0.0, 0), |(scores, positives), bin| (scores + bin.scores, positives + bin.positives));
        (total > 0.0).then(|| (scores / total, positives as f64 / total))
    }

    /// Positive labels, and negative ones.
    #[must_use]
    pub fn class_counts(&self) -> (u64, u64) {
        let positives = self.bins.iter().map(|bin| bin.positives).sum();
        (positives, self.count() - positives)
    }

    /// Answers of yes from a score of 0.5 on.
    #[must_use]
    pub fn confusion(&self) -> Confusion {
        let sum = |cells: &[u32]| cells.iter().map(|count| u64::from(*count)).sum::<u64>();
        let halves = |cells: &[u32]| {
            let (low, high) = cells.split_at(HALF_CELLS.min(cells.len()));
            (sum(low), sum(high))
        };
        let ((false_negatives, true_positives), (true_negatives, false_positives)) =
            (halves(&self.positives), halves(&self.negatives));
        Confusion { true_positives, false_positives, false_negatives, true_negatives }
    }

    /// Answers of yes from each of some thresholds on, ascending, by the cells of scores: about as many rows lie between one and the next.
    #[must_use]
    pub fn thresholds(&self, most: usize) -> Vec<(f64, Confusion)> {
        let (positives, negatives) = self.class_counts();
        let step = self.count().div_ceil(most.max(1) as u64).max(1);
        let (mut yes, mut no, mut next) = (0, 0, 0);
        let mut found = Vec::new();
        for (cell, (positive, negative)) in self.groups().enumerate() {
            if yes + no >= next && positive + negative > 0 {
                let confusion = Confusion {
                    true_positives: positives - yes,
                    false_positives: negatives - no,
                    false_negatives: yes,
                    true_negatives: no,
                };
                found.push((cell_start(cell), confusion));
                next = yes + no + step;
            }
            yes += positive;
            no += negative;
        }
        found
    }

    /// Pairs by cell of the area; empty until the first.
    pub fn by_area_cell(&self) -> impl Iterator<Item = u64> {
        self.groups().map(|(positive, negative)| positive + negative)
    }

    fn groups(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        self.positives.iter().zip(&self.negatives).map(|(yes, no)| (u64::from(*yes), u64::from(*no)))
    }

    /// Mean precision over recall, scores in one of 1,024 cells tied; `None` with one class only.
    #[must_use]
    pub fn average_precision(&self) -> Option<f64> {
        let (positives, negatives) = self.class_counts();
        (positives > 0 && negatives > 0).then(|| average_precision(&mut self.groups())).flatten()
    }

    /// How many times as many positives are among the highest tenth of scores as among all, ties likewise.
    #[must_use]
    pub fn lift_of_top_tenth(&self) -> Option<f64> {
        lift_of_top_tenth(&mut self.groups(), self.class_counts().0, self.count())
    }

    /// Bins of equal width that are not empty.
    #[must_use]
    pub fn calibration_bins(&self) -> Vec<CalibrationBin> {
        let bin = |bin: &Bin| {
            let count = bin.count as f64;
            let (mean_score, positive_rate) = (bin.scores / count, bin.positives as f64 / count);
            CalibrationBin { count: bin.count, mean_score, positive_rate }
        };
        self.bins.iter().filter(|it| it.count > 0).map(bin).collect()
    }

    /// The Brier score in parts, by those bins.
    #[must_use]
    pub fn brier_parts(&self) -> Option<BrierParts> {
        brier_parts(&self.calibration_bins())
    }

    /// Area under the ROC curve, scores in one of 1,024 cells tied; `None` with one class only.
    #[must_use]
    pub fn area(&self) -> Option<Estimate> {
        let cells = self.positives.iter().zip(&self.negatives);
        area(cells.map(|(&positive, &negative)| (f64::from(positive), f64::from(negative))))
    }
}

/// Area under the ROC curve of pairs, exact.
#[must_use]
pub fn area_exact(scores: &[f64], labels: &[bool]) -> Option<Estimate> {
    let mut pairs: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let groups = pairs.chunk_by(|a, b| a.0 == b.0).map(|group| {
        let positives = group.iter().filter(|(_, label)| *label).count() as f64;
        (positives, group.len() as f64 - positives)
    });
    area(groups)
}

/// Area under the ROC curve of groups of tied scores, ascending: positives and negatives of each, which may be expectations. Mann and Whitney's count;
/// standard error after Hanley and McNeil (1982). `None` with one class only.
pub fn area(groups: impl Iterator<Item = (f64, f64)>) -> Option<Estimate> {
    let (mut wins, mut positives, mut negatives) = (0.0, 0.0, 0.0);
    for (positive, negative) in groups {
        wins += positive * (negatives + negative / 2.0);
        positives += positive;
        negatives += negative;
    }
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let value: f64 = wins / (positives * negatives);
    let plain = Estimate::new(value, area_standard_error(value, positives, negatives));
    Some(Estimate { lower: plain.lower.max(0.0), upper: plain.upper.min(1.0), ..plain })
}

/// The standard error of an area under the ROC curve of so many positives and negatives (Hanley and McNeil 1982).
#[must_use]
pub fn area_standard_error(value: f64, positives: f64, negatives: f64) -> f64 {
    if positives < 1.0 || negatives < 1.0 {
        return f64::INFINITY;
    }
    let (q1, q2) = (value / (2.0 - value), 2.0 * value * value / (1.0 + value));
    let variance = (value * (1.0 - value)
        + (positives - 1.0) * (q1 - value * value)
        + (negatives - 1.0) * (q2 - value * value))
        / (positives * negatives);
    variance.max(0.0).sqrt()
}

/// The negative natural logarithm of the probability of what came true, scores clipped to [1e-15, 1 - 1e-15].
#[must_use]
pub fn log_loss(score: f64, label: bool) -> f64 {
    let probability = if label { score } else { 1.0 - score };
    -probability.clamp(LOG_CLIP, 1.0 - LOG_CLIP).ln()
}

fn place(score: f64, cells: usize) -> usize {
    ((score * cells as f64) as usize).min(cells - 1)
}

fn subtract(own: &mut [u32], theirs: &[u32]) -> bool {
    (theirs.is_empty() || own.len() == theirs.len())
        && own.iter_mut().zip(theirs).all(|(own, theirs)| {
            let left = own.checked_sub(*theirs);
            *own = left.unwrap_or(0);
            left.is_some()
        })
}

fn add(own: &mut Vec<u32>, theirs: &[u32]) {
    if own.is_empty() {
        *own = theirs.to_vec();
    } else {
        own.iter_mut().zip(theirs).for_each(|(own, theirs)| *own = own.saturating_add(*theirs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_losses_and_shares_stay_where_such_values_are() {
        let mut sums = ScoreSums::default();
        sums.push_slice(&[0.01; 200], &(0..200).map(|row| row == 0).collect::<Vec<bool>>());
        let brier = sums.brier().unwrap();
        assert!(brier.lower > 0.0 && brier.upper > 2.0 * brier.value, "{brier:?}");
        let mut perfect = ScoreSums::default();
        perfect.push_slice(&[1.0; 20], &[true; 20]);
        let (brier, accuracy) = (perfect.brier().unwrap(), perfect.accuracy().unwrap());
        assert!(brier.lower.abs() < 1e-12 && (0.1..0.2).contains(&brier.upper), "{brier:?}");
        assert!((accuracy.upper - 1.0).abs() < 1e-12 && (0.8..0.9).contains(&accuracy.lower), "{accuracy:?}");
    }
}
