//! Decay over a stream, through the lane: told of what is settled, once, beside what the season leads to expect.

use std::sync::Arc;

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Schema, Values};
use acgs_contracts::performance::v1::{DecayMetric, PerformanceReport, PerformanceState};
use acgs_lane::testing::Script;
use acgs_reference::{freeze, message as reference_message};
use acgs_statistics::draws::Draws;
use acgs_vocabulary::Severity;
use bytes::Bytes;
use prost::Message;

use super::{judge, tests::config};

const DAY_MS: i64 = 86_400_000;
const YEAR_MS: i64 = 365 * DAY_MS + DAY_MS / 4;

/// Answers that are wrong with a chance, one after the other over some time.
fn rows(count: usize, (from_ms, span_ms): (i64, i64), seed: u64, wrong: impl Fn(i64) -> f64) -> RecordBatch {
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("said", Kind::Boolean, Role::Prediction),
        Field::new("y", Kind::Boolean, Role::Label),
    ];
    let mut draws = Draws::new(seed);
    let times: Vec<i64> = (0..count as i64).map(|row| from_ms + row * span_ms / count as i64).collect();
    let said: Vec<bool> = times.iter().map(|time_ms| draws.unit() >= wrong(*time_ms)).collect();
    let bits = |of: Vec<bool>| Values::Boolean(acgs_columns::Bitmap::from_bits(of.into_iter()));
    let column = |values| Column { values, validity: None };
    let columns =
        vec![column(Values::Integer(times.into())), column(bits(said)), column(bits(vec![true; count]))];
    RecordBatch::new(Arc::new(Schema::new(fields).unwrap()), count, columns).unwrap()
}

/// Reports on windows, with the findings above LOW.
fn windows(reference: &RecordBatch, of: Vec<RecordBatch>) -> Vec<(PerformanceReport, Vec<String>)> {
    let frozen = freeze(reference.schema(), std::slice::from_ref(reference), 0);
    let content = Bytes::from(reference_message::to_proto(&frozen).encode_to_vec());
    let script = Script {
        configs: vec![("reference".to_owned(), content)],
        windows: (1..=of.len() as u64).map(|pane| vec![pane]).collect(),
        frames: of.into_iter().zip(1..).map(|(rows, pane)| (rows, vec![pane])).collect(),
    };
    let verdicts = script.straight(&mut judge(config()));
    verdicts
        .into_iter()
        .map(|verdict| {
            let grave = verdict.findings.into_iter().filter(|finding| finding.severity > Severity::Low);
            let rules = grave.map(|finding| finding.rule).collect();
            (PerformanceReport::decode(verdict.report).unwrap(), rules)
        })
        .collect()
}

#[test]
fn decay_stands_from_its_alarm_until_the_loss_is_as_it_was() {
    let reference = rows(10_000, (0, 10 * DAY_MS), 1, |_| 0.1);
    let of = |number: i64, wrong: f64| rows(500, (number * DAY_MS, DAY_MS), number as u64, |_| wrong);
    let stream = (11..51).map(|number| of(number, if (31..36).contains(&number) { 0.3 } else { 0.1 }));
    let told = windows(&reference, stream.collect());
    let standing = |at: usize| told[at].0.monitor.as_ref().unwrap().standing();
    assert!((0..20).all(|at| standing(at) == DecayMetric::Unspecified), "nothing has changed");
    assert!((20..25).all(|at| standing(at) == DecayMetric::Loss), "told in the window that shows it");
    assert!((25..40).all(|at| standing(at) == DecayMetric::Unspecified), "over");
    assert!(told.iter().enumerate().all(|(at, (_, rules))| rules.is_empty() != (20..25).contains(&at)));
    let last = told[39].0.monitor.as_ref().unwrap();
    assert_eq!((last.alarms, last.recent.as_ref().unwrap().looks), (1, 4));
    assert!((last.ln_bound - 1_000_f64.ln()).abs() < 1e-9);
}

#[test]
fn a_window_that_is_worse_by_chance_is_a_note() {
    let reference = rows(10_000, (0, 10 * DAY_MS), 1, |_| 0.1);
    let of = |number: i64, wrong: f64| rows(200, (number * DAY_MS, DAY_MS), number as u64, |_| wrong);
    let told = windows(&reference, vec![of(11, 0.1), of(12, 0.19), of(13, 0.1)]);
    let (report, rules) = &told[1];
    assert_eq!(report.state(), PerformanceState::Decayed, "{report:?}");
    assert_eq!(report.monitor.as_ref().unwrap().standing(), DecayMetric::Unspecified);
    assert!(rules.is_empty(), "{rules:?}");
}

#[test]
fn a_winter_like_those_before_is_no_decay_and_a_worse_one_is() {
    let season = |time_ms: i64| {
        let year = time_ms.rem_euclid(YEAR_MS) as f64 / YEAR_MS as f64;
        0.12 + 0.06 * (std::f64::consts::TAU * year).cos()
    };
    let reference = rows(60_000, (0, 3 * YEAR_MS), 3, season);
    let winter = |worse: f64| -> Vec<RecordBatch> {
        let day = |day: i64| (3 * YEAR_MS + day * DAY_MS, DAY_MS);
        (0..40).map(|at| rows(300, day(at), 100 + at as u64, |time_ms| worse * season(time_ms))).collect()
    };
    let usual = windows(&reference, winter(1.0));
    assert!(usual.iter().all(|(report, rules)| rules.is_empty() && report.baseline_loss.unwrap() > 0.16));
    assert!(usual.iter().filter(|(report, _)| report.state() == PerformanceState::Decayed).count() <= 4);
    let worse = windows(&reference, winter(1.6));
    let first = worse.iter().position(|(_, rules)| !rules.is_empty()).unwrap();
    assert!(first < 10, "{first}");
    // Answers that are all wrong do not vary at all.
    let failed =
        (0..3).map(|at| rows(300, (3 * YEAR_MS + at * DAY_MS, DAY_MS), at as u64, |_| 1.0)).collect();
    assert!(windows(&reference, failed).iter().all(|(_, rules)| !rules.is_empty()));
    // Beside a reference that knows no seasons such a winter would be one.
    let summer = rows(60_000, (YEAR_MS / 3, YEAR_MS / 3), 3, season);
    assert!(windows(&summer, winter(1.0)).iter().any(|(_, rules)| !rules.is_empty()));
}

#[test]
fn losses_that_hang_together_are_not_decay() {
    // Whole days are hard or easy.
    let hard = |time_ms: i64| {
        let day = acgs_statistics::distinct::mix(time_ms.div_euclid(DAY_MS) as u64) % 2;
        if day == 0 { 0.05 } else { 0.25 }
    };
    let reference = rows(20_000, (0, 200 * DAY_MS), 5, hard);
    let of = |number: i64| rows(500, (number * DAY_MS, DAY_MS), number as u64, hard);
    let told = windows(&reference, (300..400).map(of).collect());
    assert!(told.iter().all(|(_, rules)| rules.is_empty()));
    assert!(told[0].0.design_effect > 20.0, "{}", told[0].0.design_effect);
}
