//! How good probabilities are against truth: Brier, log loss, accuracy, calibration, area under the ROC curve.
//! It must not know models or baselines.

use serde::{Deserialize, Serialize};

use crate::{Z_95, moments::Moments};

/// Bins of the calibration error, of equal width over [0, 1].
pub const CALIBRATION_BINS: usize = 10;
/// Cells of [0, 1] in which scores count as tied when the area is computed from a pane.
const AREA_CELLS: usize = 1_024;
/// Scores are kept this far from 0 and 1 before the logarithm.
const LOG_CLIP: f64 = 1e-15;

/// How far beyond 0 and 1 a probability may lie by rounding: sums of single-precision shares do.
pub const ROUNDING: f64 = 1e-6;

/// A score as a probability in [0, 1], without what rounding added; `None` when it is none.
#[must_use]
pub fn probability(score: f64) -> Option<f64> {
    (-ROUNDING..=1.0 + ROUNDING).contains(&score).then(|| score.clamp(0.0, 1.0))
}

/// A mean with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Standard error; rows are taken as independent.
    pub standard_error: f64,
}

impl Estimate {
    /// Ends of the 95 % interval.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        (self.value - Z_95 * self.standard_error, self.value + Z_95 * self.standard_error)
    }

    fn of(moments: &Moments) -> Option<Self> {
        let value = moments.mean()?;
        Some(Self { value, standard_error: moments.standard_error().unwrap_or(f64::INFINITY) })
    }
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
            let cell = place(score, AREA_CELLS);
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

    /// Pairs.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.brier.count()
    }

    /// Mean squared difference (Brier 1950).
    #[must_use]
    pub fn brier(&self) -> Option<Estimate> {
        Estimate::of(&self.brier)
    }

    /// Mean logarithmic loss, natural logarithm.
    #[must_use]
    pub fn log_loss(&self) -> Option<Estimate> {
        Estimate::of(&self.log_loss)
    }

    /// Share of pairs on the right side of 0.5.
    #[must_use]
    pub fn accuracy(&self) -> Option<Estimate> {
        Estimate::of(&self.correct)
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

/// Mann and Whitney's count over groups of tied scores, ascending; standard error after Hanley and McNeil (1982).
fn area(groups: impl Iterator<Item = (f64, f64)>) -> Option<Estimate> {
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
    let (q1, q2) = (value / (2.0 - value), 2.0 * value * value / (1.0 + value));
    let variance = (value * (1.0 - value)
        + (positives - 1.0) * (q1 - value * value)
        + (negatives - 1.0) * (q2 - value * value))
        / (positives * negatives);
    Some(Estimate { value, standard_error: variance.max(0.0).sqrt() })
}

fn log_loss(score: f64, label: bool) -> f64 {
    let probability = if label { score } else { 1.0 - score };
    -probability.clamp(LOG_CLIP, 1.0 - LOG_CLIP).ln()
}

fn place(score: f64, cells: usize) -> usize {
    ((score * cells as f64) as usize).min(cells - 1)
}

fn add(own: &mut Vec<u32>, theirs: &[u32]) {
    if own.is_empty() {
        *own = theirs.to_vec();
    } else {
        own.iter_mut().zip(theirs).for_each(|(own, theirs)| *own = own.saturating_add(*theirs));
    }
}
