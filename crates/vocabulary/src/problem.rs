//! What can go wrong for a caller, and the one map from it to gRPC. It must not know which RPC it is.
//!
//! A problem says its reason in a word that programs can test (`ErrorInfo.reason`), a sentence for people, and where
//! it applies the field, the wait or the missing thing. `docs/errors.md` lists the reasons.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use acgs_budget::Spent;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::port_error::PortError;

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "acgs";
/// When a home that is full may be tried again.
const HOME_FULL_MS: u64 = 5_000;
/// When a server that had no room may be tried again.
const MEMORY_MS: u64 = 1_000;
/// Longest sentence sent to a caller, in bytes; gRPC carries it in a header.
const MESSAGE_BYTES_MAX: usize = 512;

/// The kinds of problems; each is one gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The input is wrong whatever the state.
    Invalid,
    /// The input is wrong for now: out of order.
    OutOfRange,
    /// The thing asked for is not there.
    NotFound,
    /// The state does not allow it.
    Precondition,
    /// A named bound is reached.
    Exhausted,
    /// Not allowed.
    Denied,
    /// Known, and not in this version.
    Unimplemented,
    /// Try again.
    Unavailable,
    /// It did not come in time.
    TooLate,
    /// What was kept is damaged.
    DataLoss,
    /// Our fault.
    Internal,
}

/// A problem of a caller. Boxed, because it is the rare side of every result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    kind: Kind,
    reason: Cow<'static, str>,
    message: String,
    field: Option<String>,
    retry_after_ms: Option<u64>,
    resource: Option<(&'static str, String)>,
    metadata: Vec<(&'static str, String)>,
}

impl Problem {
    /// A problem with a reason in SCREAMING_SNAKE_CASE and a sentence.
    #[must_use]
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner {
            kind,
            reason: reason.into(),
            message,
            field: None,
            retry_after_ms: None,
            resource: None,
            metadata: Vec::new(),
        }))
    }

    /// Wrong input in a field, named by its path in the request.
    #[must_use]
    pub fn field(path: impl Into<String>, reason: &'static str, message: impl std::fmt::Display) -> Self {
        let path = path.into();
        let mut problem = Self::new(Kind::Invalid, reason, format!("{path}: {message}"));
        problem.0.field = Some(path);
        problem
    }

    /// Something that is not there.
    #[must_use]
    pub fn missing(resource: &'static str, name: impl Into<String>, reason: &'static str) -> Self {
        let name = name.into();
        let mut problem = Self::new(Kind::NotFound, reason, format!("there is no {resource} {name:?}"));
        problem.0.resource = Some((resource, name));
        problem
    }

    /// A bound that is reached; trying again after this long may help.
    #[must_use]
    pub fn exhausted(reason: &'static str, message: impl Into<String>, retry_after_ms: u64) -> Self {
        let mut problem = Self::new(Kind::Exhausted, reason, message);
        problem.0.retry_after_ms = Some(retry_after_ms);
        problem
    }

    /// This process has nowhere to keep what is asked for.
    #[must_use]
    pub fn home_required(what: &str) -> Self {
        let message =
            format!("this process has no home for {what}; several processes share one through NATS");
        Self::new(Kind::Precondition, "HOME_REQUIRED", message)
    }

    /// What another process of ours answered, as far as it says why; otherwise with this reason.
    #[must_use]
    pub fn told(kind: Kind, status: &Status, otherwise: &'static str) -> Self {
        let details = status.get_error_details();
        let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) else {
            return Self::new(kind, otherwise, format!("{:?}: {}", status.code(), status.message()));
        };
        let mut problem = Self::new(kind, otherwise, status.message());
        problem.0.reason = Cow::Owned(info.reason.clone());
        problem.0.field =
            details.bad_request().and_then(|bad| Some(bad.field_violations.first()?.field.clone()));
        let after = details.retry_info().and_then(|retry| retry.retry_delay);
        problem.0.retry_after_ms = after.map(|after| after.as_millis() as u64);
        problem
    }

    /// Our fault; the details go to the log, not to the caller.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "INTERNAL", message)
    }

    /// Says something more that programs can read, in `ErrorInfo.metadata`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.metadata.push((key, value.into()));
        self
    }

    /// Puts the field into an outer message.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        if let Some(field) = self.0.field.take() {
            let rest = self.0.message.strip_prefix(&field).unwrap_or(&self.0.message).to_owned();
            let path = format!("{outer}.{field}");
            self.0.message = format!("{path}{rest}");
            self.0.field = Some(path);
        }
        self
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Whether the same may succeed later: it was refused for now, and says so.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self.0.kind {
            Kind::Unavailable => true,
            Kind::Exhausted => self.0.retry_after_ms.is_some(),
            _ => false,
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The field, if the input is wrong in one.
    #[must_use]
    pub fn field_path(&self) -> Option<&str> {
        self.0.field.as_deref()
    }
}

