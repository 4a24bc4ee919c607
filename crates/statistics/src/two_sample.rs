//! Has a numeric variable moved? Kolmogorov-Smirnov and Wasserstein, from sorted samples or from frozen cells.
//! It must not know features or thresholds.

use crate::cells::{CellCounts, Cells};

/// Up to this product of sample sizes the two-sample p-value is exact.
pub const EXACT_PRODUCT_MAX: usize = 4_000_000;

/// The largest distance of the empirical distribution functions of two sorted samples.
#[must_use]
pub fn ks_statistic(first: &[f64], second: &[f64]) -> f64 {
    let (n, m) = (first.len() as f64, second.len() as f64);
    let (mut i, mut j, mut largest) = (0, 0, 0.0_f64);
    while i < first.len() && j < second.len() {
        let value = first[i].min(second[j]);
        while i < first.len() && first[i] <= value {
            i += 1;
        }
        while j < second.len() && second[j] <= value {
            j += 1;
        }
        largest = largest.max((i as f64 / n - j as f64 / m).abs());
    }
    largest
}

/// Two-sided p-value of a KS statistic: exact for small samples (Hodges 1958, as if without ties, so conservative
/// with them), else the limit law.
#[must_use]
pub fn ks_p_value(statistic: f64, n: usize, m: usize) -> f64 {
    if n == 0 || m == 0 {
        return 1.0;
    }
    if n.saturating_mul(m) <= EXACT_PRODUCT_MAX {
        return ks_exact(statistic, n, m);
    }
    let effective = n as f64 * m as f64 / (n + m) as f64;
    kolmogorov_survival(statistic * effective.sqrt())
}

/// P(D >= d) by a walk over the lattice of sample positions, summing the upper tail so that small values stay exact.
fn ks_exact(statistic: f64, n: usize, m: usize) -> f64 {
    let (rows, columns) = (n as f64, m as f64);
    // Distances are multiples of 1 / (n m); half a step below the statistic counts the statistic itself.
    let bound = (0.5 + (statistic * rows * columns - 1e-7).floor()) / (rows * columns);
    let outside = |i: usize, j: usize| (i as f64 / rows - j as f64 / columns).abs() > bound;
    let mut tail: Vec<f64> = (0..=m).map(|j| if outside(0, j) { 1.0 } else { 0.0 }).collect();
    for j in 1..=m {
        // Once out, a path stays counted.
        tail[j] = tail[j].max(tail[j - 1]);
    }
    for i in 1..=n {
        if outside(i, 0) {
            tail[0] = 1.0;
        }
        for j in 1..=m {
            tail[j] = if outside(i, j) {
                1.0
            } else {
                let total = (i + j) as f64;
                i as f64 / total * tail[j] + j as f64 / total * tail[j - 1]
            };
        }
    }
    tail[m].clamp(0.0, 1.0)
}

/// Kolmogorov's limit law, P(K > x) (Kolmogorov 1933; the theta form for small x).
#[must_use]
pub fn kolmogorov_survival(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.0 {
        let factor = (2.0 * std::f64::consts::PI).sqrt() / x;
        let term = |k: f64| (-(2.0 * k - 1.0).powi(2) * std::f64::consts::PI.powi(2) / (8.0 * x * x)).exp();
        let below: f64 = (1..=20).map(|k| term(f64::from(k))).sum();
        return (1.0 - factor * below).clamp(0.0, 1.0);
    }
    let term = |k: i32| f64::from(1 - 2 * ((k - 1) % 2)) * (-2.0 * f64::from(k).powi(2) * x * x).exp();
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// Wasserstein-1 distance of two sorted samples: the area between their distribution functions, in their unit.
#[must_use]
pub fn wasserstein(first: &[f64], second: &[f64]) -> f64 {
    let (n, m) = (first.len() as f64, second.len() as f64);
    let (mut i, mut j, mut area) = (0, 0, 0.0);
    let mut at = match (first.first(), second.first()) {
        (Some(&a), Some(&b)) => a.min(b),
        _ => return 0.0,
    };
    while i < first.len() || j < second.len() {
        let next = match (first.get(i), second.get(j)) {
            (Some(&a), Some(&b)) => a.min(b),
            (Some(&a), None) => a,
            (None, Some(&b)) => b,
            (None, None) => break,
        };
        area += (i as f64 / n - j as f64 / m).abs() * (next - at);
        at = next;
        while i < first.len() && first[i] <= next {
            i += 1;
        }
        while j < second.len() && second[j] <= next {
            j += 1;
        }
    }
    area
}

/// The KS statistic at the edges of frozen cells: never above the exact one, and below it by at most the mass of
/// one cell.
#[must_use]
pub fn ks_statistic_of_cells(reference: &[u64], current: &CellCounts) -> f64 {
    differences(reference, current).0.fold(0.0, |largest: f64, difference| largest.max(difference.abs()))
}

/// Wasserstein-1 distance from frozen cells: exact beyond the reference's range, linear between edges.
#[must_use]
pub fn wasserstein_of_cells(cells: &Cells, reference: &[u64], current: &CellCounts) -> f64 {
    let (differences, total) = differences(reference, current);
    if total == 0 {
        return 0.0;
    }
    let tails = current.below_distance / total as f64 + current.above_distance / total as f64;
    let ends = std::iter::once(cells.minimum()).chain(cells.edges().iter().copied());
    let ends = ends.chain(std::iter::once(cells.maximum()));
    let mut area = 0.0;
    let mut last: Option<(f64, f64)> = None;
    for (at, difference) in ends.zip(differences) {
        if let Some((from, before)) = last {
            // Between neighbouring values of a discrete variable the functions do not move.
            let height = if cells.is_discrete() { before.abs() } else { mean_absolute(before, difference) };
            area += (at - from) * height;
        }
        last = Some((at, difference));
    }
    (tails + area).min(f64::MAX)
}

/// Mean of |d| where d runs straight from `before` to `after`.
fn mean_absolute(before: f64, after: f64) -> f64 {
    if before * after >= 0.0 {
        return (before.abs() + after.abs()) / 2.0;
    }
    (before * before + after * after) / (2.0 * (before.abs() + after.abs()))
}

/// Differences of the distribution functions at the minimum, each edge and the maximum, and the current total.
fn differences(reference: &[u64], current: &CellCounts) -> (impl Iterator<Item = f64>, u64) {
    let n = reference.iter().sum::<u64>().max(1) as f64;
    let total = current.total();
    let m = total.max(1) as f64;
    let start = (0_u64, current.below);
    let steps = reference.iter().zip(&current.counts).scan(start, |(f, g), (of_reference, of_current)| {
        *f += of_reference;
        *g += of_current;
        Some((*f, *g))
    });
    let all: Vec<f64> =
        std::iter::once(start).chain(steps).map(|(f, g)| f as f64 / n - g as f64 / m).collect();
    (all.into_iter(), total)
}

#[cfg(test)]
#[path = "two_sample_tests.rs"]
mod tests;
