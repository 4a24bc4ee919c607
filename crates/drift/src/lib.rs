//! The judge of drift: has the data moved away from a frozen reference, by more than it always moves?
//! It must never know NATS, discovery, or the other judges.
//!
//! Reading order: [`config`], [`reference`], [`pane`], [`detect`], [`compare`], [`service`].

pub mod config;

pub mod reference;

pub mod pane;

pub mod detect;

pub mod compare;

pub mod service;

pub use config::Config;
pub use service::{DriftFace, judge::judge, store::ReferenceStore};
