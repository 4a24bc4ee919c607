//! The loss by the values of fields: which of them is surely worse than the reference had it. It must not know rows or protobuf.

use acgs_reference::{
    LossBaseline, ModelKind,
    labels::Coding,
    slices::{SliceBaseline, SliceFields, SliceLosses, VALUES_MAX},
};
use acgs_statistics::{multiple::z_of_one_in, score::Estimate};

use crate::{
    beside::{Beside, State},
    config::Config,
    labelled::Labelled,
};

/// Losses below which none of so many rows can be told from none at all (the rule of three).
const NONE_OF: f64 = 3.0;
/// Chance that any value of a window without change is called worse, at most.
const ALPHA: f64 = 0.01;

/// The rows of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// The field.
    pub field: String,
    /// The value; `None` for further ones, and none.
    pub value: Option<String>,
    /// Rows with a loss.
    pub count: u64,
    /// Their loss.
    pub loss: Estimate,
    /// What the reference had, and of how many rows.
    pub baseline: Option<(f64, u64)>,
    /// Whether it is surely worse.
    pub state: State,
}

/// A value, and how many times what is tolerated its loss is: the logarithm of that, and its standard error.
struct Compared {
    slice: Slice,
    ln_ratio: f64,
    standard_error: f64,
}

/// All values that have a loss, the worst first.
#[must_use]
pub fn slices(
    config: &Config,
    fields: &SliceFields,
    labelled: &Labelled,
    (beside, kind): (Beside, ModelKind),
    reference: &[SliceBaseline],
) -> Vec<Slice> {
    let baseline = beside.baseline.filter(|baseline| baseline.kind == kind);
    let coding = labelled.scores.mapped(baseline.map(|baseline| baseline.coding)).coding;
    let mut all = Vec::new();
    for (field, slices) in fields.names().zip(labelled.slices.fields()) {
        for (value, losses) in slices.all() {
            // Which values the others are differs from that of the reference's.
            if value.is_none() && (slices.is_full() || of_field(reference, field) >= VALUES_MAX) {
                all.extend(compared(
                    config,
                    (field, value),
                    (losses, kind, coding),
                    beside.design_effect,
                    None,
                ));
                continue;
            }
            let is_it = |it: &&SliceBaseline| it.field == field && it.value.as_deref() == value;
            let known = baseline.and_then(|baseline| Some((baseline, reference.iter().find(is_it)?)));
            let name = (field, value);
            all.extend(compared(config, name, (losses, kind, coding), beside.design_effect, known));
        }
    }
    let judged = all.iter().filter(|it| it.slice.state != State::Unknown).count();
    let z = z_of_one_in(judged.max(1) as f64 / ALPHA);
    let mut found: Vec<Slice> = all
        .into_iter()
        .map(|Compared { mut slice, ln_ratio, standard_error }| {
            if slice.state == State::Ok && ln_ratio > z * standard_error {
                slice.state = State::Decayed;
            }
            slice
        })
        .collect();
    found.sort_by(|one, other| {
        let rank = |it: &Slice| (it.state == State::Decayed, it.loss.value);
        let (one, other) = (rank(one), rank(other));
        other.0.cmp(&one.0).then(other.1.total_cmp(&one.1))
    });
    found
}

/// Values of a field that the reference has by name.
fn of_field(reference: &[SliceBaseline], field: &str) -> usize {
    reference.iter().filter(|it| it.field == field && it.value.is_some()).count()
}

fn compared(
    config: &Config,
    (field, value): (&str, Option<&str>),
    (losses, kind, coding): (&SliceLosses, ModelKind, Coding),
    design_effect: f64,
    known: Option<(LossBaseline, &SliceBaseline)>,
) -> Option<Compared> {
    let of_kind = losses.of(kind, coding);
    let most = if kind == ModelKind::Regression { f64::INFINITY } else { 1.0 };
    let loss = Estimate::of_losses(of_kind)?.widened(design_effect, (0.0, most));
    let count = of_kind.count();
    let enough = |count: u64, positives: u64| {
        let of_either = positives.min(count.saturating_sub(positives));
        count >= config.labelled_min && (kind != ModelKind::Binary || of_either >= config.positives_min)
    };
    let can_be_judged =
        known.filter(|(_, it)| enough(count, losses.positives(coding)) && enough(it.count, it.positives));
    // Both losses vary, and small ones are skewed: their ratio by the normal law of its logarithm.
    let (ln_ratio, standard_error) = can_be_judged.map_or((f64::NEG_INFINITY, f64::INFINITY), |(_, it)| {
        let rows = it.count.max(1) as f64;
        let least = if kind == ModelKind::Regression { f64::MIN_POSITIVE } else { NONE_OF / rows };
        let then = it.mean.max(least);
        let of_then = (it.variance / rows * design_effect).sqrt() / then;
        let of_now = loss.standard_error / loss.value.max(f64::MIN_POSITIVE);
        ((loss.value / (then * (1.0 + config.loss_margin))).ln(), of_now.hypot(of_then))
    });
    let slice = Slice {
        field: field.to_owned(),
        value: value.map(str::to_owned),
        count,
        loss,
        baseline: known.map(|(_, it)| (it.mean, it.count)),
        state: if can_be_judged.is_some() { State::Ok } else { State::Unknown },
    };
    Some(Compared { slice, ln_ratio, standard_error })
}
