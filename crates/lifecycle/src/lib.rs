//! The life of models: versions from registration to retirement, retraining jobs from a trigger to a judged result,
//! policies that say what may trigger what, and gates that say what may serve. State is what the events say.
//! It must never know gRPC, NATS, files or clocks: times are passed in.
//!
//! Reading order: [`stage`], [`job`] and [`deployment`] (the three tables), [`trigger`], [`policy`], [`rollout`], [`capture`], [`schedule`],
//! [`event`], [`model`], [`state`] (what events add up to), [`command`], [`decide`] (what a command comes to), [`working`], [`loss`], [`gates`], [`analysis`],
//! [`compliance`].

mod words;

pub mod policy_error;

pub mod stage;

pub mod job;

pub mod trigger;

pub mod policy;

pub mod rollout;

pub mod analysis;

pub mod capture;

pub mod deployment;

pub mod schedule;

pub mod event;

pub mod model;

pub mod state;

pub mod command;

pub mod decide;

pub mod working;

pub mod loss;

pub mod gates;

pub mod compliance;

pub use command::Command;
pub use decide::{Answer, Order, Refusal};
pub use event::{Change, Event, Guard};
pub use policy::Policy;
pub use state::State;
pub use working::Working;
