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
    /// The home cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// The home has no room.
    #[error("{0}")]
    Full(String),
    /// What the home kept is damaged: trying again does not help.
    #[error("{0}")]
    Damaged(String),
}

impl PortError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }
}
