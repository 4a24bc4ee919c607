//! What callers ask of the writing thread. It must not know how it is written.

use acgs_vocabulary::{
    event::Envelope,
    ports::{Appended, Chunk, PortError},
};
use tokio::sync::oneshot;

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
