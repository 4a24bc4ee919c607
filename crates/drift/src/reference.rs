//! A reference, frozen: cells, categories, and how much it varies between its own spans. It must not know where it
//! is kept.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Schema, Values, numbers::numbers};
use acgs_statistics::{cells::Cells, moments::Moments, score::ScoreSums};

use crate::{
    detect::effect_size,
    pane::{DriftPane, Places},
};

/// Most categories of a field that are told apart.
pub const CATEGORIES_MAX: usize = 255;
/// Most rows of a reference.
pub const ROWS_MAX: u64 = 2_000_000;
/// Most bytes of a reference's columns.
pub const BYTES_MAX: usize = 512 << 20;
/// Most spans of one reference.
pub const SPANS_MAX: usize = 1_000;
/// Spans that it takes to know how much the reference varies.
const SPANS_MIN: usize = 4;
/// A span counts when it has at least this share of the median span's rows.
const SPAN_SHARE_MIN: f64 = 0.5;

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
    /// How good the model was.
    pub baseline: Option<LossBaseline>,
    /// When it was put.
    pub created_ms: i64,
    /// The constitution that it was frozen under; empty until it is stored.
    pub constitutional_hash: String,
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
    },
}

/// How good the model was on the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossBaseline {
    /// Rows with score and label.
    pub labelled_count: u64,
    /// Brier score.
    pub brier: f64,
    /// Its standard error.
    pub brier_standard_error: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Expected calibration error.
    pub calibration_error: f64,
}

/// Whether drift is judged on a field.
#[must_use]
pub fn is_judged(field: &Field) -> bool {
    matches!(field.role, Role::Feature | Role::Score | Role::Prediction) && field.kind != Kind::Timestamp
}

/// Whether a field is judged as categories.
#[must_use]
pub fn is_categorical(field: &Field) -> bool {
    matches!(field.kind, Kind::Text | Kind::Boolean)
        || (field.role == Role::Prediction && field.kind == Kind::Int64)
}

impl FeatureReference {
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

/// A span so short that the reference has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is so short that the reference has more than {SPANS_MAX} spans")]
pub struct TooManySpans;

/// Freezes batches of one schema into a reference.
///
/// # Errors
/// When the rows fall into too many spans.
pub fn freeze(schema: &Schema, batches: &[RecordBatch], window_ms: i64) -> Result<Reference, TooManySpans> {
    let mut features = Vec::new();
    for (index, field) in schema.fields().iter().enumerate().filter(|(_, field)| is_judged(field)) {
        let columns: Vec<&Column> = batches.iter().map(|batch| &batch.columns()[index]).collect();
        let frozen = if is_categorical(field) { categories(field, &columns) } else { cells(field, &columns) };
        features.extend(frozen);
    }
    let row_count = batches.iter().map(|batch| batch.rows() as u64).sum();
    let mut reference = Reference {
        name: String::new(),
        version: 0,
        model_id: String::new(),
        row_count,
        window_ms,
        features,
        baseline: baseline(schema, batches),
        created_ms: 0,
        constitutional_hash: String::new(),
    };
    measure_spans(&mut reference, schema, batches)?;
    Ok(reference)
}

/// `None` when the field has no finite number at all.
fn cells(field: &Field, columns: &[&Column]) -> Option<FeatureReference> {
    let mut values = Vec::new();
    let mut null_count = 0;
    for found in columns.iter().filter_map(|column| numbers(column)) {
        values.extend_from_slice(&found.finite);
        null_count += (found.null_count + found.not_finite_count) as u64;
    }
    if values.is_empty() {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let cells = Cells::of_sorted(&values);
    let mut counts = cells.empty_counts();
    cells.count_slice(&values, &mut counts);
    let mut moments = Moments::default();
    moments.push_slice(&values);
    let shape = Shape::Numeric {
        cells,
        counts: counts.counts,
        mean: moments.mean().unwrap_or(0.0),
        standard_deviation: moments.population_standard_deviation().unwrap_or(0.0),
    };
    Some(FeatureReference { field: field.clone(), shape, null_count, span_effect: None })
}

fn categories(field: &Field, columns: &[&Column]) -> Option<FeatureReference> {
    let mut counts: HashMap<Arc<str>, u64> = HashMap::new();
    let mut null_count = 0;
    for column in columns {
        null_count += column.null_count() as u64;
        for_each_category(column, |category, rows| *counts.entry(Arc::clone(category)).or_default() += rows);
    }
    let mut ranked: Vec<(Arc<str>, u64)> = counts.into_iter().collect();
    if ranked.is_empty() {
        return None;
    }
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rare = ranked.split_off(ranked.len().min(CATEGORIES_MAX));
    let other_count = rare.iter().map(|(_, count)| count).sum();
    let (categories, counts) = ranked.into_iter().unzip();
    let shape = Shape::Categorical { categories, counts, other_count };
    Some(FeatureReference { field: field.clone(), shape, null_count, span_effect: None })
}

/// Each category of a column once, with its rows.
pub(crate) fn for_each_category(column: &Column, mut visit: impl FnMut(&Arc<str>, u64)) {
    match &column.values {
        Values::Text { codes, dictionary } if codes.len() < dictionary.len() => {
            // A few rows of a large dictionary: only what they use is looked at.
            let mut rows: HashMap<u32, u64> = HashMap::new();
            for (_, &code) in codes.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
                *rows.entry(code).or_default() += 1;
            }
            rows.iter().for_each(|(&code, &rows)| visit(&dictionary[code as usize], rows));
        }
        Values::Text { codes, dictionary } => {
            let mut rows = vec![0_u64; dictionary.len()];
            for (row, &code) in codes.iter().enumerate() {
                rows[code as usize] += u64::from(column.is_valid(row));
            }
            for (category, &rows) in dictionary.iter().zip(&rows).filter(|(_, rows)| **rows > 0) {
                visit(category, rows);
            }
        }
        Values::Boolean(bits) => {
            let valid = (0..bits.len()).filter(|&row| column.is_valid(row));
            let (yes, no): (Vec<usize>, Vec<usize>) = valid.partition(|&row| bits.get(row));
            for (name, rows) in [("true", yes.len()), ("false", no.len())] {
                if rows > 0 {
                    visit(&Arc::from(name), rows as u64);
                }
            }
        }
        Values::Integer(values) => {
            let mut rows: HashMap<i64, u64> = HashMap::new();
            for (_, &value) in values.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
                *rows.entry(value).or_default() += 1;
            }
            rows.iter().for_each(|(value, rows)| visit(&Arc::from(value.to_string()), *rows));
        }
        Values::Double(_) => {}
    }
}

