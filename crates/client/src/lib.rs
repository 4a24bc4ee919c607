//! The Rust client: typed calls, over any channel that carries gRPC.
//! It must never know what callers print, or how a channel is made.
//!
//! Reading order: [`windows`], [`lifecycle`], [`artifacts`].

pub mod windows;

pub mod lifecycle;

pub mod artifacts;

pub use lifecycle::LifecycleClients;
pub use windows::{OnLoss, SessionConfig, SessionError, WindowSession, dial};
