//! What can be set of a gateway; deploy/acgs.toml holds the defaults.

use serde::Deserialize;

/// Settings of the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name among routers; empty takes its address.
    pub id: String,
    /// Orchestrators that it follows, `host:port`; it should follow all.
    pub orchestrators: Vec<String>,
    /// The file of the last routes, for when it starts while no orchestrator is there; empty keeps none.
    pub snapshot: std::path::PathBuf,
    /// Threads that carry calls; 0 is one for each core.
    pub threads: usize,
    /// Calls in flight at once.
    pub calls_max: usize,
    /// By then the first message of a call has to be there, in milliseconds.
    pub first_message_ms: u64,
    /// A question of the Open Inference Protocol that brings no deadline has this one, in milliseconds; 0 gives it none.
    pub deadline_ms: u64,
    /// Largest message of a call, in bytes.
    pub message_bytes_max: usize,
    /// Copies for shadows in flight at once; more are not made, and counted.
    pub shadows_max: usize,
    /// Largest request that is copied for a shadow, in bytes.
    pub shadow_bytes_max: usize,
    /// Largest request, and largest answer, that is captured, in bytes.
    pub capture_bytes_max: usize,
    /// Bytes of captured calls that wait to become records.
    pub capture_waiting_bytes_max: usize,
}
