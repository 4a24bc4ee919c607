//! What is looked at of one feature. It must not know what is made of it.

use acgs_reference::{FeatureReference, counts::FeatureCounts, expected::Expected, outcomes::Outcomes};

/// Sorted samples of a numeric feature, for exact tests.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// Reference.
    pub reference: &'a [f64],
    /// Current.
    pub current: &'a [f64],
}

/// What is looked at.
pub(crate) struct Looked<'a> {
    pub(crate) feature: &'a FeatureReference,
    pub(crate) outcomes: &'a Outcomes,
    pub(crate) expected: &'a Expected,
    pub(crate) counts: &'a FeatureCounts,
    pub(crate) rows: u64,
    /// How many times as often rows come as those of the reference.
    pub(crate) denser: f64,
}
