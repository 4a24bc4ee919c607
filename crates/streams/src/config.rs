//! Bounds and waits; deploy/acgs.toml holds the defaults.

use serde::Deserialize;

use crate::lanes::LaneConfig;

/// What the orchestrator is bounded by.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Streams at once; another is refused with STREAMS.
    pub streams_max: usize,
    /// Partitions of one stream; another is refused with PARTITIONS.
    pub partitions_max: usize,
    /// Panes of one stream; a frame that needs more is refused with PANES.
    pub panes_max: usize,
    /// Windows of one stream; a frame that needs more is refused with WINDOWS.
    pub windows_max: usize,
    /// Predictions and labels of one stream that wait for each other; beyond it labels do not find their row.
    pub waiting_labels_max: usize,
    /// Reports of one stream kept for clients that come back; older ones give RESUME_EXPIRED.
    pub reports_kept: usize,
    /// Bytes of frames that a client may have on the way.
    pub credit_bytes: u64,
    /// After this long a window is reported without the judges that have not answered, in milliseconds.
    pub verdict_deadline_ms: u64,
    /// Bytes of rows after which a judge in another process says its state, so that another can go on from there.
    pub snapshot_every_bytes: u64,
    /// A lane to a judge in another process is opened again, perhaps elsewhere, at this age, in milliseconds.
    pub lane_age_ms_max: u64,
    /// A stream without clients is kept this long, in milliseconds; then RESUME_EXPIRED.
    pub detached_keep_ms: u64,
    /// A client that takes no reports for this long is let go, in milliseconds.
    pub stalled_client_ms: u64,
    /// How far ahead of the wall clock event time may be, in milliseconds; rows beyond are counted and left out.
    pub future_ms_max: i64,
    /// Share of rows that came too late for every window above which a finding is made, in [0, 1].
    pub late_rate_max: f64,
    /// When findings become alerts, and when those end.
    pub alerts: AlertConfig,
}

impl Config {
    /// How lanes are kept: a judge is given up when its verdicts would come too late anyway.
    #[must_use]
    pub fn lanes(&self) -> LaneConfig {
        LaneConfig {
            snapshot_every_bytes: self.snapshot_every_bytes,
            patience_ms: self.verdict_deadline_ms,
            age_max_ms: self.lane_age_ms_max,
        }
    }
}

/// How findings become alerts.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    /// Windows in a row without the finding after which an alert is over.
    pub resolve_after: u32,
    /// An alert that comes back within this much event time after it was over is not told again, in milliseconds.
    pub cooldown_ms: i64,
    /// Alerts kept; the oldest resolved ones are forgotten first.
    pub alerts_max: usize,
}
