//! Two models on the same rows: how much more the one loses than the other. It must not know what models are.
//!
//! Rows of one time share their weather: taken one by one they promise more than they know. Sums of blocks of time are the draws then (the
//! cluster-robust variance of a mean: Liang and Zeger, Biometrika 73, 1986), with Student's t of as many degrees of freedom as there are blocks, less
//! one.

use std::collections::BTreeMap;

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

use crate::{draws::Draws, estimate::Estimate};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 1_000;
/// Most draws of each: more of them are taken together.
const BLOCKS_MAX: usize = 2_000;

/// A mean with one-sided bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanBounds {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// With the confidence asked for, it is not below this.
    pub lower: f64,
    /// With the same, it is not above this.
    pub upper: f64,
    /// Blocks, or values where there are none.
    pub draws: usize,
}

/// Sums and counts of blocks of time; of each value by itself where a block is of no length.
fn blocks(values: &[(i64, f64)], block_ms: i64) -> Vec<(f64, f64)> {
    if block_ms <= 0 {
        return values.iter().map(|(_, value)| (*value, 1.0)).collect();
    }
    let mut blocks: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for (time_ms, value) in values {
        let block = blocks.entry(time_ms.div_euclid(block_ms)).or_default();
        *block = (block.0 + value, block.1 + 1.0);
    }
    blocks.into_values().collect()
}

/// The mean of timed values and its bounds; `None` with fewer than two draws.
#[must_use]
pub fn mean_bounds(values: &[(i64, f64)], block_ms: i64, confidence: f64) -> Option<MeanBounds> {
    let count = values.len() as f64;
    let mean = values.iter().map(|(_, value)| value).sum::<f64>() / count;
    let blocks = blocks(values, block_ms);
    let draws = blocks.len();
    if draws < 2 {
        return None;
    }
    let sum_of_squares: f64 = blocks.iter().map(|(sum, rows)| (sum - rows * mean).powi(2)).sum();
    let free = (draws - 1) as f64;
    let standard_error = (draws as f64 / free * sum_of_squares).sqrt() / count;
    let half = StudentsT::new(0.0, 1.0, free).ok()?.inverse_cdf(confidence) * standard_error;
    Some(MeanBounds { mean, standard_error, lower: mean - half, upper: mean + half, draws })
}

/// The middle 95 % of means of blocks drawn anew (Efron 1979), the same each time; `None` with fewer than two blocks.
#[must_use]
pub fn bootstrap(values: &[(i64, f64)], block_ms: i64) -> Option<(f64, f64)> {
    let blocks = blocks(values, block_ms);
    let together = blocks.len().div_ceil(BLOCKS_MAX).max(1);
    let sum = |some: &[(f64, f64)]| some.iter().fold((0.0, 0.0), |all, it| (all.0 + it.0, all.1 + it.1));
    let blocks: Vec<(f64, f64)> = blocks.chunks(together).map(sum).collect();
    if blocks.len() < 2 {
        return None;
    }
    let mut draws = Draws::new(1);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..blocks.len()).map(|_| blocks[(draws.bits() % blocks.len() as u64) as usize]);
            let (sum, rows) = drawn.fold((0.0, 0.0), |all, it| (all.0 + it.0, all.1 + it.1));
            sum / rows
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
    Some((at(0.025), at(0.975)))
}

/// The chance that right answers of only the one and of only the other fall so far apart where both are as good (McNemar 1947, exact).
#[must_use]
pub fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let all = only_first + only_second;
    let Ok(law) = Binomial::new(0.5, all) else { return 1.0 };
    (2.0 * law.cdf(only_first.min(only_second))).min(1.0)
}

/// The area under the ROC curve of the second less that of the first, on the same rows (DeLong, DeLong and Clarke-Pearson 1988); `None` with fewer than
/// two rows of either class.
#[must_use]
pub fn area_difference(first: &[f64], second: &[f64], labels: &[bool]) -> Option<Estimate> {
    let [first, second] = [first, second].map(|scores| placements(scores, labels));
    let mut value = 0.0;
    let mut variance = 0.0;
    for class in [true, false] {
        let of_class = labels.iter().zip(first.iter().zip(&second)).filter(|(label, _)| **label == class);
        let apart: Vec<f64> = of_class.map(|(_, (first, second))| second - first).collect();
        let count = apart.len() as f64;
        if count < 2.0 {
            return None;
        }
        // Either class's mean is the difference of the areas.
        value = apart.iter().sum::<f64>() / count;
        variance += apart.iter().map(|it| (it - value).powi(2)).sum::<f64>() / (count - 1.0) / count;
    }
    Some(Estimate::new(value, variance.sqrt()))
}

