//! Records by column: a `Schema` of kinds and roles, and `RecordBatch`es of typed columns with validity.
//! It must never know protobuf, time zones, or what the numbers mean.
//!
//! Reading order: [`schema`], [`buffer`], [`cell`], [`batch`], [`labels`], [`class_scores`], [`record`], [`builder`], [`numbers`].

pub mod schema;

pub mod buffer;

pub mod cell;

pub mod batch;

pub mod labels;

pub mod class_scores;

pub mod record;

pub mod builder;

pub mod numbers;

pub use batch::{Column, RecordBatch, Values};
pub use buffer::{Bitmap, Buffer};
pub use cell::Cell;
pub use class_scores::ClassScores;
pub use record::{OwnedCell, RecordId};
pub use schema::{Field, Kind, Role, Scale, Schema};
