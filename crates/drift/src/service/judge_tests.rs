//! The judge forgets nothing over a snapshot, calls drift drift, and leaves what does not move alone.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
use acgs_contracts::drift::v1::DriftReport;
use acgs_lane::testing::Script;
use acgs_reference::{counts::PaneCounts, freeze, message};
use proptest::prelude::*;

use super::*;

const CONFIG: Config =
    Config { alpha: 0.05, effect_size_min: 0.1, span_deviations: 3.0, drift_share: 0.5, rows_min: 30 };

fn schema() -> Arc<Schema> {
    Arc::new(
        Schema::new(vec![
            Field::new("ts", Kind::Timestamp, Role::Timestamp),
            Field::new("x", Kind::Double, Role::Feature),
            Field::new("city", Kind::Text, Role::Feature),
            Field::new("p", Kind::Double, Role::Score),
            Field::new("y", Kind::Boolean, Role::Label),
        ])
        .unwrap(),
    )
}

type Row = (i64, Option<f64>, Option<String>, f64);

fn batch(rows: &[Row]) -> RecordBatch {
    let mut builder = BatchBuilder::new(schema());
    for (ts, x, city, p) in rows {
        let cells = [
            Cell::Integer(*ts),
            x.map_or(Cell::Null, Cell::Number),
            city.as_deref().map_or(Cell::Null, Cell::Text),
            Cell::Number(*p),
            Cell::Boolean(ts % 4 == 0),
        ];
        builder.push(&cells).unwrap();
    }
    builder.finish().unwrap()
}

/// Values without randomness: a low-discrepancy sequence.
fn rows(count: i64, shift: f64, cities: &[&str]) -> Vec<Row> {
    let unit = |row: i64, step: f64| (row as f64 * step).fract();
    (0..count)
        .map(|row| {
            let city = cities[(unit(row, 0.754_877_666) * cities.len() as f64) as usize];
            (
                row,
                Some(unit(row, 0.618_034) * 4.0 + shift),
                Some(city.to_owned()),
                unit(row, 0.569_84).min(1.0),
            )
        })
        .collect()
}

fn reference(rows: &[Row]) -> Bytes {
    let mut reference = freeze(&schema(), &[batch(rows)], 0).unwrap();
    reference.name = "r".into();
    message::to_proto(&reference).encode_to_vec().into()
}

fn verdict(reference: Bytes, rows: &[Row]) -> (acgs_lane::message::Verdict, DriftReport) {
    let configs = vec![("reference".to_owned(), reference)];
    let script = Script { configs, frames: vec![(batch(rows), vec![1])], windows: vec![vec![1]] };
    let verdict = script.straight(&mut judge(CONFIG)).remove(0);
    let report = DriftReport::decode(verdict.report.clone()).unwrap();
    (verdict, report)
}

