//! The gateway: carries a model's calls to its versions by the weights that the orchestrator decides, balances over their
//! endpoints, answers copies by shadows, and counts what candidates and baselines do. Bytes pass through untouched.
//! It must never know what a model computes, or why weights are what they are.
//!
//! Reading order: [`config`], [`pick`] (pure), [`counts`], [`table`] (routes in force), [`proxy`] (one call),
//! [`deadline`], [`deadly`], [`body`], [`shadow`], [`front`] (the listener), [`shards`], [`follow`] (what orchestrators say), [`warm`], [`snapshot`],
//! [`capture`] (calls as records).

pub mod config;

pub mod pick;

pub mod counts;

pub mod table;

pub mod body;

mod framing;

pub mod deadline;

pub mod deadly;

pub mod methods;

pub mod losses;

pub mod stats;

pub mod proxy;

pub mod shadow;

pub mod front;

pub mod shards;

pub mod capture;

pub mod follow;

pub mod warm;

pub mod snapshot;

pub use config::Config;
