//! A durable consumer: it reads a log in order from where it was, hands each entry to a handler, and writes down how far it came.
//! An entry is handled at least once: what a handler does has to be the same the second time. It must not know what is handled.

use std::{sync::Arc, time::Duration};

use acgs_vocabulary::ports::{
    EventLog, KeyValue, Ledger, Logged, PortError,
    consume::{Handler, LedgerEntry},
};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Entries between two writes of the position.
const WRITE_EVERY: u64 = 256;
/// When nothing comes for this long, the position is written.
const QUIET: Duration = Duration::from_secs(1);
/// Between attempts while the home cannot be reached.
const RETRY: Duration = Duration::from_millis(250);

/// A log, as consumers read it.
#[async_trait]
pub trait Source: Send + Sync {
    /// What it holds.
    type Entry: Send + 'static;

    /// Entries after a sequence and then live.
    ///
    /// # Errors
    /// The home's trouble.
    async fn follow(&self, after: u64) -> Result<mpsc::Receiver<Self::Entry>, PortError>;

    /// The last sequence; 0 when it is empty.
    ///
    /// # Errors
    /// The home's trouble.
    async fn last(&self) -> Result<u64, PortError>;

    /// Where an entry is.
    fn sequence(entry: &Self::Entry) -> u64;
}

/// Events whose subjects match a filter.
#[derive(Clone, Debug)]
pub struct Events {
    /// Where they are.
    pub log: Arc<dyn EventLog>,
    /// Tokens by dots; `*` is one token, a last `>` is one or more.
    pub filter: String,
}

#[async_trait]
impl Source for Events {
    type Entry = Logged;

    async fn follow(&self, after: u64) -> Result<mpsc::Receiver<Logged>, PortError> {
        self.log.subscribe(after, &self.filter).await
    }

    async fn last(&self) -> Result<u64, PortError> {
        self.log.last().await
    }

    fn sequence(entry: &Logged) -> u64 {
        entry.sequence
    }
}

/// Entries of the ledger.
#[derive(Clone, Debug)]
pub struct Entries(pub Arc<dyn Ledger>);

#[async_trait]
impl Source for Entries {
    type Entry = LedgerEntry;

    async fn follow(&self, after: u64) -> Result<mpsc::Receiver<LedgerEntry>, PortError> {
        self.0.follow(after).await
    }

    async fn last(&self) -> Result<u64, PortError> {
        let mut last = 0;
        while let Some((sequence, _)) = self.0.entries(last, WRITE_EVERY as usize).await?.pop() {
            last = sequence;
        }
        Ok(last)
    }

    fn sequence(entry: &LedgerEntry) -> u64 {
        entry.0
    }
}

/// Where a consumer that has no position yet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With the first entry that is kept.
    Oldest,
    /// With what comes.
    Next,
}

/// How far a log was read, kept in the key-value home under a name; never back.
#[derive(Clone, Debug)]
pub struct Position {
    /// Where it is kept.
    pub keys: Arc<dyn KeyValue>,
    /// The key.
    pub name: &'static str,
    /// Without one.
    pub beginning: Beginning,
}

impl Position {
    async fn held(&self) -> Result<(u64, Option<u64>), PortError> {
        let Some(held) = self.keys.get(self.name).await? else { return Ok((0, None)) };
        let place = std::str::from_utf8(&held.value).ok().and_then(|text| text.parse().ok());
        Ok((held.revision, place))
    }

    async fn read(&self, source: &impl Source) -> Result<u64, PortError> {
        let (revision, place) = self.held().await?;
        match (place, self.beginning) {
            // A log that was made again counts from the beginning.
            (Some(place), _) if source.last().await? < place => {
                tracing::warn!(
                    name = self.name,
                    place,
                    "a log is shorter than what was read of it; it is read from its beginning"
                );
                self.keys.delete(self.name, Some(revision)).await?;
                Ok(0)
            }
            (Some(place), _) => Ok(place),
            (None, Beginning::Oldest) => Ok(0),
            (None, Beginning::Next) => source.last().await,
        }
    }

    /// Moves it on; false when that could not be written, and it is tried again later.
    async fn write(&self, place: u64) -> bool {
        match self.held().await {
            Ok((_, Some(known))) if known >= place => true,
            Ok((revision, _)) => {
                self.keys.put(self.name, place.to_string().into_bytes(), Some(revision)).await.is_ok()
            }
            Err(_) => false,
        }
    }
}

/// Reads a source for a handler.
#[derive(Debug)]
pub struct Consumer<S, H> {
    /// What is read.
    pub source: S,
    /// How far.
    pub position: Position,
    /// For whom.
    pub handler: H,
}

impl<S: Source, H: Handler<S::Entry>> Consumer<S, H> {
    /// Reads until everything ends.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.read_all() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn read_all(&mut self) {
        let mut read = loop {
            match self.position.read(&self.source).await {
                Ok(read) => break read,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        let mut written = read;
        loop {
            let Ok(mut entries) = self.source.follow(read).await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            loop {
                let quiet = match tokio::time::timeout(QUIET, entries.recv()).await {
                    Ok(Some(entry)) => {
                        let sequence = S::sequence(&entry);
                        self.handler.handle(entry).await;
                        read = sequence;
                        false
                    }
                    Ok(None) => {
                        tokio::time::sleep(RETRY).await;
                        break;
                    }
                    Err(_nothing_came) => true,
                };
                if read >= written + WRITE_EVERY || quiet && read > written {
                    self.handler.settle().await;
                    if self.position.write(read).await {
                        written = read;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;
