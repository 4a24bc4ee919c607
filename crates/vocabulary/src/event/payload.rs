//! What each kind of event says: the type that its producer writes and its consumers read. It must not know either.
//!
//! Names on the bus are given here and in `golden/events.json`, never taken from Rust's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    JudgeKind,
    alert::Alert,
    finding::{Finding, Severity, Window},
};

/// What an event of some kinds says.
pub trait Payload: Serialize + DeserializeOwned {
    /// For messages.
    const NAME: &'static str;
    /// [`super::EventKind::name`] of the kinds that carry it.
    const EVENT_TYPES: &'static [&'static str];
}

macro_rules! payloads {
    ($($payload:ident: [$($name:literal),+];)+) => {
        $(impl Payload for $payload {
            const NAME: &'static str = stringify!($payload);
            const EVENT_TYPES: &'static [&'static str] = &[$($name),+];
        })+
    };
}

payloads! {
    QualityAssessed: ["quality_assessment_completed"];
    DriftDetection: ["drift_detection_completed"];
    PerformanceSubmitted: ["performance_metrics_submitted"];
    AlertChanged: ["quality_alert", "drift_detected", "performance_alert"];
    WindowReported: ["window_reported"];
    ReferenceStored: ["reference_stored"];
    ConstitutionRefused: ["constitutional_compliance_violation"];
}

/// Whether drift does harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HarmFound {
    /// No drift.
    #[serde(rename = "NONE")]
    None,
    /// Drift, and the loss is surely not worse.
    #[serde(rename = "HARMLESS")]
    Harmless,
    /// Drift, and the loss is surely worse.
    #[serde(rename = "HARMFUL")]
    Harmful,
    /// No drift, and the loss is surely worse.
    #[serde(rename = "DECAY")]
    Decay,
    /// The loss cannot tell, or drift was not judged.
    #[serde(rename = "UNKNOWN")]
    Unknown,
}

/// How a model keeps its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PerformanceFound {
    /// Not said.
    #[serde(rename = "PERFORMANCE_STATE_UNSPECIFIED")]
    Unspecified,
    /// Too few labels to tell.
    #[serde(rename = "PERFORMANCE_STATE_UNKNOWN")]
    Unknown,
    /// The loss is what it was.
    #[serde(rename = "PERFORMANCE_STATE_OK")]
    Ok,
    /// The loss is surely worse.
    #[serde(rename = "PERFORMANCE_STATE_DECAYED")]
    Decayed,
}

/// Why a judge did not judge a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyNot {
    /// There is nothing to judge by.
    #[serde(rename = "VERDICT_STATUS_NOT_APPLICABLE")]
    NotApplicable,
    /// Too few rows.
    #[serde(rename = "VERDICT_STATUS_INSUFFICIENT")]
    Insufficient,
    /// No answer in time.
    #[serde(rename = "VERDICT_STATUS_UNAVAILABLE")]
    Unavailable,
}

/// What a model says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelKindFound {
    /// Not known.
    #[serde(rename = "MODEL_KIND_UNSPECIFIED")]
    Unspecified,
    /// The probability of a yes; its loss is the Brier score.
    #[serde(rename = "MODEL_KIND_BINARY")]
    Binary,
    /// One of some classes; its loss is the share of wrong answers.
    #[serde(rename = "MODEL_KIND_CLASSES")]
    Classes,
    /// A number; its loss is the mean absolute error, of a quantile its own.
    #[serde(rename = "MODEL_KIND_REGRESSION")]
    Regression,
}

/// The loss of a model, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossFound {
    /// Which loss it is.
    pub model_kind: ModelKindFound,
    /// Of numbers that mean to be above a share of labels: that share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// The estimate.
    pub value: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// A kind of drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftKindFound {
    /// Inputs have moved, or columns are others.
    #[serde(rename = "DRIFT_KIND_COVARIATE")]
    Covariate,
    /// The score or prediction has.
    #[serde(rename = "DRIFT_KIND_SCORE")]
    Score,
    /// Positive labels are more frequent, or less.
    #[serde(rename = "DRIFT_KIND_PRIOR")]
    Prior,
    /// The loss is worse, and none of those explains it.
    #[serde(rename = "DRIFT_KIND_CONCEPT")]
    Concept,
}

