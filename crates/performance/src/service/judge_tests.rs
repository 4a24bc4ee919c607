//! The judge forgets nothing over a snapshot, sees decay, and counts late labels once.

use std::{collections::BTreeMap, sync::Arc};

use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
use acgs_contracts::{
    drift::v1::{LossBaseline, Reference},
    performance::v1::{PerformanceReport, PerformanceState},
};
use acgs_lane::{
    Judge, LaneDown, LaneUp,
    message::{Close, Timing},
    testing::Script,
};
use proptest::prelude::*;

use super::*;

pub(super) fn config() -> Config {
    Config {
        loss_margin: 0.1,
        ranking_margin: 0.05,
        labelled_min: 30,
        positives_min: 10,
        false_alarm_days: 30.0,
        false_alarm_windows: 1_000.0,
        error_rate_max: 0.01,
        latency_p95_ms_max: 500.0,
        unusable_rate_max: 0.01,
        sla_targets: BTreeMap::new(),
    }
}

fn schema() -> Arc<Schema> {
    Arc::new(
        Schema::new(vec![
            Field::new("p", Kind::Double, Role::Score),
            Field::new("y", Kind::Double, Role::Label),
            Field::new("ms", Kind::Double, Role::Latency),
            Field::new("failed", Kind::Boolean, Role::Error),
        ])
        .unwrap(),
    )
}

type Row = (Option<f64>, Option<f64>, Option<f64>, Option<bool>);

fn batch(rows: &[Row]) -> RecordBatch {
    let mut builder = BatchBuilder::new(schema());
    let number = |value: Option<f64>| value.map_or(Cell::Null, Cell::Number);
    for (p, y, ms, failed) in rows {
        builder
            .push(&[number(*p), number(*y), number(*ms), failed.map_or(Cell::Null, Cell::Boolean)])
            .unwrap();
    }
    builder.finish().unwrap()
}

fn baseline(brier: f64) -> Vec<(String, Bytes)> {
    let baseline = Some(LossBaseline { brier, labelled_count: 1_000, ..LossBaseline::default() });
    let reference = Reference { baseline, ..Reference::default() };
    vec![("reference".into(), reference.encode_to_vec().into())]
}

fn report(rows: &[Row], configs: Vec<(String, Bytes)>) -> (acgs_lane::message::Verdict, PerformanceReport) {
    let script = Script { configs, frames: vec![(batch(rows), vec![1])], windows: vec![vec![1]] };
    let verdict = script.straight(&mut judge(config())).remove(0);
    let report = PerformanceReport::decode(verdict.report.clone()).unwrap();
    (verdict, report)
}

#[test]
fn decay_is_seen_and_luck_is_not() {
    let rows = |wrong: usize| -> Vec<Row> {
        (0..1_000)
            .map(|row| {
                let positive = row % 2 == 0;
                let score = if positive == (row % 100 >= wrong) { 0.9 } else { 0.1 };
                (Some(score), Some(f64::from(u8::from(positive))), Some(100.0), Some(row == 7))
            })
            .collect()
    };
    let (good, of_good) = report(&rows(10), baseline(0.09));
    assert_eq!(of_good.state(), PerformanceState::Ok);
    assert!(good.findings.is_empty(), "{:?}", good.findings);
    assert!((of_good.brier.unwrap().value - (0.9 * 0.01 + 0.1 * 0.81)).abs() < 1e-9);
    assert_eq!(of_good.error_rate, Some(0.001));
    assert!((of_good.latency_p95_ms.unwrap() - 100.0).abs() < 0.8);
    assert_eq!(of_good.throughput_rps, 1_000.0);
    let (bad, of_bad) = report(&rows(30), baseline(0.09));
    assert_eq!(of_bad.state(), PerformanceState::Decayed);
    assert_eq!(bad.findings[0].rule, "performance_decay");
    let (_, alone) = report(&rows(30), vec![]);
    assert_eq!(alone.state(), PerformanceState::Unknown);
}

