//! The identifier that everything carries: the first 16 hex digits of the SHA-256 of a document's raw bytes.
//! It must not know headers or streams. It is a mark of compliance, not a secret and not an identity.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

use crate::problem::{Kind, Problem};

/// The metadata key, on requests and responses.
pub const HEADER: &str = "x-constitutional-hash";
/// The platform's own identifier.
pub const PLATFORM: &str = "cdd01ef066bc6cf2";
/// Largest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
const DIGITS: usize = 16;

/// The accepted identifiers, and how often they were checked. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Constitution {
    accepted: Arc<[String]>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    validations: AtomicU64,
    mismatches: AtomicU64,
}

/// Identifiers that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstitutionError {
    /// Not 16 lower-case hex digits.
    #[error("constitutional hash {0:?} is not 16 lower-case hex digits")]
    Form(String),
    /// None, or more than current and next.
    #[error("there are 1 or 2 accepted constitutional hashes (current and next), not {0}")]
    Count(usize),
}

impl Constitution {
    /// Accepts these identifiers; the first is the current one and goes on everything sent.
    ///
    /// # Errors
    /// When there are not 1 or 2, or one has not the form.
    pub fn new(accepted: Vec<String>) -> Result<Self, ConstitutionError> {
        if accepted.is_empty() || accepted.len() > 2 {
            return Err(ConstitutionError::Count(accepted.len()));
        }
        if let Some(bad) = accepted.iter().find(|identifier| !has_form(identifier)) {
            return Err(ConstitutionError::Form(bad.clone()));
        }
        Ok(Self { accepted: accepted.into(), counts: Arc::default() })
    }

    /// The identifier in force.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.accepted[0]
    }

    /// All accepted identifiers.
    #[must_use]
    pub fn accepted(&self) -> &[String] {
        &self.accepted
    }

    /// Checks what a caller sent, and counts it. Neither answer tells the expected value.
    ///
    /// # Errors
    /// `CONSTITUTION_MISSING` when absent, `CONSTITUTION_MISMATCH` when wrong.
    pub fn check(&self, sent: Option<&str>) -> Result<(), Problem> {
        self.counts.validations.fetch_add(1, Ordering::Relaxed);
        match sent {
            Some(sent) if self.accepts(sent) => Ok(()),
            Some(_) => {
                self.counts.mismatches.fetch_add(1, Ordering::Relaxed);
                let message =
                    format!("the constitutional hash in `{HEADER}` is not one that this server serves under");
                Err(Problem::new(Kind::Denied, "CONSTITUTION_MISMATCH", message))
            }
            None => {
                self.counts.mismatches.fetch_add(1, Ordering::Relaxed);
                let message = format!("send the constitutional hash in the metadata `{HEADER}`");
                Err(Problem::new(Kind::Invalid, "CONSTITUTION_MISSING", message))
            }
        }
    }

    /// Whether an identifier is accepted; not counted.
    #[must_use]
    pub fn accepts(&self, identifier: &str) -> bool {
        self.accepted.iter().any(|accepted| accepted == identifier)
    }

    /// Checks made, and checks failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.validations.load(Ordering::Relaxed), self.counts.mismatches.load(Ordering::Relaxed))
    }
}

fn has_form(identifier: &str) -> bool {
    identifier.len() == DIGITS && identifier.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 of raw bytes, in hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// The SHA-256 of raw bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The identifier of a document.
#[must_use]
pub fn identifier(document: &[u8]) -> String {
    sha256_hex(document)[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_counted_and_do_not_tell() {
        let constitution = Constitution::new(vec![PLATFORM.into(), "0123456789abcdef".into()]).unwrap();
        assert!(constitution.check(Some(PLATFORM)).is_ok());
        assert!(constitution.check(Some("0123456789abcdef")).is_ok());
        for (sent, reason) in [
            (None, "CONSTITUTION_MISSING"),
            (Some(""), "CONSTITUTION_MISMATCH"),
            (Some("CDD01EF066BC6CF2"), "CONSTITUTION_MISMATCH"),
            (Some(" cdd01ef066bc6cf2"), "CONSTITUTION_MISMATCH"),
        ] {
            let problem = constitution.check(sent).unwrap_err();
            assert_eq!(problem.reason(), reason);
            assert!(!problem.to_string().contains("cdd01"));
        }
        assert_eq!(constitution.counts(), (6, 4));
    }

    #[test]
    fn identifiers_have_a_form() {
        assert_eq!(Constitution::new(vec![]).unwrap_err(), ConstitutionError::Count(0));
        assert!(Constitution::new(vec!["XYZ".into()]).is_err());
        assert!(Constitution::new(vec!["CDD01EF066BC6CF2".into()]).is_err());
    }

    #[test]
    fn an_identifier_is_the_start_of_the_digest() {
        // SHA-256 of "abc", FIPS 180-2.
        assert_eq!(identifier(b"abc"), "ba7816bf8f01cfea");
        assert_ne!(identifier(b"abc"), identifier(b"abc "), "white space counts");
    }
}
