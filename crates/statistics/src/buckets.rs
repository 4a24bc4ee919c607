//! Durations in buckets: sixteen for each power of two, so that a bucket's bounds differ by 6 % at most. Counters of them add
//! up over observers, and a threshold on a bound is exact. It must not know what took so long.

/// Buckets: the last holds everything from some nineteen hours on.
pub const BUCKETS: usize = 640;

/// Where a duration in microseconds belongs.
#[must_use]
pub const fn bucket_of(duration_us: u64) -> usize {
    if duration_us < 16 {
        return duration_us as usize;
    }
    let power = 63 - duration_us.leading_zeros() as usize;
    let place = (duration_us >> (power - 4)) as usize & 15;
    let bucket = (power - 3) * 16 + place;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The first duration beyond a bucket, in microseconds.
#[must_use]
pub const fn upper_us(bucket: usize) -> u64 {
    if bucket < 16 {
        return bucket as u64 + 1;
    }
    let (power, place) = (bucket / 16 + 3, bucket % 16);
    (17 + place as u64) << (power - 4)
}

/// The bound below which at least this share of the counted is; `None` when nothing is counted.
#[must_use]
pub fn quantile_upper_us(counts: &[u64], share: f64) -> Option<u64> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let wanted = (share * all as f64).ceil() as u64;
    let mut below = 0;
    for (bucket, count) in counts.iter().enumerate() {
        below += count;
        if below >= wanted {
            return Some(upper_us(bucket));
        }
    }
    Some(upper_us(counts.len().saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_duration_is_below_its_bucket_and_not_below_the_one_before(duration_us in 0_u64..(1 << 38)) {
            let bucket = bucket_of(duration_us);
            if bucket < BUCKETS - 1 {
                prop_assert!(duration_us < upper_us(bucket));
                prop_assert_eq!(bucket_of(upper_us(bucket)), bucket + 1);
            }
            if bucket > 0 {
                prop_assert!(duration_us >= upper_us(bucket - 1));
            }
        }
    }

    #[test]
    fn quantiles_are_bounds() {
        let mut counts = vec![0; BUCKETS];
        for duration_us in 0..1_000 {
            counts[bucket_of(duration_us)] += 1;
        }
        let p95_us = quantile_upper_us(&counts, 0.95).unwrap();
        assert!((950..1_010).contains(&p95_us), "{p95_us}");
        assert_eq!(quantile_upper_us(&vec![0; BUCKETS], 0.5), None);
    }
}
