//! Records on a JetStream stream of their own, a subject for each topic. It must not know what is in them.

use acgs_vocabulary::ports::{Chunk, ENTRY_BYTES_MAX, PortError, RecordLog};
use async_nats::{
    HeaderMap,
    jetstream::{
        consumer::{AckPolicy, DeliverPolicy, pull},
        message::PublishMessage,
        stream::LastRawMessageErrorKind,
    },
};
use async_trait::async_trait;

use super::{
    JetStream, RECORDS_SUBJECT,
    pages::{READER_KEEP, take_all},
    trouble,
};
use crate::bounds::{check_size, check_topic};

/// Chunks read at once.
const READ_MAX: usize = 256;
const FROM: &str = "Acgs-From-Ms";
const UNTIL: &str = "Acgs-Until-Ms";

fn subject(topic: &str) -> String {
    format!("{RECORDS_SUBJECT}.{topic}")
}

fn time_in(headers: Option<&HeaderMap>, name: &str) -> Option<i64> {
    headers?.get(name)?.as_str().parse().ok()
}

#[async_trait]
impl RecordLog for JetStream {
    async fn record(&self, topic: &str, chunk: Chunk) -> Result<u64, PortError> {
        check_topic(topic)?;
        check_size("a chunk of records", chunk.content.len(), ENTRY_BYTES_MAX)?;
        self.reachable()?;
        let message = PublishMessage::build()
            .payload(chunk.content)
            .header(FROM, chunk.from_ms.to_string())
            .header(UNTIL, chunk.until_ms.to_string());
        let sent = self.context.send_publish(subject(topic), message).await.map_err(trouble)?;
        Ok(sent.await.map_err(trouble)?.sequence)
    }

    async fn chunks(&self, topic: &str, after: u64, count: usize) -> Result<Vec<Chunk>, PortError> {
        check_topic(topic)?;
        self.reachable()?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) },
            ack_policy: AckPolicy::None,
            filter_subject: subject(topic),
            inactive_threshold: READER_KEEP,
            ..pull::Config::default()
        };
        let consumer = self.records.create_consumer(config).await.map_err(trouble)?;
        let waiting = consumer.cached_info().num_pending as usize;
        let count = count.min(READ_MAX).min(waiting);
        let mut found = Vec::with_capacity(count);
        for message in take_all(&consumer, count).await? {
            let sequence = message.info().map_err(trouble)?.stream_sequence;
            let headers = message.headers.as_ref();
            found.push(Chunk {
                sequence,
                from_ms: time_in(headers, FROM).unwrap_or(i64::MIN),
                until_ms: time_in(headers, UNTIL).unwrap_or(i64::MAX),
                content: message.payload.clone(),
            });
        }
        Ok(found)
    }

    async fn last_chunk(&self, topic: &str) -> Result<u64, PortError> {
        check_topic(topic)?;
        self.reachable()?;
        match self.records.get_last_raw_message_by_subject(&subject(topic)).await {
            Ok(message) => Ok(message.sequence),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
            Err(error) => Err(trouble(error)),
        }
    }
}
