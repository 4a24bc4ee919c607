//! Event time: which rows belong to which pane, which panes make a window, when a window closes, and how a late
//! label finds its prediction. Pure: time is passed in as milliseconds.
//! It must never know the wall clock, statistics, protobuf or what a row holds.
//!
//! Reading order: [`spec`], [`watermark`], [`windows`], [`join`].

pub mod spec;

pub mod watermark;

pub mod windows;

mod slots;

pub mod join;

pub use join::LabelJoin;
pub use spec::{WindowKind, WindowSpec};
pub use windows::{Cause, Close, Frame, PaneId, Steps, WindowKey, Windows};
