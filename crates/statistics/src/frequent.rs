//! How many different values there are, and which are the most frequent, in bounded memory. It must not know what they mean.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

/// Hashes that are kept: up to so many different values are counted exactly, more to 3 %.
pub const DISTINCT_KEPT: usize = 1_024;
/// Values that are counted apart.
pub const FREQUENT_MAX: usize = 64;
/// Longest value that is counted apart, in bytes.
pub const VALUE_BYTES_MAX: usize = 128;

/// The smallest hashes of values (Bar-Yossef et al. 2002).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    /// Ascending up to `sorted`, then as they came.
    kept: Vec<u64>,
    sorted: usize,
    /// The largest that is kept, once some are not.
    most: Option<u64>,
}

impl Distinct {
    /// Adds a value by its well-mixed hash.
    #[inline]
    pub fn push(&mut self, hash: u64) {
        if self.most.is_none_or(|most| hash < most) {
            self.kept.push(hash);
            if self.kept.len() >= 2 * DISTINCT_KEPT {
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        self.kept.sort_unstable();
        self.kept.dedup();
        if self.kept.len() > DISTINCT_KEPT {
            self.kept.truncate(DISTINCT_KEPT);
            self.most = self.kept.last().copied();
        }
        self.sorted = self.kept.len();
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        self.most = match (self.most, other.most) {
            (Some(own), Some(theirs)) => Some(own.min(theirs)),
            (own, theirs) => own.or(theirs),
        };
        self.kept.extend_from_slice(&other.kept);
        if let Some(most) = self.most {
            self.kept.retain(|hash| *hash <= most);
        }
        self.settle();
    }

    /// Different values, and whether that is exact.
    #[must_use]
    pub fn count(&self) -> (u64, bool) {
        let mut settled = Cow::Borrowed(self);
        if self.sorted < self.kept.len() {
            settled.to_mut().settle();
        }
        match (settled.most, settled.kept.last()) {
            (Some(_), Some(most)) => {
                let share = (*most as f64 / u64::MAX as f64).max(f64::MIN_POSITIVE);
                ((((settled.kept.len() - 1) as f64) / share).round() as u64, false)
            }
            _ => (settled.kept.len() as u64, true),
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.kept.capacity() * size_of::<u64>()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.kept.len() <= 2 * DISTINCT_KEPT
            && self.sorted <= self.kept.len()
            && (self.most.is_none() || !self.kept.is_empty())
    }
}

/// Counts of frequent values: each is too small by at most what was taken off of all (Misra and Gries 1982; merged after Agarwal et al. 2012).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frequent {
    counts: BTreeMap<String, u64>,
    taken_off: u64,
}

impl Frequent {
    /// Adds a value so many times; one that is too long is counted by its beginning.
    pub fn add(&mut self, value: &str, count: u64) {
        if count == 0 {
            return;
        }
        let mut end = value.len().min(VALUE_BYTES_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        match self.counts.get_mut(&value[..end]) {
            Some(known) => *known += count,
            None => {
                self.counts.insert(value[..end].to_owned(), count);
                // In strides, so that what is taken off is taken off of many at once.
                if self.counts.len() >= 2 * FREQUENT_MAX {
                    self.cut();
                }
            }
        }
    }

    fn cut(&mut self) {
        if self.counts.len() <= FREQUENT_MAX {
            return;
        }
        let mut all: Vec<u64> = self.counts.values().copied().collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        let off = all[FREQUENT_MAX];
        self.taken_off += off;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(off);
            *count > 0
        });
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        for (value, count) in &other.counts {
            *self.counts.entry(value.clone()).or_default() += count;
        }
        self.taken_off += other.taken_off;
        self.cut();
    }

    /// The most frequent values with their counts, and by how much those may be too small.
    #[must_use]
    pub fn most(&self, most: usize) -> (Vec<(&str, u64)>, u64) {
        let mut all: Vec<(&str, u64)> =
            self.counts.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(most);
        (all, self.taken_off)
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.counts.keys().map(|value| value.len() + size_of::<(String, u64)>()).sum()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.counts.len() < 2 * FREQUENT_MAX && self.counts.keys().all(|value| value.len() <= VALUE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distinct::mix;

    #[test]
    fn different_values_are_counted() {
        let of = |values: std::ops::Range<u64>| {
            let mut distinct = Distinct::default();
            values.clone().chain(values).for_each(|value| distinct.push(mix(value)));
            assert!(distinct.is_sound());
            distinct
        };
        assert_eq!(of(0..1_000).count(), (1_000, true));
        let mut many = of(0..30_000);
        many.merge(&of(20_000..50_000));
        let (count, is_exact) = many.count();
        assert!(!is_exact && (count as f64 / 50_000.0 - 1.0).abs() < 0.1, "{count}");
    }

    #[test]
    fn frequent_values_are_found_and_counts_are_within_their_bound() {
        let truth = |value: u64| if value < 5 { 2_000 * (5 - value) } else { 3 };
        let mut parts = [Frequent::default(), Frequent::default()];
        for value in 0..3_000_u64 {
            for _ in 0..truth(value) {
                let part = (mix(value) % 2) as usize;
                parts[part].add(&value.to_string(), 1);
            }
        }
        let [mut all, other] = parts;
        all.merge(&other);
        let (found, off) = all.most(5);
        assert!(all.is_sound() && off < 400, "{off}");
        for (place, (value, count)) in found.iter().enumerate() {
            assert_eq!(*value, place.to_string());
            let wanted = truth(place as u64);
            assert!(*count <= wanted && count + off >= wanted, "{value}: {count} {off} {wanted}");
        }
        let long = "ä".repeat(100);
        all.add(&long, 1);
        assert!(all.is_sound());
    }
}
