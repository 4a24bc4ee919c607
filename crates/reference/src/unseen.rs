//! How many rows may be of categories that a reference has missed. It must not know what is made of it.
//!
//! Where all categories that there were are counted, none was unseen: what may be missing is read off how the counts spread, as in Fisher's
//! negative binomial law of species (1943). A category that was missed comes with all its rows at once, so that the law about the unseen
//! share is as wide as such categories are large.

/// Rows that may have had an unseen category and did not (Jeffreys 1946).
pub(crate) const UNSURE: f64 = 0.5;
/// Rows of a category above which it cannot have been missed.
const RARE_MAX: f64 = 40.0;

/// The law about the unseen share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unseen {
    /// Rows of unseen categories to be expected among as many rows as the reference has.
    pub(crate) rows: f64,
    /// How many rows come with one of them, on average by rows.
    pub(crate) together: f64,
}

/// From the counts of all categories that there were.
pub(crate) fn unseen(counts: &[u64]) -> Unseen {
    // Frequent ones say nothing of those that may be missing.
    let rare: Vec<f64> =
        counts.iter().map(|count| *count as f64).filter(|count| *count > 0.0 && *count <= RARE_MAX).collect();
    let alone = Unseen { rows: UNSURE, together: 1.0 };
    if rare.is_empty() {
        return alone;
    }
    let many = rare.len() as f64;
    let mean = rare.iter().sum::<f64>() / many;
    let variance = rare.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / many;
    // Counts of equal categories have the variance of their mean; what is more, their shares differ by.
    let beyond = (variance - mean).max(0.0);
    let (missing_share, rows_each, spread) = if beyond <= 1e-9 * mean {
        ((-mean).exp(), mean, 1.0)
    } else {
        let shape = mean * mean / beyond;
        let scale = beyond / mean;
        // The rates of those that were missed: a gamma law of the same shape.
        ((1.0 + scale).powf(-shape), shape * scale / (1.0 + scale), 1.0 + 1.0 / shape)
    };
    let missed = many * missing_share / (1.0 - missing_share).max(f64::MIN_POSITIVE);
    let rows = missed * rows_each;
    let squares = UNSURE + rows * rows_each * spread;
    Unseen { rows: UNSURE + rows, together: (squares / (UNSURE + rows)).max(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_large_categories_miss_nothing_and_many_small_ones_a_whole_one() {
        let none = Unseen { rows: UNSURE, together: 1.0 };
        assert_eq!(unseen(&[]), none);
        assert_eq!(unseen(&[5_000, 3_000, 2_000]), none);
        // 50 equal ones of about 6 rows: one of e^6 of them is missing, with 6 rows.
        let six = unseen(&[6; 50]);
        assert!((six.rows - UNSURE - 50.0 * (-6.0_f64).exp() * 6.0).abs() < 0.01, "{six:?}");
        assert!(six.together > 3.0 && six.together < 6.0, "{six:?}");
        let large = unseen(&[30; 50]);
        assert!(large.rows - UNSURE < 1e-8 && large.together < 1.0 + 1e-6, "{large:?}");
        // Unequal ones: more are missing, and smaller ones.
        let mixed: Vec<u64> = (1..=20).flat_map(|count| [count, count]).collect();
        let unequal = unseen(&mixed);
        assert!(unequal.rows > 0.9 && unequal.together > 2.0, "{unequal:?}");
        assert!(unseen(&[1; 50]).rows > 20.0, "of singletons, as many again");
    }
}
