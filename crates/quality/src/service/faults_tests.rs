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
    let freshness = Freshness { until_ms: NOW_MS, horizon_ms: DAY_MS, counts: true, keyed: false };
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

/// The findings graver than a note, and the score, of a window of these rows beside a frozen reference.
fn judged(reference: Option<&RecordBatch>, rows: &RecordBatch, keyed: bool) -> (Vec<String>, f64) {
    let expected = reference.and_then(|reference| {
        Expected::of(&freeze(reference.schema(), std::slice::from_ref(reference), 0), rows.schema())
    });
    let mut pane = QualityPane::new(rows.schema());
    pane.push(rows);
    let config = super::tests::config();
    let freshness = Freshness { until_ms: NOW_MS, horizon_ms: DAY_MS, counts: false, keyed };
    let report = measure::report(&config, rows.schema(), &pane, expected.as_ref(), freshness);
    let grave = findings(&config, &report).into_iter().filter(|finding| finding.severity > Severity::Low);
    (grave.map(|finding| format!("{} {}", finding.rule, finding.subject)).collect(), report.overall_score)
}

fn table(fields: Vec<Field>, rows: impl Iterator<Item = Vec<Cell<'static>>>) -> RecordBatch {
    let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
    rows.for_each(|row| builder.push(&row).unwrap());
    builder.finish().unwrap()
}

#[test]
fn what_is_by_nature_is_no_fault() {
    let number = |row: i64| Cell::Number(row as f64 * 0.618_034 % 1.0);
    let field = |name: &str, kind, role| Field::new(name, kind, role);
    let ts = || field("ts", Kind::Timestamp, Role::Timestamp);
    let x = || field("x", Kind::Double, Role::Feature);
    // A key is the same in each of its windows, and so may be what is of it; a reference has all keys.
    let of_keys = |keys: i64, rows: i64| {
        let fields =
            vec![ts(), field("shop", Kind::Int64, Role::Key), field("city", Kind::Int64, Role::Feature), x()];
        let cell = |row: i64| if row % keys == 0 { Cell::Null } else { number(row) };
        table(
            fields,
            (0..rows).map(move |row| {
                vec![
                    Cell::Integer(row * 1_000),
                    Cell::Integer(row % keys),
                    Cell::Integer(row % keys / 2),
                    cell(row),
                ]
            }),
        )
    };
    let (said, score) = judged(Some(&of_keys(10, 5_000)), &of_keys(1, 500), true);
    assert!(said.is_empty() && score > 0.99, "{said:?} {score}: nulls, too, may be of a key");
    // A shuffled training set repeats no hour; a window of an hour has one.
    let hours = |shuffled: bool, rows: i64| {
        let fields = vec![ts(), field("hour", Kind::Int64, Role::Feature), x()];
        table(
            fields,
            (0..rows).map(move |row| {
                let row = if shuffled { row * 7_919 % rows } else { row };
                vec![Cell::Integer(row * 3_600), Cell::Integer(row / 1_000 % 24), number(row)]
            }),
        )
    };
    let (said, score) = judged(Some(&hours(true, 24_000)), &hours(false, 1_000), false);
    assert!(said.is_empty() && score > 0.9, "{said:?} {score}");
    // Nobody knows that most of a column may be empty; labels may be late.
    let with_note = |role, empty: bool| {
        let mut fields: Vec<Field> =
            (0..12).map(|column| field(&format!("x{column}"), Kind::Double, Role::Feature)).collect();
        fields.push(field("note", Kind::Double, role));
        let row = move |row: i64| {
            let mut cells: Vec<Cell<'static>> = (0..12).map(|column| number(row * 13 + column)).collect();
            cells.push(if empty && row % 10 > 0 { Cell::Null } else { number(row * 7) });
            cells
        };
        table(fields, (0..1_000).map(row))
    };
    for (role, reference) in [(Role::Feature, None), (Role::Label, None), (Role::Label, Some(()))] {
        let reference = reference.map(|()| with_note(role, false));
        let (said, score) = judged(reference.as_ref(), &with_note(role, true), false);
        assert!(said.is_empty() && score > 0.9, "{role:?}: {said:?} {score}");
    }
    // Prices of two decimals are the same by chance.
    let prices = |rows: i64| {
        table(
            vec![field("price", Kind::Double, Role::Feature)],
            (0..rows).map(|row| {
                vec![Cell::Number(1.0 + (row * 7_919 % 4_999 * (row % 7 + 1) % 4_900) as f64 / 100.0)]
            }),
        )
    };
    for rows in [1_000, 20_000] {
        let (said, score) = judged(None, &prices(rows), false);
        assert!(said.is_empty() && score > 0.9, "{rows}: {said:?} {score}");
    }
}

#[test]
fn what_must_be_there_is_missed() {
    let fields = |required: bool| {
        let age = Field { required, ..Field::new("age", Kind::Double, Role::Feature) };
        vec![Field::new("x", Kind::Double, Role::Feature), age]
    };
    let rows = |required: bool, empty_of_ten: i64| {
        table(
            fields(required),
            (0..500).map(move |row| {
                let value = Cell::Number(row as f64 * 0.618_034 % 1.0);
                vec![value, if row % 10 < empty_of_ten { Cell::Null } else { value }]
            }),
        )
    };
    for required in [true, false] {
        for reference in [Some(rows(required, 0)), None] {
            let (said, score) = judged(reference.as_ref(), &rows(required, 10), false);
            assert!(said.contains(&"field_missing_values age".to_owned()) && score < 0.6, "{said:?} {score}");
        }
    }
    let (said, score) = judged(Some(&rows(true, 0)), &rows(true, 3), false);
    assert!(said.contains(&"field_missing_values age".to_owned()) && score < 0.8, "{said:?} {score}");
    // Of a column without any value the reference knows nothing: garbage in it is garbage.
    let garbage = table(
        fields(false),
        (0..500).map(|row| vec![Cell::Number(row as f64 / 7.0), Cell::Number(f64::NAN)]),
    );
    let (said, score) = judged(Some(&rows(false, 10)), &garbage, false);
    assert!(said.contains(&"field_invalid_values age".to_owned()) && score < 0.6, "{said:?} {score}");
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
