//! The event log of the embedded home. Readers go to the store; a watch tells them when there is more.

use acgs_vocabulary::{
    event::{self, Envelope},
    ports::{Appended, EventLog, Logged, PortError},
};
use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Embedded, RETRY, job::Job, trouble};

/// Events read at once.
const READ_MAX: usize = 1_000;
/// Events that wait for a subscriber; it is fed from the store when it falls behind.
const SUBSCRIBER_QUEUE: usize = 64;

impl Embedded {
    fn read_now(&self, after: u64, count: usize) -> Result<Vec<Logged>, PortError> {
        let from = after.saturating_add(1).to_be_bytes();
        let mut found = Vec::new();
        for held in self.parts()?.events.range(from..).take(count.min(READ_MAX)) {
            let (key, value) = held.into_inner().map_err(trouble)?;
            let envelope: Envelope = serde_json::from_slice(&value).map_err(trouble)?;
            let sequence = key[..].try_into().map(u64::from_be_bytes).unwrap_or(0);
            found.push(Logged { sequence, envelope });
        }
        Ok(found)
    }

    fn newest_now(&self, filter: &str) -> Result<Option<Logged>, PortError> {
        let parts = self.parts()?;
        let mut newest = None;
        for held in parts.subjects.iter() {
            let (subject, sequence) = held.into_inner().map_err(trouble)?;
            let (Ok(subject), Ok(sequence)) = (std::str::from_utf8(&subject), sequence[..].try_into()) else {
                continue;
            };
            // Counters are among the subjects, under names that no subject has.
            if !subject.starts_with('\0') && event::matches(filter, subject) {
                newest = newest.max(Some(u64::from_be_bytes(sequence)));
            }
        }
        let Some(sequence) = newest else { return Ok(None) };
        let page = self.read_now(sequence.saturating_sub(1), 1)?;
        Ok(page.into_iter().find(|logged| logged.sequence == sequence))
    }
}

#[async_trait]
impl EventLog for Embedded {
    async fn append(&self, envelope: Envelope, expected: Option<u64>) -> Result<Appended, PortError> {
        self.write(|reply| Job::Append { envelope: Box::new(envelope), expected, reply }).await
    }

    async fn read(&self, after: u64, count: usize) -> Result<Vec<Logged>, PortError> {
        let home = self.clone();
        tokio::task::spawn_blocking(move || home.read_now(after, count)).await.map_err(trouble)?
    }

    async fn last(&self) -> Result<u64, PortError> {
        Ok(*self.last.borrow())
    }

    async fn newest_of(&self, filter: &str) -> Result<Option<Logged>, PortError> {
        let (home, filter) = (self.clone(), filter.to_owned());
        tokio::task::spawn_blocking(move || home.newest_now(&filter)).await.map_err(trouble)?
    }

    async fn subscribe(&self, after: u64, filter: &str) -> Result<mpsc::Receiver<Logged>, PortError> {
        if !event::is_filter(filter) {
            return Err(PortError::Invalid(format!("{filter:?} is not a filter of subjects")));
        }
        let (events, subscriber) = mpsc::channel(SUBSCRIBER_QUEUE);
        let (home, filter) = (self.clone(), filter.to_owned());
        let mut last = self.last.clone();
        // The task ends when the subscriber or the home is gone.
        tokio::spawn(async move {
            let mut after = after;
            loop {
                last.borrow_and_update();
                let found = match home.read(after, READ_MAX).await {
                    Ok(found) => found,
                    Err(error) if error.is_passing() => {
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                    Err(error) => {
                        tracing::error!(%error, "a subscription ended");
                        return;
                    }
                };
                let done = found.is_empty();
                for logged in found {
                    after = logged.sequence;
                    if event::matches(&filter, &logged.envelope.subject) && events.send(logged).await.is_err()
                    {
                        return;
                    }
                }
                tokio::select! {
                    changed = last.changed(), if done => if changed.is_err() { return },
                    () = events.closed() => return,
                    () = std::future::ready(()), if !done => {}
                }
            }
        });
        Ok(subscriber)
    }
}
