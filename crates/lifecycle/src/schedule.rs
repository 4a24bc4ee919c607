//! Cron expressions over event time, UTC. It must not know what is scheduled.

use std::str::FromStr;

use croner::Cron;
use jiff::{Timestamp, tz::TimeZone};

/// Longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 128;

/// The first moment of an expression after a time, in milliseconds; `None` when there is none within reach.
///
/// # Errors
/// What is wrong with the expression.
pub fn next_after(expression: &str, after_ms: i64) -> Result<Option<i64>, String> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("has {} bytes, at most {EXPRESSION_BYTES_MAX}", expression.len()));
    }
    let cron = Cron::from_str(expression).map_err(|error| error.to_string())?;
    let Ok(after) = Timestamp::from_millisecond(after_ms) else { return Ok(None) };
    let next = cron.find_next_occurrence(&after.to_zoned(TimeZone::UTC), false);
    Ok(next.ok().map(|next| next.timestamp().as_millisecond()))
}

/// The last moment of an expression at or before a time and after another.
#[must_use]
pub fn last_within(expression: &str, after_ms: i64, until_ms: i64) -> Option<i64> {
    let cron = Cron::from_str(expression).ok()?;
    let until = Timestamp::from_millisecond(until_ms).ok()?;
    let last = cron.find_previous_occurrence(&until.to_zoned(TimeZone::UTC), true).ok()?;
    Some(last.timestamp().as_millisecond()).filter(|last_ms| *last_ms > after_ms)
}

#[cfg(test)]
mod tests {
    use acgs_vocabulary::text::parse_rfc3339;

    use super::*;

    fn at(text: &str) -> i64 {
        parse_rfc3339(text).unwrap()
    }

    #[test]
    fn moments_are_found_and_nonsense_is_named() {
        let next = next_after("0 4 1 * *", at("2013-03-01T05:00Z")).unwrap();
        assert_eq!(next, Some(at("2013-04-01T04:00Z")));
        assert_eq!(next_after("0 0 29 2 *", at("2013-03-01")).unwrap(), Some(at("2016-02-29")));
        for bad in ["", "* * *", "61 * * * *", "every day", "0 0 * * FOO", &"*".repeat(500)] {
            assert!(next_after(bad, 0).is_err(), "{bad:?}");
        }
        // A day that no month has.
        assert_eq!(next_after("0 0 31 2 *", at("2013-03-01")).unwrap_or(None), None);
    }

    #[test]
    fn only_the_newest_of_missed_moments_counts() {
        let (from, until) = (at("2013-03-01"), at("2013-05-10"));
        assert_eq!(last_within("0 0 1 * *", from, until), Some(at("2013-05-01")));
        assert_eq!(last_within("0 0 1 * *", at("2013-05-01"), until), None);
    }
}
