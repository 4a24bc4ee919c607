//! Rows into a reference: cells, categories, and how much it varies between its own spans. It must not know where it is kept.

use acgs_columns::{Column, Field, RecordBatch, Role, Schema, numbers::numbers};
use acgs_statistics::{
    cells::Cells,
    moments::Moments,
    sketch::{FAR, TYPICAL_MIN, far_limit},
};

use crate::{
    answers::{self, Answers},
    baseline::{LossBaseline, ModelKind},
    chosen::categories,
    labels::{self, LabelledScores, Mapped},
    loss::LossPhases,
    outputs::Outputs,
    pace::Pace,
    pairs::{PairCounts, Pairs},
    places::Places,
    rates::Rates,
    reference::{FeatureReference, Reference, SEEN_SUM_MAX, Shape, is_categorical, is_judged},
    said::SaidLosses,
    season::Season,
    sides,
    slices::SliceBaseline,
    spans,
};

/// Freezes batches of one schema into a reference. With `window_ms` above 0, how far spans of that length lie from the whole is measured, too.
#[must_use]
pub fn freeze(schema: &Schema, batches: &[RecordBatch], window_ms: i64) -> Reference {
    let judged = || schema.fields().iter().enumerate().filter(|(_, field)| is_judged(field));
    let seen_max = SEEN_SUM_MAX / judged().filter(|(_, field)| is_categorical(field)).count().max(1);
    let mut features: Vec<FeatureReference> = Vec::new();
    for (index, field) in judged() {
        features.extend(if is_categorical(field) {
            categories(field, index, batches, seen_max)
        } else {
            let columns: Vec<&Column> = batches.iter().map(|batch| &batch.columns()[index]).collect();
            cells(field, &columns)
        });
    }
    let is_empty = |field: &&Field| !features.iter().any(|known| known.field.name == field.name);
    let empty_fields = judged().map(|(_, field)| field).filter(is_empty).cloned().collect();
    let mut reference = Reference {
        name: String::new(),
        version: 0,
        model_id: String::new(),
        row_count: batches.iter().map(|batch| batch.rows() as u64).sum(),
        window_ms,
        features,
        empty_fields,
        baseline: baseline(schema, batches),
        positive_label: schema
            .index_of_role(Role::Label)
            .and_then(|label| schema.fields()[label].positive.clone()),
        loss_phases: LossPhases::default(),
        said_losses: None,
        slices: Vec::new(),
        rates: Rates::measure(schema, batches),
        created_ms: 0,
        constitutional_hash: String::new(),
        season: Season::None,
        timed_count: 0,
        from_ms: 0,
        until_ms: 0,
        pace: Pace::default(),
        pairs: Pairs::default(),
    };
    reference.said_losses =
        reference.baseline.as_ref().and_then(|baseline| SaidLosses::measure(baseline, schema, batches));
    if let Some(baseline) = &reference.baseline {
        reference.slices = SliceBaseline::measure(baseline, schema, batches);
    }
    let order = spans::measure(&mut reference, schema, batches);
    if let (Some(baseline), Some(order)) = (&reference.baseline, &order) {
        reference.loss_phases =
            LossPhases::measure(baseline, schema, batches, &order.rows().collect::<Vec<_>>());
    }
    if reference.season == Season::None {
        let mut pairs = sides::pairs_of(&reference.features);
        let places = Places::new(&reference, schema);
        let mut counts = PairCounts::new(pairs.len());
        batches.iter().for_each(|batch| sides::count(&pairs, &places, batch, &mut counts));
        pairs.counts = counts;
        if let Some(order) = order {
            spans::measure_pairs(&mut pairs, &places, &order, batches);
        }
        reference.pairs = pairs;
    }
    reference
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
    sort(&mut values);
    null_count += cut_far(&mut values);
    let cells = Cells::of_sorted(&values);
    // Sorted values are counted by where the edges are in them.
    let mut upto: Vec<usize> =
        cells.edges().iter().map(|edge| values.partition_point(|value| value <= edge)).collect();
    upto.push(values.len());
    let before = std::iter::once(0).chain(upto.iter().copied());
    let counts: Vec<u64> = before.zip(&upto).map(|(before, upto)| (upto - before) as u64).collect();
    let mut moments = Moments::default();
    moments.push_slice(&values);
    let shape = Shape::Numeric {
        cells,
        counts,
        mean: moments.mean().unwrap_or(0.0),
        // Beyond what a double holds there is nothing to measure by: such a reference is refused where it is kept.
        standard_deviation: moments.population_standard_deviation().unwrap_or(f64::INFINITY),
    };
    Some(FeatureReference::new(field.clone(), shape, null_count))
}

