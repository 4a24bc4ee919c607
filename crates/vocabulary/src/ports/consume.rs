//! What a durable consumer of a log does with an entry. It must not know how entries are read.

use async_trait::async_trait;

/// An entry of the ledger: its sequence and its bytes.
pub type LedgerEntry = (u64, Vec<u8>);

/// Takes the entries of a log, in order, each at least once.
#[async_trait]
pub trait Handler<T: Send + 'static>: Send {
    /// Takes an entry, and comes back when what follows from it is done or handed on.
    async fn handle(&mut self, entry: T);

    /// Comes back when what was handed on is where it has to be: only then is it written down how far was read.
    async fn settle(&mut self) {}
}
