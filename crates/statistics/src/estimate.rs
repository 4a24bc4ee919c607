//! Means and shares with intervals. It must not know what they are of.

use crate::{Z_95, moments::Moments};

/// A mean with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Standard error; rows are taken as independent.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl Estimate {
    /// Ends of the 95 % interval.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        (self.lower, self.upper)
    }

    /// With an interval as wide as rows that depend on each other make it: by the root of their design effect, not below `least` nor above `most`.
    #[must_use]
    pub fn widened(self, design_effect: f64, (least, most): (f64, f64)) -> Self {
        let by = design_effect.max(1.0).sqrt();
        Self {
            value: self.value,
            standard_error: self.standard_error * by,
            lower: (self.value - (self.value - self.lower) * by).max(least),
            upper: (self.value + (self.upper - self.value) * by).min(most),
        }
    }

    /// A value with the interval of the normal law.
    #[must_use]
    pub fn new(value: f64, standard_error: f64) -> Self {
        let half = Z_95 * standard_error;
        Self { value, standard_error, lower: value - half, upper: value + half }
    }

    /// A mean.
    pub(crate) fn of(moments: &Moments) -> Option<Self> {
        Some(Self::new(moments.mean()?, moments.standard_error().unwrap_or(f64::INFINITY)))
    }

    /// A mean of losses, which are not negative: the normal law of its logarithm, since few large ones make it skewed. Covers 94 to 96 % from ten
    /// positives on.
    #[must_use]
    pub fn of_losses(moments: &Moments) -> Option<Self> {
        let plain = Self::of(moments)?;
        if plain.value <= 0.0 {
            // No loss in n is a share of at most this (Wilson 1927).
            let square = Z_95 * Z_95;
            return Some(Self { lower: 0.0, upper: square / (moments.count() as f64 + square), ..plain });
        }
        Some(Self::of_loss(plain.value, plain.standard_error))
    }

    /// A mean of losses, likewise.
    #[must_use]
    pub fn of_loss(value: f64, standard_error: f64) -> Self {
        if value <= 0.0 {
            return Self { lower: 0.0, ..Self::new(value, standard_error) };
        }
        let factor = (Z_95 * standard_error / value).exp();
        Self { value, standard_error, lower: value / factor, upper: value * factor }
    }

    /// A share of so many, with Wilson's interval (1927).
    #[must_use]
    pub fn of_share(moments: &Moments) -> Option<Self> {
        let (value, count) = (moments.mean()?, moments.count() as f64);
        let square = Z_95 * Z_95;
        let middle = (value + square / (2.0 * count)) / (1.0 + square / count);
        let half = Z_95 * (value * (1.0 - value) / count + square / (4.0 * count * count)).sqrt()
            / (1.0 + square / count);
        let standard_error = moments.standard_error().unwrap_or(f64::INFINITY);
        Some(Self { value, standard_error, lower: (middle - half).max(0.0), upper: (middle + half).min(1.0) })
    }
}
