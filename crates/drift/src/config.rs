//! What counts as drift.

use std::collections::BTreeMap;

use acgs_judge_kit::alarm::Budget;
use serde::Deserialize;

/// Fewest looks of a budget of false alarms.
const LOOKS_MIN: f64 = 20.0;
/// Most keys with a monitor of their own.
pub const MONITOR_KEYS_MAX: usize = 16;

/// How many features it takes until rows have drifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Any.
    #[default]
    Any,
    /// A share of them; score or prediction alone.
    Share,
    /// As many as have a share of all importance; score or prediction alone.
    Importance,
}

impl Decision {
    /// As settings have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Share => "share",
            Self::Importance => "importance",
        }
    }
}

/// Thresholds; deploy/acgs.toml holds the defaults.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Level of the decision about rows by themselves, over all features, in (0, 1).
    pub alpha: f64,
    /// How many features it takes.
    pub decision: Decision,
    /// Share of features, or of their importance, that it takes where `decision` says so, in (0, 1].
    pub drift_share: f64,
    /// Importance by feature, where `decision` says so; others have 1.
    pub importance: BTreeMap<String, f64>,
    /// Move of numbers that is tolerated: Wasserstein distance in standard deviations of the reference.
    pub tolerance_deviations: f64,
    /// Move of categories that is tolerated: total variation distance.
    pub tolerance_variation: f64,
    /// Change of a rate of nulls or unseen values that is tolerated: Cohen's h.
    pub tolerance_rate: f64,
    /// Change of the correlation of two numeric features that is tolerated.
    pub tolerance_correlation: f64,
    /// Days of event time for which at most one false alarm of a stream's monitor is to be expected; 0 = no monitor, so that alerts come from
    /// windows by themselves.
    pub false_alarm_days: f64,
    /// The same in windows, where they have no length in time.
    pub false_alarm_windows: f64,
    /// Keys of keyed streams that have a monitor of their own, at most 16; all share one budget.
    pub monitor_keys: Vec<String>,
    /// Fewest rows to judge.
    pub rows_min: u64,
}

impl Config {
    /// The budget of false alarms over so many monitors of panes of a length, in milliseconds; 0 where they have none.
    #[must_use]
    pub fn budget(&self, pane_ms: u64, monitors: usize) -> Option<Budget> {
        Budget::new(self.false_alarm_days, self.false_alarm_windows, pane_ms, monitors, LOOKS_MIN)
    }
}
