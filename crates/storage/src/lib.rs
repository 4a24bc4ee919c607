//! Homes of the ports: where events, keys and blobs are kept, and the suite that every home passes.
//! It must never know gRPC or the services.
//!
//! Reading order: [`embedded`], [`jetstream`], [`outbox`], [`sink`], [`consumer`], `conformance`.

mod bounds;

mod home_state;

pub mod embedded;

pub mod jetstream;

pub mod outbox;

pub mod unsent;

pub mod quota;

pub mod blob_quota;

pub mod sink;

pub mod consumer;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;

pub use consumer::{Beginning, Consumer, Entries, Events, Position};
pub use embedded::{Durability, Embedded, Options, RecordsKept};
pub use home_state::{HomeProbe, HomeState};
pub use jetstream::JetStream;
pub use outbox::Outbox;
pub use sink::LogSink;
