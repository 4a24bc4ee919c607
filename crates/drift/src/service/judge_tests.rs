//! The judge forgets nothing over a snapshot, calls drift drift, and leaves what does not move alone.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
use acgs_contracts::drift::v1::{self as proto, DriftReport};
use acgs_lane::{
    Judge, LaneDown, LaneUp,
    message::{Close, Open, Timing},
    testing::Script,
};
use acgs_reference::{freeze, message};
use acgs_vocabulary::constitution::sha256;
use proptest::prelude::*;

use super::*;
use crate::config::Decision;

fn config() -> Config {
    Config {
        alpha: 0.05,
        decision: Decision::Any,
        drift_share: 0.5,
        importance: BTreeMap::new(),
        tolerance_deviations: 0.1,
        tolerance_variation: 0.05,
        tolerance_rate: 0.1,
        tolerance_correlation: 0.1,
        false_alarm_days: 30.0,
        false_alarm_windows: 1_000.0,
        monitor_keys: vec!["own".into()],
        rows_min: 30,
    }
}

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
    let mut reference = freeze(&schema(), &[batch(rows)], 0);
    reference.name = "r".into();
    message::to_proto(&reference).encode_to_vec().into()
}

fn verdict(reference: Bytes, rows: &[Row]) -> (acgs_lane::message::Verdict, DriftReport) {
    windows(reference, &[rows.to_vec()]).remove(0)
}

/// Each of these is a window.
fn windows(reference: Bytes, of: &[Vec<Row>]) -> Vec<(acgs_lane::message::Verdict, DriftReport)> {
    let configs = vec![("reference".to_owned(), reference)];
    let frames = of.iter().zip(1..).map(|(rows, pane)| (batch(rows), vec![pane])).collect();
    let windows = (1..=of.len() as u64).map(|pane| vec![pane]).collect();
    let script = Script { configs, frames, windows };
    let verdicts = script.straight(&mut judge(config()));
    let read = |verdict: acgs_lane::message::Verdict| {
        let report = DriftReport::decode(verdict.report.clone()).unwrap();
        (verdict, report)
    };
    verdicts.into_iter().map(read).collect()
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
        let mut reference = freeze(&schema(), &[batch(&wavy)], window_ms);
        reference.name = "r".into();
        Bytes::from(message::to_proto(&reference).encode_to_vec())
    };
    let (_, lenient) = verdict(frozen(1_000), &rows(1_000, 1.2, &["a"]));
    assert!(!lenient.features[0].drifted, "{:?}", lenient.features[0]);
    let (_, far) = verdict(frozen(1_000), &rows(1_000, 6.0, &["a"]));
    assert!(far.features[0].drifted);
}

#[test]
fn few_rows_and_no_reference_are_said() {
    let script = |configs| Script {
        configs,
        frames: vec![(batch(&rows(5, 0.0, &["a"])), vec![1])],
        windows: vec![vec![1]],
    };
    let without = script(vec![]).straight(&mut judge(config())).remove(0);
    assert_eq!(without.status, VerdictStatus::NotApplicable);
    let configs = vec![("reference".to_owned(), reference(&rows(500, 0.0, &["a"])))];
    assert_eq!(script(configs).straight(&mut judge(config())).remove(0).status, VerdictStatus::Insufficient);
}

fn opened(content: &Bytes) -> PaneJudge<DriftAssessor> {
    let mut judge = judge(config());
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
        pane_ms: 0,
        recent_ms: 0,
        once: false,
    };
    judge.apply(LaneDown::Open(open)).unwrap();
    judge.apply(LaneDown::Config { digest, content: content.clone() }).unwrap();
    judge
}

fn push(
    judge: &mut PaneJudge<DriftAssessor>,
    (seq, pane): (u64, u64),
    batch: RecordBatch,
    partition: &str,
) -> Vec<LaneUp> {
    let (runs, partition) = (vec![(pane, batch.rows() as u32)], partition.into());
    judge.apply(LaneDown::Rows { seq, batch, runs, again: false, partition, retracts: false }).unwrap()
}

#[test]
fn a_pane_of_another_reference_is_refused() {
    let mut first = opened(&reference(&rows(500, 0.0, &["a", "b"])));
    first.apply(LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false }).unwrap();
    let batch = batch(&rows(40, 0.0, &["a"]));
    let answers = push(&mut first, (1, 1), batch, "");
    let Some(LaneUp::Snapshot(state)) = answers.into_iter().next() else { panic!("a snapshot") };
    let mut other = opened(&reference(&rows(500, 0.0, &["a", "b", "c"])));
    assert_eq!(other.apply(LaneDown::Restore(state)).unwrap_err().reason(), "BAD_STATE");
}

