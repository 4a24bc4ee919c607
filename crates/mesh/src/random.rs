//! Numbers that are drawn without a lock: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). It must not know what for.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// A sequence that begins elsewhere than any other.
#[must_use]
pub fn sequence() -> AtomicU64 {
    AtomicU64::new(RandomState::new().hash_one(0_u8))
}

/// The next number of a sequence that threads share.
pub fn next(state: &AtomicU64) -> u64 {
    mix(state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
}

/// The finish: every bit of the state reaches every bit of the result.
#[must_use]
pub const fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
