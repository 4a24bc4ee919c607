//! Many tests at once. It must not know what is tested.

use statrs::distribution::{ContinuousCDF, Normal};

/// Benjamini and Hochberg's adjusted p-values (1995), in the order given: rejecting those at most alpha keeps the
/// expected share of false rejections at most alpha.
#[must_use]
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[b].total_cmp(&p_values[a]));
    let count = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    for (place, &index) in order.iter().enumerate() {
        let rank = count - place as f64;
        least = least.min(p_values[index] * count / rank);
        adjusted[index] = least;
    }
    adjusted
}

/// How many standard errors a normal value is above its mean with a chance of one in `times`; 0 for fewer than two.
#[must_use]
pub fn z_of_one_in(times: f64) -> f64 {
    if times <= 2.0 {
        return 0.0;
    }
    Normal::standard().inverse_cdf(1.0 - 1.0 / times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_forty_is_the_known_point() {
        assert!((z_of_one_in(40.0) - crate::Z_95).abs() < 1e-9 && z_of_one_in(1.0) == 0.0);
        assert!((z_of_one_in(1e6) - 4.753_424).abs() < 1e-5);
    }

    #[test]
    fn adjusts_as_published() {
        // The worked example of the 1995 paper's first table, cut to six hypotheses.
        let adjusted = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005, 0.5, 0.8]);
        let expected = [0.03, 0.06, 0.06, 0.03, 0.6, 0.8];
        for (found, wanted) in adjusted.iter().zip(expected) {
            assert!((found - wanted).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(benjamini_hochberg(&[]).is_empty());
    }
}
