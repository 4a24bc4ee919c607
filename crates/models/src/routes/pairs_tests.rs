//! Pairs: settled before outcomes are known, of about the same time, and bounded.

use super::*;

fn spoken(side: Side, id: i64, call: i64, time_ms: i64) -> Spoken {
    Spoken { side, call: Some(call), time_ms, id: RecordId::Integer(id), score: 0.5, label: None }
}

#[test]
fn the_first_record_of_a_call_speaks_whichever_label_comes_first() {
    let mut pairs = Pairs::default();
    for id in 0..4 {
        assert!(pairs.record(spoken(CANDIDATE, id, 1, 0)).is_none());
        assert!(pairs.record(spoken(BASELINE, 10 + id, 2, 0)).is_none());
    }
    for id in [1, 2, 3, 11, 12, 13] {
        assert!(pairs.label(RecordId::Integer(id), Truth::of_number(1.0)).is_none(), "{id} does not speak");
    }
    assert!(pairs.label(RecordId::Integer(0), Truth::of_number(1.0)).is_none());
    let [candidate, baseline] = pairs.label(RecordId::Integer(10), Truth::of_number(0.0)).unwrap();
    assert_eq!((candidate.label, baseline.label), (Truth::of_number(1.0), Truth::of_number(0.0)));
    assert!(pairs.pairs.is_empty() && pairs.records.is_empty());
}

#[test]
fn partners_are_of_one_time_and_a_label_may_come_before_its_record() {
    let mut pairs = Pairs::default();
    for call in 0..10 {
        pairs.record(spoken(BASELINE, call, call, 1_000 * call));
    }
    assert!(pairs.label(RecordId::Integer(7), Truth::of_number(0.0)).is_none());
    assert!(pairs.label(RecordId::Integer(100), Truth::of_number(1.0)).is_none());
    let [candidate, baseline] = pairs.record(spoken(CANDIDATE, 100, 100, 7_100)).unwrap();
    assert_eq!(
        (candidate.label, baseline.label),
        (Truth::of_number(1.0), Truth::of_number(0.0)),
        "7 is the nearest"
    );
}

#[test]
fn what_never_gets_a_label_makes_room() {
    let mut pairs = Pairs::default();
    let most = PAIRS_MAX as i64 + 10_000;
    for call in 0..most {
        pairs.record(spoken(CANDIDATE, 2 * call, 2 * call, call));
        pairs.record(spoken(BASELINE, 2 * call + 1, 2 * call + 1, call));
    }
    assert_eq!((pairs.pairs.len(), pairs.records.len()), (PAIRS_MAX, 2 * PAIRS_MAX));
    // One side alone.
    for call in 0..2_000 {
        pairs.record(spoken(CANDIDATE, 10 * most + call, 10 * most + call, call));
    }
    assert_eq!(pairs.singles[CANDIDATE].len(), SINGLES_MAX);
    assert!(
        pairs.pairs.len() <= PAIRS_MAX && pairs.records.len() <= 2 * PAIRS_MAX,
        "{}",
        pairs.records.len()
    );
    for id in 0..3 * LABELS_MAX as i64 {
        pairs.label(RecordId::Integer(-1 - id), Truth::of_number(1.0));
    }
    assert!(pairs.labels.len() <= LABELS_MAX && pairs.labels_came.len() <= 2 * LABELS_MAX);
    // The newest still count.
    let last = 2 * (most - 1);
    assert!(pairs.label(RecordId::Integer(last), Truth::of_number(1.0)).is_none());
    assert!(pairs.label(RecordId::Integer(last + 1), Truth::of_number(1.0)).is_some());
}

#[test]
fn a_record_that_comes_again_takes_no_partner() {
    let mut pairs = Pairs::default();
    pairs.record(spoken(CANDIDATE, 1, 1, 0));
    pairs.record(spoken(CANDIDATE, 2, 2, 0));
    pairs.record(spoken(CANDIDATE, 1, 1, 0));
    assert_eq!(pairs.singles[CANDIDATE].len(), 2);
}
