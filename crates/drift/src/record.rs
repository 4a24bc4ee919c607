//! A detection as it is kept. It must not know protobuf or where.

use acgs_vocabulary::event::payload::DriftDetection;
use serde::{Deserialize, Serialize};

/// One of the last detections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectionRecord {
    /// What was found.
    #[serde(flatten)]
    pub detection: DriftDetection,
    /// Unique.
    pub detection_id: String,
    /// RFC 3339.
    pub timestamp: String,
    /// The encoded report, cut to what is kept of it; empty for one that an earlier version kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub report: Vec<u8>,
}
