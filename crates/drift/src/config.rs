//! What counts as drift.

use serde::Deserialize;

/// Thresholds; deploy/acgs.toml holds the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Level of the tests after Benjamini-Hochberg, in (0, 1).
    pub alpha: f64,
    /// Least effect size that counts: Wasserstein / standard deviation, or total variation.
    pub effect_size_min: f64,
    /// An effect also has to exceed the reference's own mean between spans by this many standard deviations.
    pub span_deviations: f64,
    /// Share of drifted features from which the whole counts as drifted, in [0, 1].
    pub drift_share: f64,
    /// Fewest rows to judge.
    pub rows_min: u64,
}
