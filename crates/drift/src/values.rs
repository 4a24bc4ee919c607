//! Have the values of a feature moved? Kolmogorov and Smirnov's test of numbers, Pearson's of categories. It must not know other features.

use acgs_reference::{Shape, effect::categories};
use acgs_statistics::{
    categorical::chi_square_survival,
    two_sample::{kolmogorov_survival, ks_p_value, ks_statistic, ks_statistic_of_cells},
};

use crate::looked::{Looked, Samples};

/// Rows to be expected of a category from which it is tested alone (Cochran 1954).
const EXPECTED_MIN: f64 = 5.0;

/// The test of values: its name, its statistic, its p-value and how it was computed.
pub(crate) fn test(
    looked: &Looked<'_>,
    samples: Option<Samples<'_>>,
    then: &[u64],
    effective: f64,
) -> (&'static str, f64, f64, String) {
    let Looked { feature, outcomes, expected, counts, .. } = looked;
    match (&feature.shape, samples) {
        (Shape::Numeric { .. }, Some(samples)) => {
            let statistic = ks_statistic(samples.reference, samples.current);
            let p_value = ks_p_value(statistic, samples.reference.len(), samples.current.len());
            ("ks", statistic, p_value, "exact".to_owned())
        }
        (Shape::Numeric { cells, .. }, None) => {
            // A season is known by parts only, and so are its steps.
            let statistic = if feature.phases.is_empty() {
                ks_statistic_of_cells(then, &counts.cells)
            } else {
                ks_statistic_of_parts(&expected.shares, &outcomes.counts(counts))
            };
            let rows = expected.present_rows();
            let both = rows * effective / (rows + effective).max(1.0);
            ("ks", statistic, kolmogorov_survival(statistic * both.sqrt()), format!("binned:{}", cells.len()))
        }
        (Shape::Categorical { .. }, _) => {
            // With a season its phases are known by outcome only. What was never seen has a test of its own, and no rows here.
            let present = counts.present().max(1) as f64;
            let then_unseen = expected.shares.last().copied().unwrap_or(0.0);
            let n = expected.present_rows() * (1.0 - then_unseen);
            let m = effective * (1.0 - counts.unseen_count as f64 / present);
            let (then, now) = if feature.phases.is_empty() {
                let (then, mut now) = categories(feature, counts);
                now.pop();
                now.push(counts.other_count.saturating_sub(counts.unseen_count));
                let mut then: Vec<f64> = then.iter().map(|count| *count as f64).collect();
                if let (Some(other), Shape::Categorical { unseen_count, .. }) =
                    (then.last_mut(), &feature.shape)
                {
                    *other -= *unseen_count as f64;
                }
                (then, now.iter().map(|count| *count as f64).collect())
            } else {
                let (mut then, mut now) = (expected.shares.clone(), outcomes.counts(counts));
                then.pop();
                now.pop();
                (then, now)
            };
            let (statistic, p_value, columns) = homogeneity(&then, &now, n, m);
            ("chi_square", statistic, p_value, format!("binned:{columns}"))
        }
    }
}

/// The largest difference between the distribution functions of parts in order.
fn ks_statistic_of_parts(then: &[f64], now: &[f64]) -> f64 {
    let all = now.iter().sum::<f64>().max(1.0);
    let steps = then.iter().zip(now).scan(0.0, |difference, (then, now)| {
        *difference += now / all - then;
        Some(difference.abs())
    });
    steps.fold(0.0, f64::max)
}

/// Pearson's test of homogeneity of two samples that are worth so many rows. Which categories are joined depends on what both have together:
/// those that are rare in one of them by chance would not be so in the other.
fn homogeneity(then: &[f64], now: &[f64], n: f64, m: f64) -> (f64, f64, usize) {
    let (all_then, all_now) = (then.iter().sum::<f64>(), now.iter().sum::<f64>());
    if all_then <= 0.0 || all_now <= 0.0 {
        return (0.0, 1.0, 0);
    }
    let mut columns: Vec<(f64, f64)> = Vec::new();
    let mut rare = (0.0, 0.0);
    for (then, now) in then.iter().zip(now) {
        let (then, now) = (then / all_then, now / all_now);
        if (n * then + m * now) * m.min(n) / (n + m) >= EXPECTED_MIN {
            columns.push((then, now));
        } else {
            rare = (rare.0 + then, rare.1 + now);
        }
    }
    if (n * rare.0 + m * rare.1) * m.min(n) / (n + m) >= EXPECTED_MIN {
        columns.push(rare);
    } else if let Some(smallest) = columns.iter_mut().min_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1))) {
        *smallest = (smallest.0 + rare.0, smallest.1 + rare.1);
    }
    if columns.len() < 2 {
        return (0.0, 1.0, columns.len());
    }
    let of = |(then, now): &(f64, f64)| {
        let both = (n * then + m * now) / (n + m);
        if both > 0.0 { (now - then).powi(2) / (both * (1.0 / n + 1.0 / m)) } else { 0.0 }
    };
    let statistic: f64 = columns.iter().map(of).sum();
    (statistic, chi_square_survival(statistic, (columns.len() - 1) as f64), columns.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_that_lose_their_rows_are_not_joined() {
        // 60 of 100 categories of one row in a hundred lose all of theirs to the other 40.
        let then = [1.0; 100];
        let now: Vec<f64> = (0..100).map(|place| if place < 60 { 0.0 } else { 2.5 }).collect();
        let (_, p_value, columns) = homogeneity(&then, &now, 10_000.0, 1_000.0);
        assert!(columns == 100 && p_value < 1e-12, "{columns} {p_value}");
        let (statistic, p_value, _) = homogeneity(&then, &then, 10_000.0, 1_000.0);
        assert!(statistic < 1e-12 && p_value > 0.999);
        assert_eq!(homogeneity(&[1.0], &[1.0], 10.0, 10.0).2, 1, "one column says nothing");
        assert_eq!(homogeneity(&[0.0, 0.0], &[1.0, 1.0], 10.0, 10.0).2, 0);
    }

    #[test]
    fn parts_in_order_are_compared_by_their_sums() {
        let found = ks_statistic_of_parts(&[0.25; 4], &[10.0, 10.0, 40.0, 40.0]);
        assert!((found - 0.3).abs() < 1e-12, "{found}");
    }
}
