//! What names, reasons and people have to look like.

use acgs_vocabulary::{
    Problem,
    names::{self, NAME_BYTES_MAX},
};

/// Longest sentence, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;

/// 1 to 128 of letters, digits, `_`, `-`, `.`.
pub(super) fn name(field: &str, value: &str) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&value.len()) && value.bytes().all(plain) {
        return Ok(());
    }
    let message = format!("is not 1 to {NAME_BYTES_MAX} of letters, digits, `_`, `-`, `.`");
    Err(Problem::field(field, "BAD_NAME", message))
}

/// At most 128 bytes.
pub(super) fn short(field: &str, value: &str) -> Result<(), Problem> {
    names::check_short(field, value, NAME_BYTES_MAX)
}

/// At most 1,024 bytes.
pub(super) fn text(field: &str, value: &str) -> Result<(), Problem> {
    names::check_sentence(field, value, TEXT_BYTES_MAX)
}

/// A reason that has to be given.
pub(super) fn reason(field: &str, value: &str) -> Result<String, Problem> {
    text(field, value)?;
    if value.trim().is_empty() {
        return Err(Problem::field(field, "MISSING", "is empty; say why"));
    }
    Ok(value.to_owned())
}

/// Who asks; nobody in particular when it is not said.
pub(super) fn actor(value: &str) -> Result<String, Problem> {
    short("actor", value)?;
    Ok(if value.is_empty() { "anonymous".to_owned() } else { value.to_owned() })
}

/// Who asks, where it has to be somebody.
pub(super) fn person(value: &str) -> Result<String, Problem> {
    short("actor", value)?;
    if value.trim().is_empty() {
        return Err(Problem::field("actor", "MISSING", "is empty; say who you are"));
    }
    Ok(value.to_owned())
}

pub(super) fn bad_job(field: &str) -> Problem {
    Problem::field(field, "BAD_JOB_ID", "is not a job such as job-7")
}

/// The number in an id such as `job-7`, for a prefix such as `job-`.
pub(super) fn numbered(prefix: &str, id: &str) -> Option<u64> {
    id.strip_prefix(prefix).and_then(|number| number.parse().ok()).filter(|number| *number > 0)
}

/// The number in `job-7`.
pub(super) fn job_number(job_id: &str) -> Result<u64, Problem> {
    numbered("job-", job_id).ok_or_else(|| bad_job("job_id"))
}

/// What ids of deployments begin with.
pub(super) const DEPLOYMENT: &str = "deployment-";

/// The number in `deployment-7`.
pub(super) fn deployment_number(field: &str, deployment_id: &str) -> Result<u64, Problem> {
    let bad = || Problem::field(field, "BAD_DEPLOYMENT_ID", "is not a deployment such as deployment-7");
    numbered(DEPLOYMENT, deployment_id).ok_or_else(bad)
}

/// A name of a router.
pub(super) fn router_name(field: &str, value: &str) -> Result<(), Problem> {
    name(field, &value.replace(':', "-"))
}

/// 64 hex digits in lower case.
pub(super) fn digest(field: &str, value: &str) -> Result<(), Problem> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if value.len() == 64 && value.bytes().all(hex) {
        return Ok(());
    }
    Err(Problem::field(field, "BAD_DIGEST", "is not a SHA-256: 64 hex digits in lower case"))
}
