//! Where requests go, and who sends them: routers that are told and confirm, what they count, and the controller that takes
//! deployments from step to step. It must not know protobuf, or how a router works.
//!
//! Reading order: [`registry`] (who is there, what they say), [`traffic_totals`] (what it adds up to), [`traffic_blocks`], [`losses`],
//! [`deployment_controller`].

mod seen;

pub mod registry;

pub mod losses;

mod pairs;

pub mod deployment_controller;

pub mod traffic_blocks;

pub mod traffic_totals;

pub use registry::RouterRegistry;

/// How routers are held to what is decided; deploy/acgs.toml holds the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// How often routers hear that somebody is there, in milliseconds.
    pub beat_ms: u32,
    /// A router that has not heard for this long takes candidates out, in milliseconds.
    pub candidate_lease_ms: u32,
    /// A router that has not confirmed a change by then is fenced, in milliseconds.
    pub confirm_ms: u32,
    /// Routers and observers of one orchestrator.
    pub routers_max: usize,
}
