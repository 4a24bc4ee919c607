//! A frozen reference: what it is, freezing one from rows, counting rows into it, and its message. Drift compares with it,
//! performance measures by its loss.
//! It must never know services, or where references are kept.
//!
//! Reading order: [`reference`](mod@reference), [`categories`], [`places`], [`counts`], [`season`], [`variation`], [`expected`], [`outcomes`], [`pairs`], [`labels`], [`baseline`], [`answers`], [`outputs`], [`slices`], [`runs`], [`soundness`], [`rates`], [`pace`], [`loss`],
//! [`effect`], [`freeze`](mod@freeze), [`message`].

pub mod reference;

pub mod categories;

pub mod places;

pub mod counts;

pub mod season;

pub mod variation;

pub mod expected;

pub mod outcomes;

pub mod pairs;

pub mod class_counts;

mod said_message;

pub mod said;

pub mod answers;

pub mod baseline;

mod chosen;

pub mod labels;

pub mod loss;

pub mod outputs;

pub mod slices;

mod slices_message;

pub mod runs;

pub mod soundness;

pub mod rates;

mod rates_message;

pub mod pace;

mod seasonal;

mod sides;

mod spans;

mod unseen;

pub mod effect;

pub mod freeze;

pub mod message;

pub use baseline::{LossBaseline, ModelKind};
pub use freeze::freeze;
pub use reference::{FeatureReference, Reference, Shape};