#[test]
fn the_partition_that_drift_comes_from_is_named() {
    let behind = |shifts: &[(&str, f64)]| {
        let mut judge = opened(&reference(&rows(5_000, 0.0, &["a", "b"])));
        let mut seq = 0;
        let mut next = || {
            seq += 1;
            seq
        };
        judge.apply(LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false }).unwrap();
        for (partition, shift) in shifts {
            push(&mut judge, (next(), 1), batch(&rows(1_000, *shift, &["a", "b"])), partition);
        }
        let close = Close {
            seq: next(),
            window: Window { stream_id: "s".into(), key: "".into(), start_ms: 0, end_ms: 1_000 },
            revision: 0,
            panes: vec![1],
            timing: Timing::OnTime,
            again: false,
            settled: true,
        };
        let answers = judge.apply(LaneDown::Close(close)).unwrap();
        let Some(LaneUp::Verdict(verdict)) = answers.into_iter().next() else { panic!("a verdict") };
        let report = DriftReport::decode(verdict.report.clone()).unwrap();
        let told = verdict.findings.iter().find(|finding| finding.rule == "drift").unwrap();
        (report.monitor.unwrap().behind_partition, told.description.clone())
    };
    let (partition, words) = behind(&[("eu", 0.0), ("us", 9.0), ("asia", 0.0)]);
    assert_eq!(partition, "us");
    assert!(words.ends_with("all of it comes from partition us"), "{words}");
    assert_eq!(behind(&[("eu", 9.0), ("us", 9.0)]).0, "", "both have moved");
    assert_eq!(behind(&[("us", 9.0)]).0, "", "there is no other");
}

prop_compose! {
    fn frames()(frames in prop::collection::vec(prop::collection::vec(
        (0..1_000_i64, prop::option::of(prop_oneof![-5.0..5.0_f64, Just(f64::NAN)]),
         prop::option::of("[abz]"), 0.0..1.0_f64), 1..30), 1..8)) -> Vec<Vec<Row>> {
        frames
    }
}

#[test]
fn a_reference_of_the_version_before_says_what_it_said() {
    let of = |from: i64, length: i64| -> Vec<Row> {
        let name = |row: i64| format!("c{}", acgs_statistics::distinct::mix(row as u64) % 600);
        (from..from + length).map(|row| (row, Some(1.0), Some(name(row)), 0.5)).collect()
    };
    let mut old = proto::Reference::decode(&reference(&of(0, 10_000))[..]).unwrap();
    (old.timed_count, old.pairs) = (0, None);
    for feature in &mut old.features {
        feature.seen_hashes.clear();
        feature.variation.clear();
        feature.unseen_count = 0;
    }
    let (_, report) = verdict(old.encode_to_vec().into(), &of(50_000, 1_000));
    assert!(!report.drift_detected && !report.monitor.unwrap().standing, "{:?}", report.features[1]);
    assert!(report.assumption.contains("no event times"));
}

proptest! {
    #[test]
    fn a_restored_judge_says_the_same(frames in frames(), died_after in 0..8_usize, every in 1..4_000_u64) {
        let script = Script {
            configs: vec![("reference".to_owned(), reference(&rows(300, 0.0, &["a", "b"])))],
            frames: frames.iter().enumerate().map(|(index, rows)| (batch(rows), vec![1, 2 + index as u64])).collect(),
            windows: vec![vec![1], (1..2 + frames.len() as u64).collect()],
        };
        let straight = script.straight(&mut judge(config()));
        let revived = script.with_death(&mut judge(config()), &mut judge(config()), died_after, every);
        prop_assert_eq!(straight, revived);
    }

    #[test]
    fn references_survive_their_message(count in 1..200_i64, shift in -5.0..5.0_f64) {
        let reference = freeze(&schema(), &[batch(&rows(count, shift, &["a", "b"]))], 0);
        let decoded = message::decode(&message::to_proto(&reference).encode_to_vec()).unwrap();
        prop_assert_eq!(decoded, reference);
    }

    #[test]
    fn references_of_any_categories_survive_theirs(count in 1..3_000_i64, categories in 1..2_000_u64, every in 1..1_000_000_i64) {
        let of = |row: i64| {
            let mixed = acgs_statistics::distinct::mix(row as u64);
            (row * every, Some((mixed % 100) as f64), Some(format!("c{}", mixed % categories)), 0.5)
        };
        let reference = freeze(&schema(), &[batch(&(0..count).map(of).collect::<Vec<Row>>())], 3_600_000);
        let decoded = message::decode(&message::to_proto(&reference).encode_to_vec()).unwrap();
        prop_assert_eq!(decoded, reference);
    }

    #[test]
    fn any_bytes_are_a_reference_or_a_problem(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(reference) = message::decode(&bytes) {
            let mut pane = PaneCounts::new(&reference);
            pane.push(&reference, &batch(&rows(50, 0.0, &["a"])));
            let _report = detect::report(&config(), &Frozen::new(Arc::new(reference)), &pane, |_| None);
        }
    }
}

