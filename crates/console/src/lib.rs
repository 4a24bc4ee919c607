//! What the commands of the binary share: connecting, records from files, progress, and answers as people read them.
//! It must never hold a rule of a room.
//!
//! Reading order: [`connect`], [`input`], [`render`], [`progress`].

pub mod connect;

pub mod input;

pub mod render;

pub mod progress;

pub use progress::{Progress, stop_signal};