#[test]
fn what_moves_is_found_and_what_does_not_is_not() {
    let cities = ["a", "b", "c"];
    let frozen = reference(&rows(5_000, 0.0, &cities));
    let (still, report) = verdict(frozen.clone(), &rows(1_000, 0.0, &cities));
    assert!(still.findings.is_empty() && !report.drift_detected, "{report:?}");
    let (moved, report) = verdict(frozen.clone(), &rows(1_000, 2.0, &cities));
    assert_eq!(
        report.features.iter().map(|feature| feature.drifted).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!((report.features[0].effect_size - 2.0 / 1.1547).abs() < 0.05, "{report:?}");
    assert!(report.drift_detected && !report.score_drift, "half of the features");
    assert_eq!(moved.findings[0].rule, "drift");
    let (_, report) = verdict(frozen, &rows(1_000, 0.0, &["a", "b", "new"]));
    assert!(report.features[1].drifted && report.features[1].unseen_rate > 0.3, "{report:?}");
}

#[test]
fn a_reference_that_always_moves_tolerates_it() {
    // Every span of 1,000 has another level.
    let level = |row: i64| [0.0, 1.0, 0.3, 1.4, 0.6, 0.1][(row / 1_000) as usize % 6];
    let wavy: Vec<Row> = rows(6_000, 0.0, &["a"])
        .into_iter()
        .map(|row| (row.0, row.1.map(|x| x + level(row.0)), row.2, row.3))
        .collect();
    let frozen = |window_ms| {
        let mut reference = freeze(&schema(), &[batch(&wavy)], window_ms).unwrap();
        reference.name = "r".into();
        Bytes::from(message::to_proto(&reference).encode_to_vec())
    };
    let (_, strict) = verdict(frozen(0), &rows(1_000, 1.2, &["a"]));
    assert!(strict.features[0].drifted);
    let (_, lenient) = verdict(frozen(1_000), &rows(1_000, 1.2, &["a"]));
    assert!(!lenient.features[0].drifted, "{:?}", lenient.features[0]);
    let (_, far) = verdict(frozen(1_000), &rows(1_000, 6.0, &["a"]));
    assert!(far.features[0].drifted);
}

#[test]
fn spans_are_bounded_and_any_number_will_do() {
    let many = freeze(&schema(), &[batch(&rows(5_000, 0.0, &["a"]))], 1);
    assert_eq!(many, Err(acgs_reference::freeze::TooManySpans));
}

#[test]
fn few_rows_and_no_reference_are_said() {
    let script = |configs| Script {
        configs,
        frames: vec![(batch(&rows(5, 0.0, &["a"])), vec![1])],
        windows: vec![vec![1]],
    };
    let without = script(vec![]).straight(&mut judge(CONFIG)).remove(0);
    assert_eq!(without.status, VerdictStatus::NotApplicable);
    let configs = vec![("reference".to_owned(), reference(&rows(500, 0.0, &["a"])))];
    assert_eq!(script(configs).straight(&mut judge(CONFIG)).remove(0).status, VerdictStatus::Insufficient);
}

#[test]
fn a_pane_of_another_reference_is_refused() {
    use acgs_lane::{Judge, LaneDown, LaneUp, message::Open};
    use acgs_vocabulary::constitution::sha256;
    let opened = |content: &Bytes| {
        let mut judge = judge(CONFIG);
        let digest = sha256(content);
        let open = Open {
            stream_id: "s".into(),
            slot: 0,
            epoch: 0,
            schema: schema(),
            configs: vec![("reference".into(), digest)],
            snapshot_every_bytes: 1,
            model_id: String::new(),
            service_id: String::new(),
        };
        judge.apply(LaneDown::Open(open)).unwrap();
        judge.apply(LaneDown::Config { digest, content: content.clone() }).unwrap();
        judge
    };
    let mut first = opened(&reference(&rows(500, 0.0, &["a", "b"])));
    first.apply(LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false }).unwrap();
    let batch = batch(&rows(40, 0.0, &["a"]));
    let answers = first.apply(LaneDown::Rows { seq: 1, batch, runs: vec![(1, 40)], again: false }).unwrap();
    let Some(LaneUp::Snapshot(state)) = answers.into_iter().next() else { panic!("a snapshot") };
    let mut other = opened(&reference(&rows(500, 0.0, &["a", "b", "c"])));
    assert_eq!(other.apply(LaneDown::Restore(state)).unwrap_err().reason(), "BAD_STATE");
}

prop_compose! {
    fn frames()(frames in prop::collection::vec(prop::collection::vec(
        (0..1_000_i64, prop::option::of(prop_oneof![-5.0..5.0_f64, Just(f64::NAN)]),
         prop::option::of("[abz]"), 0.0..1.0_f64), 1..30), 1..8)) -> Vec<Vec<Row>> {
        frames
    }
}

proptest! {
    #[test]
    fn a_restored_judge_says_the_same(frames in frames(), died_after in 0..8_usize, every in 1..4_000_u64) {
        let script = Script {
            configs: vec![("reference".to_owned(), reference(&rows(300, 0.0, &["a", "b"])))],
            frames: frames.iter().enumerate().map(|(index, rows)| (batch(rows), vec![1, 2 + index as u64])).collect(),
            windows: vec![vec![1], (1..2 + frames.len() as u64).collect()],
        };
        let straight = script.straight(&mut judge(CONFIG));
        let revived = script.with_death(&mut judge(CONFIG), &mut judge(CONFIG), died_after, every);
        prop_assert_eq!(straight, revived);
    }

    #[test]
    fn references_survive_their_message(count in 1..200_i64, shift in -5.0..5.0_f64) {
        let reference = freeze(&schema(), &[batch(&rows(count, shift, &["a", "b"]))], 0).unwrap();
        let decoded = message::decode(&message::to_proto(&reference).encode_to_vec()).unwrap();
        prop_assert_eq!(decoded, reference);
    }

    #[test]
    fn any_bytes_are_a_reference_or_a_problem(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(reference) = message::decode(&bytes) {
            let mut pane = PaneCounts::new(&reference);
            pane.push(&reference, &batch(&rows(50, 0.0, &["a"])));
            let _report = detect::report(&CONFIG, &reference, &pane, |_| None);
        }
    }
}