fn baseline(schema: &Schema, batches: &[RecordBatch]) -> Option<LossBaseline> {
    let (score, label) = (schema.index_of_role(Role::Score)?, schema.index_of_role(Role::Label)?);
    let mut sums = ScoreSums::default();
    for batch in batches {
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let pair = (batch.columns()[score].number(row), batch.columns()[label].number(row));
            if let (Some(score), Some(label)) = pair
                && (0.0..=1.0).contains(&score)
                && (label == 0.0 || label == 1.0)
            {
                scores.push(score);
                labels.push(label == 1.0);
            }
        }
        sums.push_slice(&scores, &labels);
    }
    let brier = sums.brier()?;
    Some(LossBaseline {
        labelled_count: sums.count(),
        brier: brier.value,
        brier_standard_error: brier.standard_error,
        accuracy: sums.accuracy()?.value,
        calibration_error: sums.calibration_error()?,
    })
}

/// How far spans of the windows' length lie from the whole: what is normal here is not drift.
fn measure_spans(
    reference: &mut Reference,
    schema: &Schema,
    batches: &[RecordBatch],
) -> Result<(), TooManySpans> {
    let Some(time) = schema.index_of_role(Role::Timestamp).filter(|_| reference.window_ms > 0) else {
        return Ok(());
    };
    let places = Places::new(reference, schema);
    let mut spans: HashMap<i64, DriftPane> = HashMap::new();
    for batch in batches {
        let span_of =
            |row: usize| batch.columns()[time].integer(row).map(|ms| ms.div_euclid(reference.window_ms));
        let mut start = 0;
        while start < batch.rows() {
            let span = span_of(start);
            let length = (start..batch.rows()).take_while(|&row| span_of(row) == span).count();
            if let Some(span) = span {
                if spans.len() >= SPANS_MAX && !spans.contains_key(&span) {
                    return Err(TooManySpans);
                }
                let pane = spans.entry(span).or_insert_with(|| DriftPane::new(reference));
                pane.push_at(reference, &places, &batch.slice(start, length));
            }
            start += length;
        }
    }
    let mut rows: Vec<u64> = spans.values().map(|pane| pane.row_count).collect();
    rows.sort_unstable();
    let median = rows.get(rows.len() / 2).copied().unwrap_or(0) as f64;
    let full: Vec<&DriftPane> =
        spans.values().filter(|pane| pane.row_count as f64 >= SPAN_SHARE_MIN * median).collect();
    if full.len() < SPANS_MIN {
        return Ok(());
    }
    for (index, feature) in reference.features.iter_mut().enumerate() {
        let effects: Vec<f64> =
            full.iter().filter_map(|pane| effect_size(feature, &pane.features[index])).collect();
        if effects.len() >= SPANS_MIN {
            let mut moments = Moments::default();
            moments.push_slice(&effects);
            feature.span_effect = moments.mean().zip(moments.sample_standard_deviation());
        }
    }
    Ok(())
}
