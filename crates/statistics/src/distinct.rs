//! How many values repeat: exact for few distinct values, by a sample of hashes for many.
//! It must not know the values, only their 64-bit hashes.
//!
//! All copies of a value share a hash, so a sample by hash (Wegman's adaptive sampling, Flajolet 1990) keeps or drops
//! them together and the share of repeats in the sample estimates the share in the whole.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Most distinct hashes kept.
pub const KEPT_MAX: usize = 16_384;
/// Hashes buffered before they are looked up.
const BUFFER_MAX: usize = 4_096;

/// A multiset of hashes, thinned to those that end in `level` zero bits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Repeats {
    level: u32,
    counts: HashMap<u64, u32>,
    buffer: Vec<u64>,
    total: u64,
}

impl Repeats {
    /// Bytes that it holds on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // A hash table: one byte beside each slot, and an eighth of them free.
        self.counts.capacity() * 8 / 7 * (size_of::<(u64, u32)>() + 1)
            + self.buffer.capacity() * size_of::<u64>()
    }

    /// Adds a value by its well-mixed hash.
    #[inline]
    pub fn push(&mut self, hash: u64) {
        self.total += 1;
        if hash.trailing_zeros() >= self.level {
            self.buffer.push(hash);
            if self.buffer.len() >= BUFFER_MAX {
                self.flush();
            }
        }
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.level = self.level.max(other.level);
        self.flush();
        for (&hash, &count) in &other.counts {
            self.keep(hash, count);
        }
        for &hash in &other.buffer {
            self.keep(hash, 1);
        }
        self.thin();
    }

    /// Values pushed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Values that repeat an earlier one: exact up to [`KEPT_MAX`] distinct values, estimated above.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        let mut all = self.clone();
        all.flush();
        let kept: u64 = all.counts.values().map(|&count| u64::from(count)).sum();
        let repeats = kept.saturating_sub(all.counts.len() as u64);
        if all.level == 0 || kept == 0 {
            return repeats;
        }
        (repeats as f64 / kept as f64 * self.total as f64).round() as u64
    }

    fn flush(&mut self) {
        for hash in std::mem::take(&mut self.buffer) {
            self.keep(hash, 1);
        }
        self.thin();
    }

    fn keep(&mut self, hash: u64, count: u32) {
        if hash.trailing_zeros() >= self.level {
            let slot = self.counts.entry(hash).or_default();
            *slot = slot.saturating_add(count);
        }
    }

    fn thin(&mut self) {
        while self.counts.len() > KEPT_MAX {
            self.level += 1;
            let level = self.level;
            self.counts.retain(|hash, _| hash.trailing_zeros() >= level);
        }
    }
}

/// Mixes a 64-bit integer so that every bit of it reaches every bit of the hash (SplitMix64's finaliser).
#[must_use]
#[inline]
pub fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Hashes text (FNV-1a, then mixed).
#[must_use]
pub fn hash_text(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(folded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_values_are_counted_exactly(parts in prop::collection::vec(prop::collection::vec(0..50_u64, 0..60), 1..5)) {
            let mut merged = Repeats::default();
            for part in &parts {
                let mut repeats = Repeats::default();
                part.iter().for_each(|&value| repeats.push(mix(value)));
                merged.merge(&repeats);
            }
            let all = parts.concat();
            let distinct: std::collections::HashSet<_> = all.iter().collect();
            prop_assert_eq!(merged.total(), all.len() as u64);
            prop_assert_eq!(merged.repeated(), (all.len() - distinct.len()) as u64);
        }
    }

    #[test]
    fn many_values_are_estimated() {
        let mut repeats = Repeats::default();
        // 200,000 values, every tenth a repeat.
        for value in 0..200_000_u64 {
            repeats.push(mix(if value % 10 == 9 { value - 1 } else { value }));
        }
        let repeated = repeats.repeated() as f64;
        assert!((repeated - 20_000.0).abs() < 2_000.0, "{repeated}");
        assert!(repeats.counts.len() <= KEPT_MAX);
    }
}
