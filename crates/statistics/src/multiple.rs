//! Many tests at once. It must not know what is tested.

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

#[cfg(test)]
mod tests {
    use super::*;

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
