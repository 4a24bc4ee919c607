//! A reference with what follows from it once for all rows. It must not know what is made of rows.

use std::sync::Arc;

use acgs_reference::{Reference, counts::PaneCounts, outcomes::Outcomes};

/// A reference with what is computed of it once.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// The reference.
    pub reference: Arc<Reference>,
    /// In its features' order.
    pub outcomes: Arc<[Outcomes]>,
}

impl Frozen {
    /// Of a reference.
    #[must_use]
    pub fn new(reference: Arc<Reference>) -> Self {
        let outcomes = reference.features.iter().map(Outcomes::new).collect();
        Self { reference, outcomes }
    }

    /// How many times as often these rows come as those of the reference.
    #[must_use]
    pub fn denser(&self, pane: &PaneCounts) -> f64 {
        self.reference.pace.times_denser(pane.row_count, pane.times_ms)
    }
}
