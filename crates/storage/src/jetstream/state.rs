//! Keys on a JetStream bucket. It must not know what they hold.

use std::time::Duration;

use acgs_vocabulary::ports::{KeyValue, PortError, Versioned};
use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, pull},
    kv::{CreateErrorKind, Entry, Operation, UpdateErrorKind},
};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::{
    JetStream,
    codes::is_race,
    pages::{READER_KEEP, take_all},
    trouble,
};
use crate::bounds::{VALUE_BYTES_MAX, check_key, check_size};

/// Changes that wait for a watcher.
const WATCHER_QUEUE: usize = 64;
/// Between attempts to go on with a watch.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// Keys as subjects: `/` parts tokens, so that a prefix of whole parts can be asked for. `.` is written `=d`, `=` is `=e`,
/// and a part without letters `=0`, which NATS would not take.
fn escape(key: &str) -> String {
    let part = |part: &str| match part {
        "" => "=0".to_owned(),
        _ => part.replace('=', "=e").replace('.', "=d"),
    };
    key.split('/').map(part).collect::<Vec<_>>().join(".")
}

fn unescape(key: &str) -> String {
    let part = |part: &str| match part {
        "=0" => String::new(),
        _ => part.replace("=d", ".").replace("=e", "="),
    };
    key.split('.').map(part).collect::<Vec<_>>().join("/")
}

/// The narrowest filter of subjects that catches every key with this prefix.
fn filter(prefix: &str) -> String {
    match prefix.rsplit_once('/') {
        Some((whole, _)) => format!("{}.>", escape(whole)),
        None => ">".to_owned(),
    }
}

fn versioned(entry: &Entry) -> Option<Versioned> {
    let is_there = entry.operation == Operation::Put;
    is_there.then(|| Versioned { revision: entry.revision, value: entry.value.to_vec() })
}

impl JetStream {
    async fn held(&self, escaped: &str) -> Result<Option<Versioned>, PortError> {
        let entry = self.keys.entry(escaped).await.map_err(trouble)?;
        Ok(entry.as_ref().and_then(versioned))
    }

    async fn conflict(&self, escaped: &str, expected: u64) -> PortError {
        match self.held(escaped).await {
            Ok(held) => PortError::Conflict { expected, found: held.map_or(0, |held| held.revision) },
            Err(error) => error,
        }
    }
}

#[async_trait]
impl KeyValue for JetStream {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, PortError> {
        check_key(key)?;
        self.reachable()?;
        self.held(&escape(key)).await
    }

    async fn put(&self, key: &str, value: Vec<u8>, expected: Option<u64>) -> Result<u64, PortError> {
        check_key(key)?;
        check_size("a value", value.len(), VALUE_BYTES_MAX)?;
        self.reachable()?;
        let (key, value) = (escape(key), bytes::Bytes::from(value));
        match expected {
            None => self.keys.put(&key, value).await.map_err(trouble),
            Some(0) => match self.keys.create(&key, value).await {
                Ok(revision) => Ok(revision),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists || is_race(&error) => {
                    Err(self.conflict(&key, 0).await)
                }
                Err(error) => Err(trouble(error)),
            },
            Some(expected) => match self.keys.update(&key, value, expected).await {
                Ok(revision) => Ok(revision),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision || is_race(&error) => {
                    Err(self.conflict(&key, expected).await)
                }
                Err(error) => Err(trouble(error)),
            },
        }
    }

    async fn delete(&self, key: &str, expected: Option<u64>) -> Result<(), PortError> {
        check_key(key)?;
        self.reachable()?;
        let key = escape(key);
        // A marker stays in the place of a key: one that expires, where the server can.
        let purged = match (self.markers, expected) {
            (Some(keep), Some(expected)) => {
                self.keys.purge_expect_revision_with_ttl(&key, expected, keep).await
            }
            (Some(keep), None) => self.keys.purge_with_ttl(&key, keep).await,
            (None, expected) => self.keys.purge_expect_revision(&key, expected).await,
        };
        match (purged, expected) {
            (Err(error), Some(expected)) => match self.conflict(&key, expected).await {
                PortError::Conflict { found, .. } if found == expected => Err(trouble(error)),
                conflict => Err(conflict),
            },
            (purged, _) => purged.map_err(trouble),
        }
    }

    async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError> {
        self.reachable()?;
        let subject = |rest: &str| format!("{}{rest}", self.keys.prefix);
        let config = pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::None,
            filter_subject: subject(&filter(prefix)),
            headers_only: true,
            inactive_threshold: READER_KEEP,
            ..pull::Config::default()
        };
        let consumer = self.keys.stream.create_consumer(config).await.map_err(trouble)?;
        let waiting = consumer.cached_info().num_pending as usize;
        let mut found = Vec::new();
        for message in take_all(&consumer, waiting).await? {
            let gone = message.headers.as_ref().is_some_and(|headers| headers.get("KV-Operation").is_some());
            let key = message.subject.strip_prefix(&*self.keys.prefix).map(unescape);
            found.extend(key.filter(|key| !gone && key.starts_with(prefix) && key.as_str() > after));
        }
        found.sort_unstable();
        // One that is written while it is listed is named twice.
        found.dedup();
        found.truncate(count);
        Ok(found)
    }

    async fn watch(&self, prefix: &str) -> Result<mpsc::Receiver<(String, Option<Versioned>)>, PortError> {
        self.reachable()?;
        let mut changes = self.keys.watch_all().await.map_err(trouble)?;
        let (out, watcher) = mpsc::channel(WATCHER_QUEUE);
        let (home, prefix) = (self.clone(), prefix.to_owned());
        // The task ends when the watcher is gone.
        tokio::spawn(async move {
            let mut through = 0;
            let mut connected = home.connected.clone();
            let mut generation = home.generation.subscribe();
            loop {
                let change = tokio::select! {
                    change = changes.next() => change,
                    _ = connected.wait_for(|connected| !connected) => None,
                    // A bucket that was made again counts from the beginning.
                    _ = generation.changed() => {
                        through = 0;
                        None
                    }
                    () = out.closed() => return,
                };
                if let Some(Ok(entry)) = change {
                    through = entry.revision;
                    let key = unescape(&entry.key);
                    if key.starts_with(&prefix) && out.send((key, versioned(&entry))).await.is_err() {
                        return;
                    }
                    continue;
                }
                // The connection was lost: go on after what was seen.
                loop {
                    tokio::time::sleep(RESUME_PAUSE).await;
                    if out.is_closed() {
                        return;
                    }
                    if !*connected.borrow() {
                        continue;
                    }
                    let info = home.keys.stream.get_info().await;
                    if info.is_ok_and(|info| info.state.last_sequence < through) {
                        // It was made again, by whomever.
                        through = 0;
                    }
                    // When nothing was seen yet, what is there is told once more.
                    if let Ok(resumed) = home.keys.watch_all_from_revision(through + 1).await {
                        changes = resumed;
                        break;
                    }
                }
            }
        });
        Ok(watcher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_both_ways() {
        for key in ["a.b", ".", "=d", "=e=d.", "references/x/1", "..==", "/", "a//b/", "=0", "/=0/"] {
            assert_eq!(unescape(&escape(key)), key);
            assert!(escape(key).split('.').all(|token| !token.is_empty()), "{key}");
        }
        assert_eq!(
            (filter("history/a.b/x"), filter("a"), filter("a/")),
            ("history.a=db.>".into(), ">".into(), "a.>".into())
        );
    }
}
