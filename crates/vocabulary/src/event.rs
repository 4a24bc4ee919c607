//! Events: their names and subjects from one enum, and their envelope. It must not know where they are kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::Severity;

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

/// What every event carries around its payload, in the original's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique: a repeat of the same change has the same one.
    pub event_id: String,
    /// The kind's name.
    pub event_type: String,
    /// Where it is published.
    pub subject: String,
    /// When, RFC 3339 in UTC.
    pub timestamp: String,
    /// Who.
    pub source_service: String,
    /// For whom; null for all.
    pub target_service: Option<String>,
    /// The identifier in force.
    pub constitutional_hash: String,
    /// LOW, NORMAL, HIGH or CRITICAL.
    pub priority: String,
    /// What it belongs to: the stream or the call.
    pub correlation_id: Option<String>,
    /// The event that led to it.
    pub causation_id: Option<String>,
    /// W3C trace context; null without a trace.
    pub traceparent: Option<String>,
    /// What happened.
    pub payload: Value,
    /// SHA-256 of the event before it in the log, hex; set by a log that has one writer, null in others.
    pub previous_digest: Option<String>,
}

/// The W3C trace context of a call, `00-<trace>-<span>-<flags>`: what the events that the call leads to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(pub std::sync::Arc<str>);

/// Whether a subject is caught by a filter: tokens by dots, `*` is one token, a last `>` is one or more.
#[must_use]
pub fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    let mut filters = filter.split('.').peekable();
    while let Some(wanted) = filters.next() {
        if wanted == ">" && filters.peek().is_none() {
            return tokens.next().is_some();
        }
        match tokens.next() {
            Some(token) if wanted == "*" || wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether a filter has the form of one.
#[must_use]
pub fn is_filter(filter: &str) -> bool {
    let tokens: Vec<&str> = filter.split('.').collect();
    let last = tokens.len() - 1;
    let plain = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    filter.len() <= 256
        && tokens
            .iter()
            .enumerate()
            .all(|(place, token)| *token == "*" || (*token == ">" && place == last) || plain(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the original's subscribers listen to, of the kinds that there are.
    const ORIGINAL_FILTERS: [&str; 5] = [
        "acgs.quality.alert.*",
        "acgs.drift.detected.*",
        "acgs.performance.alert.*",
        "acgs.compliance.violation.*",
        "acgs.model.retraining.completed",
    ];

    #[test]
    fn every_filter_has_a_publisher_and_every_subject_the_root() {
        let subjects: Vec<String> = EventKind::ALL.iter().map(|kind| kind.subject()).collect();
        for filter in ORIGINAL_FILTERS {
            assert!(subjects.iter().any(|subject| matches(filter, subject)), "{filter}");
        }
        for subject in &subjects {
            assert!(matches("acgs.>", subject) && is_filter(subject), "{subject}");
        }
    }

    #[test]
    fn filters_match_by_token() {
        assert!(matches("a.*.c", "a.b.c"));
        assert!(!matches("a.*", "a.b.c"));
        assert!(matches("a.>", "a.b.c"));
        assert!(!matches("a.>", "a"));
        assert!(!matches("a.b", "a"));
        assert!(is_filter("a.*.>") && !is_filter("a.>.b") && !is_filter("a..b") && !is_filter(""));
    }
}
