//! Losses by value, from and to their message. It must not know what they are used for.

use acgs_contracts::drift::v1 as proto;
use acgs_vocabulary::Problem;

use crate::{
    reference::ROWS_MAX,
    slices::{FIELDS_MAX, SliceBaseline, VALUE_BYTES_MAX, VALUES_MAX},
};

/// The messages.
pub(crate) fn to_proto(slices: &[SliceBaseline]) -> Vec<proto::SliceLoss> {
    let slice = |it: &SliceBaseline| proto::SliceLoss {
        field: it.field.clone(),
        value: it.value.clone(),
        count: it.count,
        mean: it.mean,
        variance: it.variance,
        positive_count: it.positives,
    };
    slices.iter().map(slice).collect()
}

/// From the messages.
///
/// # Errors
/// `BAD_REFERENCE`.
pub(crate) fn decode(messages: Vec<proto::SliceLoss>) -> Result<Vec<SliceBaseline>, Problem> {
    let bad = |what: &str| Problem::field("reference.slices", "BAD_REFERENCE", what);
    if messages.len() > FIELDS_MAX * (VALUES_MAX + 1) {
        return Err(bad("has more values than are told apart"));
    }
    let slice = |it: proto::SliceLoss| {
        let is_loss = |number: f64| number.is_finite() && number >= 0.0;
        let is_sound = it.count <= ROWS_MAX && it.positive_count <= it.count;
        let is_short = it.value.as_ref().is_none_or(|value| value.len() <= VALUE_BYTES_MAX);
        if !(is_sound && is_short && is_loss(it.mean) && is_loss(it.variance)) {
            return Err(bad("has a value with rows or a loss that cannot be"));
        }
        Ok(SliceBaseline {
            field: it.field,
            value: it.value,
            count: it.count,
            mean: it.mean,
            variance: it.variance,
            positives: it.positive_count,
        })
    };
    messages.into_iter().map(slice).collect()
}
