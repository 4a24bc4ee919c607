//! A frozen reference as data: what its fields looked like, and how good the model was. It must not know how it is frozen or where
//! it is kept.

use std::sync::Arc;

use acgs_columns::{Field, Kind, Role, Scale};
use acgs_statistics::cells::Cells;

use crate::{
    baseline::LossBaseline, loss::LossPhases, pace::Pace, pairs::Pairs, rates::Rates, said::SaidLosses,
    season::Season, slices::SliceBaseline, variation::Variation,
};

/// Most categories of a field that are told apart.
pub const CATEGORIES_MAX: usize = 255;
/// Most others of a field that are known to have been seen.
pub const SEEN_MAX: usize = 16_384;
/// Most others of all fields that are known to have been seen.
pub const SEEN_SUM_MAX: usize = 131_072;
/// Most rows of a reference.
pub const ROWS_MAX: u64 = 2_000_000;
/// Most bytes of a reference's columns.
pub const BYTES_MAX: usize = 512 << 20;
/// A frozen reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// From 1; 0 until it is stored.
    pub version: u64,
    /// The model; may be empty.
    pub model_id: String,
    /// Rows.
    pub row_count: u64,
    /// The span of windows to come; 0 when not given.
    pub window_ms: i64,
    /// Features, score and prediction.
    pub features: Vec<FeatureReference>,
    /// Columns that were there and had no value in any row.
    pub empty_fields: Vec<Field>,
    /// How good the model was.
    pub baseline: Option<LossBaseline>,
    /// The label that says yes, where it was declared.
    pub positive_label: Option<Arc<str>>,
    /// What time shows of that.
    pub loss_phases: LossPhases,
    /// What came of what the model said.
    pub said_losses: Option<SaidLosses>,
    /// Losses by the values of fields, by name.
    pub slices: Vec<SliceBaseline>,
    /// How sound its cells and rows were; without fields in references from before it was kept.
    pub rates: Rates,
    /// When it was put.
    pub created_ms: i64,
    /// The constitution that it was frozen under; empty until it is stored.
    pub constitutional_hash: String,
    /// What its rows vary with.
    pub season: Season,
    /// Rows with an event time; how rows hang together in time is known of them alone.
    pub timed_count: u64,
    /// Their first and last time, in milliseconds since the epoch; 0 without any.
    pub from_ms: i64,
    /// See `from_ms`.
    pub until_ms: i64,
    /// How often they come.
    pub pace: Pace,
    /// How its numeric features go together; without pairs where it has a season, which moves them together.
    pub pairs: Pairs,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureReference {
    /// The field.
    pub field: Field,
    /// What its values looked like.
    pub shape: Shape,
    /// Rows that were null or not finite.
    pub null_count: u64,
    /// Mean and standard deviation of the effect size between spans and the whole.
    pub span_effect: Option<(f64, f64)>,
    /// How much more its rows vary together than independent ones, by the length of stretches.
    pub variation: Vec<Variation>,
    /// The same for whether they are null.
    pub null_variation: Vec<Variation>,
    /// Rows by phase of the season and outcome (see [`crate::outcomes`]), nulls last; empty without a season.
    pub phases: Vec<Vec<u64>>,
}

/// Numbers or categories.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Numbers.
    Numeric {
        /// Frozen cells.
        cells: Cells,
        /// Rows in each.
        counts: Vec<u64>,
        /// Mean.
        mean: f64,
        /// Population standard deviation.
        standard_deviation: f64,
    },
    /// Categories.
    Categorical {
        /// Most frequent first.
        categories: Vec<Arc<str>>,
        /// Rows of each.
        counts: Vec<u64>,
        /// Rows of all others.
        other_count: u64,
        /// Of those, rows whose category was not seen when the categories were chosen.
        unseen_count: u64,
        /// Hashes of the others that were, ascending.
        seen: Vec<u32>,
    },
}

/// Whether drift is judged on a field.
#[must_use]
pub fn is_judged(field: &Field) -> bool {
    matches!(field.role, Role::Feature | Role::Score | Role::Prediction) && field.kind != Kind::Timestamp
}

/// Whether a field is judged as categories.
#[must_use]
pub fn is_categorical(field: &Field) -> bool {
    match (field.kind, field.scale) {
        (Kind::Text | Kind::Boolean, _) | (Kind::Int64, Some(Scale::Nominal)) => true,
        (Kind::Int64, None) => field.role == Role::Prediction,
        _ => false,
    }
}

impl FeatureReference {
    /// Without what time shows of it.
    #[must_use]
    pub fn new(field: Field, shape: Shape, null_count: u64) -> Self {
        Self {
            field,
            shape,
            null_count,
            span_effect: None,
            variation: Vec::new(),
            null_variation: Vec::new(),
            phases: Vec::new(),
        }
    }

    /// Cells or categories that are counted apart.
    #[must_use]
    pub fn cells(&self) -> usize {
        match &self.shape {
            Shape::Numeric { counts, .. } | Shape::Categorical { counts, .. } => counts.len(),
        }
    }

    /// Rows that had a value.
    #[must_use]
    pub fn present(&self) -> u64 {
        match &self.shape {
            Shape::Numeric { counts, .. } => counts.iter().sum(),
            Shape::Categorical { counts, other_count, .. } => counts.iter().sum::<u64>() + other_count,
        }
    }
}
