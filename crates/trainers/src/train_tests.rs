//! Known weights are found again, files go both ways, and what cannot be trained is refused by name.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, builder::BatchBuilder};

use super::*;
use crate::features::Feature;

const HOUR_MS: i64 = 3_600_000;

fn schema(label: Kind) -> Arc<Schema> {
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("x", Kind::Double, Role::Feature),
        Field::new("gap", Kind::Double, Role::Feature),
        Field::new("city", Kind::Text, Role::Feature),
        Field::new("p", Kind::Double, Role::Score),
        Field::new("y", label, Role::Label),
    ];
    Arc::new(Schema::new(fields).unwrap())
}

/// A value in [0, 1) of a row, different for each seed, the same each time.
fn unit(row: usize, seed: f64) -> f64 {
    ((row as f64 + 1.0) * seed).fract()
}

fn records(rows: usize, label: Kind, value: impl Fn(f64, &str, i64, usize) -> f64) -> Vec<RecordBatch> {
    let mut builder = BatchBuilder::new(schema(label));
    for row in 0..rows {
        let x = unit(row, 0.618_034) * 4.0 - 2.0;
        let city = ["a", "b", "c"][(unit(row, 0.754_878) * 3.0) as usize];
        let hour = (row % 24) as i64;
        let y = value(x, city, hour, row);
        let gap = if row % 5 == 0 { Cell::Null } else { Cell::Number(1.0) };
        let label = if label == Kind::Boolean { Cell::Boolean(y > 0.5) } else { Cell::Number(y) };
        let cells =
            [Cell::Integer(hour * HOUR_MS), Cell::Number(x), gap, Cell::Text(city), Cell::Number(0.5), label];
        builder.push(&cells).unwrap();
    }
    vec![builder.finish().unwrap()]
}

fn brier(scores: &[f64], batches: &[RecordBatch]) -> f64 {
    let labels = &batches[0].columns()[5];
    let losses = scores.iter().enumerate().map(|(row, score)| (score - labels.number(row).unwrap()).powi(2));
    losses.sum::<f64>() / scores.len() as f64
}

fn wishes(l2: &str) -> Wishes {
    Wishes::parse(&BTreeMap::from([("l2".to_owned(), l2.to_owned())])).unwrap()
}

#[test]
fn a_logistic_model_finds_the_probabilities_that_made_the_labels() {
    let truth = |x: f64, city: &str, hour: i64| {
        let city = match city {
            "a" => 1.0,
            "b" => -1.0,
            _ => 0.0,
        };
        let turn = hour as f64 / 24.0 * std::f64::consts::TAU;
        1.0 / (1.0 + (-(0.5 + 1.2 * x + city + 0.8 * turn.sin())).exp())
    };
    let label = |x, city: &str, hour, row| f64::from(u8::from(unit(row, 0.569_840) < truth(x, city, hour)));
    let batches = records(20_000, Kind::Boolean, label);
    let artifact = train(Family::Logistic, wishes("0.1"), &schema(Kind::Boolean), &batches).unwrap();
    let scores = artifact.score(&batches);
    let best = records(20_000, Kind::Double, |x, city, hour, _| truth(x, city, hour));
    let probabilities: Vec<f64> = (0..20_000).map(|row| best[0].columns()[5].number(row).unwrap()).collect();
    let off = scores.iter().zip(&probabilities).map(|(score, truth)| (score - truth).abs()).sum::<f64>();
    assert!(off / 20_000.0 < 0.02, "{}", off / 20_000.0);
    assert!(brier(&scores, &batches) < brier(&probabilities, &batches) + 0.001);
    // As a file, and from a file, the same scores; records without some columns are scored too.
    let again = Artifact::decode(&artifact.encode().unwrap()).unwrap();
    assert_eq!(again, artifact);
    assert_eq!(again.score(&batches), scores);
    assert!(artifact.features.iter().any(|feature| matches!(feature, Feature::Number { absence: true, .. })));
    assert!(!artifact.features.iter().any(|feature| ["p", "y"].contains(&feature.name())));
}

#[test]
fn a_linear_model_finds_the_line() {
    let batches =
        records(2_000, Kind::Double, |x, city, _, _| 3.0 + 2.0 * x + f64::from(u8::from(city == "b")));
    let artifact = train(Family::Linear, wishes("0.001"), &schema(Kind::Double), &batches).unwrap();
    let scores = artifact.score(&batches);
    assert!(brier(&scores, &batches) < 1e-6, "{}", brier(&scores, &batches));
}

#[test]
fn what_cannot_be_trained_is_said() {
    let message = |result: Result<Artifact, TrainError>| result.unwrap_err().to_string();
    let fit = |batches: &[RecordBatch], kind| train(Family::Logistic, wishes("1"), &schema(kind), batches);
    let alike = records(100, Kind::Boolean, |_, _, _, _| 1.0);
    assert!(message(fit(&alike, Kind::Boolean)).contains("nothing to tell apart"));
    let numbers = records(100, Kind::Double, |x, _, _, _| x);
    assert!(message(fit(&numbers, Kind::Double)).contains("0 and 1"));
    assert!(message(fit(&[], Kind::Boolean)).contains("no features, or there are none"));
    for (name, value) in [("l2", "-1"), ("l2", "much"), ("calendar_harmonics", "99"), ("depth", "3")] {
        let given = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert!(Wishes::parse(&given).unwrap_err().to_string().contains(name));
    }
    for bad in ["", "{}", "{\"format\":\"acgs-linear/2\"}"] {
        assert!(Artifact::decode(bad.as_bytes()).is_err());
    }
}
