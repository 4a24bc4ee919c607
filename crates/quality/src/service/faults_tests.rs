//! Faults that a person would see at once: what they score, alone and beside a reference, and what is said of them. docs/quality.md shows the table.

use std::fmt::Write;

use acgs_columns::{Cell, Field, Kind, Role, builder::BatchBuilder};
use acgs_reference::freeze;
use acgs_statistics::draws::Draws;
use acgs_vocabulary::Severity;

use super::*;
use crate::{expected::Expected, findings::findings, measure, report::Report};

const ROWS: usize = 1_000;
const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 20_000 * DAY_MS;

/// One row: time, two numbers with a range, an amount with a long tail, a word, a label.
#[derive(Clone, Debug)]
struct Row {
    time_ms: i64,
    age: Option<f64>,
    height: Option<f64>,
    amount: Option<f64>,
    word: Option<&'static str>,
    label: i64,
}

fn schema(ranges: bool) -> Arc<Schema> {
    let feature = |name: &str, kind| Field::new(name, kind, Role::Feature);
    let (mut age, mut height) = (feature("age", Kind::Double), feature("height", Kind::Double));
    if ranges {
        (age.minimum, age.maximum) = (Some(0.0), Some(120.0));
        (height.minimum, height.maximum) = (Some(100.0), Some(250.0));
    }
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        age,
        height,
        feature("amount", Kind::Double),
        feature("word", Kind::Text),
        Field::new("y", Kind::Int64, Role::Label),
    ];
    Arc::new(Schema::new(fields).unwrap())
}

fn normal(draws: &mut Draws) -> f64 {
    (-2.0 * draws.unit().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * draws.unit()).cos()
}

fn clean(seed: u64, rows: usize) -> Vec<Row> {
    let mut draws = Draws::new(seed);
    (0..rows)
        .map(|row| Row {
            time_ms: NOW_MS - 3_600_000 + row as i64 * 3_600_000 / rows as i64,
            age: Some((45.0 + 12.0 * normal(&mut draws)).clamp(0.5, 119.5)),
            height: Some(170.0 + 9.0 * normal(&mut draws)),
            amount: Some((2.0 * normal(&mut draws)).exp()),
            word: Some(["red", "green", "blue"][(3.0 * draws.unit()) as usize]),
            label: i64::from(draws.unit() < 0.5),
        })
        .collect()
}

fn batch(rows: &[Row], ranges: bool) -> RecordBatch {
    let mut builder = BatchBuilder::new(schema(ranges));
    let number = |value: Option<f64>| value.map_or(Cell::Null, Cell::Number);
    for row in rows {
        let word = row.word.map_or(Cell::Null, Cell::Text);
        let (time, label) = (Cell::Integer(row.time_ms), Cell::Integer(row.label));
        builder.push(&[time, number(row.age), number(row.height), number(row.amount), word, label]).unwrap();
    }
    builder.finish().unwrap()
}

/// The report of rows, beside a reference or alone.
fn measured(rows: &[Row], reference: bool) -> (Report, Vec<acgs_vocabulary::Finding>) {
    let batch = batch(rows, reference);
    let expected = reference.then(|| {
        let frozen = freeze(batch.schema(), &[self::batch(&clean(7, 5_000), true)], 0);
        Expected::of(&frozen, batch.schema()).unwrap()
    });
    let mut pane = QualityPane::new(batch.schema());
    pane.push(&batch);
    let config = super::tests::config();
    let freshness = Freshness { until_ms: NOW_MS, horizon_ms: DAY_MS, counts: true };
    let report = measure::report(&config, batch.schema(), &pane, expected.as_ref(), freshness);
    let findings = findings(&config, &report);
    (report, findings)
}

type Fault = (&'static str, &'static str, fn(&mut Vec<Row>));

