//! How far numbers are from those that came true: absolute and squared errors, bias, share of variance explained, and of quantiles their loss. It must
//! not know models or baselines.

use serde::{Deserialize, Serialize};

use crate::{estimate::Estimate, moments::Moments};

/// Sums over numbers that were said and that came true.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorSums {
    absolute: Moments,
    squared: Moments,
    signed: Moments,
    truth: Moments,
    /// Beside the size of what came true, where that is not 0.
    relative: Moments,
    /// Of numbers that are quantiles: see [`quantile_loss`].
    quantile: Moments,
    /// Labels that are at most what was said, as 0 and 1.
    covered: Moments,
}

impl ErrorSums {
    /// Adds finite pairs.
    pub fn push_slice(&mut self, said: &[f64], truth: &[f64]) {
        let errors: Vec<f64> = said.iter().zip(truth).map(|(said, truth)| said - truth).collect();
        self.signed.push_slice(&errors);
        self.absolute.push_slice(&errors.iter().map(|error| error.abs()).collect::<Vec<f64>>());
        self.squared.push_slice(&errors.iter().map(|error| error * error).collect::<Vec<f64>>());
        self.truth.push_slice(truth);
        let of_truth = |(said, truth): (&f64, &f64)| (*truth != 0.0).then(|| ((said - truth) / truth).abs());
        let relative: Vec<f64> =
            said.iter().zip(truth).filter_map(of_truth).filter(|it| it.is_finite()).collect();
        self.relative.push_slice(&relative);
    }

    /// Adds the losses of numbers that were said as a quantile.
    pub fn push_quantiles(&mut self, said: &[f64], truth: &[f64], quantile: f64) {
        let pairs = || said.iter().zip(truth);
        let losses: Vec<f64> = pairs().map(|(said, truth)| quantile_loss(*said, *truth, quantile)).collect();
        let covered: Vec<f64> = pairs().map(|(said, truth)| f64::from(u8::from(truth <= said))).collect();
        self.quantile.push_slice(&losses);
        self.covered.push_slice(&covered);
    }

    /// Adds another's pairs.
    pub fn merge(&mut self, other: &Self) {
        self.absolute.merge(&other.absolute);
        self.squared.merge(&other.squared);
        self.signed.merge(&other.signed);
        self.truth.merge(&other.truth);
        self.relative.merge(&other.relative);
        self.quantile.merge(&other.quantile);
        self.covered.merge(&other.covered);
    }

    /// Takes back pairs that were added before; false where more would be taken than there are, and what is left is of no use.
    #[must_use]
    pub fn take_back(&mut self, other: &Self) -> bool {
        self.absolute.take_back(&other.absolute, false)
            && self.squared.take_back(&other.squared, false)
            && self.signed.take_back(&other.signed, false)
            && self.truth.take_back(&other.truth, false)
            && self.relative.take_back(&other.relative, false)
            && self.quantile.take_back(&other.quantile, false)
            && self.covered.take_back(&other.covered, true)
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let all = [&self.absolute, &self.squared, &self.signed, &self.truth];
        all.iter().all(|sums| sums.is_sound() && sums.count() == self.truth.count())
            && self.relative.is_sound()
            && self.relative.count() <= self.truth.count()
            && self.quantile.is_sound()
            && self.covered.is_sound()
            && self.quantile.count() == self.covered.count()
            && [0, self.truth.count()].contains(&self.quantile.count())
    }

    /// Pairs.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.truth.count()
    }

    /// Absolute errors.
    #[must_use]
    pub fn absolute(&self) -> &Moments {
        &self.absolute
    }

    /// Mean absolute error.
    #[must_use]
    pub fn mean_absolute(&self) -> Option<Estimate> {
        Estimate::of_losses(&self.absolute)
    }

    /// The losses of quantiles; empty where numbers are none.
    #[must_use]
    pub fn quantile(&self) -> &Moments {
        &self.quantile
    }

    /// The mean loss of quantiles.
    #[must_use]
    pub fn mean_quantile_loss(&self) -> Option<Estimate> {
        Estimate::of_losses(&self.quantile)
    }

    /// Share of labels that are at most what was said, of quantiles.
    #[must_use]
    pub fn covered(&self) -> Option<Estimate> {
        Estimate::of_share(&self.covered)
    }

    /// Mean absolute error beside the size of what came true, over pairs where that is not 0.
    #[must_use]
    pub fn mean_absolute_percentage(&self) -> Option<Estimate> {
        Estimate::of_losses(&self.relative)
    }

    /// Root of the mean squared error; its standard error by the delta method.
    #[must_use]
    pub fn root_mean_square(&self) -> Option<Estimate> {
        let mean = Estimate::of_losses(&self.squared)?;
        let value = mean.value.sqrt();
        let standard_error =
            if value > 0.0 { mean.standard_error / (2.0 * value) } else { mean.standard_error };
        let (lower, upper) = mean.interval();
        Some(Estimate { value, standard_error, lower: lower.sqrt(), upper: upper.sqrt() })
    }

    /// Mean of what was said less what came true.
    #[must_use]
    pub fn bias(&self) -> Option<Estimate> {
        Estimate::of(&self.signed)
    }

    /// Standard deviation of what came true.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        self.truth.population_standard_deviation()
    }

    /// Share of the variance that is explained, at most 1; `None` where what came true does not vary.
    #[must_use]
    pub fn explained(&self) -> Option<f64> {
        let deviation = self.truth.population_standard_deviation().filter(|deviation| *deviation > 0.0)?;
        Some(1.0 - self.squared.mean()? / (deviation * deviation))
    }
}

/// The loss of a number that was said to be above such a share of labels (Koenker and Bassett 1978), in the label's unit.
#[must_use]
pub fn quantile_loss(said: f64, truth: f64, quantile: f64) -> f64 {
    if truth >= said { quantile * (truth - said) } else { (1.0 - quantile) * (said - truth) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_the_definitions() {
        // scikit-learn's examples: MAE 0.5, MSE 0.375, R2 0.9486081370449679.
        let (truth, said) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        let mut sums = ErrorSums::default();
        sums.push_slice(&said, &truth);
        assert!((sums.mean_absolute().unwrap().value - 0.5).abs() < 1e-12);
        assert!((sums.root_mean_square().unwrap().value - 0.375_f64.sqrt()).abs() < 1e-12);
        assert!((sums.explained().unwrap() - 0.948_608_137_044_967_9).abs() < 1e-12);
        assert!((sums.bias().unwrap().value - 0.25).abs() < 1e-12);
        let mut pieces = ErrorSums::default();
        for row in 0..4 {
            let mut piece = ErrorSums::default();
            piece.push_slice(&said[row..=row], &truth[row..=row]);
            pieces.merge(&piece);
        }
        assert!((pieces.explained().unwrap() - sums.explained().unwrap()).abs() < 1e-12 && pieces.is_sound());
        assert_eq!(ErrorSums::default().mean_absolute(), None);
        let mut constant = ErrorSums::default();
        constant.push_slice(&[1.0, 2.0], &[5.0, 5.0]);
        assert_eq!(constant.explained(), None);
    }
}
