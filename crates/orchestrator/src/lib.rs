//! The orchestrator: client streams in, panes and windows by event time, lanes to the judges, reports in order out,
//! and the desk that turns findings into alerts, once.
//! It must never know the NATS API or tonic's transport.
//!
//! Reading order: [`config`], [`spec`], [`projection`], [`core`] (pure), [`desk`] (pure), [`lanes`],
//! [`leases`], [`registry`], [`directory`], [`alerts`], [`actor`], [`streams`], [`publish`], [`analyze`],
//! [`records`], [`lifecycle`], [`routes`], [`service`].

pub mod config;

pub mod spec;

pub mod projection;

pub mod core;

pub mod desk;

pub mod lanes;

pub mod leases;

pub mod registry;

pub mod directory;

pub mod alerts;

pub mod actor;

pub mod streams;

pub mod publish;

pub mod analyze;

pub mod lifecycle;

pub mod records;

pub mod routes;

pub mod service;

pub use config::Config;
pub use routes::RouteSettings;
pub use service::{
    OrchestratorFace, Parts,
    lifecycle::{LifecycleFace, LifecycleParts},
};
