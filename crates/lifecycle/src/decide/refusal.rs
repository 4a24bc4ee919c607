//! Why a command was refused. It must not know how that is told.

use crate::model::Broken;

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such model.
    #[error("there is no model {0:?}")]
    UnknownModel(String),
    /// No such version.
    #[error("there is no version {0:?}")]
    UnknownVersion(String),
    /// No such job.
    #[error("there is no job-{0}")]
    UnknownJob(u64),
    /// No such deployment.
    #[error("there is no deployment-{0}")]
    UnknownDeployment(u64),
    /// The model has no policy.
    #[error("model {0:?} has no policy; put one first")]
    NoPolicy(String),
    /// The name is taken.
    #[error("version {0:?} is there already")]
    VersionExists(String),
    /// The artifact is another version's.
    #[error("version {0:?} has the same artifact")]
    DigestExists(String),
    /// A bound is reached.
    #[error("{0}")]
    Full(String),
    /// Another wrote first.
    #[error("the policy is revision {found}, not {expected}")]
    Revision {
        /// What the caller believed.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The table does not allow it.
    #[error("{0}")]
    WrongState(String),
    /// A champion cannot be taken out without one to take its place.
    #[error("{0:?} serves and there is no version on standby to take its place")]
    NoStandby(String),
    /// Another version serves than the caller believed.
    #[error("{found:?} serves, not {expected:?}")]
    Champion {
        /// What the caller believed.
        expected: String,
        /// What serves.
        found: String,
    },
    /// A request id stands for another wish.
    #[error("request {id:?} was another wish: {was}")]
    RequestReused {
        /// The id.
        id: String,
        /// What it was.
        was: String,
    },
    /// The same person cannot do both.
    #[error("{0}")]
    SamePerson(String),
    /// The job may not be taken now.
    #[error("{0}")]
    NotNow(String),
    /// Our own mistake.
    #[error(transparent)]
    Broken(#[from] Broken),
}
