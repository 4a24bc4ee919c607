//! The judge of performance: does the model, and the service around it, keep its promise?
//! It must never know NATS, discovery, or the other judges.
//!
//! Reading order: [`config`], [`roles`], [`labelled`], [`pane`], [`decay`], [`beside`], [`report`], [`sliced`], [`sequential`], [`findings`], [`sla`], [`record`], [`service`].

pub mod config;

pub mod roles;

pub mod labelled;

pub mod pane;

pub mod decay;

pub mod estimated;

pub mod comparison;

pub mod beside;

pub mod report;

pub mod sliced;

pub mod sequential;

pub mod findings;

pub mod sla;

pub mod record;

pub mod service;

pub use config::Config;
pub use service::{PerformanceService, judge::judge};
