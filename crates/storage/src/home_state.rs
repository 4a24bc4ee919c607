//! How a home is, for those who tell health: whether writes succeed, not whether somebody answers. It must not know any home.

use std::fmt::Debug;

use acgs_vocabulary::ports::PortError;
use async_trait::async_trait;

/// How a home is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HomeState {
    /// It takes writes, as far as it knows.
    #[default]
    Well,
    /// It does not, and tries to mend itself; why.
    Failing(String),
    /// It cannot mend itself: the process has to end, so that another begins; why.
    Lost(String),
}

/// A home that can be asked how it is.
#[async_trait]
pub trait HomeProbe: Debug + Send + Sync {
    /// Writes something small.
    ///
    /// # Errors
    /// As any write.
    async fn probe(&self) -> Result<(), PortError>;

    /// What it knows of itself.
    fn state(&self) -> HomeState;
}