/// For each row the share of the other class that it is ranked rightly beside, ties by half; 0 or 1 where there is no other class.
#[must_use]
pub fn placements(scores: &[f64], labels: &[bool]) -> Vec<f64> {
    let of_class = |class: bool| {
        let of = scores.iter().zip(labels).filter(|(_, label)| **label == class);
        let mut scores: Vec<f64> = of.map(|(score, _)| *score).collect();
        scores.sort_unstable_by(f64::total_cmp);
        scores
    };
    let (no, yes) = (of_class(false), of_class(true));
    let below = |of: &[f64], score: f64| {
        let less = of.partition_point(|it| *it < score) as f64;
        let equal = of.partition_point(|it| *it <= score) as f64 - less;
        (less + equal / 2.0) / of.len().max(1) as f64
    };
    let place =
        |(score, label): (&f64, &bool)| if *label { below(&no, *score) } else { 1.0 - below(&yes, *score) };
    scores.iter().zip(labels).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::area_exact;

    /// Losses of two models on rows of which some hundred in a row are hard for both.
    fn losses(draws: &mut Draws, worse: f64) -> Vec<(i64, f64)> {
        let mut hard = 0.0;
        (0..5_000)
            .map(|row| {
                if row % 100 == 0 {
                    hard = draws.unit() - 0.5;
                }
                (row, hard * 0.4 + draws.unit() - 0.5 + worse)
            })
            .collect()
    }

    #[test]
    fn bounds_by_blocks_keep_their_confidence_and_those_by_rows_do_not() {
        let mut draws = Draws::new(3);
        let all: Vec<Vec<(i64, f64)>> = (0..400).map(|_| losses(&mut draws, 0.0)).collect();
        let missed = |block_ms: i64| {
            let missed = |values: &&Vec<(i64, f64)>| mean_bounds(values, block_ms, 0.95).unwrap().upper < 0.0;
            all.iter().filter(missed).count() as f64 / 400.0
        };
        assert!((0.02..0.09).contains(&missed(100)), "{}", missed(100));
        assert!(missed(0) > 0.15, "{}", missed(0));
        let shifted = losses(&mut draws, 0.2);
        let bounds = mean_bounds(&shifted, 100, 0.975).unwrap();
        let (lower, upper) = bootstrap(&shifted, 100).unwrap();
        assert!(bounds.lower > 0.0 && lower > 0.0 && bounds.draws == 50);
        assert!((lower - bounds.lower).abs() < 0.02 && (upper - bounds.upper).abs() < 0.02);
        assert_eq!((mean_bounds(&shifted[..1], 0, 0.9), bootstrap(&shifted[..100], 100)), (None, None));
    }

    #[test]
    fn mcnemar_is_statsmodels() {
        // statsmodels 0.14: mcnemar([[0, b], [c, 0]], exact=True).
        for (only_first, only_second, wanted) in [
            (0, 0, 1.0),
            (3, 3, 1.0),
            (1, 9, 0.021_484_375),
            (12, 25, 0.047_031_027_439_516_04),
            (100, 60, 0.001_953_728_034_064_355),
        ] {
            let found = mcnemar(only_first, only_second);
            assert!((found - wanted).abs() < 1e-9, "{only_first} {only_second}: {found}");
            assert!((found - mcnemar(only_second, only_first)).abs() < 1e-12);
        }
    }

    #[test]
    fn areas_of_the_same_rows_are_closer_than_each_is_known() {
        let mut draws = Draws::new(5);
        let mut within = 0;
        for _ in 0..300 {
            let labels: Vec<bool> = (0..400).map(|_| draws.unit() < 0.3).collect();
            let base: Vec<f64> =
                labels.iter().map(|label| draws.unit() + if *label { 0.4 } else { 0.0 }).collect();
            let of =
                |draws: &mut Draws| -> Vec<f64> { base.iter().map(|it| it + 0.2 * draws.unit()).collect() };
            let (first, second) = (of(&mut draws), of(&mut draws));
            let found = area_difference(&first, &second, &labels).unwrap();
            let areas = [&first, &second].map(|scores| area_exact(scores, &labels).unwrap());
            assert!((found.value - (areas[1].value - areas[0].value)).abs() < 1e-12);
            assert!(found.standard_error < areas[0].standard_error / 2.0);
            within += usize::from(found.lower <= 0.0 && 0.0 <= found.upper);
        }
        assert!((270..=297).contains(&within), "{within} of 300");
    }
}
