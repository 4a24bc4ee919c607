//! The judge forgets nothing over a snapshot, and says what is wrong with bad data.

use acgs_columns::{Cell, Field, Kind, Role, Scale, builder::BatchBuilder};
use acgs_contracts::quality::v1::QualityReport;
use acgs_lane::testing::Script;
use proptest::prelude::*;

use super::*;

pub(crate) fn config() -> Config {
    Config {
        missing_rate_max: 0.1,
        field_missing_rate_max: 0.5,
        invalid_rate_max: 0.01,
        outlier_rate_max: 0.05,
        duplicate_rate_max: 0.01,
        freshness_score_min: 0.8,
        overall_score_min: 0.8,
        freshness_horizon_ms: 86_400_000,
        fence_ranges: 3.0,
        stuck_rate_max: 0.2,
        rate_tolerance: 0.01,
        false_alarm_windows: 1_000.0,
        completeness_weight: 1.0,
        validity_weight: 1.0,
        uniqueness_weight: 1.0,
        freshness_weight: 0.3,
        outlier_weight: 1.0,
        consistency_weight: 1.0,
    }
}

fn schema() -> Arc<Schema> {
    let mut age = Field::new("age", Kind::Int64, Role::Feature);
    (age.minimum, age.maximum, age.required) = (Some(0.0), Some(150.0), true);
    Arc::new(
        Schema::new(vec![
            Field::new("ts", Kind::Timestamp, Role::Timestamp),
            Field::new("id", Kind::Int64, Role::Id),
            Field::new("x", Kind::Double, Role::Feature),
            age,
            Field::new("city", Kind::Text, Role::Feature),
        ])
        .unwrap(),
    )
}

type Row = (i64, i64, Option<f64>, Option<i64>, Option<String>);

fn batch(rows: &[Row]) -> RecordBatch {
    let mut builder = BatchBuilder::new(schema());
    for (ts, id, x, age, city) in rows {
        builder
            .push(&[
                Cell::Integer(*ts),
                Cell::Integer(*id),
                x.map_or(Cell::Null, Cell::Number),
                age.map_or(Cell::Null, Cell::Integer),
                city.as_deref().map_or(Cell::Null, Cell::Text),
            ])
            .unwrap();
    }
    builder.finish().unwrap()
}

prop_compose! {
    fn frames()(frames in prop::collection::vec(prop::collection::vec(
        (0..1_000_i64, 0..50_i64, prop::option::of(prop_oneof![-5.0..5.0_f64, Just(f64::NAN)]),
         prop::option::of(-5..200_i64), prop::option::of("[ab]")), 1..30), 1..8)) -> Vec<Vec<Row>> {
        frames
    }
}

proptest! {
    #[test]
    fn a_restored_judge_says_the_same(frames in frames(), died_after in 0..8_usize, every in 1..4_000_u64) {
        let script = Script {
            configs: vec![],
            frames: frames.iter().enumerate().map(|(index, rows)| (batch(rows), vec![1, 2 + index as u64])).collect(),
            windows: vec![vec![1], (1..2 + frames.len() as u64).collect()],
        };
        let straight = script.straight(&mut judge(config()));
        let revived = script.with_death(&mut judge(config()), &mut judge(config()), died_after, every);
        prop_assert_eq!(straight, revived);
    }
}

#[test]
fn bad_data_is_named() {
    let mut rows: Vec<Row> =
        (0..100).map(|row| (row, row, Some(row as f64 / 10.0), Some(30), Some("a".into()))).collect();
    for row in &mut rows[..30] {
        (row.1, row.2, row.3) = (0, None, Some(900));
    }
    rows[99].2 = Some(1e9);
    rows[98].2 = Some(f64::INFINITY);
    let script = Script { configs: vec![], frames: vec![(batch(&rows), vec![1])], windows: vec![vec![1]] };
    let verdict = script.straight(&mut judge(config())).remove(0);
    let report = QualityReport::decode(verdict.report).unwrap();
    assert_eq!(report.row_count, 100);
    assert_eq!(report.duplicate_count, 29);
    let by_name = |name: &str| report.columns.iter().find(|column| column.name == name).unwrap();
    assert_eq!(by_name("age").invalid_count, 30);
    assert_eq!(
        (by_name("x").missing_count, by_name("x").invalid_count, by_name("x").outlier_count),
        (30, 1, 1)
    );
    let rules: Vec<&str> = verdict.findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert!(rules.contains(&"field_invalid_values") && rules.contains(&"duplicates"), "{rules:?}");
    let of_age = verdict.findings.iter().find(|finding| finding.subject == "age").unwrap();
    assert!(of_age.description.contains("(such as 900 in row 0,"), "{}", of_age.description);
    assert!(report.overall_score < 0.7 && report.overall_score > 0.4, "{}", report.overall_score);
}

