//! What a request will take in memory, found on its bytes as they come: records and cells are counted before anything is decoded. It must
//! not know what a request means.

mod body;
mod plan;
mod scan;

pub(crate) use body::{Measured, Weight};
pub(crate) use plan::Plan;
pub(crate) use scan::Scan;
