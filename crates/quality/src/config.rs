//! What counts as bad. Rates and scores are in [0, 1].

use serde::Deserialize;

/// Rates that every column is tested by.
const RULES: f64 = 4.0;

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
    /// Share of values that are stuck above which a finding is made where there is no reference.
    pub stuck_rate_max: f64,
    /// How much larger than in the reference a rate may be.
    pub rate_tolerance: f64,
    /// Windows without change in which a column, of all of them and by any rule, is called worse than the reference once, at most.
    pub false_alarm_windows: f64,
    /// Share of repeated ids or rows above which a finding is made.
    pub duplicate_rate_max: f64,
    /// Freshness score below which a finding is made.
    pub freshness_score_min: f64,
    /// Overall score below which a finding is made.
    pub overall_score_min: f64,
    /// Age in milliseconds at which the freshness of a direct call is 0.
    pub freshness_horizon_ms: i64,
    /// Fences are this many interquartile ranges from the quartiles (Tukey 1977 calls values beyond 3 far out).
    pub fence_ranges: f64,
    /// The power of completeness in the score of a column: 1 takes its share, 0 nothing.
    pub completeness_weight: f64,
    /// The power of validity.
    pub validity_weight: f64,
    /// The power of uniqueness in the overall score.
    pub uniqueness_weight: f64,
    /// What rows that are too old take of the overall score of a call.
    pub freshness_weight: f64,
    /// The power of freedom from outliers.
    pub outlier_weight: f64,
    /// The power of consistency.
    pub consistency_weight: f64,
}

impl Config {
    /// The chance of calling one rate of one of so many columns worse than the reference that is not.
    #[must_use]
    pub fn alpha(&self, columns: usize) -> f64 {
        let tests = columns as f64 * (RULES + 1.0) + 1.0;
        1.0 / (self.false_alarm_windows.max(1.0) * tests)
    }

    /// The chance of calling a rate above a bound of the settings that it is not above, where there is no reference.
    #[must_use]
    pub fn alpha_alone(&self) -> f64 {
        1.0 / self.false_alarm_windows.max(1.0)
    }
}
