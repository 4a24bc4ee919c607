//! A bounded sample of whole numbers, any of which is as likely to be in it as another, whatever the parts that it was merged from. It must not know
//! what they are.

use serde::{Deserialize, Serialize};

use crate::distinct::mix;

/// Most numbers that are kept: shares are known to 3 % at worst.
pub const KEPT_MAX: usize = 256;

/// The numbers with the smallest hashes of themselves and their place (bottom-k sampling, Cohen and Kaplan 2007).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// By hash.
    kept: Vec<(u64, i64)>,
    count: u64,
}

impl Sample {
    /// Adds a number.
    #[inline]
    pub fn push(&mut self, value: i64) {
        self.count += 1;
        let hash = mix((value as u64) ^ self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if self.kept.len() < KEPT_MAX || self.kept.last().is_some_and(|(most, _)| hash < *most) {
            self.keep(hash, value);
        }
    }

    fn keep(&mut self, hash: u64, value: i64) {
        let place = self.kept.partition_point(|kept| *kept < (hash, value));
        self.kept.insert(place, (hash, value));
        self.kept.truncate(KEPT_MAX);
    }

    /// Adds another's numbers.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        other.kept.iter().for_each(|(hash, value)| self.keep(*hash, *value));
    }

    /// Numbers.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those that are kept, ascending.
    #[must_use]
    pub fn sorted(&self) -> Vec<i64> {
        let mut all: Vec<i64> = self.kept.iter().map(|(_, value)| *value).collect();
        all.sort_unstable();
        all
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.kept.capacity() * size_of::<(u64, i64)>()
    }

    /// Whether what came back from outside is what pushing could have made.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.kept.len() <= KEPT_MAX && self.kept.len() as u64 <= self.count && self.kept.is_sorted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_there_as_often_as_it_came() {
        let part = |from: i64, to: i64| {
            let mut sample = Sample::default();
            (from..to).for_each(|value| sample.push(value));
            sample
        };
        let mut merged = part(0, 9_000);
        merged.merge(&part(9_000, 10_000));
        assert!(merged.is_sound() && merged.count() == 10_000 && merged.sorted().len() == KEPT_MAX);
        let late = merged.sorted().iter().filter(|value| **value >= 9_000).count() as f64 / KEPT_MAX as f64;
        assert!((late - 0.1).abs() < 0.06, "{late}");
        let few = part(0, 10);
        assert_eq!(few.sorted(), (0..10).collect::<Vec<i64>>());
    }
}
