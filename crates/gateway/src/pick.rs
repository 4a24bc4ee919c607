//! Which version a call goes to, and whether it is compared. Pure: a place in [0, 10,000) decides all. It must not know how
//! the place is drawn.
//!
//! The candidate has the first places, so that a caller who keeps its place stays with the candidate as its weight grows. Compared
//! are as many of the baseline's places as of the candidate's: the next ones.

use acgs_mesh::random::mix;

/// Places that a call can have.
pub const PLACES: u32 = 10_000;

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// To the candidate; otherwise to what serves.
    pub candidate: bool,
    /// It is compared.
    pub paired: bool,
}

/// For a candidate with so many percent.
#[must_use]
pub const fn pick(place: u32, weight: u32) -> Picked {
    let share = weight * PLACES / 100;
    let compared = if share < PLACES - share { share } else { PLACES - share };
    let candidate = place < share;
    let from = if candidate { place } else { place - share };
    Picked { candidate, paired: from < compared }
}

/// The place of a caller who stays: FNV-1a (Fowler, Noll and Vo), which every language has, finished by SplitMix64.
#[must_use]
pub fn place_of(model_id: &str, key: &[u8]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in model_id.bytes().chain([0]).chain(key.iter().copied()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    ((u128::from(mix(hash)) * u128::from(PLACES)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_are_exact_and_both_sides_are_compared_in_the_same_number() {
        for weight in 0..=100 {
            let all: Vec<Picked> = (0..PLACES).map(|place| pick(place, weight)).collect();
            let count = |candidate, paired| {
                all.iter().filter(|picked| picked.candidate == candidate && picked.paired == paired).count()
            };
            let of_candidate = count(true, true) + count(true, false);
            assert_eq!(of_candidate as u32, weight * 100);
            assert_eq!(count(true, true), count(false, true), "at {weight}");
        }
    }

    proptest! {
        #[test]
        fn who_is_with_the_candidate_stays_as_it_grows(place in 0..PLACES, weight in 0_u32..100) {
            if pick(place, weight).candidate {
                prop_assert!(pick(place, weight + 1).candidate);
            }
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let below = (0..20_000).filter(|key: &u32| place_of("m", &key.to_le_bytes()) < PLACES / 10).count();
        assert!((1_800..2_200).contains(&below), "{below}");
        assert_eq!(place_of("late-flights", b"customer-7"), place_of("late-flights", b"customer-7"));
    }
}
