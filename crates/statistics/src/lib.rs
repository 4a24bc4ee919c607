//! Estimators, sketches and tests: each pushes slices, merges with its like and evaluates.
//! It must never know time, tokio, protobuf, or what a number stands for.
//!
//! Reading order: [`moments`], [`sketch`], [`distinct`], [`sample`], [`shape`], [`frequent`], [`surely`], [`cells`], [`two_sample`], [`categorical`], [`multiple`],
//! [`estimate`], [`area_cells`], [`score`], [`classification`], [`regression`], [`classes`], [`calibration`], [`expected_loss`], [`harm`], [`kinds`], [`evidence`], [`shares`], [`detector`], [`decline`], [`blocks`], [`draws`], [`paired`], [`buckets`]. Conventions: merging is associative and commutative up to rounding, counts exactly; values
//! that are not finite never enter an estimator, callers count them.

pub mod moments;

pub mod sketch;

pub mod distinct;

pub mod sample;

pub mod shape;

pub mod frequent;

pub mod surely;

pub mod cells;

pub mod two_sample;

pub mod categorical;

pub mod multiple;

pub mod estimate;

pub mod area_cells;

pub mod score;

pub mod classification;

pub mod calibration;

pub mod expected_loss;

pub mod classes;

pub mod regression;

pub mod harm;

pub mod kinds;

pub mod evidence;

pub mod shares;

pub mod detector;

pub mod decline;

pub mod blocks;

pub mod draws;

pub mod paired;

pub mod buckets;

/// The 97.5 % point of the normal law: half-width of a 95 % interval in standard errors.
pub const Z_95: f64 = 1.959_963_984_540_054;

#[cfg(test)]
mod golden;
