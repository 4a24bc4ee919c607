//! The join against a plain model, in any order of arrival.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

#[test]
fn labels_find_predictions_either_way_round() {
    let mut join = LabelJoin::new(1, |_| 0);
    assert_eq!(join.predict(&1, "p1", 10), Predicted::Waits);
    assert_eq!(join.label(&1, true, 10), Labelled::Matched("p1"));
    assert_eq!(join.label(&1, true, 10), Labelled::Duplicate);
    assert_eq!(join.label(&1, false, 10), Labelled::Corrects { prediction: "p1", before: true });
    assert_eq!(join.label(&1, false, 10), Labelled::Duplicate, "the last stands");
    assert_eq!(join.predict(&1, "again", 10), Predicted::Duplicate);
    assert_eq!(join.label(&2, true, 20), Labelled::Waits);
    assert_eq!(join.label(&2, false, 20), Labelled::Replaced);
    assert_eq!(join.predict(&2, "p2", 30), Predicted::Matched(false));
    assert_eq!(join.predict(&3, "p3", 30), Predicted::Waits);
    assert_eq!(join.predict(&4, "p4", 30), Predicted::Full);
    assert_eq!(join.label(&5, true, 30), Labelled::Full);
    assert_eq!(join.expire(20, &mut usize::MAX.clone()), Expired { predictions: vec![], labels: 0 });
    assert_eq!(join.expire(30, &mut usize::MAX.clone()), Expired { predictions: vec!["p3"], labels: 0 });
    assert!(join.is_empty());
}

proptest! {
    #[test]
    fn every_id_matches_exactly_once(
        order in prop::collection::vec((0..20_u8, any::<bool>()), 0..200)
    ) {
        let mut join = LabelJoin::new(1000, |_| 8);
        let mut matched: HashMap<u8, usize> = HashMap::new();
        let (mut predicted, mut labelled) = (HashSet::new(), HashSet::new());
        for (id, is_label) in order {
            let hit = if is_label {
                labelled.insert(id);
                matches!(join.label(&id, (), 5), Labelled::Matched(()))
            } else {
                predicted.insert(id);
                matches!(join.predict(&id, (), 5), Predicted::Matched(()))
            };
            *matched.entry(id).or_default() += usize::from(hit);
        }
        for id in 0..20_u8 {
            let both = predicted.contains(&id) && labelled.contains(&id);
            prop_assert_eq!(matched.get(&id).copied().unwrap_or(0), usize::from(both));
        }
        let expired = join.expire(5, &mut usize::MAX.clone());
        prop_assert_eq!(expired.predictions.len(), predicted.difference(&labelled).count());
        prop_assert_eq!(expired.labels, labelled.difference(&predicted).count());
        prop_assert!(join.is_empty());
    }
}

#[test]
fn without_room_what_is_done_is_forgotten_first() {
    let mut join: LabelJoin<u64, u64, u64> = LabelJoin::new(1_000, |_| 0);
    let entry = LabelJoin::<u64, u64, u64>::ENTRY_BYTES;
    join.set_room(2 * entry);
    assert_eq!(join.predict(&1, 1, 10), Predicted::Waits);
    assert_eq!(join.label(&1, 1, 10), Labelled::Matched(1));
    assert_eq!(join.predict(&2, 2, 10), Predicted::Waits);
    assert_eq!(join.predict(&3, 3, 10), Predicted::Waits, "in the place of what is done");
    assert_eq!((join.predict(&4, 4, 10), join.heap_bytes()), (Predicted::Full, 2 * entry));
    assert_eq!(join.label(&2, 2, 10), Labelled::Matched(2));
    assert_eq!(join.predict(&4, 4, 10), Predicted::Waits);
}

#[test]
fn what_is_overtaken_is_given_up_in_steps() {
    let mut join: LabelJoin<u64, u64, u64> = LabelJoin::new(10_000, |_| 0);
    for id in 0..1_000 {
        assert_eq!(join.predict(&id, id, (id % 7) as i64), Predicted::Waits);
    }
    let (mut steps, mut given_up) = (0, Vec::new());
    loop {
        let mut work = 64;
        given_up.extend(join.expire(5, &mut work).predictions);
        steps += 1;
        if work > 0 {
            break;
        }
    }
    given_up.sort_unstable();
    assert_eq!(given_up, (0..1_000).filter(|id| id % 7 <= 5).collect::<Vec<_>>());
    assert!(steps >= 13, "{steps} steps");
    assert_eq!(join.len(), 1_000 / 7);
}
