//! The ledger on a JetStream stream of its own, from which nothing can be deleted. It must not know what entries say.

use std::{sync::atomic::Ordering, time::Duration};

use acgs_vocabulary::ports::{ENTRY_BYTES_MAX, Ledger, PortError};
use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, pull},
    context::PublishErrorKind,
    message::PublishMessage,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::{
    JetStream, LEDGER, LEDGER_SUBJECT,
    codes::is_race,
    pages::{READER_KEEP, take_all},
    trouble,
};
use crate::bounds::check_size;

/// Entries read at once.
const READ_MAX: usize = 10_000;
/// Entries that wait for a follower; NATS holds the others.
const FOLLOWER_QUEUE: usize = 64;
/// Between attempts to go on.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

fn start(after: u64) -> DeliverPolicy {
    DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) }
}

impl JetStream {
    async fn last_entry(&self) -> Result<u64, PortError> {
        Ok(self.ledger.get_info().await.map_err(trouble)?.state.last_sequence)
    }

    /// Feeds a follower until the connection fails; returns where it is, or `None` when it is gone.
    async fn feed_entries(&self, mut after: u64, out: &mpsc::Sender<(u64, Vec<u8>)>) -> Option<u64> {
        let config = pull::OrderedConfig { deliver_policy: start(after), ..pull::OrderedConfig::default() };
        let Ok(consumer) = self.ledger.create_consumer(config).await else { return Some(after) };
        let Ok(mut messages) = consumer.messages().await else { return Some(after) };
        let mut connected = self.connected.clone();
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = out.closed() => return None,
                _ = connected.wait_for(|connected| !connected) => return Some(after),
            };
            let Some(Ok(message)) = message else { return Some(after) };
            let Ok(info) = message.info() else { return Some(after) };
            let sequence = info.stream_sequence;
            if sequence <= after {
                continue;
            }
            self.saw_entries(sequence);
            if out.send((sequence, message.payload.to_vec())).await.is_err() {
                return None;
            }
            after = sequence;
        }
    }
}

#[async_trait]
impl Ledger for JetStream {
    async fn enter(&self, expected: u64, entry: Vec<u8>) -> Result<u64, PortError> {
        check_size("an entry", entry.len(), ENTRY_BYTES_MAX)?;
        self.reachable()?;
        let message = PublishMessage::build().payload(entry.into()).expected_last_sequence(expected);
        let sent = self.context.send_publish(LEDGER_SUBJECT, message).await.map_err(trouble)?;
        match sent.await {
            Ok(ack) => {
                self.saw_entries(ack.sequence);
                Ok(ack.sequence)
            }
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence || is_race(&error) => {
                match self.last_entry().await? {
                    found if found > expected => Err(PortError::Conflict { expected, found }),
                    found if found == expected => Err(PortError::Unavailable(
                        "an entry of the ledger is on its way that too few servers have yet".into(),
                    )),
                    found if self.entries_seen.load(Ordering::Relaxed) < expected => {
                        Err(PortError::Conflict { expected, found })
                    }
                    found => Err(PortError::Damaged(format!(
                        "{LEDGER} holds {found} entries, and {expected} were read: it was lost or emptied; restore it"
                    ))),
                }
            }
            Err(error) => Err(trouble(error)),
        }
    }

    async fn entries(&self, after: u64, count: usize) -> Result<Vec<(u64, Vec<u8>)>, PortError> {
        self.reachable()?;
        let left = self.last_entry().await?.saturating_sub(after);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(count).min(READ_MAX);
        if count == 0 {
            return Ok(Vec::new());
        }
        if count == 1 {
            let message = self.ledger.get_raw_message(after + 1).await.map_err(trouble)?;
            self.saw_entries(message.sequence);
            return Ok(vec![(message.sequence, message.payload.to_vec())]);
        }
        let config = pull::Config {
            deliver_policy: start(after),
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_KEEP,
            ..pull::Config::default()
        };
        let consumer = self.ledger.create_consumer(config).await.map_err(trouble)?;
        let mut found = Vec::with_capacity(count);
        for message in take_all(&consumer, count).await? {
            let sequence = message.info().map_err(trouble)?.stream_sequence;
            found.push((sequence, message.payload.to_vec()));
        }
        self.saw_entries(after + found.len() as u64);
        // Nothing is ever deleted from a ledger.
        if found.len() != count {
            let message =
                format!("the ledger gave {} of {count} entries; it has to be read again", found.len());
            return Err(PortError::Unavailable(message));
        }
        Ok(found)
    }

    async fn follow(&self, after: u64) -> Result<mpsc::Receiver<(u64, Vec<u8>)>, PortError> {
        self.reachable()?;
        let (out, follower) = mpsc::channel(FOLLOWER_QUEUE);
        let home = self.clone();
        // The task ends when the follower is gone.
        tokio::spawn(async move {
            let mut after = after;
            while let Some(reached) = home.feed_entries(after, &out).await {
                after = reached;
                let mut connected = home.connected.clone();
                tokio::select! {
                    _ = connected.wait_for(|connected| *connected) => {}
                    () = out.closed() => return,
                }
                tokio::select! {
                    () = tokio::time::sleep(RESUME_PAUSE) => {}
                    () = out.closed() => return,
                }
            }
        });
        Ok(follower)
    }
}
