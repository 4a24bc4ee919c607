//! Times and ids as text. It must not know the clock: the time is passed in.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;

/// RFC 3339 in UTC, with milliseconds when there are any.
#[must_use]
pub fn rfc3339(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map_or_else(|_| time_ms.to_string(), |time| time.to_string())
}

/// Milliseconds since the epoch of an RFC 3339 time; seconds may be missing, a missing zone is UTC.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    let bare = text.strip_suffix('Z').unwrap_or(text);
    let time: jiff::civil::DateTime = bare.parse().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A unique id that sorts by time: a prefix and 26 characters of Crockford's base 32.
#[must_use]
pub fn unique_id(prefix: &str, now_ms: i64) -> String {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Each hasher state is seeded by the system, so two processes do not meet.
    let low = RandomState::new().hash_one(now_ms);
    // Ids of one millisecond sort as they were made.
    let value = (u128::from(now_ms as u64 & 0xffff_ffff_ffff) << 80)
        | (u128::from(count & 0xffff) << 64)
        | u128::from(low ^ count.rotate_left(32));
    let digit = |place: u32| char::from(ALPHABET[(value >> (5 * place) & 31) as usize]);
    prefix.chars().chain((0..26).rev().map(digit)).collect()
}

/// The 26 characters of an id turned around, so that later ones sort first; `None` when they are none.
#[must_use]
pub fn complement(characters: &str) -> Option<String> {
    let place = |byte: u8| ALPHABET.iter().position(|known| *known == byte);
    characters.bytes().map(|byte| place(byte).map(|place| char::from(ALPHABET[31 - place]))).collect()
}

/// Two numbers for a person, with at least so many decimals and as many as it takes to tell them apart: 0.796 is not "0.80, below 0.80".
#[must_use]
pub fn apart(value: f64, bound: f64, decimals_min: usize) -> (String, String) {
    const DECIMALS_MAX: usize = 12;
    let told = |decimals: usize| (format!("{value:.decimals$}"), format!("{bound:.decimals$}"));
    let differ = |decimals: &usize| {
        let (one, other) = told(*decimals);
        one != other
    };
    told((decimals_min..=DECIMALS_MAX).find(differ).unwrap_or(decimals_min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_both_ways() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(parse_rfc3339("2013-01-01T10:29Z"), Some(1_357_036_140_000));
        assert_eq!(parse_rfc3339("2013-01-01T10:29:00+01:00"), Some(1_357_032_540_000));
        assert_eq!(parse_rfc3339("2013-01-01 10:29:00"), Some(1_357_036_140_000));
        assert_eq!(parse_rfc3339("2013-01-01"), Some(1_356_998_400_000));
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert_eq!(parse_rfc3339(&rfc3339(1_357_036_140_123)), Some(1_357_036_140_123));
    }

    #[test]
    fn ids_are_unique_and_sort_by_time() {
        let ids: Vec<String> = (0..1_000).map(|_| unique_id("qa-", 1_700_000_000_000)).collect();
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
        assert!(ids.is_sorted(), "of one millisecond, as they were made");
        assert!(unique_id("", 1) < unique_id("", 2));
        assert_eq!(ids[0].len(), 29);
    }

    #[test]
    fn what_differs_is_told_apart() {
        assert_eq!(apart(0.5, 0.8, 2), ("0.50".to_owned(), "0.80".to_owned()));
        assert_eq!(apart(0.796, 0.8, 2), ("0.796".to_owned(), "0.800".to_owned()));
        assert_eq!(apart(0.8, 0.8, 2), ("0.80".to_owned(), "0.80".to_owned()));
        assert_eq!(apart(1.04, 1.0, 1), ("1.04".to_owned(), "1.00".to_owned()));
    }
}
