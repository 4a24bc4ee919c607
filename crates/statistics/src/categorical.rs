//! Has a distribution over categories or bins moved? Tests and distances on two rows of counts.
//! It must not know what the categories are.

use statrs::function::gamma::gamma_ur;

/// A share of zero counts as this much in logarithms.
pub const ZERO_SHARE: f64 = 1e-4;

/// A chi-square test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquare {
    /// The statistic.
    pub statistic: f64,
    /// Degrees of freedom.
    pub degrees_of_freedom: f64,
    /// P(X >= statistic).
    pub p_value: f64,
}

/// The upper tail of the chi-square law.
#[must_use]
pub fn chi_square_survival(statistic: f64, degrees_of_freedom: f64) -> f64 {
    if statistic <= 0.0 || degrees_of_freedom <= 0.0 {
        return 1.0;
    }
    gamma_ur(degrees_of_freedom / 2.0, statistic / 2.0)
}

/// Pearson's test that two rows of counts come from one distribution (1900): both rows are samples, neither is taken
/// as exact. Columns whose expected count is below 5 in either row are joined (Cochran 1954). `None` when fewer than
/// two columns are left or a row is empty.
#[must_use]
pub fn chi_square_homogeneity(first: &[u64], second: &[u64]) -> Option<ChiSquare> {
    let (n, m) = (first.iter().sum::<u64>() as f64, second.iter().sum::<u64>() as f64);
    if n == 0.0 || m == 0.0 {
        return None;
    }
    let least = n.min(m) / (n + m);
    let mut columns: Vec<(f64, f64)> = Vec::new();
    let mut rare = (0.0, 0.0);
    for (&a, &b) in first.iter().zip(second) {
        let (a, b) = (a as f64, b as f64);
        if (a + b) * least >= 5.0 {
            columns.push((a, b));
        } else {
            rare = (rare.0 + a, rare.1 + b);
        }
    }
    if rare.0 + rare.1 > 0.0 {
        if (rare.0 + rare.1) * least >= 5.0 || columns.is_empty() {
            columns.push(rare);
        } else if let Some(smallest) = columns.iter_mut().min_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1))) {
            // Too rare to stand alone: with the smallest of the others.
            *smallest = (smallest.0 + rare.0, smallest.1 + rare.1);
        }
    }
    pearson(&columns, n, m)
}

/// The same test with no joining of columns; empty columns do not count.
#[must_use]
pub fn chi_square_plain(first: &[u64], second: &[u64]) -> Option<ChiSquare> {
    let (n, m) = (first.iter().sum::<u64>() as f64, second.iter().sum::<u64>() as f64);
    let columns: Vec<(f64, f64)> =
        first.iter().zip(second).map(|(&a, &b)| (a as f64, b as f64)).filter(|(a, b)| a + b > 0.0).collect();
    if n == 0.0 || m == 0.0 { None } else { pearson(&columns, n, m) }
}

fn pearson(columns: &[(f64, f64)], n: f64, m: f64) -> Option<ChiSquare> {
    if columns.len() < 2 {
        return None;
    }
    let of = |(a, b): &(f64, f64)| {
        let (expected_a, expected_b) = ((a + b) * n / (n + m), (a + b) * m / (n + m));
        (a - expected_a).powi(2) / expected_a + (b - expected_b).powi(2) / expected_b
    };
    let statistic: f64 = columns.iter().map(of).sum();
    let degrees_of_freedom = (columns.len() - 1) as f64;
    Some(ChiSquare {
        statistic,
        degrees_of_freedom,
        p_value: chi_square_survival(statistic, degrees_of_freedom),
    })
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    counts.iter().map(|&count| count as f64 / total).collect()
}

/// Population stability index, natural logarithm; shares of zero count as [`ZERO_SHARE`], without renormalising.
#[must_use]
pub fn psi(reference: &[u64], current: &[u64]) -> f64 {
    let floor = |share: f64| if share == 0.0 { ZERO_SHARE } else { share };
    let pairs = shares(reference).into_iter().zip(shares(current));
    pairs
        .filter(|(p, q)| p + q > 0.0)
        .map(|(p, q)| (floor(p), floor(q)))
        .map(|(p, q)| (q - p) * (q / p).ln())
        .sum()
}

/// What the index averages when nothing has moved: (B - 1)(1/n + 1/m) (Yurdakul and Naranjo 2020), with B the bins
/// that are not empty.
#[must_use]
pub fn psi_null_mean(reference: &[u64], current: &[u64]) -> f64 {
    let bins = reference.iter().zip(current).filter(|(a, b)| **a + **b > 0).count();
    let (n, m) = (reference.iter().sum::<u64>() as f64, current.iter().sum::<u64>() as f64);
    if n == 0.0 || m == 0.0 { 0.0 } else { bins.saturating_sub(1) as f64 * (1.0 / n + 1.0 / m) }
}

/// Jensen-Shannon distance, the root of the divergence in bits, in [0, 1] (Lin 1991).
#[must_use]
pub fn jensen_shannon(reference: &[u64], current: &[u64]) -> f64 {
    let part = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
    let divergence: f64 = shares(reference)
        .into_iter()
        .zip(shares(current))
        .map(|(p, q)| (part(p, (p + q) / 2.0) + part(q, (p + q) / 2.0)) / 2.0)
        .sum();
    divergence.clamp(0.0, 1.0).sqrt()
}

/// Total variation distance: half the sum of absolute differences, in [0, 1].
#[must_use]
pub fn total_variation(reference: &[u64], current: &[u64]) -> f64 {
    shares(reference).into_iter().zip(shares(current)).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0
}
