//! What routers say of what they see, and how they are told to people. It must not know connections.

use std::sync::Arc;

/// How a router sees a version's endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// That take calls.
    pub ready: u32,
    /// Checks in a row in which the version was ready to infer.
    pub warm_checks: u32,
}

/// Model, version and reason.
pub type LossOf = (String, String, String);

/// Captured calls that became no records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many, since the router began.
    pub calls: u64,
    /// What the last of them was about.
    pub detail: String,
}

/// A router as it is told to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterSeen {
    /// Its id.
    pub router_id: Arc<str>,
    /// Wall time.
    pub connected_at_ms: i64,
    /// Wall time.
    pub heard_ms: i64,
    /// What it has confirmed, by model.
    pub applied: Vec<(Arc<str>, u64)>,
    /// Captures that it has lost.
    pub lost: Vec<(LossOf, Lost)>,
}

/// Who has routes, and who has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmations {
    /// Have this epoch or a newer one.
    pub confirmed: Vec<String>,
    /// Are connected and have not.
    pub missing: Vec<String>,
    /// Went without a word and may still route by what they had.
    pub gone: Vec<String>,
}
