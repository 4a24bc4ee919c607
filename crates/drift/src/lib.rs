//! The judge of drift: has the data moved away from a frozen reference, by more than it always moves?
//! It must never know NATS, discovery, or the other judges.
//!
//! Reading order: [`config`], [`detect`], [`compare`], [`record`], [`service`].

pub mod config;

pub mod detect;

pub mod compare;

pub mod record;

pub mod service;

pub use config::Config;
pub use service::{DriftService, judge::judge, store::ReferenceStore};
