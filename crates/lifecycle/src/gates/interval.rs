//! A one-sided bound of a mean whose draws may hang together in time. It must not know what is measured.
//!
//! Records of one day share their weather: taken one by one they promise more than they know. Sums of blocks of event time
//! are the draws then (the cluster-robust variance of a mean: Liang and Zeger, Biometrika 73, 1986), with Student's t of as many
//! degrees of freedom as there are blocks, less one.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean with its upper bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanBound {
    /// The mean.
    pub mean: f64,
    /// With the confidence asked for, it is not above this.
    pub upper: f64,
    /// Blocks, or values where there are none.
    pub draws: usize,
}

/// The mean of timed values and its upper bound; `None` with fewer than two draws.
#[must_use]
pub fn mean_upper(values: &[(i64, f64)], block_ms: i64, confidence: f64) -> Option<MeanBound> {
    let count = values.len() as f64;
    let mean = values.iter().map(|(_, value)| value).sum::<f64>() / count;
    let (draws, sum_of_squares) = if block_ms > 0 {
        let mut blocks: BTreeMap<i64, f64> = BTreeMap::new();
        for (time_ms, value) in values {
            *blocks.entry(time_ms.div_euclid(block_ms)).or_default() += value - mean;
        }
        (blocks.len(), blocks.values().map(|sum| sum * sum).sum::<f64>())
    } else {
        (values.len(), values.iter().map(|(_, value)| (value - mean) * (value - mean)).sum::<f64>())
    };
    if draws < 2 {
        return None;
    }
    let free = (draws - 1) as f64;
    let error = (draws as f64 / free * sum_of_squares).sqrt() / count;
    let quantile = StudentsT::new(0.0, 1.0, free).ok()?.inverse_cdf(confidence);
    Some(MeanBound { mean, upper: mean + quantile * error, draws })
}