/// Sorts finite numbers: as integers of the same order, which is faster than to compare them as they are.
fn sort(values: &mut [f64]) {
    const SIGN: u64 = 1 << 63;
    let flipped = |bits: u64| if bits & SIGN == 0 { bits | SIGN } else { !bits };
    let mut keys: Vec<u64> = values.iter().map(|value| flipped(value.to_bits())).collect();
    keys.sort_unstable();
    for (value, key) in values.iter_mut().zip(keys) {
        *value = f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN });
    }
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

fn baseline(schema: &Schema, batches: &[RecordBatch]) -> Option<LossBaseline> {
    let label = schema.index_of_role(Role::Label)?;
    let positive = schema.fields()[label].positive.as_deref();
    let outputs = Outputs::of(schema);
    let (mut scores, mut answers) = (LabelledScores::default(), Answers::default());
    for batch in batches {
        let label = &batch.columns()[label];
        if let Some(score) = outputs.score(batch.columns()) {
            labels::push(&mut scores, score, (label, positive), batch.rows());
        }
        if let Some(prediction) = outputs.prediction(batch) {
            answers.push(&prediction, label, batch.rows(), outputs.quantile);
        }
    }
    let Mapped { scores, coding, .. } = scores.mapped(None);
    let kind = answers::model_kind(scores.count(), &answers, (answers::declared_kind(schema), None))?;
    let loss = answers::loss(kind, &scores, &answers)?;
    Some(LossBaseline {
        kind,
        quantile: outputs.quantile.filter(|_| kind == ModelKind::Regression),
        loss: loss.value,
        loss_standard_error: loss.standard_error,
        coding,
        labelled_count: scores.count().max(answers.count()),
        brier: scores.brier().map_or(0.0, |brier| brier.value),
        brier_standard_error: scores.brier().map_or(0.0, |brier| brier.standard_error),
        accuracy: answers.right().mean().or(scores.accuracy().map(|accuracy| accuracy.value)).unwrap_or(0.0),
        calibration_error: scores.calibration_error().unwrap_or(0.0),
        auc: scores.area().map(|area| area.value).filter(|_| kind == ModelKind::Binary),
        positive_rate: scores
            .means()
            .map(|(_, positive_rate)| positive_rate)
            .filter(|_| kind == ModelKind::Binary),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acgs_columns::{Cell, Kind, builder::BatchBuilder};

    use super::*;
    use crate::{counts::PaneCounts, effect::effect_size};

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let mut values = vec![3.0, -0.0, 0.0, -1e300, 1e-310, -1e-310, f64::MAX, f64::MIN, -3.0, 2.5];
        let mut expected = values.clone();
        expected.sort_unstable_by(f64::total_cmp);
        sort(&mut values);
        assert_eq!(values, expected);
        assert!(values.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn an_absurd_value_does_not_widen_a_reference() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", Kind::Double, Role::Feature)]).unwrap());
        let freeze_with = |absurd: Option<f64>| {
            let mut builder = BatchBuilder::new(Arc::clone(&schema));
            for value in (0..1_000).map(f64::from).chain(absurd) {
                builder.push(&[Cell::Number(value)]).unwrap();
            }
            freeze(&schema, &[builder.finish().unwrap()], 0).features.remove(0)
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
            freeze(&schema, &spans, 1_000)
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
