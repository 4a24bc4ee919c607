//! What may set a retraining off, how urgent it is, and how the same evidence is known again. It must not know policies.

use acgs_vocabulary::{Severity, constitution::sha256_hex};
use serde::{Deserialize, Serialize};

/// Pieces of evidence that a job keeps; later ones only count.
pub const EVIDENCE_MAX: usize = 16;
/// Pieces of evidence that a job knows again; when it has so many, no more join it.
pub const JOINED_MAX: usize = 256;

/// What set it off, in the original's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// A principle is broken.
    ComplianceViolation,
    /// The loss is surely worse than tolerated.
    PerformanceDegradation,
    /// The inputs moved, and it does harm.
    DriftDetected,
    /// The data are unsound.
    QualityDegradation,
    /// The calendar.
    Scheduled,
    /// A person or program asked.
    Manual,
}

/// How urgent a kind is: a lower class goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// Compliance.
    P0,
    /// Performance.
    P1,
    /// Drift and quality.
    P2,
    /// Schedule and requests.
    P3,
}

impl Class {
    /// Its weight in the score of the queue.
    #[must_use]
    pub fn weight(self) -> i64 {
        match self {
            Self::P0 => 4_000,
            Self::P1 => 3_000,
            Self::P2 => 2_000,
            Self::P3 => 1_000,
        }
    }
}

impl TriggerKind {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 6] = [
        Self::ComplianceViolation,
        Self::PerformanceDegradation,
        Self::DriftDetected,
        Self::QualityDegradation,
        Self::Scheduled,
        Self::Manual,
    ];

    /// Its class.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::ComplianceViolation => Class::P0,
            Self::PerformanceDegradation => Class::P1,
            Self::DriftDetected | Self::QualityDegradation => Class::P2,
            Self::Scheduled | Self::Manual => Class::P3,
        }
    }

    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ComplianceViolation => "compliance_violation",
            Self::PerformanceDegradation => "performance_degradation",
            Self::DriftDetected => "drift_detected",
            Self::QualityDegradation => "quality_degradation",
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
        }
    }
}

/// How a severity counts in the score of the queue, 0 to 9.
#[must_use]
pub fn severity_points(severity: Severity) -> i64 {
    match severity {
        Severity::Low => 1,
        Severity::Medium => 3,
        Severity::High => 6,
        Severity::Critical => 9,
    }
}

/// One reason to retrain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What is the same when it is told again: a window, an assessment, a moment of the calendar, a request.
    pub source: String,
    /// One sentence, with the figures.
    pub description: String,
    /// The event of the log that told it; may be empty.
    pub event_id: String,
}

/// A trigger as it comes in.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// What set it off.
    pub kind: TriggerKind,
    /// How grave.
    pub severity: Severity,
    /// Event time of the evidence: a window's end.
    pub event_time_ms: i64,
    /// What was found, and by whom.
    pub evidence: Evidence,
    /// The reference's version that it was measured against; 0 without.
    pub reference_version: u64,
    /// Records of the model that a trainer could have; `None` when nobody counted.
    pub records: Option<u64>,
    /// A person says that cooldown, budget and loop protection do not count this time.
    pub overrides: bool,
}

/// SHA-256 of model, kind, reference version and source: the same evidence has the same key.
#[must_use]
pub fn dedupe_key(model_id: &str, trigger: &Trigger) -> String {
    let name = format!(
        "{model_id}\n{}\n{}\n{}",
        trigger.kind.as_str(),
        trigger.reference_version,
        trigger.evidence.source
    );
    sha256_hex(name.as_bytes())[..32].to_owned()
}
