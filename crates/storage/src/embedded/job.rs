//! What callers ask of the writing thread. It must not know how it is written.

use acgs_vocabulary::{
    event::Envelope,
    ports::{Appended, Chunk, PortError},
};
use tokio::sync::oneshot;

/// What an event takes, about.
const EVENT_BYTES: usize = 4 << 10;

/// Where a job's answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, PortError>>;
/// What callers ask for.
pub(super) enum Job {
    Append { envelope: Box<Envelope>, expected: Option<u64>, reply: Reply<Appended> },
    Put { key: String, value: Vec<u8>, expected: Option<u64>, reply: Reply<u64> },
    Delete { key: String, expected: Option<u64>, reply: Reply<()> },
    PutBlob { name: String, bytes: Vec<u8>, reply: Reply<()> },
    DeleteBlob { name: String, reply: Reply<()> },
    Enter { entry: Vec<u8>, expected: u64, reply: Reply<u64> },
    Record { topic: String, chunk: Chunk, reply: Reply<u64> },
}

impl Job {
    /// Bytes that it would write, about.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Append { .. } => EVENT_BYTES,
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } => key.len(),
            Self::PutBlob { bytes, .. } => bytes.len(),
            Self::DeleteBlob { name, .. } => name.len(),
            Self::Enter { entry, .. } => entry.len(),
            Self::Record { chunk, .. } => chunk.content.len(),
        };
        bytes as u64
    }

    /// Whether there is more room after it.
    pub(super) fn gives_room(&self) -> bool {
        matches!(self, Self::Delete { .. } | Self::DeleteBlob { .. })
    }

    /// Answers that it is not done.
    pub(super) fn refuse(self, error: PortError) {
        let _caller_left = match self {
            Self::Append { reply, .. } => reply.send(Err(error)).is_err(),
            Self::Put { reply, .. } => reply.send(Err(error)).is_err(),
            Self::Delete { reply, .. } | Self::PutBlob { reply, .. } | Self::DeleteBlob { reply, .. } => {
                reply.send(Err(error)).is_err()
            }
            Self::Enter { reply, .. } | Self::Record { reply, .. } => reply.send(Err(error)).is_err(),
        };
    }
}