#[test]
fn one_feature_of_many_is_enough_and_is_named() {
    let cities = ["a", "b", "c"];
    let frozen = reference(&rows(5_000, 0.0, &cities));
    let far: Vec<Row> = rows(1_000, 0.0, &cities)
        .into_iter()
        .map(|row| (row.0, row.1.map(|x| x * 1_000.0), row.2, row.3))
        .collect();
    let (said, report) = verdict(frozen.clone(), &far);
    assert!(report.drift_detected && report.drifted_features == ["x"], "{report:?}");
    let alarm = &said.findings[0];
    assert_eq!(
        (alarm.rule.as_str(), alarm.severity),
        ("drift", acgs_vocabulary::Severity::Critical),
        "{alarm:?}"
    );
    assert!(alarm.description.contains("x has moved"), "{alarm:?}");
    let monitor = report.monitor.unwrap();
    assert!(monitor.alarm && monitor.standing && monitor.features == ["x"], "{monitor:?}");
}

#[test]
fn what_vanishes_is_drift() {
    let cities = ["a", "b", "c"];
    let frozen = reference(&rows(5_000, 0.0, &cities));
    let with = |nulls: usize| -> Vec<Row> {
        let null = |(row, of): (usize, Row)| (of.0, of.1.filter(|_| row % 100 >= nulls), of.2, of.3);
        rows(1_000, 0.0, &cities).into_iter().enumerate().map(null).collect()
    };
    for nulls in [5, 50, 100] {
        let (said, report) = verdict(frozen.clone(), &with(nulls));
        let causes: Vec<_> = report.features[0].causes().collect();
        assert!(causes == [proto::DriftCause::Nulls], "{nulls}: {report:?}");
        assert!(report.monitor.unwrap().standing, "{nulls}");
        // One fact, one alert.
        let rule = if nulls == 100 { "schema" } else { "null_drift" };
        assert!(
            said.findings.iter().filter(|finding| finding.severity > acgs_vocabulary::Severity::Low).count()
                == 1
        );
        let told = said.findings.iter().find(|finding| finding.rule == rule).unwrap();
        assert!(told.subject == "x" && told.severity > acgs_vocabulary::Severity::Low, "{told:?}");
        let gone =
            report.schema_changes.iter().any(|change| change.kind() == proto::SchemaChangeKind::AllNull);
        assert_eq!(gone, nulls == 100);
        assert_eq!(said.findings.iter().any(|finding| finding.rule == "schema"), nulls == 100);
    }
    let (_, sound) = verdict(frozen, &with(0));
    assert!(!sound.drift_detected && sound.schema_changes.is_empty());
}

#[test]
fn drift_stands_until_it_is_over_and_the_monitor_begins_anew() {
    let cities = ["a", "b", "c"];
    let frozen = reference(&rows(5_000, 0.0, &cities));
    let still = rows(1_000, 0.0, &cities);
    let moved = rows(1_000, 1.0, &cities);
    let all = [&still, &still, &moved, &moved, &moved, &still, &still].map(Clone::clone);
    let standing: Vec<(bool, bool, u64)> = windows(frozen, &all)
        .into_iter()
        .map(|(_, report)| {
            let monitor = report.monitor.unwrap();
            (report.drift_detected, monitor.standing, monitor.looks)
        })
        .collect();
    let expected = [false, false, true, true, true, false, false];
    assert_eq!(standing.iter().map(|it| it.0).collect::<Vec<_>>(), expected, "{standing:?}");
    assert_eq!(standing.iter().map(|it| it.1).collect::<Vec<_>>(), expected, "{standing:?}");
    assert_eq!(standing.last().unwrap().2, 7);
}

#[test]
fn many_categories_are_no_drift_and_renamed_ones_are() {
    let name = |row: i64, count: u64, prefix: &str| {
        let mixed = acgs_statistics::distinct::mix(row as u64);
        format!("{prefix}{}", mixed % count)
    };
    for count in [50, 300, 1_000, 5_000] {
        let of = |from: i64, length: i64, prefix: &str| -> Vec<Row> {
            (from..from + length).map(|row| (row, Some(1.0), Some(name(row, count, prefix)), 0.5)).collect()
        };
        let frozen = reference(&of(0, 10_000, "c"));
        let still: Vec<Vec<Row>> = (0..20).map(|window| of(100_000 + window * 1_000, 1_000, "c")).collect();
        let said = windows(frozen.clone(), &still);
        let drifted = said.iter().filter(|(_, report)| report.drift_detected).count();
        assert!(drifted <= 3, "{count}: {drifted} of 20");
        assert!(said.iter().all(|(_, report)| !report.monitor.as_ref().unwrap().standing), "{count}");
        let (_, report) = verdict(frozen, &of(900_000, 1_000, "new"));
        let city = &report.features[1];
        assert!(city.causes().any(|cause| cause == proto::DriftCause::Unseen), "{count}: {city:?}");
        assert!(report.monitor.unwrap().standing, "{count}");
    }
}
