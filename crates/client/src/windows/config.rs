//! How a session is kept, and why it cannot go on. It must not know a connection.

use std::time::Duration;

use tonic::Status;

/// What a client does when the orchestrator that opens its stream again knows less than was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// Tells its caller, who may have everything and begin again.
    Fail,
    /// Goes on with what was not accepted, in the new life of the stream.
    Continue,
}

/// How a session is kept.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Orchestrators, `host:port`, at least one; all are tried.
    pub addresses: Vec<String>,
    /// For the first answer of one of them.
    pub opening: Duration,
    /// A broken connection is made again for this long; zero means never, and then no frame is kept.
    pub reconnect: Duration,
    /// When the stream's state is gone.
    pub on_loss: OnLoss,
}

/// Why a session cannot go on now. What was not accepted is kept; asked again, the session tries again.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// What the server says against the stream or a frame of it.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
    /// No orchestrator could be reached for too long; the last one's trouble.
    #[error("{}", .0.message())]
    Unreachable(Box<Status>),
    /// The stream was opened again with less than was accepted.
    #[error(
        "the stream was lost: of the frames through {accepted_through} only those through {known_through} are known"
    )]
    Lost {
        /// The last frame that was accepted.
        accepted_through: u64,
        /// The last one that the server knows.
        known_through: u64,
    },
    /// The server closed the stream before it took everything.
    #[error("the server closed the stream")]
    Closed,
}

impl SessionError {
    /// The status behind it, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused(status) | Self::Unreachable(status) => Some(status),
            Self::Lost { .. } | Self::Closed => None,
        }
    }
}
