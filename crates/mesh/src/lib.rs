//! Plumbing over tower and tonic: the constitution on the wire, health, metrics, servers that drain, clients.
//! It must never know any service's messages but health's.
//!
//! Reading order: [`constitution`], [`refusals`], [`health`], [`metrics`], [`server`], [`client`], [`discover`],
//! [`pool`], [`clock`].

pub mod constitution;

pub mod refusals;

pub mod health;

pub mod metrics;

pub mod server;

pub mod client;

pub mod discover;

pub mod pool;

pub mod clock;
