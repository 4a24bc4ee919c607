//! What the judges share: budgets of false alarms, and what their services keep over the key-value port, monitors and the last records of what they judged.
//! It must never know what is judged.
//!
//! Reading order: [`alarm`], [`computing`], [`history`], [`monitoring`].

pub mod alarm;

pub mod computing;

pub mod history;

pub mod monitoring;

pub use computing::Computing;
pub use history::History;
pub use monitoring::Monitors;