/// In the order in which a person would call them worse, about; before is what the version before scored such a fault.
const FAULTS: [Fault; 19] = [
    ("nothing", "1.000", |_| {}),
    ("1,000 times too large in 5 % of `age`", "0.997", |rows| {
        rows.iter_mut().step_by(20).for_each(|row| row.age = row.age.map(|age| age * 1_000.0));
    }),
    ("20 % of `age` is missing", "0.980", |rows| {
        rows.iter_mut().step_by(5).for_each(|row| row.age = None);
    }),
    ("one label alone", "0.999", |rows| rows.iter_mut().for_each(|row| row.label = 1)),
    ("one event time is ahead, all others are 30 days old", "1.000", |rows| {
        rows.iter_mut().for_each(|row| row.time_ms -= 30 * DAY_MS);
        rows[500].time_ms = NOW_MS + DAY_MS;
    }),
    ("30 % of all cells are garbage", "0.956", |rows| {
        rows.iter_mut().step_by(3).for_each(garbage);
    }),
    ("`age` is always 42", "0.999", |rows| rows.iter_mut().for_each(|row| row.age = Some(42.0))),
    ("`age` is stuck in 80 % of rows", "0.999", |rows| {
        rows[200..].iter_mut().for_each(|row| row.age = Some(42.5));
    }),
    ("`height` is 1,000 times too large", "1.000", |rows| {
        rows.iter_mut().for_each(|row| row.height = row.height.map(|height| height * 1_000.0));
    }),
    ("`age` is negative", "0.950", |rows| {
        rows.iter_mut().for_each(|row| row.age = row.age.map(|age| -age));
    }),
    ("`age` and `height` are swapped", "1.000", |rows| {
        rows.iter_mut().for_each(|row| std::mem::swap(&mut row.age, &mut row.height));
    }),
    ("`age` is not a number in any row", "0.950", |rows| {
        rows.iter_mut().for_each(|row| row.age = Some(f64::NAN));
    }),
    ("`age` is missing in every row", "0.941", |rows| rows.iter_mut().for_each(|row| row.age = None)),
    ("`word` is empty in every row", "0.999", |rows| {
        rows.iter_mut().for_each(|row| row.word = Some(""));
    }),
    ("event times are five years ahead", "1.000", |rows| {
        rows.iter_mut().for_each(|row| row.time_ms += 5 * 365 * DAY_MS);
    }),
    ("half of the rows come twice", "0.999", |rows| {
        let again = rows[..500].to_vec();
        rows[500..].clone_from_slice(&again);
    }),
    ("90 % of the rows are repetitions", "0.999", |rows| {
        let again = rows[..100].to_vec();
        (1..10).for_each(|part| rows[part * 100..(part + 1) * 100].clone_from_slice(&again));
    }),
    ("all cells are missing", "-", |rows| {
        for row in rows.iter_mut() {
            (row.age, row.height, row.amount, row.word) = (None, None, None, None);
        }
    }),
    ("all cells are garbage", "0.877", |rows| rows.iter_mut().for_each(garbage)),
];

fn garbage(row: &mut Row) {
    (row.age, row.height, row.amount, row.word) =
        (Some(f64::NAN), Some(f64::INFINITY), Some(f64::NAN), Some("  "));
}

/// What is said of it, without notes.
fn said(findings: &[acgs_vocabulary::Finding]) -> String {
    let grave = findings.iter().filter(|finding| finding.severity > Severity::Low);
    let name = |finding: &acgs_vocabulary::Finding| match finding.subject.as_str() {
        "" => finding.rule.clone(),
        subject => format!("{} of {subject}", finding.rule),
    };
    let names: Vec<String> = grave.map(name).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[test]
fn faults_score_as_a_person_would_rank_them() {
    let mut table = String::from(
        "| fault | before | alone | beside a reference | findings beside it |\n|---|---|---|---|---|\n",
    );
    let mut scores = Vec::new();
    for (name, before, fault) in FAULTS {
        let mut rows = clean(3, ROWS);
        fault(&mut rows);
        let (alone, _) = measured(&rows, false);
        let (beside, findings) = measured(&rows, true);
        let (of_alone, of_beside) = (alone.overall_score, beside.overall_score);
        writeln!(table, "| {name} | {before} | {of_alone:.2} | {of_beside:.2} | {} |", said(&findings))
            .unwrap();
        scores.push((name, of_alone, of_beside, findings));
    }
    let docs =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/quality.md")).unwrap();
    assert!(docs.contains(&table), "docs/quality.md has another table than\n{table}");
    let of = |name: &str| scores.iter().find(|(known, ..)| *known == name).unwrap();
    let (_, alone, beside, said_of_nothing) = of("nothing");
    assert!(*alone > 0.97 && *beside > 0.99 && said_of_nothing.is_empty(), "{said_of_nothing:?}");
    for (name, _, beside, findings) in &scores[1..] {
        assert!(!findings.iter().all(|finding| finding.severity == Severity::Low), "{name}: {findings:?}");
        assert!(*beside < 0.98, "{name}: {beside}");
    }
    // What is lost is no good table, whatever else is in it.
    for (name, _, beside, findings) in &scores[6..] {
        assert!(*beside < 0.8, "{name}: {beside}");
        assert!(findings.iter().any(|finding| finding.rule == "overall_score"), "{name}");
    }
    assert!(of("all cells are garbage").2 < 0.25 && of("all cells are missing").2 < 0.25);
}
