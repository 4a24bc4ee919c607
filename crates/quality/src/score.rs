//! Scores: what of a column, and of all that came, can be used. It must not know findings.
//!
//! No fact counts twice. A column's score is the product of the shares of its cells that have a value, of values that can be, that are not far
//! from all others, and that are not stuck, each beyond what is expected of it. The overall score is the middle between the mean and the lowest
//! score of a column, so that a lost one shows among any number, times the share of rows that are no repetition, and what age takes.

use acgs_columns::{Field, Role};
use acgs_reference::soundness::is_numeric;
use acgs_statistics::surely::Rate;

use crate::{
    config::Config,
    expected::Worth,
    rates::{Changes, ColumnRates, Counted, ExpectedRates, Then},
};

/// What numbers, or a label, that never change score where nobody knows that it ever did.
const CONSTANT: f64 = 0.9;
/// What a label scores that never changes any more: nothing can be learned from it, and it may be right.
const CONSTANT_LABEL: f64 = 0.7;
/// Values from which on a column that never changes is one.
const CONSTANT_VALUES_MIN: f64 = 20.0;
/// Chance of values all the same, by what they did before, below which that is none.
const CONSTANT_CHANCE: f64 = 1e-6;

/// What can be used of a column: shares in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColumnScore {
    /// Of cells that have a value.
    pub completeness: f64,
    /// Of values that can be.
    pub validity: f64,
    /// Of numbers that are not far from all others.
    pub accuracy: f64,
    /// Of values that are not stuck.
    pub consistency: f64,
    /// All of it.
    pub score: f64,
    /// All of it but what may be empty by nature, where nobody knows.
    pub sure_score: f64,
    /// Whether it used to change and does no more.
    pub is_lost_constant: bool,
    /// Whether it enters the overall score.
    pub counts: bool,
}

/// The share that is left when what is expected is taken off; all of it where what came may be no more than that by chance.
pub(crate) fn left(found: Rate, then: Then, worth: f64, alpha: f64) -> f64 {
    let then = then.beside(found);
    match (then, then.is_surely_below(found.worth(worth), alpha)) {
        (Then::Unknown, _) => 1.0 - found.share(),
        (_, Some(true)) => ((1.0 - found.share()) / (1.0 - then.share().unwrap_or(0.0))).clamp(0.0, 1.0),
        _ => 1.0,
    }
}

impl ColumnScore {
    /// Of a column's rates, beside those that are expected.
    #[must_use]
    pub fn of(
        config: &Config,
        field: &Field,
        found: &ColumnRates,
        (expected, worth, alpha): (Option<&ExpectedRates>, &Worth, f64),
        is_constant: bool,
    ) -> Self {
        let then = |counted| expected.map_or(Then::Unknown, |expected| expected.of(counted));
        let of = |counted| left(found.of(counted), then(counted), worth.of(counted), alpha);
        let is_label = field.role == Role::Label;
        // A label that has not come yet is late, not missing.
        let completeness = if is_label { 1.0 } else { of(Counted::Absent) };
        let is_constant = is_constant && found.repeats.rows >= CONSTANT_VALUES_MIN;
        let changes = expected.and_then(|expected| expected.changes);
        let is_keyed = expected.is_some_and(|expected| expected.keyed);
        let is_no_chance = |it: Changes| it.ln_chance_of_constant(found.repeats.rows) < CONSTANT_CHANCE.ln();
        let is_lost_constant = is_constant && changes.is_some_and(is_no_chance);
        let consistency = match (is_constant, is_lost_constant) {
            (true, true) if is_label => CONSTANT_LABEL,
            (true, true) => 0.0,
            // Words may be the same by nature.
            (true, false) if changes.is_none() && !is_keyed && (is_label || is_numeric(field)) => CONSTANT,
            _ => of(Counted::Stuck),
        };
        let (validity, accuracy) = (of(Counted::Invalid), of(Counted::Outliers));
        let has_values = found.absent.events < found.absent.rows;
        let others = validity.powf(config.validity_weight)
            * accuracy.powf(config.outlier_weight)
            * consistency.powf(config.consistency_weight);
        let complete = completeness.powf(config.completeness_weight);
        // Where nobody knows what to expect, cells may be empty by nature, but not all of them.
        let may_be_empty = then(Counted::Absent) == Then::Unknown && !field.required && has_values;
        Self {
            completeness,
            validity,
            accuracy,
            consistency: if has_values { consistency } else { 1.0 },
            score: complete * others,
            sure_score: if may_be_empty { others } else { complete * others },
            is_lost_constant,
            counts: !is_label || has_values,
        }
    }
}