impl From<Spent> for Problem {
    fn from(spent: Spent) -> Self {
        // To wait would not help.
        if spent.never {
            let message = format!("{spent}; more than this server could hold if nobody else asked");
            return Self::new(Kind::Exhausted, "TOO_LARGE_FOR_MEMORY", message).with("share", spent.share);
        }
        Self::exhausted("MEMORY", spent.to_string(), MEMORY_MS).with("share", spent.share)
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Conflict { .. } => {
                Self::new(Kind::Unavailable, "CONFLICT", "another wrote first; try again")
            }
            PortError::Invalid(message) => Self::new(Kind::Invalid, "BAD_NAME", message),
            PortError::Unavailable(message) => Self::new(Kind::Unavailable, "HOME_UNAVAILABLE", message),
            PortError::Full(message) => Self::exhausted("HOME_FULL", message, HOME_FULL_MS),
            PortError::Damaged(message) => Self::new(Kind::DataLoss, "HOME_DAMAGED", message),
        }
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let mut problem = *problem.0;
        if problem.kind == Kind::Internal {
            // What went wrong inside is for those who run the server.
            tracing::error!(message = problem.message, "an internal error was answered");
            problem.message = "something went wrong inside the server; its log says what".into();
        }
        let code = match problem.kind {
            Kind::Invalid => Code::InvalidArgument,
            Kind::OutOfRange => Code::OutOfRange,
            Kind::NotFound => Code::NotFound,
            Kind::Precondition => Code::FailedPrecondition,
            Kind::Exhausted => Code::ResourceExhausted,
            Kind::Denied => Code::PermissionDenied,
            Kind::Unimplemented => Code::Unimplemented,
            Kind::Unavailable => Code::Unavailable,
            Kind::TooLate => Code::DeadlineExceeded,
            Kind::DataLoss => Code::DataLoss,
            Kind::Internal => Code::Internal,
        };
        let message = shorten(&problem.message);
        let mut details = ErrorDetails::new();
        let metadata = problem.metadata.iter().map(|(key, value)| ((*key).to_owned(), shorten(value)));
        details.set_error_info(&*problem.reason, DOMAIN, metadata.collect::<HashMap<_, _>>());
        if let Some(field) = &problem.field {
            details.add_bad_request_violation(shorten(field), message.clone());
        }
        if let Some(after_ms) = problem.retry_after_ms {
            details.set_retry_info(Some(Duration::from_millis(after_ms)));
        }
        if let Some((resource, name)) = &problem.resource {
            details.set_resource_info(*resource, shorten(name), "", message.clone());
        }
        if problem.kind == Kind::Precondition {
            details.add_precondition_failure_violation(&*problem.reason, "", message.clone());
        }
        Status::with_error_details(code, message, details)
    }
}

fn shorten(message: &str) -> String {
    let mut end = MESSAGE_BYTES_MAX.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_carries_reason_field_and_wait() {
        let status = Status::from(Problem::field("rows.seq", "SEQUENCE_GAP", "is 7").within("message"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "message.rows.seq: is 7");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "SEQUENCE_GAP");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "message.rows.seq");
        let status = Status::from(Problem::exhausted("PANES", "too many", 1_500));
        let retry = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(retry, Some(Duration::from_millis(1_500)));
        let status = Status::from(Problem::missing("reference", "r", "UNKNOWN_REFERENCE"));
        assert_eq!(status.get_error_details().resource_info().unwrap().resource_name, "r");
        let told =
            Problem::told(Kind::Exhausted, &Status::from(Problem::exhausted("PANES", "many", 7)), "LOST");
        assert_eq!(told, Problem::exhausted("PANES", "many", 7));
        let field = Problem::field("x", "BAD_SCHEMA", "is wrong");
        assert_eq!(Problem::told(Kind::Invalid, &Status::from(field.clone()), "LOST"), field);
        assert_eq!(Problem::told(Kind::Unavailable, &Status::unavailable("gone"), "LOST").reason(), "LOST");
        let long = Status::from(Problem::internal("ü".repeat(2_000)));
        assert!(long.message().len() <= MESSAGE_BYTES_MAX);
    }
}
