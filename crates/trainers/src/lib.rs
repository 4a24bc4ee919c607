//! The trainers that ship: linear and logistic regression over typed columns. A model is a small JSON file that says how each
//! column becomes numbers and how they are weighed, so that anything that reads JSON can score with it.
//! It must know no network, no clock and no file system.
//!
//! Reading order: [`features`] (columns to numbers), [`artifact`] (what a model is), [`train`].

pub mod artifact;

pub mod features;

pub mod train;

pub use artifact::{Artifact, FORMAT, Family};
pub use features::Feature;
pub use train::{TrainError, Wishes, train};
