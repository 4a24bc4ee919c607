//! Protobuf to words and back, parsing where input comes in: what comes out of here is well formed.
//! It must not know which RPC carries a message.

pub mod batch;
pub mod lane_batch;
pub mod rows;
pub mod schema;

use acgs_contracts::common::v1 as proto;

use crate::finding::{Finding, Severity, VerdictStatus, Window};

impl From<Severity> for proto::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Low => Self::Low,
            Severity::Medium => Self::Medium,
            Severity::High => Self::High,
            Severity::Critical => Self::Critical,
        }
    }
}

impl From<&Finding> for proto::Finding {
    fn from(finding: &Finding) -> Self {
        Self {
            rule: finding.rule.clone(),
            subject: finding.subject.clone(),
            severity: proto::Severity::from(finding.severity).into(),
            value: finding.value,
            threshold: finding.threshold,
            description: finding.description.clone(),
        }
    }
}

impl From<proto::Finding> for Finding {
    fn from(finding: proto::Finding) -> Self {
        let severity = match finding.severity() {
            proto::Severity::Critical => Severity::Critical,
            proto::Severity::High => Severity::High,
            proto::Severity::Medium => Severity::Medium,
            proto::Severity::Low | proto::Severity::Unspecified => Severity::Low,
        };
        Self {
            rule: finding.rule,
            subject: finding.subject,
            severity,
            value: finding.value,
            threshold: finding.threshold,
            description: finding.description,
        }
    }
}

impl From<VerdictStatus> for proto::VerdictStatus {
    fn from(status: VerdictStatus) -> Self {
        match status {
            VerdictStatus::Ok => Self::Ok,
            VerdictStatus::NotApplicable => Self::NotApplicable,
            VerdictStatus::Insufficient => Self::Insufficient,
            VerdictStatus::Unavailable => Self::Unavailable,
        }
    }
}

impl From<proto::VerdictStatus> for VerdictStatus {
    fn from(status: proto::VerdictStatus) -> Self {
        match status {
            proto::VerdictStatus::Ok => Self::Ok,
            proto::VerdictStatus::NotApplicable => Self::NotApplicable,
            proto::VerdictStatus::Insufficient => Self::Insufficient,
            proto::VerdictStatus::Unavailable | proto::VerdictStatus::Unspecified => Self::Unavailable,
        }
    }
}

impl From<&Window> for proto::WindowId {
    fn from(window: &Window) -> Self {
        Self {
            stream_id: window.stream_id.to_string(),
            key: window.key.to_string(),
            start_ms: window.start_ms,
            end_ms: window.end_ms,
        }
    }
}

impl From<proto::WindowId> for Window {
    fn from(window: proto::WindowId) -> Self {
        Self {
            stream_id: window.stream_id.into(),
            key: window.key.into(),
            start_ms: window.start_ms,
            end_ms: window.end_ms,
        }
    }
}
