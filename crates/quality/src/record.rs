//! An assessment as it is kept. It must not know protobuf or where.

use acgs_vocabulary::{Finding, Severity, event::payload::QualityAssessed};
use serde::{Deserialize, Serialize};

/// One of the last assessments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssessmentRecord {
    /// What was measured.
    #[serde(flatten)]
    pub assessed: QualityAssessed,
    /// Unique.
    pub assessment_id: String,
    /// Empty without one.
    pub service_id: String,
    /// RFC 3339.
    pub timestamp: String,
    /// Findings graver than a note.
    pub violations: Vec<Violation>,
}

/// A finding in the original's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule.
    #[serde(rename = "type")]
    pub rule: String,
    /// How grave.
    pub severity: Severity,
    /// Measured.
    pub value: f64,
    /// The bound that it broke.
    pub threshold: f64,
    /// One sentence.
    pub description: String,
    /// Empty for the whole.
    pub field: String,
}

impl From<&Finding> for Violation {
    fn from(finding: &Finding) -> Self {
        Self {
            rule: finding.rule.clone(),
            severity: finding.severity,
            value: finding.value,
            threshold: finding.threshold,
            description: finding.description.clone(),
            field: finding.subject.clone(),
        }
    }
}
