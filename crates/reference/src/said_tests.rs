//! What is expected of rows is what came of them.

use std::sync::Arc;

use acgs_columns::{Field, Kind, builder::BatchBuilder};

use acgs_statistics::{
    expected_loss::{expected_accuracy, expected_classes, expected_loss},
    score::area,
};

use super::*;
use crate::{freeze, message};

fn rows(kind: Kind, role: Role, of: impl Iterator<Item = (Cell<'static>, f64)>) -> RecordBatch {
    let fields = vec![Field::new("said", kind, role), Field::new("y", Kind::Double, Role::Label)];
    let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
    of.for_each(|(said, label)| builder.push(&[said, Cell::Number(label)]).unwrap());
    builder.finish().unwrap()
}

fn said(rows: &RecordBatch) -> SaidLosses {
    let reference = freeze(rows.schema(), std::slice::from_ref(rows), 0);
    let said = reference.said_losses.clone().unwrap();
    let decoded = message::decode(&prost::Message::encode_to_vec(&message::to_proto(&reference))).unwrap();
    assert_eq!(decoded.said_losses.as_ref(), Some(&said), "it comes back as it went");
    said
}

#[test]
fn rows_of_the_reference_are_expected_to_be_what_they_were() {
    let scores = (0..2_000_u32).map(|row| {
        let score = f64::from(row % 997) / 997.0;
        (Cell::Number(score), f64::from(u8::from(f64::from(row * 7 % 100) / 100.0 < score)))
    });
    let errors = (0..2_000_u32).map(|row| {
        let said = f64::from(row % 331);
        (Cell::Number(said), said + 0.5 + f64::from(row % 7) * said / 100.0)
    });
    let classes = (0..2_000_u32).map(|row| {
        let class = i64::from(row % 5);
        (Cell::Integer(class), if row % 11 < row % 5 { 9.0 } else { class as f64 })
    });
    for rows in [
        rows(Kind::Double, Role::Score, scores),
        rows(Kind::Double, Role::Prediction, errors),
        rows(Kind::Int64, Role::Prediction, classes),
    ] {
        let said = said(&rows);
        assert_eq!(said.cells.iter().map(|cell| cell.rows).sum::<u64>(), 2_000);
        let baseline = freeze(rows.schema(), std::slice::from_ref(&rows), 0).baseline.unwrap();
        let mut counts = SaidCounts::default();
        said.count(&rows.columns()[0], |_| true, rows.rows(), &mut counts);
        assert_eq!(counts.count(), (2_000, 0));
        let expected = expected_loss(&said.cells, counts.by_cell());
        assert!((expected.unwrap().value - baseline.loss).abs() < 1e-3, "{:?}", baseline.kind);
        if let Some(auc) = baseline.auc {
            let found = area(expected_classes(&said.cells, counts.by_cell())).unwrap();
            assert!((found.value - auc).abs() < 0.01, "{found:?} {auc}");
            let right = expected_accuracy(&said.cells, counts.by_cell(), said.first_yes());
            assert!((right.unwrap().value - baseline.accuracy).abs() < 0.01);
        }
    }
}

#[test]
fn answers_that_the_reference_never_had_are_counted() {
    let few = rows(Kind::Int64, Role::Prediction, (0..40).map(|row| (Cell::Integer(row % 2), 1.0)));
    let said = said(&few);
    let other = rows(Kind::Int64, Role::Prediction, (0..40).map(|row| (Cell::Integer(row % 4), 1.0)));
    let mut counts = SaidCounts::default();
    said.count(&other.columns()[0], |row| row < 20, 40, &mut counts);
    assert_eq!(counts.count(), (10, 10));
    assert!(counts.fits(2) && !counts.fits(3));
}

/// Of scores whether or not they are calibrated, and of windows whose scores are other ones: as near to NannyML's estimates as those are to what came
/// true.
#[test]
fn estimates_are_those_of_nannyml() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/estimated.json");
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let numbers = |of: &serde_json::Value| -> Vec<f64> {
        of.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
    };
    for case in golden["cases"].as_array().unwrap() {
        let (scores, labels) = (&case["reference"]["scores"], &case["reference"]["labels"]);
        let reference: Vec<(f64, f64)> = numbers(scores).into_iter().zip(numbers(labels)).collect();
        let of = |scores: Vec<(f64, f64)>| {
            rows(Kind::Double, Role::Score, scores.into_iter().map(|(s, y)| (Cell::Number(s), y)))
        };
        let reference = of(reference);
        let said = said(&reference);
        for window in case["windows"].as_array().unwrap() {
            let scores: Vec<f64> = numbers(&window["scores"]);
            let rows = of(scores.into_iter().map(|score| (score, 0.0)).collect());
            let mut counts = SaidCounts::default();
            said.count(&rows.columns()[0], |_| true, rows.rows(), &mut counts);
            let by_cell = counts.by_cell();
            let accuracy = expected_accuracy(&said.cells, by_cell, said.first_yes()).unwrap();
            let auc = area(expected_classes(&said.cells, by_cell)).unwrap().value;
            let wanted = |name: &str| window["expected"][name].as_f64().unwrap();
            let name = format!("{} {}: {accuracy:?} {auc}", case["name"], window["name"]);
            assert!((accuracy.value - wanted("nannyml_accuracy")).abs() < 0.015, "{name}");
            assert!((auc - wanted("nannyml_roc_auc")).abs() < 0.02, "{name}");
            assert!((accuracy.lower..=accuracy.upper).contains(&wanted("accuracy")), "{name}");
            let brier = expected_loss(&said.cells, by_cell).unwrap();
            assert!((brier.lower..=brier.upper).contains(&wanted("brier")), "{name}: {brier:?}");
        }
    }
}

#[test]
fn a_message_with_other_classes_than_cells_is_refused() {
    let few = rows(Kind::Int64, Role::Prediction, (0..40).map(|row| (Cell::Integer(row % 2), 1.0)));
    let mut message = message::to_proto(&freeze(few.schema(), std::slice::from_ref(&few), 0));
    message.said_losses.as_mut().unwrap().classes = ["a", "a", "b"].map(str::to_owned).to_vec();
    let refused = message::decode(&prost::Message::encode_to_vec(&message)).unwrap_err();
    assert_eq!(refused.reason(), "BAD_REFERENCE");
}
