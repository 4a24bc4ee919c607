//! Events: their names, subjects and priorities from one enum; their envelope; what each says. It must not know where events are
//! kept.

pub mod envelope;

pub mod filter;

pub mod payload;

pub use envelope::{Envelope, Origin, TraceParent};
pub use filter::{is_filter, matches};
pub use payload::Payload;

use crate::finding::{JudgeKind, Severity};

/// Where every subject begins.
pub const ROOT: &str = "acgs";

/// Every event that the mesh publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A window's quality was judged, or an assessment was made.
    QualityAssessmentCompleted,
    /// Quality is below what it should be.
    QualityAlert(Severity),
    /// A window's drift was judged, or a detection was made.
    DriftDetectionCompleted,
    /// Something drifted.
    DriftDetected(Severity),
    /// A window's performance was judged, or metrics were submitted.
    PerformanceMetricsSubmitted,
    /// Performance is below what it should be.
    PerformanceAlert(Severity),
    /// A window is reported, with all verdicts.
    WindowReported,
    /// A reference was frozen.
    ReferenceStored,
    /// Requests were refused for their constitutional hash, since the last such event.
    ConstitutionRefused,
    /// A model is known.
    ModelRegistered,
    /// What is known or wanted of a model has changed.
    ModelUpdated,
    /// A version came into this stage.
    ModelVersionStaged(&'static str),
    /// A person is needed for a model.
    ModelAlert(Severity),
    /// A deployment came into this phase.
    DeploymentStepped(&'static str),
    /// A retraining was queued.
    RetrainingRequired,
    /// A retraining came into this state.
    RetrainingStepped(&'static str),
    /// A retraining is over, with or without a new version.
    RetrainingCompleted,
}

impl EventKind {
    /// One of each, for contract tests.
    pub const ALL: [Self; 17] = [
        Self::QualityAssessmentCompleted,
        Self::QualityAlert(Severity::High),
        Self::DriftDetectionCompleted,
        Self::DriftDetected(Severity::High),
        Self::PerformanceMetricsSubmitted,
        Self::PerformanceAlert(Severity::High),
        Self::WindowReported,
        Self::ReferenceStored,
        Self::ConstitutionRefused,
        Self::ModelRegistered,
        Self::ModelUpdated,
        Self::ModelVersionStaged("champion"),
        Self::ModelAlert(Severity::High),
        Self::DeploymentStepped("analyzing"),
        Self::RetrainingRequired,
        Self::RetrainingStepped("running"),
        Self::RetrainingCompleted,
    ];

    /// An alert of a judge.
    #[must_use]
    pub fn alert(judge: JudgeKind, severity: Severity) -> Self {
        match judge {
            JudgeKind::Quality => Self::QualityAlert(severity),
            JudgeKind::Drift => Self::DriftDetected(severity),
            JudgeKind::Performance => Self::PerformanceAlert(severity),
        }
    }

    /// The original's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::QualityAssessmentCompleted => "quality_assessment_completed",
            Self::QualityAlert(_) => "quality_alert",
            Self::DriftDetectionCompleted => "drift_detection_completed",
            Self::DriftDetected(_) => "drift_detected",
            Self::PerformanceMetricsSubmitted => "performance_metrics_submitted",
            Self::PerformanceAlert(_) => "performance_alert",
            Self::WindowReported => "window_reported",
            Self::ReferenceStored => "reference_stored",
            Self::ConstitutionRefused => "constitutional_compliance_violation",
            Self::ModelRegistered => "model_registered",
            Self::ModelUpdated => "model_updated",
            Self::ModelVersionStaged(_) => "model_version_staged",
            Self::ModelAlert(_) => "model_alert",
            Self::DeploymentStepped(_) => "model_deployment_stepped",
            Self::RetrainingRequired => "retraining_required",
            Self::RetrainingStepped(_) => "model_retraining_stepped",
            Self::RetrainingCompleted => "model_retraining_completed",
        }
    }

    /// Where it is published. Alerts end in their severity, so that the original's filters (`acgs.quality.alert.*`,
    /// `acgs.drift.detected.*`, `acgs.performance.alert.*`, `acgs.compliance.violation.*`) receive them.
    #[must_use]
    pub fn subject(self) -> String {
        match self {
            Self::QualityAssessmentCompleted => format!("{ROOT}.quality.assessment"),
            Self::QualityAlert(severity) => format!("{ROOT}.quality.alert.{}", severity.token()),
            Self::DriftDetectionCompleted => format!("{ROOT}.drift.detection"),
            Self::DriftDetected(severity) => format!("{ROOT}.drift.detected.{}", severity.token()),
            Self::PerformanceMetricsSubmitted => format!("{ROOT}.performance.metrics"),
            Self::PerformanceAlert(severity) => format!("{ROOT}.performance.alert.{}", severity.token()),
            Self::WindowReported => format!("{ROOT}.window.reported"),
            Self::ReferenceStored => format!("{ROOT}.drift.reference"),
            Self::ConstitutionRefused => format!("{ROOT}.compliance.violation.high"),
            Self::ModelRegistered => format!("{ROOT}.model.lifecycle.registered"),
            Self::ModelUpdated => format!("{ROOT}.model.lifecycle.updated"),
            Self::ModelVersionStaged(stage) => format!("{ROOT}.model.version.{stage}"),
            Self::ModelAlert(severity) => format!("{ROOT}.model.alert.{}", severity.token()),
            Self::DeploymentStepped(phase) => format!("{ROOT}.model.deployment.{phase}"),
            Self::RetrainingRequired => format!("{ROOT}.model.retraining.required"),
            Self::RetrainingStepped(state) => format!("{ROOT}.model.retraining.{state}"),
            Self::RetrainingCompleted => format!("{ROOT}.model.retraining.completed"),
        }
    }

    /// The original's priority of it.
    #[must_use]
    pub fn priority(self) -> &'static str {
        match self {
            Self::QualityAlert(severity)
            | Self::DriftDetected(severity)
            | Self::PerformanceAlert(severity)
            | Self::ModelAlert(severity) => match severity {
                Severity::Low => "LOW",
                Severity::Medium => "NORMAL",
                Severity::High => "HIGH",
                Severity::Critical => "CRITICAL",
            },
            Self::ConstitutionRefused | Self::RetrainingRequired => "HIGH",
            _ => "NORMAL",
        }
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
