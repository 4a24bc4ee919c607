//! Models that say a score of each class, or a quantile, and labels that are taken back, through the lane.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_contracts::{
    common::v1::ModelKind,
    performance::v1::{PerformanceReport, PerformanceState},
};
use acgs_lane::{
    Judge, LaneDown, LaneUp,
    message::{Close, Timing},
    testing::Script,
};
use acgs_reference::{freeze, message as reference_message};
use acgs_vocabulary::Window;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::{judge, kinds_tests::report, tests::config};

fn batch(fields: Vec<Field>, rows: &[Vec<Cell<'_>>]) -> RecordBatch {
    let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
    rows.iter().for_each(|row| builder.push(row).unwrap());
    builder.finish().unwrap()
}

const CLASSES: [&str; 3] = ["cat", "dog", "owl"];

/// Scores of three classes; the highest is wrong in so many rows of ten.
fn class_scores(wrong_of_ten: usize, said: bool) -> RecordBatch {
    let mut fields: Vec<Field> =
        CLASSES.iter().map(|class| Field::new(format!("p_{class}"), Kind::Double, Role::Score)).collect();
    fields.push(Field::new("y", Kind::Text, Role::Label));
    fields.extend(said.then(|| Field::new("said", Kind::Text, Role::Prediction)));
    let row = |row: usize| {
        let truth = row % 3;
        let answer = if row / 3 % 10 < wrong_of_ten { (truth + 1) % 3 } else { truth };
        let mut cells: Vec<Cell<'_>> =
            (0..3).map(|class| Cell::Number(if class == answer { 0.8 } else { 0.1 })).collect();
        cells.push(Cell::Text(CLASSES[truth]));
        cells.extend(said.then(|| Cell::Text(CLASSES[answer])));
        cells
    };
    batch(fields, &(0..900).map(row).collect::<Vec<_>>())
}

#[test]
fn scores_of_all_classes_are_a_model_of_classes() {
    let sound = report(&class_scores(1, false), Some(&class_scores(1, false)));
    assert_eq!((sound.model_kind(), sound.state()), (ModelKind::Classes, PerformanceState::Ok));
    assert!((sound.loss.unwrap().value - 0.1).abs() < 1e-9 && sound.brier.is_none() && sound.auc.is_none());
    assert!(sound.estimated.is_some() && sound.monitor.is_some());
    let classes = sound.classes.unwrap();
    assert_eq!((classes.scored_count, classes.not_probabilities_count, classes.classes.len()), (900, 0, 3));
    let wanted = -(0.9 * 0.8_f64.ln() + 0.1 * 0.1_f64.ln());
    let log_loss = classes.log_loss.unwrap();
    assert!((log_loss.value - wanted).abs() < 1e-9 && log_loss.lower < wanted && wanted < log_loss.upper);
    assert!((classes.brier.unwrap().value - (0.9 * 0.06 + 0.1 * 1.46)).abs() < 1e-9);
    // What the model said in words is what it said.
    let said = report(&class_scores(1, true), Some(&class_scores(1, false)));
    assert_eq!((said.loss, said.state()), (sound.loss, PerformanceState::Ok));
    let worse = report(&class_scores(3, false), Some(&class_scores(1, false)));
    assert_eq!(worse.state(), PerformanceState::Decayed);
}

/// Numbers that so many of ten labels are below, declared as a quantile or not.
fn amounts(quantile: Option<f64>, below_of_ten: usize) -> RecordBatch {
    let said = Field { quantile, ..Field::new("said", Kind::Double, Role::Prediction) };
    let row = |row: usize| {
        let said = 10.25 + (row % 7) as f64;
        let off = if row % 10 < below_of_ten { -4.0 - (row % 3) as f64 } else { 2.0 };
        vec![Cell::Number(said), Cell::Number(said + off)]
    };
    let rows: Vec<_> = (0..1_000).map(row).collect();
    batch(vec![said, Field::new("y", Kind::Double, Role::Label)], &rows)
}

#[test]
fn a_quantile_is_judged_as_one() {
    let reference = amounts(Some(0.9), 9);
    for rows in [amounts(Some(0.9), 9), amounts(None, 9)] {
        let found = report(&rows, Some(&reference));
        assert_eq!((found.model_kind(), found.state()), (ModelKind::Regression, PerformanceState::Ok));
        let quantile = found.quantile.unwrap();
        assert!((quantile.covered.unwrap().value - 0.9).abs() < 1e-9, "what the reference declared holds");
        assert_eq!((quantile.loss, found.useless_loss), (found.loss, None));
        assert!(found.loss.unwrap().value < 0.7 && found.mean_absolute_error.unwrap().value > 4.0);
    }
    // Twice as many labels above what was said: the mean error is smaller, and the quantile worse.
    let above = report(&amounts(Some(0.9), 6), Some(&reference));
    assert!(above.mean_absolute_error.unwrap().value < 4.5);
    assert_eq!(above.state(), PerformanceState::Decayed);
    for (rows, reference) in [(Some(0.5), &reference), (Some(0.9), &amounts(None, 9))] {
        let found = report(&amounts(rows, 9), Some(reference));
        assert_eq!(found.state_reason, "the predictions of the reference are another quantile");
        assert!(found.monitor.is_none() && found.estimated.is_none());
    }
}

/// Gives rows, takes labels back, and judges them: in one pane, or each batch in its own.
fn judged(
    reference: Option<&RecordBatch>,
    given: &[(&RecordBatch, bool)],
    apart: bool,
    settled: bool,
) -> PerformanceReport {
    let mut judge = judge(config());
    let configs: Vec<(String, Bytes)> = reference
        .map(|rows| {
            let frozen = freeze(rows.schema(), std::slice::from_ref(rows), 0);
            ("reference".to_owned(), Bytes::from(reference_message::to_proto(&frozen).encode_to_vec()))
        })
        .into_iter()
        .collect();
    let script = Script { configs, frames: vec![(given[0].0.clone(), Vec::new())], windows: Vec::new() };
    script.start(&mut judge, 0);
    let mut panes = Vec::new();
    let mut seq = 0;
    for (number, (rows, retracts)) in given.iter().enumerate() {
        let pane = if apart { number as u64 + 1 } else { 1 };
        if !panes.contains(&pane) {
            panes.push(pane);
            judge.apply(LaneDown::OpenPane { pane, key: "".into(), labels_only: number > 0 }).unwrap();
        }
        seq += 1;
        let (batch, runs) = ((*rows).clone(), vec![(pane, rows.rows() as u32)]);
        let rows =
            LaneDown::Rows { seq, batch, runs, again: false, partition: "".into(), retracts: *retracts };
        judge.apply(rows).unwrap();
    }
    let window = Window { stream_id: "s".into(), key: "".into(), start_ms: 0, end_ms: 1_000 };
    let timing = Timing::OnTime;
    let close = Close { seq: seq + 1, window, revision: 0, panes, timing, again: false, settled };
    let answers = judge.apply(LaneDown::Close(close)).unwrap();
    let verdict = answers.into_iter().find_map(|up| match up {
        LaneUp::Verdict(verdict) => Some(verdict),
        _ => None,
    });
    PerformanceReport::decode(verdict.unwrap().report).unwrap()
}

/// Rows of a binary model, of classes, or of amounts, some with a label that is wrong.
fn rows(kind: usize, numbers: impl Iterator<Item = usize>, mistaken: bool) -> RecordBatch {
    let (said, role) = [("p", Role::Score), ("c", Role::Prediction), ("said", Role::Prediction)][kind];
    let of = if kind == 1 { Kind::Text } else { Kind::Double };
    let fields = vec![Field::new(said, of, role), Field::new("y", of, Role::Label)];
    let row = |row: usize| match kind {
        0 => {
            let score = (row % 10) as f64 / 10.0;
            let label = (row / 10 % 10) as f64 / 10.0 < score;
            vec![Cell::Number(score), Cell::Number(f64::from(u8::from(label != mistaken)))]
        }
        1 => {
            let truth = if mistaken { "mistaken" } else { CLASSES[row % 3] };
            vec![Cell::Text(CLASSES[(row + usize::from(row.is_multiple_of(10))) % 3]), Cell::Text(truth)]
        }
        _ => {
            let said = 20.0 + (row % 11) as f64 / 2.0;
            let off = if mistaken { 100.0 } else { (row % 5) as f64 - 2.25 };
            vec![Cell::Number(said), Cell::Number(said + off)]
        }
    };
    batch(fields, &numbers.map(row).collect::<Vec<_>>())
}

/// Everything that a report says of labels.
fn figures(report: &PerformanceReport) -> Vec<Option<f64>> {
    let all = [
        report.loss,
        report.brier,
        report.log_loss,
        report.accuracy,
        report.auc,
        report.root_mean_square_error,
    ];
    let of_estimates = all.into_iter().flat_map(|found| [found.map(|it| it.value), found.map(|it| it.upper)]);
    let binary = report.binary.as_ref().map(|it| it.true_positives as f64);
    let classes = report.classes.as_ref().map(|it| it.macro_f1);
    let counts = [report.positive_rate, binary, classes, Some(report.labelled_count as f64)];
    of_estimates.chain(counts).collect()
}

/// Whether two reports say the same; sums in another order differ in the last digits, and what was taken back takes some.
fn say_the_same(one: &PerformanceReport, other: &PerformanceReport) -> bool {
    let is_near = |(one, other): (&Option<f64>, &Option<f64>)| match (one, other) {
        (Some(one), Some(other)) => one == other || (one - other).abs() <= 1e-4 * (1.0 + other.abs()),
        (one, other) => one == other,
    };
    figures(one).iter().zip(&figures(other)).all(is_near)
}

#[test]
fn a_corrected_label_stands_for_the_one_before() {
    for kind in 0..3 {
        let reference = rows(kind, 0..1_000, false);
        let (right, wrong) = (rows(kind, 0..500, false), rows(kind, 500..560, true));
        let corrected = rows(kind, 500..560, false);
        let wanted = judged(Some(&reference), &[(&right, false), (&corrected, false)], false, true);
        let mistaken = judged(Some(&reference), &[(&right, false), (&wrong, false)], false, true);
        assert!(!say_the_same(&mistaken, &wanted), "{kind}");
        for apart in [false, true] {
            let given = [(&right, false), (&wrong, false), (&corrected, false), (&wrong, true)];
            let found = judged(Some(&reference), &given, apart, true);
            assert!(say_the_same(&found, &wanted), "{kind} {apart}: {found:?} {wanted:?}");
            assert_eq!((found.model_kind(), found.state()), (wanted.model_kind(), wanted.state()), "{kind}");
            let looked = |report: &PerformanceReport| {
                report.monitor.as_ref().map(|it| (it.looks, (it.ln_evidence * 1e3).round()))
            };
            assert_eq!(looked(&found), looked(&wanted), "{kind}: what is settled is the label that stands");
            assert_eq!(looked(&found).unwrap().0, 1, "{kind}");
        }
        // Nothing is said by labels that are taken back and were never given.
        let lost = judged(None, &[(&right, false), (&wrong, true), (&wrong, true)], true, false);
        assert_eq!(lost.state_reason, "labels are taken back that are not in these rows", "{kind}");
        assert!(lost.loss.is_none() && lost.row_count == 500, "{kind}");
    }
}

/// Rows of a model that is wrong in so many of ten rows of one city, and in one of ten of all others.
fn by_city(cities: usize, wrong_in_oslo: usize, label: bool) -> RecordBatch {
    let city = Field { slice: true, ..Field::new("city", Kind::Text, Role::Feature) };
    let fields = vec![
        city,
        Field::new("p", Kind::Double, Role::Score),
        Field::new("y", Kind::Int64, Role::Label),
        Field { slice: true, ..Field::new("new", Kind::Boolean, Role::Feature) },
    ];
    let names: Vec<String> = (0..cities).map(|city| format!("city-{city:03}")).collect();
    let row = |row: usize| {
        let city = row % cities;
        let turn = row / cities;
        let wrong = turn % 10 < if city == 1 { wrong_in_oslo } else { 1 };
        let yes = (turn / 10).is_multiple_of(2);
        let name = if city == 1 { "oslo" } else { &names[city] };
        let truth = if label { Cell::Integer(i64::from(yes)) } else { Cell::Null };
        vec![
            Cell::Text(name),
            Cell::Number(if yes == wrong { 0.2 } else { 0.8 }),
            truth,
            Cell::Boolean(turn.is_multiple_of(3)),
        ]
    };
    batch(fields, &(0..cities * 200).map(row).collect::<Vec<_>>())
}

#[test]
fn a_value_that_is_served_worse_is_named() {
    let reference = by_city(20, 1, true);
    let same = judged(Some(&reference), &[(&by_city(20, 1, true), false)], false, true);
    assert_eq!((same.slices.len(), same.state()), (22, PerformanceState::Ok));
    assert!(same.slices.iter().all(|slice| slice.state() == PerformanceState::Ok), "{:?}", same.slices);
    let found = judged(Some(&reference), &[(&by_city(20, 4, true), false)], false, true);
    let worst = &found.slices[0];
    let worse = found.slices.iter().filter(|slice| slice.state() == PerformanceState::Decayed).count();
    assert_eq!((worst.field.as_str(), worst.value.as_deref(), worse), ("city", Some("oslo"), 1));
    assert_eq!((worst.count, worst.baseline_count), (200, 200));
    let (loss, then) = (worst.loss.unwrap().value, worst.baseline_loss.unwrap());
    assert!(
        (loss - (0.6 * 0.04 + 0.4 * 0.64)).abs() < 1e-9 && (then - (0.9 * 0.04 + 0.1 * 0.64)).abs() < 1e-9
    );
    assert_eq!(found.state(), PerformanceState::Ok, "over all it is no worse");
    // Without a reference there are figures; of more values than are told apart the rest is together.
    let many = judged(None, &[(&by_city(100, 1, true), false)], false, true);
    assert_eq!(many.slices.len(), 64 + 1 + 2);
    assert!(many.slices.iter().all(|slice| slice.state() == PerformanceState::Unknown));
    let others: u64 = many.slices.iter().filter(|slice| slice.value.is_none()).map(|slice| slice.count).sum();
    assert_eq!(others, 36 * 200);
    // Labels that are taken back are taken back of their values, too.
    let wrong = by_city(20, 9, true);
    let right = by_city(20, 4, true);
    let given = [(&wrong, false), (&wrong, true), (&right, false)];
    let corrected = judged(Some(&reference), &given, true, true);
    let losses = |report: &PerformanceReport| -> Vec<(Option<String>, u64, f64)> {
        let round = |loss: f64| (loss * 1e9).round();
        report.slices.iter().map(|it| (it.value.clone(), it.count, round(it.loss.unwrap().value))).collect()
    };
    assert_eq!(losses(&corrected), losses(&found));
    assert!(judged(None, &[(&by_city(20, 1, false), false)], false, true).slices.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_labels_can_be_corrected(kind in 0..3_usize, split in 1..200_usize, mistaken in 1..100_usize) {
        let right = rows(kind, 0..split, false);
        let (wrong, corrected) = (rows(kind, split..split + mistaken, true), rows(kind, split..split + mistaken, false));
        let wanted = judged(None, &[(&right, false), (&corrected, false)], false, false);
        let given = [(&right, false), (&wrong, false), (&wrong, true), (&corrected, false)];
        let found = judged(None, &given, true, false);
        prop_assert!(say_the_same(&found, &wanted), "{:?} {:?}", figures(&found), figures(&wanted));
    }
}
