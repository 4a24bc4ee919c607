//! What the monitor of a model's loss says. It must not know how it comes to say so.

use acgs_judge_kit::alarm::Budget;
use acgs_reference::ModelKind;
use acgs_statistics::score::Estimate;
use serde::{Deserialize, Serialize};

/// What has decayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// The loss.
    Loss,
    /// The area under the ROC curve.
    Ranking,
}

/// What a monitor says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonitorState {
    /// Of loss and ranking together, not below 0.
    pub ln_evidence: f64,
    /// Its bound.
    pub budget: Budget,
    /// Looks so far.
    pub looks: u64,
    /// Alarms so far.
    pub alarms: u64,
    /// Whether the last look alarmed.
    pub alarm: bool,
    /// What has decayed and is not yet as it was.
    pub standing: Option<Metric>,
    /// Looks since it did.
    pub standing_looks: u64,
    /// Whether this window is the one that tells of it: of a stream with keys one key does.
    pub tells: bool,
    /// The kind of model whose loss it is.
    pub kind: ModelKind,
    /// Times that labels could not be looked at: of another kind of model than the reference's, or with numbers beyond what can be summed.
    pub unusable: u64,
    /// The loss of the last looks together; `None` before the first.
    pub recent: Option<RecentLoss>,
}

/// The loss of some looks together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecentLoss {
    /// How many.
    pub looks: u64,
    /// The first time of their rows, in milliseconds since the epoch.
    pub from_ms: Option<i64>,
    /// Their loss.
    pub loss: Estimate,
    /// Their area under the ROC curve.
    pub auc: Option<Estimate>,
    /// The loss of a model that knows nothing, on these rows.
    pub useless: Option<f64>,
    /// What the reference leads to expect.
    pub baseline: f64,
    /// What is tolerated beyond it.
    pub margin: f64,
}
