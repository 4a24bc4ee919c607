//! Typed columns as Parquet and Arrow, for whoever trains or looks: pandas, polars, DuckDB read them as they are. Kinds and roles
//! travel as metadata of the fields. It must know no file system, no clock and nothing about what the columns mean.
//!
//! Reading order: [`error`], [`arrow`] (columns to arrays and back), [`file`](mod@file) (bytes).

pub mod error;

pub mod arrow;

pub mod file;

pub use error::Error;
pub use file::{
    Tags, from_arrow, from_arrow_tagged, from_parquet, tags_of_arrow, to_arrow, to_arrow_tagged, to_parquet,
};
