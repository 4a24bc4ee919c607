//! Client streams: frames in, panes and windows by event time, lanes to the judges, reports in order out, and the tracker that
//! turns findings into alerts, once; `OrchestratorService` over them.
//! It must never know the life of models, the NATS API or tonic's transport.
//!
//! Reading order: [`config`], [`spec`], [`projection`], [`core`] (pure), [`alert_tracker`] (pure), [`lanes`],
//! [`ownership`], [`leases`], [`registry`], [`directory`], [`alerts`], [`actor`], [`streams`], [`publish`], [`alert_sweep`], [`analyze`], [`service`].

pub mod config;

pub mod spec;

pub mod projection;

pub mod core;

pub mod alert_tracker;

pub mod lanes;

pub mod leases;

pub mod ownership;

pub mod registry;

pub mod directory;

pub mod alerts;

pub mod actor;

pub mod streams;

pub mod alert_sweep;

pub mod publish;

pub mod analyze;

pub mod service;

pub use config::Config;
pub use service::{OrchestratorService, StreamsDeps};
