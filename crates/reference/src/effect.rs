//! How far rows lie from a reference, in units of its own. It must not know what distance matters.

use acgs_statistics::{categorical::total_variation, two_sample::wasserstein_of_cells};

use crate::{
    counts::FeatureCounts,
    reference::{FeatureReference, Shape},
};

/// What a constant's standard deviation counts as, so that it can be left by a finite distance.
const CONSTANT_DEVIATION: f64 = 1e-3;
/// Below this share of the mean a standard deviation is rounding.
const ROUNDING: f64 = 1e-12;

/// How far a feature has moved, in its own unit of size; `None` without values.
#[must_use]
pub fn effect_size(feature: &FeatureReference, counts: &FeatureCounts) -> Option<f64> {
    if counts.present() == 0 {
        return None;
    }
    Some(match &feature.shape {
        Shape::Numeric { cells, counts: then, mean, standard_deviation } => {
            let distance = wasserstein_of_cells(cells, then, &counts.cells);
            (distance / scale(*mean, *standard_deviation)).min(f64::MAX)
        }
        Shape::Categorical { .. } => {
            let (then, now) = categories(feature, counts);
            total_variation(&then, &now)
        }
    })
}

/// The unit of an effect size.
#[must_use]
pub fn scale(mean: f64, standard_deviation: f64) -> f64 {
    if standard_deviation > ROUNDING * mean.abs() { standard_deviation } else { CONSTANT_DEVIATION }
}

/// Rows by category, of the reference and now; those that are not told apart come last. Empty for numbers.
#[must_use]
pub fn categories(feature: &FeatureReference, counts: &FeatureCounts) -> (Vec<u64>, Vec<u64>) {
    let Shape::Categorical { counts: then, other_count, .. } = &feature.shape else {
        return (vec![], vec![]);
    };
    let with = |counts: &[u64], other: u64| counts.iter().copied().chain([other]).collect::<Vec<u64>>();
    (with(then, *other_count), with(&counts.cells.counts, counts.other_count))
}
