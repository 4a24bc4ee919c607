//! The judge of data quality: is what arrives complete, valid, unique, fresh and free of outliers?
//! It must never know NATS, discovery, or the other judges.
//!
//! Reading order: [`config`], [`pane`], [`report`], [`record`], [`service`].

pub mod config;

pub mod pane;

pub mod report;

pub mod record;

pub mod service;

pub use config::Config;
pub use service::{QualityService, judge::judge};
