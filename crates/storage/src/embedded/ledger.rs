//! The ledger of the embedded home. It must not know what entries say.

use acgs_vocabulary::ports::{ENTRY_BYTES_MAX, Ledger, PortError};
use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Embedded, RETRY, job::Job, trouble};
use crate::bounds::check_size;

/// Entries read at once.
const READ_MAX: usize = 10_000;
/// Entries that wait for a follower; it is fed from the store when it falls behind.
const FOLLOWER_QUEUE: usize = 64;

impl Embedded {
    fn entries_now(&self, after: u64, count: usize) -> Result<Vec<(u64, Vec<u8>)>, PortError> {
        let from = after.saturating_add(1).to_be_bytes();
        let mut found = Vec::new();
        for held in self.parts()?.ledger.range(from..).take(count.min(READ_MAX)) {
            let (key, value) = held.into_inner().map_err(trouble)?;
            found.push((key[..].try_into().map(u64::from_be_bytes).unwrap_or(0), value.to_vec()));
        }
        Ok(found)
    }
}

#[async_trait]
impl Ledger for Embedded {
    async fn enter(&self, expected: u64, entry: Vec<u8>) -> Result<u64, PortError> {
        check_size("an entry", entry.len(), ENTRY_BYTES_MAX)?;
        self.write(|reply| Job::Enter { entry, expected, reply }).await
    }

    async fn entries(&self, after: u64, count: usize) -> Result<Vec<(u64, Vec<u8>)>, PortError> {
        let home = self.clone();
        tokio::task::spawn_blocking(move || home.entries_now(after, count)).await.map_err(trouble)?
    }

    async fn follow(&self, after: u64) -> Result<mpsc::Receiver<(u64, Vec<u8>)>, PortError> {
        let (out, follower) = mpsc::channel(FOLLOWER_QUEUE);
        let (home, mut last) = (self.clone(), self.ledger_last.clone());
        // The task ends when the follower or the home is gone.
        tokio::spawn(async move {
            let mut after = after;
            loop {
                last.borrow_and_update();
                let found = match home.entries(after, FOLLOWER_QUEUE).await {
                    Ok(found) => found,
                    Err(error) if error.is_passing() => {
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                    Err(error) => {
                        tracing::error!(%error, "a follower of the ledger was lost");
                        return;
                    }
                };
                let done = found.is_empty();
                for (sequence, entry) in found {
                    after = sequence;
                    if out.send((sequence, entry)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    changed = last.changed(), if done => if changed.is_err() { return },
                    () = out.closed() => return,
                    () = std::future::ready(()), if !done => {}
                }
            }
        });
        Ok(follower)
    }
}