#[test]
fn an_absurd_latency_blinds_nothing() {
    let mut rows: Vec<Row> = (0..1_000).map(|row| (None, None, Some(f64::from(row % 100)), None)).collect();
    for (place, absurd) in [(3, 1e25), (500, -5.0), (999, 1e308)] {
        rows[place].2 = Some(absurd);
    }
    let (verdict, report) = report(&rows, vec![]);
    assert_eq!(report.latency_invalid_count, 3);
    assert!((report.latency_mean_ms.unwrap() - 49.5).abs() < 0.5);
    assert!((report.latency_p50_ms.unwrap() - 49.5).abs() < 1.5);
    assert!((report.latency_p95_ms.unwrap() - 95.0).abs() < 1.5);
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
    rows.truncate(100);
    let (verdict, _) = self::report(&rows, vec![]);
    assert!(verdict.findings.is_empty(), "one of a hundred is tolerated: {:?}", verdict.findings);
    rows[50].2 = Some(-1.0);
    let (verdict, _) = self::report(&rows, vec![]);
    assert_eq!(verdict.findings[0].rule, "invalid_latencies");
}

#[test]
fn what_cannot_be_compared_is_counted_and_found() {
    let rows: Vec<Row> = (0..100)
        .map(|row| {
            let label = if row < 10 { 7.0 } else { f64::from(row % 2) };
            let score = if row >= 98 { 1.000_000_1 } else { 0.3 };
            (Some(score), (row != 50).then_some(label), None, None)
        })
        .collect();
    let (verdict, report) = report(&rows, vec![]);
    assert_eq!(
        (report.labelled_count, report.incomparable_count),
        (89, 10),
        "rounding is no other kind of score"
    );
    let finding = &verdict.findings[0];
    assert_eq!((finding.rule.as_str(), finding.value), ("incomparable_labels", 10.0 / 99.0));
    assert_eq!(finding.description, "10 of 99 labels cannot be compared with what the model said");
}

#[test]
fn late_labels_count_as_labels_not_as_rows() {
    let mut judge = judge(config());
    let open = Open {
        stream_id: "s".into(),
        slot: 0,
        epoch: 0,
        schema: schema(),
        configs: vec![],
        snapshot_every_bytes: 0,
        model_id: String::new(),
        service_id: String::new(),
        pane_ms: 0,
        recent_ms: 0,
        once: false,
    };
    judge.apply(LaneDown::Open(open)).unwrap();
    let unlabelled: Vec<Row> = (0..50).map(|_| (Some(0.7), None, Some(5.0), None)).collect();
    let labelled: Vec<Row> = (0..50).map(|_| (Some(0.7), Some(1.0), None, None)).collect();
    for (pane, rows, labels_only) in [(1, unlabelled, false), (2, labelled, true)] {
        judge.apply(LaneDown::OpenPane { pane, key: "".into(), labels_only }).unwrap();
        judge
            .apply(LaneDown::Rows {
                seq: pane,
                batch: batch(&rows),
                runs: vec![(pane, 50)],
                again: false,
                partition: "".into(),
                retracts: false,
            })
            .unwrap();
    }
    let window = Window { stream_id: "s".into(), key: "".into(), start_ms: 0, end_ms: 1_000 };
    let close = LaneDown::Close(Close {
        seq: 3,
        window,
        revision: 1,
        panes: vec![1, 2],
        timing: Timing::Late,
        again: false,
        settled: false,
    });
    let LaneUp::Verdict(verdict) = judge.apply(close).unwrap().remove(0) else { panic!("a verdict") };
    let report = PerformanceReport::decode(verdict.report).unwrap();
    assert_eq!((report.row_count, report.labelled_count, verdict.revision), (50, 50, 1));
}

prop_compose! {
    fn frames()(frames in prop::collection::vec(prop::collection::vec(
        (prop::option::of(-0.1..1.1_f64), prop::option::of(prop_oneof![Just(0.0), Just(1.0), Just(7.0)]),
         prop::option::of(0.0..1e6_f64), prop::option::of(any::<bool>())), 1..30), 1..8)) -> Vec<Vec<Row>> {
        frames
    }
}

proptest! {
    #[test]
    fn a_restored_judge_says_the_same(frames in frames(), died_after in 0..8_usize, every in 1..4_000_u64) {
        let script = Script {
            configs: baseline(0.1),
            frames: frames.iter().enumerate().map(|(index, rows)| (batch(rows), vec![1, 2 + index as u64])).collect(),
            windows: vec![vec![1], (1..2 + frames.len() as u64).collect()],
        };
        let straight = script.straight(&mut judge(config()));
        let revived = script.with_death(&mut judge(config()), &mut judge(config()), died_after, every);
        prop_assert_eq!(straight, revived);
    }
}
