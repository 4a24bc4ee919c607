//! Rows into a reference: cells, categories, and how much it varies between its own spans. It must not know where it is kept.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Column, Field, RecordBatch, Role, Schema, numbers::numbers};
use acgs_statistics::{
    cells::Cells,
    moments::Moments,
    score::{ScoreSums, probability},
    sketch::{FAR, TYPICAL_MIN, far_limit},
};

use crate::{
    categories::for_each_category,
    counts::{PaneCounts, Places},
    effect::effect_size,
    reference::{
        CATEGORIES_MAX, FeatureReference, LossBaseline, Reference, Shape, is_categorical, is_judged,
    },
};

/// Most spans of one reference.
pub const SPANS_MAX: usize = 1_000;
/// Spans that it takes to know how much the reference varies.
const SPANS_MIN: usize = 4;
/// A span counts when it has at least this share of the median span's rows.
const SPAN_SHARE_MIN: f64 = 0.5;

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

/// `None` when the field has no finite number at all. Numbers that cannot be meant count as null.
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
    null_count += cut_far(&mut values);
    let cells = Cells::of_sorted(&values);
    let mut counts = cells.empty_counts();
    cells.count_slice(&values, &mut counts);
    let mut moments = Moments::default();
    moments.push_slice(&values);
    let shape = Shape::Numeric {
        cells,
        counts: counts.counts,
        mean: moments.mean().unwrap_or(0.0),
        // Beyond what a double holds there is nothing to measure by: such a reference is refused where it is kept.
        standard_deviation: moments.population_standard_deviation().unwrap_or(f64::INFINITY),
    };
    Some(FeatureReference { field: field.clone(), shape, null_count, span_effect: None })
}

/// Takes out of sorted values those whose magnitude cannot be meant beside the others; says how many.
fn cut_far(values: &mut Vec<f64>) -> u64 {
    if values.first().is_none_or(|least| least.abs() <= FAR)
        && values.last().is_none_or(|most| most.abs() <= FAR)
    {
        return 0;
    }
    let mut magnitudes: Vec<f64> = values.iter().map(|value| value.abs()).filter(|it| *it > 0.0).collect();
    if (magnitudes.len() as u64) < TYPICAL_MIN {
        magnitudes = values.iter().map(|value| value.abs()).collect();
    }
    let middle = magnitudes.len() / 2;
    let (_, typical, _) = magnitudes.select_nth_unstable_by(middle, f64::total_cmp);
    let limit = far_limit(*typical);
    let all = values.len();
    values.retain(|value| value.abs() <= limit);
    (all - values.len()) as u64
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

fn baseline(schema: &Schema, batches: &[RecordBatch]) -> Option<LossBaseline> {
    let (score, label) = (schema.index_of_role(Role::Score)?, schema.index_of_role(Role::Label)?);
    let mut sums = ScoreSums::default();
    for batch in batches {
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let pair = (batch.columns()[score].number(row), batch.columns()[label].number(row));
            if let (Some(score), Some(label)) = pair
                && let Some(score) = probability(score)
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
    let mut spans: HashMap<i64, PaneCounts> = HashMap::new();
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
                let pane = spans.entry(span).or_insert_with(|| PaneCounts::new(reference));
                pane.push_at(reference, &places, &batch.slice(start, length));
            }
            start += length;
        }
    }
    let mut rows: Vec<u64> = spans.values().map(|pane| pane.row_count).collect();
    rows.sort_unstable();
    let median = rows.get(rows.len() / 2).copied().unwrap_or(0) as f64;
    let full: Vec<&PaneCounts> =
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

#[cfg(test)]
mod tests {
    use acgs_columns::{Cell, Kind, builder::BatchBuilder};

    use super::*;

    #[test]
    fn an_absurd_value_does_not_widen_a_reference() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", Kind::Double, Role::Feature)]).unwrap());
        let freeze_with = |absurd: Option<f64>| {
            let mut builder = BatchBuilder::new(Arc::clone(&schema));
            for value in (0..1_000).map(f64::from).chain(absurd) {
                builder.push(&[Cell::Number(value)]).unwrap();
            }
            freeze(&schema, &[builder.finish().unwrap()], 0).unwrap().features.remove(0)
        };
        let sound = freeze_with(None);
        for absurd in [1e25, -1e300] {
            let found = freeze_with(Some(absurd));
            assert_eq!((&found.shape, found.null_count), (&sound.shape, 1));
        }
        assert_eq!(freeze_with(Some(1e9)).null_count, 0, "a rare value is a value");
    }

    #[test]
    fn an_absurd_value_hides_and_makes_no_drift() {
        let fields = vec![
            Field::new("ts", Kind::Timestamp, Role::Timestamp),
            Field::new("x", Kind::Double, Role::Feature),
        ];
        let schema = Arc::new(Schema::new(fields).unwrap());
        let rows = |from: i64, shift: f64, absurd: Option<f64>| {
            let mut builder = BatchBuilder::new(Arc::clone(&schema));
            for row in from..from + 1_000 {
                let value = if row % 1_000 == 500 { absurd } else { None };
                let value = value.unwrap_or((row * 37 % 1_000) as f64 + shift);
                builder.push(&[Cell::Integer(row), Cell::Number(value)]).unwrap();
            }
            builder.finish().unwrap()
        };
        let frozen = |absurd: Option<f64>| {
            let spans: Vec<RecordBatch> =
                (0..10).map(|span| rows(span * 1_000, 0.0, absurd.filter(|_| span == 3))).collect();
            freeze(&schema, &spans, 1_000).unwrap()
        };
        let effect = |reference: &Reference, shift, absurd| {
            let mut pane = PaneCounts::new(reference);
            pane.push(reference, &rows(90_000, shift, absurd));
            effect_size(&reference.features[0], &pane.features[0]).unwrap()
        };
        let sound = frozen(None);
        let moved = effect(&sound, 300.0, None);
        for absurd in [1e25, -1e300, f64::MAX] {
            let reference = frozen(Some(absurd));
            let (mean, deviation) = reference.features[0].span_effect.unwrap();
            assert!(mean < 0.01 && deviation < 0.01, "{absurd}: {mean} {deviation}");
            assert!(effect(&reference, 0.0, Some(absurd)) < 0.01, "{absurd}");
            assert!((effect(&reference, 300.0, Some(absurd)) - moved).abs() < 0.01, "{absurd}");
            // Nor is silent what is all beyond.
            let mut all = PaneCounts::new(&reference);
            let mut builder = BatchBuilder::new(Arc::clone(&schema));
            (0..1_000).for_each(|row| builder.push(&[Cell::Integer(row), Cell::Number(absurd)]).unwrap());
            all.push(&reference, &builder.finish().unwrap());
            assert!(effect_size(&reference.features[0], &all.features[0]).unwrap() > 1.0);
        }
    }
}
