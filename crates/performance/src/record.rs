//! A submission of metrics as it is kept. It must not know protobuf or where.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One of the last submissions of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsRecord {
    /// RFC 3339.
    pub timestamp: String,
    /// When they were measured, in milliseconds since the epoch.
    pub measured_ms: i64,
    /// By name.
    pub metrics: BTreeMap<String, f64>,
    /// Whether no target was missed.
    pub sla_compliance: bool,
    /// The identifier in force.
    pub constitutional_hash: String,
}
