//! Homes of the ports: where events, keys and blobs are kept, and the suite that every home passes.
//! It must never know gRPC or the services.
//!
//! Reading order: [`embedded`], [`sink`], `conformance`.

pub mod embedded;

pub mod sink;

#[cfg(feature = "testing")]
pub mod conformance;

pub use embedded::{Durability, Embedded, Options};
pub use sink::LogSink;
