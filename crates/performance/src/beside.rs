//! What rows are held against, and how they stand beside it. It must not know rows.

use acgs_reference::LossBaseline;

/// What rows are held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    /// The loss to be expected of them.
    pub baseline: Option<LossBaseline>,
    /// How much more their losses vary than independent ones.
    pub design_effect: f64,
    /// The same of how well they are ranked.
    pub ranking_effect: f64,
}

impl Default for Beside {
    fn default() -> Self {
        Self { baseline: None, design_effect: 1.0, ranking_effect: 1.0 }
    }
}

impl From<Option<LossBaseline>> for Beside {
    fn from(baseline: Option<LossBaseline>) -> Self {
        Self { baseline, ..Self::default() }
    }
}

/// How the loss stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not surely worse than the reference by more than the margin.
    Ok,
    /// Surely worse.
    Decayed,
    /// No labels, or nothing to compare with.
    Unknown,
}
