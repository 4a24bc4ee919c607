//! What judges say. It must not know how they came to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Most findings of one verdict.
pub const FINDINGS_MAX: usize = 256;

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// For the record.
    #[serde(rename = "LOW")]
    Low,
    /// Look at it.
    #[serde(rename = "MEDIUM")]
    Medium,
    /// Act on it.
    #[serde(rename = "HIGH")]
    High,
    /// Act now.
    #[serde(rename = "CRITICAL")]
    Critical,
}

impl Severity {
    /// As the original's JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }

    /// As a token of a subject.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Something that a judge found wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// The field or metric; empty for the whole.
    pub subject: String,
    /// How grave.
    pub severity: Severity,
    /// Measured.
    pub value: f64,
    /// The bound that it broke.
    pub threshold: f64,
    /// One sentence.
    pub description: String,
}

/// How a judge's answer came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerdictStatus {
    /// Judged.
    Ok,
    /// There is nothing to judge by.
    NotApplicable,
    /// Too few rows.
    Insufficient,
    /// No answer in time.
    Unavailable,
}

/// The judges that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JudgeKind {
    /// Is the data sound?
    #[serde(rename = "Quality")]
    Quality,
    /// Has it moved?
    #[serde(rename = "Drift")]
    Drift,
    /// Does the model keep its promise?
    #[serde(rename = "Performance")]
    Performance,
}

impl JudgeKind {
    /// All of them, in the order in which reports name them.
    pub const ALL: [Self; 3] = [Self::Quality, Self::Drift, Self::Performance];

    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Drift => "drift",
            Self::Performance => "performance",
        }
    }
}

/// A window of a stream: half-open event time of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// The stream.
    pub stream_id: Arc<str>,
    /// The key; empty for none.
    pub key: Arc<str>,
    /// First millisecond since the epoch.
    pub start_ms: i64,
    /// One past the last millisecond.
    pub end_ms: i64,
}

/// Sorts by gravity and keeps the first [`FINDINGS_MAX`].
#[must_use]
pub fn gravest(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings.truncate(FINDINGS_MAX);
    findings
}
