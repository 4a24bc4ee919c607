//! Which of the frames that were kept count: a frame is kept before it is taken, and what was not taken is sent again by the next
//! client of its partition, cut as it likes. It must not know what frames hold.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Unbounded},
};

use crate::tag::{Life, Place};

/// The joins of each partition of each life of a stream, and what each began after.
#[derive(Debug, Default)]
pub(crate) struct Joins(HashMap<Life, BTreeMap<(u64, u64), u64>>);

impl Joins {
    /// A chunk of a join was seen.
    pub(crate) fn note(&mut self, place: &Place) {
        let joins = self.0.entry(place.life.clone()).or_default();
        joins.insert((place.kept.epoch, place.kept.join), place.joined_after);
    }

    /// Whether a chunk counts: it was accepted before the next join began. Later ones began later, so the next one decides.
    pub(crate) fn counts(&self, place: &Place) -> bool {
        let own = (place.kept.epoch, place.kept.join);
        let next = self.0.get(&place.life).and_then(|joins| joins.range((Excluded(own), Unbounded)).next());
        next.is_none_or(|(_, joined_after)| place.kept.seq <= *joined_after)
    }
}