/// A judge that did not judge a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotJudged {
    /// The judge.
    pub judge: JudgeKind,
    /// In a word.
    pub status: WhyNot,
    /// In a sentence; may be empty.
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde wants")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A window is reported, with all verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowReported {
    /// Null when quality did not judge.
    pub row_count: Option<u64>,
    /// In [0, 1]; null when quality did not judge.
    pub overall_score: Option<f64>,
    /// Null when drift did not judge.
    pub drift_detected: Option<bool>,
    /// Whether the score itself drifted; null when drift did not judge.
    pub score_drift: Option<bool>,
    /// What has drifted, worst first, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drifted_features: Vec<String>,
    /// What kind of drift there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift_kinds: Vec<DriftKindFound>,
    /// Brier score; null without labels.
    pub brier: Option<f64>,
    /// The loss of what the model says; left out without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossFound>,
    /// Null when performance did not judge.
    pub performance: Option<PerformanceFound>,
    /// Why that is unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub performance_reason: String,
    /// Rows whose label can still come: above 0 what is said of performance is provisional.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub labels_awaited: u64,
    /// Drift and loss together.
    pub harm: HarmFound,
    /// The window.
    pub window: Window,
    /// Counts the reports on the window, from 0.
    pub revision: u32,
    /// Empty without one.
    pub model_id: String,
    /// Empty without one.
    pub service_id: String,
    /// Of the gravest finding of quality; null without any.
    pub quality_severity: Option<Severity>,
    /// Of the lease under which the stream ran; 0 where there are no leases.
    #[serde(default)]
    pub epoch: u64,
    /// Unique to one life of the stream: one that is opened anew from the start tells its windows again.
    #[serde(default)]
    pub life: String,
    /// Judges that were wanted and did not judge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_judged: Vec<NotJudged>,
}

/// An alert opens, gets graver or ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertChanged {
    /// The change.
    #[serde(flatten)]
    pub alert: Alert,
    /// Empty without one.
    pub model_id: String,
    /// Empty without one.
    pub service_id: String,
    /// The stream, or what the call was about.
    pub about: String,
    /// All that was found, the one of the alert among it; of a stream's window only that one.
    pub findings: Vec<Finding>,
    /// Of the lease under which the stream ran; 0 for calls, and where there are no leases.
    #[serde(default)]
    pub epoch: u64,
}

/// An assessment was made. Scores and rates are in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityAssessed {
    /// Weighted mean of the dimensions that apply.
    pub overall_score: f64,
    /// Share of cells that are missing.
    pub missing_value_rate: f64,
    /// Share of numbers beyond the fences.
    pub outlier_rate: f64,
    /// 1 without event times.
    pub freshness_score: f64,
    /// Rows.
    pub record_count: u64,
}

/// A detection was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftDetection {
    /// Empty without one.
    pub model_id: String,
    /// Whether anything drifted.
    pub drift_detected: bool,
    /// Whether the original would retrain.
    pub retraining_required: bool,
    /// By a test of distributions.
    pub features_with_ks_drift: Vec<String>,
    /// By the population stability index.
    pub features_with_psi_drift: Vec<String>,
    /// The original's word: none, low, medium, high.
    pub drift_severity: String,
}

/// Metrics or gathered rows of a service were judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerformanceSubmitted {
    /// Numbers that a service measured itself, by name.
    Metrics {
        /// By the names that targets are set for.
        metrics: BTreeMap<String, f64>,
        /// Whether no target was missed.
        sla_compliance: bool,
        /// RFC 3339.
        measured_at: String,
        /// Metrics that missed their target.
        violations: Vec<String>,
    },
    /// Rows that a monitor gathered.
    Rows {
        /// Rows.
        row_count: u64,
        /// Share of calls that failed; null where rows do not say.
        error_rate: Option<f64>,
        /// In milliseconds; null where rows do not say.
        latency_p95_ms: Option<f64>,
        /// Rows with a label.
        labelled_count: u64,
        /// Brier score; null without labels.
        brier: Option<f64>,
    },
}

/// A reference was frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceStored {
    /// The reference.
    pub name: String,
    /// From 1 in the name.
    pub version: u64,
    /// Empty without one.
    pub model_id: String,
    /// Rows that it was made from.
    pub row_count: u64,
}

/// Requests of a peer were refused for their constitutional hash, since the last such event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConstitutionRefused {
    /// An address, or `others` when there are too many.
    pub peer: String,
    /// CONSTITUTION_MISSING or CONSTITUTION_MISMATCH.
    pub reason: String,
    /// How many.
    pub refused: u64,
}

/// Something happened to a model: an event of the ledger, `E`, and the ids by which calls ask for what it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LifecycleStepped<E> {
    /// As the ledger has it.
    #[serde(flatten)]
    pub event: E,
    /// Such as `job-7`; absent when it is about no job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Such as `deployment-7`; absent when it is about no deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<String>,
}

impl<E: Serialize + DeserializeOwned> Payload for LifecycleStepped<E> {
    const NAME: &'static str = "LifecycleStepped";
    const EVENT_TYPES: &'static [&'static str] = &[
        "model_registered",
        "model_updated",
        "model_version_staged",
        "model_alert",
        "model_deployment_stepped",
        "retraining_required",
        "model_retraining_stepped",
        "model_retraining_completed",
    ];
}
