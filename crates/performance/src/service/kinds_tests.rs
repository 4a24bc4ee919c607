//! Models of every kind, with labels of every coding, through the lane.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Scale, Schema, builder::BatchBuilder};
use acgs_contracts::{
    common::v1::ModelKind,
    performance::v1::{PerformanceReport, PerformanceState},
};
use acgs_lane::testing::Script;
use acgs_reference::{freeze, message as reference_message};
use bytes::Bytes;
use prost::Message;

use super::{judge, tests::config};

fn batch(fields: Vec<Field>, rows: &[Vec<Cell<'_>>]) -> RecordBatch {
    let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
    rows.iter().for_each(|row| builder.push(row).unwrap());
    builder.finish().unwrap()
}

pub(super) fn report(rows: &RecordBatch, reference: Option<&RecordBatch>) -> PerformanceReport {
    let frozen = reference.map(|rows| {
        let frozen = freeze(rows.schema(), std::slice::from_ref(rows), 0);
        ("reference".to_owned(), Bytes::from(reference_message::to_proto(&frozen).encode_to_vec()))
    });
    let script = Script {
        configs: frozen.into_iter().collect(),
        frames: vec![(rows.clone(), vec![1])],
        windows: vec![vec![1]],
    };
    let verdict = script.straight(&mut judge(config())).remove(0);
    PerformanceReport::decode(verdict.report).unwrap()
}

/// Scores that are right by what they say, with labels as they are called.
fn binary(kind: Kind, no: Cell<'_>, yes: Cell<'_>) -> RecordBatch {
    let fields = vec![Field::new("p", Kind::Double, Role::Score), Field::new("y", kind, Role::Label)];
    let rows: Vec<Vec<Cell<'_>>> = (0..400)
        .map(|row| {
            let score = f64::from(row % 10) / 10.0;
            let label = if f64::from(row / 10 % 10) / 10.0 < score { yes } else { no };
            vec![Cell::Number(score), label]
        })
        .collect();
    batch(fields, &rows)
}

#[test]
fn every_coding_of_labels_gives_the_same_numbers() {
    let numbers = |report: &PerformanceReport| {
        let all = [report.brier, report.log_loss, report.accuracy, report.auc].map(|found| {
            let found = found.unwrap();
            // Sums in another order differ in the last digits.
            [found.value, found.lower, found.upper].map(|number| (number * 1e9).round())
        });
        (report.labelled_count, all, report.positive_rate, report.incomparable_count)
    };
    let usual = report(&binary(Kind::Double, Cell::Number(0.0), Cell::Number(1.0)), None);
    assert_eq!((usual.model_kind(), usual.labelled_count), (ModelKind::Binary, 400));
    assert!((usual.positive_rate.unwrap() - 0.45).abs() < 1e-9 && usual.incomparable_count == 0);
    for (kind, no, yes) in [
        (Kind::Int64, Cell::Integer(0), Cell::Integer(1)),
        (Kind::Int64, Cell::Integer(-1), Cell::Integer(1)),
        (Kind::Int64, Cell::Integer(1), Cell::Integer(2)),
        (Kind::Double, Cell::Number(-1.0), Cell::Number(1.0)),
        (Kind::Boolean, Cell::Boolean(false), Cell::Boolean(true)),
        (Kind::Text, Cell::Text("no"), Cell::Text("yes")),
        (Kind::Text, Cell::Text("False"), Cell::Text("True")),
        (Kind::Text, Cell::Text("0"), Cell::Text("1")),
        (Kind::Text, Cell::Text("1"), Cell::Text("2")),
    ] {
        let found = report(&binary(kind, no, yes), None);
        assert_eq!(numbers(&found), numbers(&usual), "{no:?} {yes:?}");
        assert!(!found.label_coding.is_empty());
    }
    let words = report(&binary(Kind::Text, Cell::Text("stay"), Cell::Text("churn")), None);
    assert_eq!((words.labelled_count, words.incomparable_count), (0, 400), "nobody knows which is which");
    assert_eq!(words.state_reason, "no labels that can be compared");
    // Declared, any word is a yes, and any number; what a reference declared holds for rows that do not.
    for (kind, no, yes, positive) in [
        (Kind::Text, Cell::Text("stay"), Cell::Text("churn"), "churn"),
        (Kind::Int64, Cell::Integer(7), Cell::Integer(3), "3"),
        (Kind::Text, Cell::Text("yes"), Cell::Text("no"), "no"),
    ] {
        let plain = binary(kind, no, yes);
        let mut fields = plain.schema().fields().to_vec();
        fields[1].positive = Some(positive.into());
        let schema = Arc::new(Schema::new(fields).unwrap());
        let declared = RecordBatch::new(schema, plain.rows(), plain.columns().to_vec()).unwrap();
        let found = report(&declared, None);
        assert_eq!(numbers(&found), numbers(&usual), "{positive}");
        assert!(found.label_coding.starts_with(positive));
        let beside = report(&plain, Some(&declared));
        assert_eq!((numbers(&beside), beside.state()), (numbers(&usual), PerformanceState::Ok), "{positive}");
    }
}

#[test]
fn a_window_without_a_yes_is_read_as_the_reference_is() {
    let reference = binary(Kind::Int64, Cell::Integer(1), Cell::Integer(2));
    let ones = binary(Kind::Int64, Cell::Integer(1), Cell::Integer(1));
    let alone = report(&ones, None);
    assert_eq!(alone.positive_rate, Some(1.0), "ones alone are a yes");
    let beside = report(&ones, Some(&reference));
    assert_eq!(beside.positive_rate, Some(0.0));
    assert_eq!(beside.state_reason, "0 positive labels, at least 10");
}

#[test]
fn classes_have_a_share_of_wrong_answers_and_numbers_an_error() {
    let classes = |kind: Kind, wrong_of_ten: i64| {
        let fields = vec![Field::new("c", kind, Role::Prediction), Field::new("y", kind, Role::Label)];
        let cell = |class: i64| match kind {
            Kind::Text => Cell::Text(["setosa", "versicolor", "virginica"][class as usize]),
            Kind::Double => Cell::Number(class as f64),
            _ => Cell::Integer(class),
        };
        let rows: Vec<Vec<Cell<'_>>> = (0..600)
            .map(|row| {
                let truth = row % 3;
                let said = if row / 3 % 10 < wrong_of_ten { (truth + 1) % 3 } else { truth };
                vec![cell(said), cell(truth)]
            })
            .collect();
        batch(fields, &rows)
    };
    for kind in [Kind::Text, Kind::Int64, Kind::Double] {
        let sound = report(&classes(kind, 1), Some(&classes(kind, 1)));
        assert_eq!(
            (sound.model_kind(), sound.state()),
            (ModelKind::Classes, PerformanceState::Ok),
            "{kind:?}"
        );
        assert!((sound.loss.unwrap().value - 0.1).abs() < 1e-9);
        assert!((sound.accuracy.unwrap().value - 0.9).abs() < 1e-9);
        let worse = report(&classes(kind, 3), Some(&classes(kind, 1)));
        assert_eq!(worse.state(), PerformanceState::Decayed, "{kind:?}");
    }
    let numbers = |off: f64| {
        let fields = vec![
            Field::new("said", Kind::Double, Role::Prediction),
            Field::new("y", Kind::Double, Role::Label),
        ];
        let rows: Vec<Vec<Cell<'_>>> = (0..600)
            .map(|row| {
                let truth = f64::from(row % 97) + 0.5;
                let error = if row % 2 == 0 { off } else { -off / 2.0 };
                vec![Cell::Number(truth + error), Cell::Number(truth)]
            })
            .collect();
        batch(fields, &rows)
    };
    let sound = report(&numbers(4.0), Some(&numbers(4.0)));
    assert_eq!((sound.model_kind(), sound.state()), (ModelKind::Regression, PerformanceState::Ok));
    assert!((sound.mean_absolute_error.unwrap().value - 3.0).abs() < 1e-9);
    assert!((sound.root_mean_square_error.unwrap().value - 10.0_f64.sqrt()).abs() < 1e-9);
    assert!((sound.bias.unwrap().value - 1.0).abs() < 1e-9 && sound.r_squared.unwrap() > 0.98);
    assert!(sound.accuracy.is_none() && sound.brier.is_none());
    assert_eq!(report(&numbers(8.0), Some(&numbers(4.0))).state(), PerformanceState::Decayed);
    let other = report(&numbers(4.0), Some(&classes(Kind::Double, 1)));
    assert_eq!(other.state_reason, "the reference is of another kind of model");
}

/// Answers among so many classes, one in ten of them the next one; perhaps with the scale of both declared.
fn answers(classes: i64, scale: Option<Scale>, score: bool) -> RecordBatch {
    let mut fields = vec![
        Field::new("c", Kind::Int64, Role::Prediction),
        Field::new("y", Kind::Int64, Role::Label),
        Field::new("p", Kind::Double, Role::Score),
    ];
    fields[..2].iter_mut().for_each(|field| field.scale = scale);
    fields.truncate(if score { 3 } else { 2 });
    let row = |row: i64| {
        let truth = row / 10 % classes;
        let said = if row % 10 == 0 { (truth + 1) % classes } else { truth };
        let mut cells = vec![Cell::Integer(said), Cell::Integer(truth)];
        cells.extend(score.then_some(Cell::Number(0.9)));
        cells
    };
    batch(fields, &(0..3_000).map(row).collect::<Vec<_>>())
}

#[test]
fn what_is_declared_is_not_guessed() {
    let kind = |rows: &RecordBatch| report(rows, Some(rows)).model_kind();
    assert_eq!(kind(&answers(100, None, false)), ModelKind::Regression, "more values than classes have");
    let hundred = report(&answers(100, Some(Scale::Nominal), false), None);
    assert_eq!(hundred.model_kind(), ModelKind::Classes);
    assert!((hundred.loss.unwrap().value - 0.1).abs() < 1e-9);
    let few = answers(5, Some(Scale::Numeric), false);
    assert_eq!(kind(&answers(5, None, false)), ModelKind::Classes);
    assert_eq!(kind(&few), ModelKind::Regression);
    assert!(report(&few, None).classes.is_none() && report(&few, None).mean_absolute_error.is_some());
    // What the reference declared holds for rows that declare nothing; rows that declare something else are no such model's.
    assert_eq!(report(&answers(5, None, false), Some(&few)).model_kind(), ModelKind::Regression);
    let other = report(&answers(5, Some(Scale::Nominal), false), Some(&few));
    assert_eq!(other.state_reason, "the reference is of another kind of model");
}

#[test]
fn a_score_beside_three_classes_is_none_of_a_yes() {
    let found = report(&answers(3, None, true), None);
    assert_eq!(found.model_kind(), ModelKind::Classes);
    assert!((found.loss.unwrap().value - 0.1).abs() < 1e-9);
    assert_eq!(report(&answers(2, None, true), None).model_kind(), ModelKind::Binary);
    // Some of the words say yes or no; what the third says nobody would know.
    let fields = vec![
        Field::new("c", Kind::Text, Role::Prediction),
        Field::new("y", Kind::Text, Role::Label),
        Field::new("p", Kind::Double, Role::Score),
    ];
    let word = |row: usize| Cell::Text(["yes", "no", "maybe"][row % 3]);
    let rows: Vec<_> = (0..300).map(|row| vec![word(row), word(row), Cell::Number(0.9)]).collect();
    let words = report(&batch(fields, &rows), None);
    assert_eq!((words.model_kind(), words.incomparable_count), (ModelKind::Classes, 0));
    let classes = found.classes.unwrap();
    assert_eq!((classes.classes.len(), classes.beyond_count), (3, 0));
    assert!((classes.macro_f1 - 0.9).abs() < 1e-9 && (classes.kappa.unwrap() - 0.85).abs() < 1e-9);
    let recall = classes.macro_recall.unwrap();
    assert!((recall.value - 0.9).abs() < 1e-9 && recall.lower > 0.88 && recall.upper < 0.92, "{recall:?}");
    assert_eq!((classes.classes[0].name.as_str(), classes.classes[0].truth_count), ("0", 1_000));
}

#[test]
fn words_of_yes_and_no_are_two_classes_however_they_are_written() {
    for (no, yes) in [("No", "Yes"), ("False", "True"), ("negative", "POSITIVE"), ("0", "1")] {
        let fields = vec![
            Field::new("c", Kind::Text, Role::Prediction),
            Field::new("y", Kind::Text, Role::Label),
            Field::new("p", Kind::Double, Role::Score),
        ];
        let row = |row: i32| {
            let truth = row % 2 == 0;
            let said = truth != (row % 10 == 0);
            let word = |is: bool| Cell::Text(if is { yes } else { no });
            vec![word(said), word(truth), Cell::Number(if said { 0.8 } else { 0.2 })]
        };
        let found = report(&batch(fields, &(0..1_000).map(row).collect::<Vec<_>>()), None);
        let classes = found.classes.as_ref().unwrap();
        assert_eq!((found.model_kind(), classes.classes.len()), (ModelKind::Binary, 2), "{yes}");
        assert!((classes.macro_recall.unwrap().value - 0.9).abs() < 1e-9, "{yes}: {classes:?}");
    }
}

#[test]
fn a_stray_label_makes_no_model_of_classes() {
    let rows = |stray: f64, count: u32| {
        let fields = vec![
            Field::new("c", Kind::Int64, Role::Prediction),
            Field::new("y", Kind::Double, Role::Label),
            Field::new("p", Kind::Double, Role::Score),
        ];
        let row = |row: u32| {
            let truth = if row < count { stray } else { f64::from(row % 2) };
            vec![
                Cell::Integer(i64::from(row % 2)),
                Cell::Number(truth),
                Cell::Number(0.3 + 0.4 * f64::from(row % 2)),
            ]
        };
        batch(fields, &(0..1_000).map(row).collect::<Vec<_>>())
    };
    let reference = rows(0.0, 0);
    for (stray, count, reference) in
        [(9.0, 1, None), (9.0, 1, Some(&reference)), (9.0, 300, Some(&reference))]
    {
        let found = report(&rows(stray, count), reference);
        assert_eq!((found.model_kind(), found.incomparable_count), (ModelKind::Binary, u64::from(count)));
    }
    assert_eq!(report(&rows(9.0, 300), None).model_kind(), ModelKind::Classes);
    // Of such a model a score is no probability, and nothing is told of how it ranks.
    let classes = report(&rows(9.0, 300), Some(&rows(9.0, 300)));
    assert!(classes.auc.is_none() && classes.brier.is_none() && classes.baseline_auc.is_none());
    assert!(classes.binary.is_none() && classes.classes.is_some());
}

#[test]
fn a_scale_of_a_label_beside_a_score_alone_changes_nothing() {
    let plain = binary(Kind::Int64, Cell::Integer(0), Cell::Integer(1));
    let mut fields = plain.schema().fields().to_vec();
    fields[1].scale = Some(Scale::Nominal);
    let declared =
        RecordBatch::new(Arc::new(Schema::new(fields).unwrap()), plain.rows(), plain.columns().to_vec());
    let found = report(&declared.unwrap(), Some(&plain));
    assert_eq!((found.model_kind(), found.state()), (ModelKind::Binary, PerformanceState::Ok));
    assert!(found.monitor.is_some() && found.estimated.is_some());
}
