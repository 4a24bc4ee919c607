//! What the end of a call means for a session. It must not know a connection.

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Bounds of the server that are reached for now.
const PASSING: [&str; 4] = ["STALLED_CLIENT", "HOME_FULL", "MEMORY", "CALLS_BUSY"];

/// What a status means for the session.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The stream is at this address.
    Moved(String),
    /// Another connection may not have it.
    Passing(Box<Status>),
    /// It will be said again.
    Refused(Box<Status>),
}

impl Trouble {
    /// By code, and by reason where a code has several meanings.
    pub(super) fn of(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = info.map_or("", |info| info.reason.as_str());
        let owner = info.and_then(|info| info.metadata.get("address").cloned());
        let status = Box::new(status);
        match (status.code(), owner) {
            (Code::FailedPrecondition, Some(owner)) if reason == "NOT_OWNER" => Self::Moved(owner),
            (Code::FailedPrecondition, None) if reason == "NOT_OWNER" => Self::Passing(status),
            // A server that is full for now: it says when to come again.
            (Code::ResourceExhausted, _) if PASSING.contains(&reason) => Self::Passing(status),
            (
                Code::Unavailable
                | Code::Internal
                | Code::Unknown
                | Code::Cancelled
                | Code::Aborted
                | Code::DeadlineExceeded,
                _,
            ) => Self::Passing(status),
            _ => Self::Refused(status),
        }
    }
}

/// Whether the reports that the client has are no longer known.
pub(super) fn is_forgotten(status: &Status) -> bool {
    status.get_error_details().error_info().is_some_and(|info| info.reason == "RESUME_EXPIRED")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn what_may_pass_what_moved_and_what_stays() {
        let status = |code, reason: &str, address: Option<&str>| {
            let metadata: HashMap<String, String> =
                address.map(|address| ("address".to_owned(), address.to_owned())).into_iter().collect();
            Status::with_error_details(code, "", ErrorDetails::with_error_info(reason, "acgs", metadata))
        };
        let of = |code, reason, address| Trouble::of(status(code, reason, address));
        let moved = of(Code::FailedPrecondition, "NOT_OWNER", Some("a:1"));
        assert!(matches!(moved, Trouble::Moved(owner) if owner == "a:1"));
        assert!(matches!(of(Code::FailedPrecondition, "NOT_OWNER", None), Trouble::Passing(_)));
        assert!(matches!(of(Code::Unavailable, "DRAINING", None), Trouble::Passing(_)));
        assert!(matches!(of(Code::ResourceExhausted, "STALLED_CLIENT", None), Trouble::Passing(_)));
        for (code, reason) in [
            (Code::ResourceExhausted, "PANES"),
            (Code::InvalidArgument, "BAD_SCHEMA"),
            (Code::FailedPrecondition, "REPLACED"),
            (Code::PermissionDenied, "CONSTITUTION_MISMATCH"),
        ] {
            assert!(matches!(of(code, reason, None), Trouble::Refused(_)), "{reason}");
        }
        assert!(is_forgotten(&status(Code::FailedPrecondition, "RESUME_EXPIRED", None)));
    }
}
