//! What counts as bad. Rates and scores are in [0, 1].

use serde::Deserialize;

/// Thresholds and weights; deploy/acgs.toml holds the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Share of missing cells above which a finding is made.
    pub missing_rate_max: f64,
    /// Share of missing cells of one field above which a note is made.
    pub field_missing_rate_max: f64,
    /// Share of invalid cells above which a finding is made.
    pub invalid_rate_max: f64,
    /// Share of outliers above which a finding is made.
    pub outlier_rate_max: f64,
    /// Share of repeated ids above which a finding is made.
    pub duplicate_rate_max: f64,
    /// Freshness score below which a finding is made.
    pub freshness_score_min: f64,
    /// Overall score below which a finding is made.
    pub overall_score_min: f64,
    /// Age in milliseconds at which the freshness of a direct call is 0.
    pub freshness_horizon_ms: i64,
    /// Fences are this many interquartile ranges from the quartiles (Tukey 1977 calls values beyond 3 far out).
    pub fence_ranges: f64,
    /// Weight of completeness in the overall score.
    pub completeness_weight: f64,
    /// Weight of validity.
    pub validity_weight: f64,
    /// Weight of uniqueness.
    pub uniqueness_weight: f64,
    /// Weight of freshness.
    pub freshness_weight: f64,
    /// Weight of freedom from outliers.
    pub outlier_weight: f64,
}
