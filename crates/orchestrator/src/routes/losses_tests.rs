//! Losses in pairs: whatever comes first, rows or labels, and only beside each other.

use acgs_columns::{
    Field, Kind, Schema,
    builder::{BatchBuilder, Cell},
};
use acgs_interchange::to_arrow_tagged;

use super::*;

fn chunk(sequence: u64, holds: &str, version: &str, rows: &[(i64, f64)]) -> Chunk {
    let value = match holds {
        tag::LABELS => Field::new("late", Kind::Double, Role::Label),
        _ => Field::new("p", Kind::Double, Role::Score),
    };
    let fields = vec![
        Field::new("id", Kind::Int64, Role::Id),
        value,
        Field::new(CALL, Kind::Int64, Role::None),
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
    ];
    let schema = Arc::new(Schema::new(fields).unwrap());
    let mut builder = BatchBuilder::new(Arc::clone(&schema));
    for (id, value) in rows {
        // Ten ids are one call, and a second.
        let call = id / 10;
        builder
            .push(&[
                Cell::Integer(*id),
                Cell::Number(*value),
                Cell::Integer(call),
                Cell::Integer(1_000 * call),
            ])
            .unwrap();
    }
    let tags = [(tag::HOLDS, holds), (tag::VERSION, version)];
    let tags = tags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let content = to_arrow_tagged(&schema, &[builder.finish().unwrap()], tags).unwrap();
    Chunk { sequence, from_ms: 0, until_ms: 0, content: content.into() }
}

fn wanted() -> Wanted {
    let tolerance = LossTolerance { tolerated: 0.01, unacceptable: 0.06, range: 1.0, pairs_min: 0 };
    Wanted { candidate: "new".into(), baseline: "old".into(), loss: Loss::Squared, tolerance }
}

#[test]
fn rows_and_labels_meet_in_any_order_and_only_side_by_side() {
    let mut reading = Reading::default();
    for (sequence, (holds, version, rows)) in [
        // Before the candidate has a record, the baseline's do not count.
        (tag::ROWS, "old", vec![(10, 0.9)]),
        (tag::ROWS, "new", vec![(20, 0.5), (30, 0.5)]),
        (tag::LABELS, "", vec![(40, 0.0), (20, 1.0)]),
        (tag::ROWS, "old", vec![(40, 0.5)]),
        (tag::ROWS, "other", vec![(50, 0.5)]),
        (tag::LABELS, "", vec![(10, 1.0), (50, 1.0)]),
    ]
    .into_iter()
    .enumerate()
    {
        reading.take(&chunk(sequence as u64, holds, version, &rows), &wanted());
    }
    assert_eq!(reading.bets.draws, 0, "40 is nearer to 30, whose label is not there");
    reading.take(&chunk(9, tag::LABELS, "", &[(30, 1.0)]), &wanted());
    assert_eq!(reading.bets.draws, 1, "20 waits for a partner");
    assert!((reading.bets.mean() - 0.0).abs() < 1e-12);
    assert_eq!(reading.singles[CANDIDATE].len(), 1);
}

#[test]
fn a_call_is_one_draw_however_many_records_it_has() {
    let mut reading = Reading::default();
    let rows = |first: i64| (first..first + 4).map(|id| (id, 0.5)).collect::<Vec<_>>();
    let labels = |first: i64| (first..first + 4).map(|id| (id, 1.0)).collect::<Vec<_>>();
    for call in 0..5 {
        reading.take(&chunk(0, tag::ROWS, "new", &rows(100 * call)), &wanted());
        reading.take(&chunk(0, tag::ROWS, "old", &rows(100 * call + 50)), &wanted());
        reading.take(&chunk(0, tag::LABELS, "", &labels(100 * call)), &wanted());
        reading.take(&chunk(0, tag::LABELS, "", &labels(100 * call + 50)), &wanted());
    }
    assert_eq!(reading.bets.draws, 5);
    assert!(reading.pairs.is_empty() && reading.rows.is_empty(), "{reading:?}");
}

#[test]
fn what_has_more_traffic_does_not_wait_without_bound_and_times_stay_together() {
    let mut reading = Reading::default();
    reading.take(&chunk(0, tag::ROWS, "new", &[(0, 0.5)]), &wanted());
    let many: Vec<(i64, f64)> = (1..2_000).map(|call| (10 * call, 0.5)).collect();
    reading.take(&chunk(1, tag::ROWS, "old", &many), &wanted());
    assert_eq!(reading.singles[BASELINE].len(), SINGLES_MAX);
    assert!(reading.pairs.len() <= SINGLES_MAX + 1);
    // The partner of a call is of its own time, not the one that waits longest.
    reading.take(&chunk(2, tag::ROWS, "new", &[(10 * 1_990 + 1, 0.5)]), &wanted());
    assert!(reading.singles[BASELINE].iter().all(|(_, time_ms)| *time_ms != 1_990_000));
}

/// The weather of an hour is one for all that depart in it: calls of the same time share it, and versions that are alike stay alike.
#[test]
fn what_calls_of_one_time_share_is_not_held_against_a_version() {
    let wrongly = (0..20_u64).filter(|seed| {
        let mut reading = Reading::default();
        let mut state = *seed + 1;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let mut id = 0;
        for _storm in 0..150 {
            // Ten calls of eight records, of which a quarter goes to the candidate; in a storm nearly all are late.
            let late_rate = if draw() < 0.2 { 0.9 } else { 0.1 };
            for _call in 0..10 {
                id += 10;
                let rows: Vec<(i64, f64)> = (id..id + 8).map(|id| (id, 0.2)).collect();
                let labels: Vec<(i64, f64)> =
                    rows.iter().map(|(id, _)| (*id, f64::from(draw() < late_rate))).collect();
                let version = if draw() < 0.25 { "new" } else { "old" };
                reading.take(&chunk(0, tag::ROWS, version, &rows), &wanted());
                reading.take(&chunk(0, tag::LABELS, "", &labels), &wanted());
            }
        }
        reading.bets.ln_above() > 100_f64.ln()
    });
    let wrongly = wrongly.count();
    assert!(wrongly <= 1, "{wrongly} of 20");
}

#[test]
fn a_model_that_is_wrong_is_found_soon_and_one_that_is_alike_is_not() {
    let run = |bad: bool| {
        let mut reading = Reading::default();
        for round in 0..600_i64 {
            let late = f64::from(round % 5 == 0);
            let (good, worse) = (0.2, if bad { 0.8 } else { 0.2 });
            let ids = [20 * round, 20 * round + 10];
            reading.take(&chunk(0, tag::ROWS, "new", &[(ids[0], worse)]), &wanted());
            reading.take(&chunk(0, tag::ROWS, "old", &[(ids[1], good)]), &wanted());
            reading.take(&chunk(0, tag::LABELS, "", &[(ids[0], late), (ids[1], late)]), &wanted());
        }
        reading.bets
    };
    let bad = run(true);
    assert!(bad.ln_above() > 1_000_f64.ln() && bad.ln_below() < 0.0, "{bad:?}");
    let alike = run(false);
    assert!(alike.ln_below() > 20_f64.ln() && alike.ln_above() < 0.0, "{alike:?}");
}
