//! The judge of data quality: is what arrives complete, valid, unique, fresh and free of outliers?
//! It must never know NATS, discovery, or the other judges.
//!
//! Reading order: [`config`], [`profile`], [`pane`], [`expected`], [`rates`], [`score`], [`report`], [`measure`], [`findings`], [`record`], [`service`].

pub mod config;

pub mod profile;

pub mod pane;

pub mod expected;

pub mod rates;

pub mod score;

pub mod report;

pub mod measure;

pub mod findings;

pub mod record;

pub mod service;

pub use config::Config;
pub use service::{QualityService, judge::judge};
