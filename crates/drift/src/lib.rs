//! The judge of drift: has the data moved away from a frozen reference, by more than it always moves?
//! It must never know NATS, discovery, or the other judges.
//!
//! Reading order: [`config`], [`frozen`], [`looked`], `rate`, `values`, [`measure`], [`detect`], [`schema_changes`], [`together`], [`behind`], [`sequential`], [`recent`], [`compare`], [`record`], [`service`].

pub mod config;

pub mod frozen;

pub mod looked;

mod rate;

mod values;

pub mod measure;

pub mod detect;

pub mod findings;

pub mod schema_changes;

pub mod together;

pub mod behind;

pub mod partitions;

pub mod sequential;

pub mod recent;

pub mod compare;

pub mod record;

pub mod service;

pub use config::Config;
pub use service::{DriftService, judge::judge, store::ReferenceStore};

#[cfg(test)]
mod properties;