#[test]
fn numbers_that_are_names_have_a_range_and_no_outliers() {
    let field = Field {
        scale: Some(Scale::Nominal),
        minimum: Some(1.0),
        maximum: Some(5.0),
        ..Field::new("class", Kind::Int64, Role::Feature)
    };
    let mut builder = BatchBuilder::new(Arc::new(Schema::new(vec![field]).unwrap()));
    (0..100).for_each(|row| builder.push(&[Cell::Integer(if row == 7 { 99 } else { 1 + row % 5 })]).unwrap());
    let frames = vec![(builder.finish().unwrap(), vec![1])];
    let script = Script { configs: vec![], frames, windows: vec![vec![1]] };
    let verdict = script.straight(&mut judge(config())).remove(0);
    let column = QualityReport::decode(verdict.report).unwrap().columns.remove(0);
    assert_eq!((column.invalid_count, column.outlier_count, column.mean), (1, 0, None));
}

#[test]
fn an_absurd_value_is_told_and_blinds_nothing() {
    let mut rows: Vec<Row> = (0..1_000)
        .map(|row| (row, row, Some(115.0 + (row % 101) as f64 / 10.0), Some(30), Some("a".into())))
        .collect();
    for absurd in [1e25, -1e25, f64::MAX] {
        rows[700].2 = Some(absurd);
        let script =
            Script { configs: vec![], frames: vec![(batch(&rows), vec![1])], windows: vec![vec![1]] };
        let verdict = script.straight(&mut judge(config())).remove(0);
        let report = QualityReport::decode(verdict.report).unwrap();
        let x = report.columns.iter().find(|column| column.name == "x").unwrap();
        assert!((x.median.unwrap() - 120.0).abs() < 1.0, "{absurd}: {:?}", x.median);
        assert_eq!((x.outlier_count, x.invalid_count), (0, 1), "{absurd}: one fact counts once");
        assert_eq!((x.mean, x.standard_deviation), (None, None), "nobody means what it makes of them");
        assert!(x.maximum == Some(absurd) || x.minimum == Some(absurd));
    }
}

#[test]
fn a_median_is_within_what_was_seen() {
    let rows: Vec<Row> = vec![(1, 1, Some(1.5), Some(1), None), (2, 2, None, Some(2), None)];
    let script = Script { configs: vec![], frames: vec![(batch(&rows), vec![1])], windows: vec![vec![1]] };
    let report = QualityReport::decode(script.straight(&mut judge(config())).remove(0).report).unwrap();
    let x = report.columns.iter().find(|column| column.name == "x").unwrap();
    assert_eq!(x.median, Some(1.5));
}

#[test]
fn good_data_is_left_alone() {
    let city = |row: i64| ["a", "b"][row as usize % 2].to_owned();
    let rows: Vec<Row> = (0..1_000)
        .map(|row| (row, row, Some((row % 97) as f64), Some(30 + row % 3), Some(city(row))))
        .collect();
    let script = Script { configs: vec![], frames: vec![(batch(&rows), vec![1])], windows: vec![vec![1]] };
    let verdict = script.straight(&mut judge(config())).remove(0);
    assert_eq!(verdict.findings, vec![]);
    let report = QualityReport::decode(verdict.report).unwrap();
    assert!(report.overall_score > 0.999, "{}", report.overall_score);
}
