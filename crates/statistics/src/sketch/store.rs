//! Counts of the buckets of one sign. It must not know signs or quantiles.
//!
//! Every finite magnitude has a bucket of its own, and nothing is folded into another's: buckets that lie together are an array,
//! lone ones a map, so that values far apart cost some words and not the octaves between them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bits of the mantissa that name a bucket.
const MANTISSA_BITS: u32 = 6;
const SHIFT: u32 = 52 - MANTISSA_BITS;
/// Buckets of one sign: the names of all finite magnitudes are below.
const NAMES: u32 = (f64::INFINITY.to_bits() >> SHIFT) as u32;
/// The array may have so many places for each bucket that holds anything ...
const PLACES_PER_BUCKET: usize = 16;
/// ... or so many for each value, up to a bound: looking up a place in an array is worth some bytes.
const PLACES_PER_VALUE: u64 = 4;
const PLACES_BY_VALUE_MAX: u64 = 4_096;

/// More values than any pane can have: sums of such totals stay far below their type's end.
pub(super) const TOTAL_MAX: u64 = 1 << 48;

/// Counts of buckets by their names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Store {
    /// Name of the bucket of `counts[0]`.
    low: u32,
    counts: Vec<u32>,
    /// Buckets that `counts` has no place for.
    apart: BTreeMap<u32, u32>,
    total: u64,
    /// Values that were put apart since it was looked at whether the array can take them.
    #[serde(skip)]
    waiting: u32,
}

/// By content: how it lies depends on the order of values.
impl PartialEq for Store {
    fn eq(&self, other: &Self) -> bool {
        self.total == other.total && self.filled().eq(other.filled())
    }
}

/// The bucket of a positive finite magnitude.
#[inline]
pub(super) fn name_of(magnitude: f64) -> u32 {
    (magnitude.to_bits() >> SHIFT) as u32
}

/// The middle of a bucket.
pub(super) fn middle(name: u32) -> f64 {
    let name = u64::from(name);
    let (from, to) = (f64::from_bits(name << SHIFT), f64::from_bits((name + 1) << SHIFT));
    if to.is_finite() { from + (to - from) / 2.0 } else { from }
}

impl Store {
    /// Values.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        // A node of a B-tree has eleven pairs and is about half full.
        self.counts.capacity() * size_of::<u32>() + self.apart.len().div_ceil(6) * 112
    }

    /// Whether what came back from outside is what adding could have made.
    pub(super) fn is_sound(&self) -> bool {
        let until = u64::from(self.low) + self.counts.len() as u64;
        let inside = |name: u32| (u64::from(self.low)..until).contains(&u64::from(name));
        until <= u64::from(NAMES)
            && self.total <= TOTAL_MAX
            && self.apart.keys().all(|&name| name < NAMES && !inside(name))
            && self.filled().map(|(_, count)| u64::from(count)).sum::<u64>() <= self.total
    }

    #[inline]
    pub(super) fn add(&mut self, name: u32, count: u32) {
        self.total += u64::from(count);
        match self.counts.get_mut(name.wrapping_sub(self.low) as usize) {
            Some(slot) => *slot = slot.saturating_add(count),
            None => self.add_apart(name, count),
        }
    }

    #[cold]
    fn add_apart(&mut self, name: u32, count: u32) {
        let slot = self.apart.entry(name).or_default();
        *slot = slot.saturating_add(count);
        // Looking costs as much as there is to look at: as many values have to come first.
        self.waiting += 1;
        let due = PLACES_PER_BUCKET.max(self.apart.len() / 2 + self.counts.len() / PLACES_PER_BUCKET);
        if self.waiting as usize >= due {
            self.waiting = 0;
            self.gather();
        }
    }

    fn high(&self) -> u32 {
        self.low + self.counts.len() as u32
    }

    fn put(&mut self, name: u32, count: u32) {
        let slot = &mut self.counts[(name - self.low) as usize];
        *slot = slot.saturating_add(count);
    }

    /// Takes into the array what lies near it, or near the fullest bucket, for as long as it pays.
    fn gather(&mut self) {
        let here = self.counts.iter().copied().max().unwrap_or(0);
        if self.apart.values().any(|count| count / 2 > here) {
            // The array lies where little is: it begins anew.
            let (low, counts) = (self.low, std::mem::take(&mut self.counts));
            let held = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
            self.apart.extend(held.map(|(place, count)| (low + place as u32, count)));
        }
        let mut filled = self.counts.iter().filter(|count| **count > 0).count();
        let (mut from, mut until) = match self.apart.iter().max_by_key(|(_, count)| **count) {
            Some((&fullest, _)) if self.counts.is_empty() => (fullest, fullest),
            _ => (self.low, self.high()),
        };
        let by_value = self.total.saturating_mul(PLACES_PER_VALUE).min(PLACES_BY_VALUE_MAX) as usize;
        loop {
            let below = self.apart.range(..from).next_back().map(|(&name, _)| (from - name, name, until));
            let above = self.apart.range(until..).next().map(|(&name, _)| (name + 1 - until, from, name + 1));
            let Some((_, low, high)) = below.into_iter().chain(above).min() else { break };
            if (high - low) as usize > (PLACES_PER_BUCKET * (filled + 1)).max(by_value) {
                break;
            }
            (from, until, filled) = (low, high, filled + 1);
        }
        if (until - from) as usize > self.counts.len() {
            self.widen(from, until);
        }
    }

    /// The array has places for `from..until`, which contains those that it had.
    fn widen(&mut self, from: u32, until: u32) {
        if from == self.low || self.counts.is_empty() {
            self.low = from;
            self.counts.resize((until - from) as usize, 0);
        } else {
            let mut counts = vec![0; (until - from) as usize];
            counts[(self.low - from) as usize..][..self.counts.len()].copy_from_slice(&self.counts);
            (self.low, self.counts) = (from, counts);
        }
        let inside: Vec<u32> = self.apart.range(from..until).map(|(&name, _)| name).collect();
        for name in inside {
            if let Some(count) = self.apart.remove(&name) {
                self.put(name, count);
            }
        }
    }

    /// Adds another's counts.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.total == 0 {
            self.clone_from(other);
            return;
        }
        let mut added = 0;
        for (name, count) in other.filled() {
            self.add(name, count);
            added += u64::from(count);
        }
        // Counts that are at their limit say less than their total.
        self.total += other.total.saturating_sub(added);
    }

    /// Names and counts of buckets that hold anything, ascending.
    pub(super) fn filled(&self) -> impl DoubleEndedIterator<Item = (u32, u32)> {
        let pair = |(&name, &count): (&u32, &u32)| (name, count);
        let together = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let together = together.map(|(place, &count)| (self.low + place as u32, count));
        let below = self.apart.range(..self.low).map(pair);
        below.chain(together).chain(self.apart.range(self.high()..).map(pair))
    }
}
