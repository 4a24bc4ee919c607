//! Deadlines of calls, as gRPC writes them. It must not know what is called.

use std::time::{Duration, Instant};

use acgs_vocabulary::{Problem, problem::Kind};
use http::{HeaderMap, HeaderName};
use tonic::Status;

const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("grpc-timeout");
/// So much before a deadline a cancellation is taken for its passing: a server's own timer may be a moment earlier.
const SLACK: Duration = Duration::from_millis(5);

/// What a call is told whose deadline has passed.
#[must_use]
pub fn late() -> Status {
    Status::deadline_exceeded("the call's deadline has passed")
}

/// The status of a call that said nothing in time.
#[must_use]
pub fn silent(deadline: Option<tokio::time::Instant>) -> Status {
    if deadline.is_some_and(is_past) {
        return late();
    }
    Problem::new(Kind::Unavailable, "SILENT_CALL", "the first message did not come in time").into()
}

/// Whether a deadline has passed, or is so near that clocks may differ about it.
#[must_use]
pub fn is_past(deadline: tokio::time::Instant) -> bool {
    deadline <= tokio::time::Instant::now() + SLACK
}

/// When a call that came at `since` has to be over, by `grpc-timeout`: at most eight digits and a unit.
///
/// # Errors
/// When the header is something else.
pub fn deadline_of(headers: &HeaderMap, since: Instant) -> Result<Option<tokio::time::Instant>, Problem> {
    let Some(value) = headers.get(&TIMEOUT_HEADER) else { return Ok(None) };
    let bad =
        || Problem::field(TIMEOUT_HEADER.as_str(), "BAD_TIMEOUT", "is not up to eight digits and a unit");
    let text = value.to_str().map_err(|_| bad())?;
    let (digits, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or_else(bad)?;
    let fine = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| fine).ok_or_else(bad)?;
    let timeout = match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return Err(bad()),
    };
    Ok(tokio::time::Instant::from_std(since).checked_add(timeout))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn deadlines_are_read_as_they_are_written() {
        let since = Instant::now();
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(TIMEOUT_HEADER, HeaderValue::from_str(text).unwrap())]);
            let found = deadline_of(&headers, since).ok()??;
            Some(found - tokio::time::Instant::from_std(since))
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for bad in ["", "m", "123456789S", "-1S", "1x", "1"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
