//! The event log on JetStream: ids make repeats one event, the last sequence of a subject makes transitions safe.
//! It must not know what an event says.

use std::{future::IntoFuture, time::Duration};

use acgs_vocabulary::{
    event::{self, Envelope, ROOT},
    ports::{Appended, EVENT_BYTES_MAX, EventLog, Logged, PortError},
};
use async_nats::jetstream::{
    Message,
    consumer::{AckPolicy, DeliverPolicy, pull},
    context::PublishErrorKind,
    message::PublishMessage,
    stream::LastRawMessageErrorKind,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};

use super::{
    EVENTS_SUBJECT, JetStream,
    codes::is_race,
    pages::{READER_KEEP, take_all},
    trouble,
};

/// Events read at once.
const READ_MAX: usize = 1_000;
/// Events that wait for a subscriber; NATS holds the others.
const SUBSCRIBER_QUEUE: usize = 64;
/// Between attempts to go on with a subscription.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// An event of the stream; `None` for what others put under our subjects.
fn logged(message: &Message) -> Option<Logged> {
    let sequence = message.info().ok()?.stream_sequence;
    match serde_json::from_slice::<Envelope>(&message.payload) {
        Ok(envelope) => Some(Logged { sequence, envelope }),
        Err(error) => {
            tracing::warn!(subject = %message.subject, sequence, %error, "not an event of ours");
            None
        }
    }
}

/// Where an event is handed in, so that it is stored under its own subject.
fn handed_in(subject: &str) -> Result<String, PortError> {
    match subject.strip_prefix(ROOT) {
        Some(rest) if rest.starts_with('.') => Ok(format!("{EVENTS_SUBJECT}{rest}")),
        _ => Err(PortError::Invalid(format!("{subject:?} is not a subject of events"))),
    }
}

/// Where the server begins to deliver.
fn start(after: u64) -> DeliverPolicy {
    DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) }
}

impl JetStream {
    async fn last_of(&self, subject: &str) -> Result<u64, PortError> {
        match self.events.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(message.sequence),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
            Err(error) => Err(trouble(error)),
        }
    }

    /// Feeds a subscriber until the connection fails; returns the last sequence that it has been given, or `None`
    /// when it is gone.
    async fn feed(
        &self,
        mut after: u64,
        filter: &str,
        generation: &mut watch::Receiver<u64>,
        made: &mut Option<i128>,
        out: &mpsc::Sender<Logged>,
    ) -> Option<u64> {
        generation.mark_unchanged();
        let Ok(info) = self.events.get_info().await else { return Some(after) };
        let made_at = Some(info.created.unix_timestamp_nanos());
        // A stream that was made again, by whomever, counts from the beginning.
        if (made.is_some() && *made != made_at) || info.state.last_sequence < after {
            after = 0;
        }
        *made = made_at;
        let ours = format!("{ROOT}.");
        let narrowed = if filter.starts_with(&ours) { filter.to_owned() } else { String::new() };
        let config = pull::OrderedConfig {
            deliver_policy: start(after),
            filter_subject: narrowed,
            ..pull::OrderedConfig::default()
        };
        let consumer = match self.events.create_consumer(config).await {
            Ok(consumer) => consumer,
            Err(error) => {
                tracing::debug!(%error, "a subscription waits for NATS");
                return Some(after);
            }
        };
        let Ok(mut messages) = consumer.messages().await else { return Some(after) };
        let mut connected = self.connected.clone();
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = out.closed() => return None,
                // A reader made anew is there sooner than one that notices its silence.
                _ = connected.wait_for(|connected| !connected) => return Some(after),
                _ = generation.changed() => return Some(after),
            };
            match message {
                Some(Ok(message)) => {
                    let Some(logged) = logged(&message) else { continue };
                    // A reader that NATS made anew may begin before what was given.
                    if logged.sequence <= after || !event::matches(filter, &logged.envelope.subject) {
                        continue;
                    }
                    let sequence = logged.sequence;
                    if out.send(logged).await.is_err() {
                        return None;
                    }
                    after = sequence;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a subscription goes on anew");
                    return Some(after);
                }
                None => return Some(after),
            }
        }
    }
}

