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
    let schema = Arc::new(Schema::new(vec![Field::new("id", Kind::Int64, Role::Id), value]).unwrap());
    let mut builder = BatchBuilder::new(Arc::clone(&schema));
    for (id, value) in rows {
        builder.push(&[Cell::Integer(*id), Cell::Number(*value)]).unwrap();
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
        (tag::ROWS, "old", vec![(1, 0.9)]),
        (tag::ROWS, "new", vec![(2, 0.5), (3, 0.5)]),
        (tag::LABELS, "", vec![(4, 0.0), (2, 1.0)]),
        (tag::ROWS, "old", vec![(4, 0.5)]),
        (tag::ROWS, "other", vec![(5, 0.5)]),
        (tag::LABELS, "", vec![(1, 1.0), (3, 1.0), (5, 1.0)]),
    ]
    .into_iter()
    .enumerate()
    {
        reading.take(&chunk(sequence as u64, holds, version, &rows), &wanted());
    }
    assert_eq!(reading.bets.draws, 1, "2 beside 4; 3 waits for a partner");
    assert!((reading.bets.mean() - 0.0).abs() < 1e-12);
    assert_eq!(reading.losses[0].len(), 1);
}

#[test]
fn a_model_that_is_wrong_is_found_soon_and_one_that_is_alike_is_not() {
    let run = |bad: bool| {
        let mut reading = Reading::default();
        for round in 0..600_i64 {
            let late = f64::from(round % 5 == 0);
            let (good, worse) = (0.2, if bad { 0.8 } else { 0.2 });
            let ids = [2 * round, 2 * round + 1];
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
