//! Rows of a pane by the partition that delivered them. It must not know what they are compared with.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

use acgs_columns::RecordBatch;
use acgs_reference::{counts::PaneCounts, places::Places, reference::Reference};
use serde::{Deserialize, Serialize};

/// Partitions that a pane tells apart; rows of further ones are of none.
const PARTITIONS_MAX: usize = 16;

/// Counts of a pane. As long as one partition delivers its rows, as in most streams, they are counted once and nothing is copied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartitionedCounts {
    first: String,
    counts: PaneCounts,
    others: BTreeMap<String, PaneCounts>,
}

impl PartitionedCounts {
    /// Without rows.
    #[must_use]
    pub fn new(counts: PaneCounts) -> Self {
        Self { counts, ..Self::default() }
    }

    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let other = |(name, counts): (&String, &PaneCounts)| {
            name.capacity() + size_of::<PaneCounts>() + counts.heap_bytes()
        };
        self.first.capacity() + self.counts.heap_bytes() + self.others.iter().map(other).sum::<usize>()
    }

    /// Whether what came back from outside can be used.
    #[must_use]
    pub fn has_the_form_of(&self, fresh: &PaneCounts) -> bool {
        self.others.len() <= PARTITIONS_MAX
            && self.counts.has_the_form_of(fresh)
            && self.others.values().all(|counts| counts.has_the_form_of(fresh))
    }

    /// The name under which rows of a partition are counted; `None` for the first one's.
    fn name_of<'a>(&mut self, partition: &'a str) -> Option<&'a str> {
        if self.counts.row_count == 0 && self.others.is_empty() {
            partition.clone_into(&mut self.first);
        }
        if self.first == partition {
            return None;
        }
        // The last place is of all that have none of their own.
        let has_place = self.others.contains_key(partition) || self.others.len() + 2 < PARTITIONS_MAX;
        Some(if has_place { partition } else { "" })
    }

    /// Adds rows of a partition; an empty one is of none.
    pub fn push(&mut self, reference: &Reference, places: &Places, rows: &RecordBatch, partition: &str) {
        let counts = match self.name_of(partition) {
            None => &mut self.counts,
            Some(name) => self.others.entry(name.to_owned()).or_insert_with(|| PaneCounts::new(reference)),
        };
        counts.push_at(reference, places, rows);
    }

    /// Adds rows that are only counted.
    pub fn count(&mut self, rows: usize) {
        self.counts.row_count += rows as u64;
    }

    /// Adds another's rows.
    pub fn merge(&mut self, other: &Self) {
        for (partition, counts) in other.partitions() {
            match self.name_of(partition) {
                None => self.counts.merge(counts),
                Some(name) => match self.others.entry(name.to_owned()) {
                    Entry::Occupied(mut own) => own.get_mut().merge(counts),
                    Entry::Vacant(place) => _ = place.insert(counts.clone()),
                },
            }
        }
    }

    /// All rows.
    #[must_use]
    pub fn all(&self) -> Cow<'_, PaneCounts> {
        if self.others.is_empty() {
            return Cow::Borrowed(&self.counts);
        }
        let mut all = self.counts.clone();
        self.others.values().for_each(|counts| all.merge(counts));
        Cow::Owned(all)
    }

    /// Rows by partition.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, &PaneCounts)> {
        let others = self.others.iter().map(|(name, counts)| (name.as_str(), counts));
        std::iter::once((self.first.as_str(), &self.counts)).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
    use acgs_reference::freeze;

    use super::*;

    #[test]
    fn what_is_counted_by_partition_is_the_same_in_all() {
        let schema = Schema::new(vec![Field::new("x", Kind::Double, Role::Feature)]).unwrap();
        let schema = std::sync::Arc::new(schema);
        let rows = |from: u32| {
            let mut builder = BatchBuilder::new(std::sync::Arc::clone(&schema));
            (from..from + 10).for_each(|row| builder.push(&[Cell::Number(f64::from(row))]).unwrap());
            builder.finish().unwrap()
        };
        let reference = freeze(&schema, &[rows(0)], 0);
        let places = Places::new(&reference, &schema);
        let fresh = || PartitionedCounts::new(PaneCounts::new(&reference));
        let (mut one, mut merged) = (fresh(), fresh());
        let mut all = PaneCounts::new(&reference);
        for number in 0..40_u32 {
            let name = format!("p{}", number % 20);
            one.push(&reference, &places, &rows(number), &name);
            let mut other = fresh();
            other.push(&reference, &places, &rows(number), &name);
            merged.merge(&other);
            all.push_at(&reference, &places, &rows(number));
        }
        assert_eq!((&*one.all(), &*merged.all()), (&all, &all));
        assert_eq!(one, merged);
        assert!(one.has_the_form_of(&PaneCounts::new(&reference)));
        let rows: Vec<u64> = one.partitions().map(|(_, counts)| counts.row_count).collect();
        assert_eq!((rows.len(), rows.iter().sum::<u64>()), (16, 400));
        assert_eq!(rows.iter().max(), Some(&100), "five of twenty have no place of their own");
    }
}
