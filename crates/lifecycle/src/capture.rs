//! Which calls of a model become records of its monitoring streams. It must not know who captures them.

use serde::{Deserialize, Serialize};

/// What is captured, and what tensors mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// Percent of calls, more than 0, at most 100.
    pub percent: f64,
    /// The tensor of integers that holds event time, milliseconds since the epoch; empty takes the clock.
    #[serde(default)]
    pub timestamp: String,
    /// The tensor that names records; empty makes names up, and labels cannot be joined.
    #[serde(default)]
    pub id: String,
    /// The tensor of the answer that is the score.
    #[serde(default = "Capture::score")]
    pub score: String,
    /// The name of the label that comes later; empty for none.
    #[serde(default)]
    pub label: String,
    /// Whether the label is an amount; otherwise it says yes or no, in whatever coding it comes.
    #[serde(default)]
    pub label_is_number: bool,
    /// The reference that drift and decay are measured from; empty for none.
    #[serde(default)]
    pub reference: String,
    /// Whether records are kept, to retrain from.
    #[serde(default = "Capture::recorded")]
    pub recorded: bool,
    /// Length of a window.
    pub window_ms: i64,
    /// How far records may be out of order.
    #[serde(default = "Capture::out_of_orderness")]
    pub out_of_orderness_ms: i64,
    /// How long after its end a window takes labels.
    #[serde(default = "Capture::label_horizon")]
    pub label_horizon_ms: i64,
}

impl Capture {
    fn score() -> String {
        "score".into()
    }

    const fn recorded() -> bool {
        true
    }

    const fn out_of_orderness() -> i64 {
        2_000
    }

    const fn label_horizon() -> i64 {
        86_400_000
    }
}
