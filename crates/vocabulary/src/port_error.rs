//! Why a home refused or failed. It must not know any home.

/// Why a home refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Another wrote first; read again.
    #[error("expected revision {expected}, found {found}")]
    Conflict {
        /// What the caller believed.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A name or value that no home takes.
    #[error("{0}")]
    Invalid(String),
    /// The home cannot be reached or is full.
    #[error("{0}")]
    Unavailable(String),
}
