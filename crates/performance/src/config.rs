//! What counts as a broken promise.

use std::collections::BTreeMap;

use acgs_judge_kit::alarm::Budget;
use serde::Deserialize;

/// Fewest looks of a budget of false alarms: windows of a week have as many in a month.
const LOOKS_MIN: f64 = 4.0;

/// Thresholds; deploy/acgs.toml holds the defaults.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How much worse than the reference's the loss may be, as a share of that.
    pub loss_margin: f64,
    /// How much smaller than the reference's the area under the ROC curve may be.
    pub ranking_margin: f64,
    /// Fewest labelled rows to judge the loss.
    pub labelled_min: u64,
    /// Fewest labels of either kind, yes and no, to judge it.
    pub positives_min: u64,
    /// Days of event time for which at most one false alarm of decay of a stream is to be expected; 0 = no monitor, so that alerts come from
    /// windows by themselves.
    pub false_alarm_days: f64,
    /// The same in windows, where they have no length in time.
    pub false_alarm_windows: f64,
    /// Share of failed rows above which a finding is made, in [0, 1].
    pub error_rate_max: f64,
    /// 95th percentile of the latency above which a finding is made, in milliseconds.
    pub latency_p95_ms_max: f64,
    /// Share of labels that cannot be compared, or of latencies that cannot be, above which a finding is made, in [0, 1].
    pub unusable_rate_max: f64,
    /// Targets by metric for submitted metrics.
    pub sla_targets: BTreeMap<String, f64>,
}

impl Config {
    /// The budget of false alarms with panes of a length, in milliseconds; 0 where they have none.
    #[must_use]
    pub fn budget(&self, pane_ms: u64) -> Option<Budget> {
        Budget::new(self.false_alarm_days, self.false_alarm_windows, pane_ms, 1, LOOKS_MIN)
    }
}
