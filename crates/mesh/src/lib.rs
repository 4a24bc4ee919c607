//! Plumbing over tower and tonic: the constitution on the wire, health, metrics, servers that drain, clients.
//! It must never know any service's messages but health's.
//!
//! Reading order: [`constitution`], [`refusals`], [`health`], [`metrics`], [`telemetry`], [`descriptors`], [`calls`], [`random`], [`admission`], [`server`],
//! [`client`], [`discover`], [`pool`], [`rest`], [`clock`].

pub mod constitution;

pub mod refusals;

pub mod health;

pub mod metrics;

pub mod telemetry;

pub mod descriptors;

pub mod calls;

pub mod random;

mod plain;

mod intake;

pub mod admission;

pub mod server;

pub mod client;

pub mod discover;

pub mod pool;

pub mod rest;

pub mod clock;
