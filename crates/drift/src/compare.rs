//! Two samples of one variable, and tests by name. It must not know features or references.

use std::collections::BTreeMap;

use acgs_statistics::{
    categorical::{chi_square_homogeneity, jensen_shannon, psi},
    cells::Cells,
    two_sample::{EXACT_PRODUCT_MAX, ks_p_value, ks_statistic, wasserstein},
};

/// Tests that there are.
pub const TESTS: [&str; 5] = ["ks", "psi", "jensen_shannon", "wasserstein", "chi_square"];
const BINS: usize = 10;

/// One test's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The test.
    pub test: String,
    /// Its statistic or distance.
    pub statistic: f64,
    /// Of a test.
    pub p_value: Option<f64>,
    /// Of a chi-square test.
    pub degrees_of_freedom: Option<f64>,
    /// Formula, binning and base.
    pub method: String,
    /// Why it does not apply; empty when it does.
    pub not_applicable: String,
}

impl Outcome {
    fn of(test: &str, statistic: f64, method: impl Into<String>) -> Self {
        Self {
            test: test.into(),
            statistic,
            p_value: None,
            degrees_of_freedom: None,
            method: method.into(),
            not_applicable: String::new(),
        }
    }

    fn not(test: &str, why: &str) -> Self {
        Self { not_applicable: why.into(), ..Self::of(test, 0.0, "") }
    }
}

/// Sorts the finite values of a sample.
#[must_use]
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    finite.sort_unstable_by(f64::total_cmp);
    finite
}

/// One test on sorted numeric samples.
#[must_use]
pub fn numeric(test: &str, reference: &[f64], current: &[f64]) -> Outcome {
    if reference.is_empty() || current.is_empty() {
        return Outcome::not(test, "a sample has no finite value");
    }
    match test {
        "ks" => {
            let statistic = ks_statistic(reference, current);
            let exact = reference.len().saturating_mul(current.len()) <= EXACT_PRODUCT_MAX;
            let law = if exact { "exact, ties as if none" } else { "limit law" };
            let mut outcome = Outcome::of(test, statistic, format!("two-sided; {law}"));
            outcome.p_value = Some(ks_p_value(statistic, reference.len(), current.len()));
            outcome
        }
        "wasserstein" => {
            Outcome::of(test, wasserstein(reference, current), "first order, in the unit of the data")
        }
        "psi" | "jensen_shannon" => {
            let cells = Cells::of_sorted(reference);
            let count = |values: &[f64]| {
                let mut counts = cells.empty_counts();
                cells.count_slice(values, &mut counts);
                counts
            };
            let (then, now) = (count(reference), count(current));
            let groups = cells.groups(&then.counts, BINS);
            // Open ends: what lies beyond the range belongs to the outer bins.
            let sum = |counts: &acgs_statistics::cells::CellCounts| {
                let mut sums = vec![0; BINS];
                groups.iter().zip(&counts.counts).for_each(|(group, count)| sums[*group] += count);
                sums[0] += counts.below;
                sums[groups.last().copied().unwrap_or(0)] += counts.above;
                sums
            };
            binned(test, &sum(&then), &sum(&now), "10 bins at reference quantiles, open ends")
        }
        _ => Outcome::not(test, "needs categories"),
    }
}

/// One test on categories.
#[must_use]
pub fn categorical(test: &str, reference: &[String], current: &[String]) -> Outcome {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    reference.iter().for_each(|category| counts.entry(category).or_default().0 += 1);
    current.iter().for_each(|category| counts.entry(category).or_default().1 += 1);
    let (then, now): (Vec<u64>, Vec<u64>) = counts.into_values().unzip();
    match test {
        "chi_square" => match chi_square_homogeneity(&then, &now) {
            Some(result) => {
                let method = "Pearson, homogeneity; expected counts below 5 joined";
                let mut outcome = Outcome::of(test, result.statistic, method);
                outcome.p_value = Some(result.p_value);
                outcome.degrees_of_freedom = Some(result.degrees_of_freedom);
                outcome
            }
            None => Outcome::not(test, "fewer than two categories with enough counts"),
        },
        "psi" | "jensen_shannon" => binned(test, &then, &now, "one bin for each category"),
        _ => Outcome::not(test, "needs numbers"),
    }
}

fn binned(test: &str, then: &[u64], now: &[u64], binning: &str) -> Outcome {
    if test == "psi" {
        Outcome::of(test, psi(then, now), format!("{binning}; natural log; zero shares as 1e-4"))
    } else {
        Outcome::of(test, jensen_shannon(then, now), format!("{binning}; distance, log base 2"))
    }
}