#[async_trait]
impl EventLog for JetStream {
    async fn append(&self, envelope: Envelope, expected: Option<u64>) -> Result<Appended, PortError> {
        let bytes = serde_json::to_vec(&envelope).map_err(|error| PortError::Invalid(error.to_string()))?;
        if bytes.len() > EVENT_BYTES_MAX {
            let message = format!("an event has {} bytes, at most {EVENT_BYTES_MAX}", bytes.len());
            return Err(PortError::Invalid(message));
        }
        self.reachable()?;
        let mut message = PublishMessage::build().payload(bytes.into()).message_id(&envelope.event_id);
        if let Some(expected) = expected {
            message = message.expected_last_subject_sequence(expected);
        }
        if let Some(traceparent) = &envelope.traceparent {
            message = message.header("traceparent", traceparent.as_str());
        }
        let mut connected = self.connected.clone();
        let sent =
            self.context.send_publish(handed_in(&envelope.subject)?, message).await.map_err(trouble)?;
        let answer = tokio::select! {
            answer = sent.into_future() => answer,
            // What was on its way is lost with the connection: nobody has to wait for its answer.
            _ = connected.wait_for(|connected| !connected) => {
                return Err(PortError::Unavailable("the connection to NATS broke".into()));
            }
        };
        match answer {
            Ok(ack) => Ok(Appended { sequence: ack.sequence, duplicate: ack.duplicate }),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Err(PortError::Invalid(error.to_string()))
            }
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence || is_race(&error) => {
                let found = self.last_of(&envelope.subject).await?;
                Err(PortError::Conflict { expected: expected.unwrap_or(0), found })
            }
            Err(error) => Err(trouble(error)),
        }
    }

    async fn read(&self, after: u64, count: usize) -> Result<Vec<Logged>, PortError> {
        self.reachable()?;
        let count = count.min(READ_MAX);
        let config = pull::Config {
            deliver_policy: start(after),
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_KEEP,
            ..pull::Config::default()
        };
        let consumer = self.events.create_consumer(config).await.map_err(trouble)?;
        let count = count.min(consumer.cached_info().num_pending as usize);
        Ok(take_all(&consumer, count).await?.iter().filter_map(logged).collect())
    }

    async fn last(&self) -> Result<u64, PortError> {
        self.reachable()?;
        Ok(self.events.get_info().await.map_err(trouble)?.state.last_sequence)
    }

    async fn newest_of(&self, filter: &str) -> Result<Option<Logged>, PortError> {
        self.reachable()?;
        match self.events.get_last_raw_message_by_subject(filter).await {
            Ok(message) => {
                let envelope = serde_json::from_slice(&message.payload).inspect_err(|error| {
                    tracing::warn!(%filter, sequence = message.sequence, %error, "not an event of ours");
                });
                Ok(envelope.ok().map(|envelope| Logged { sequence: message.sequence, envelope }))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(trouble(error)),
        }
    }

    async fn subscribe(&self, after: u64, filter: &str) -> Result<mpsc::Receiver<Logged>, PortError> {
        if !event::is_filter(filter) {
            return Err(PortError::Invalid(format!("{filter:?} is not a filter of subjects")));
        }
        self.reachable()?;
        let (out, subscriber) = mpsc::channel(SUBSCRIBER_QUEUE);
        let (home, filter) = (self.clone(), filter.to_owned());
        // The task ends when the subscriber is gone.
        tokio::spawn(async move {
            let mut after = after;
            let mut generation = home.generation.subscribe();
            let mut made = None;
            while let Some(reached) = home.feed(after, &filter, &mut generation, &mut made, &out).await {
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
        Ok(subscriber)
    }
}
