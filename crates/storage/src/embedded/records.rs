//! Records in the embedded home: by topic for readers, and in the order in which they came for giving the oldest up.
//! It must not know what is in them.

use std::{collections::HashMap, sync::Arc};

use acgs_vocabulary::{
    ports::{Chunk, Clock, ENTRY_BYTES_MAX, PortError, RecordLog},
    steady::Steady,
};
use async_trait::async_trait;
use bytes::Bytes;
use fjall::OwnedWriteBatch as WriteBatch;

use super::{Embedded, Parts, RecordsKept, job::Job, trouble};
use crate::bounds::{check_size, check_topic};

/// Chunks read at once.
const READ_MAX: usize = 256;
/// Chunks given up at once.
const PRUNE_MAX: usize = 1_000;
/// Where the last number is kept among the subjects; no subject is named so.
const RECORDS_KEY: &[u8] = b"\0records";
/// Models whose records are kept.
const TOPICS_MAX: usize = 10_000;
/// How fast a clock that has jumped is followed: what is a week old by it is not given up before seven hours have passed.
const CATCH_UP: u32 = 24;
/// A clock that is ahead of what is believed by more is told of, once.
const JUMP_MS: i64 = 3_600_000;
/// Between topic and sequence; no topic has it.
const SEPARATOR: u8 = 0;

fn key(topic: &str, sequence: u64) -> Vec<u8> {
    [topic.as_bytes(), &[SEPARATOR], &sequence.to_be_bytes()].concat()
}

fn encode(chunk: &Chunk) -> Vec<u8> {
    [&chunk.from_ms.to_be_bytes()[..], &chunk.until_ms.to_be_bytes(), &chunk.content].concat()
}

fn decode(sequence: u64, bytes: &[u8]) -> Option<Chunk> {
    let (from_ms, rest) = bytes.split_first_chunk::<8>()?;
    let (until_ms, content) = rest.split_first_chunk::<8>()?;
    Some(Chunk {
        sequence,
        from_ms: i64::from_be_bytes(*from_ms),
        until_ms: i64::from_be_bytes(*until_ms),
        content: Bytes::copy_from_slice(content),
    })
}

fn sequence_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last))
}

/// What the writer knows of all records.
#[derive(Debug)]
pub(super) struct Records {
    kept: RecordsKept,
    clock: Arc<dyn Clock>,
    /// When records come, and how old they are: a clock that jumps gives nothing up.
    time: Steady,
    /// Whether it was told that the clock has jumped.
    jumped: bool,
    last: u64,
    bytes: u64,
    /// Bytes of each topic.
    by_topic: HashMap<String, u64>,
    /// When the oldest came; nothing is looked up before it may be too old.
    oldest_ms: u64,
}

impl Records {
    pub(super) fn recover(
        parts: &Parts,
        kept: RecordsKept,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PortError> {
        let time = Steady::new(clock.now_ms(), clock.monotonic_us(), CATCH_UP);
        let mut records = Self {
            kept,
            clock,
            time,
            jumped: false,
            last: 0,
            bytes: 0,
            by_topic: HashMap::new(),
            oldest_ms: u64::MAX,
        };
        let mut newest_ms = 0;
        for held in parts.record_order.iter() {
            let (key, value) = held.into_inner().map_err(trouble)?;
            let (at_ms, bytes, topic) = order(&value).unwrap_or((0, 0, ""));
            *records.by_topic.entry(topic.to_owned()).or_default() += bytes;
            records.last = sequence_of(&key);
            records.bytes += bytes;
            records.oldest_ms = records.oldest_ms.min(at_ms);
            newest_ms = newest_ms.max(at_ms);
        }
        if newest_ms > 0 {
            // What a clock says that may have been set meanwhile is followed from there.
            let newest_ms = i64::try_from(newest_ms).unwrap_or(i64::MAX);
            records.time = Steady::new(newest_ms, records.clock.monotonic_us(), CATCH_UP);
        }
        // Also the numbers of records that were given up count: none comes twice.
        let counted = parts.subjects.get(RECORDS_KEY).map_err(trouble)?;
        let counted = counted.and_then(|counted| counted[..].try_into().ok().map(u64::from_be_bytes));
        records.last = records.last.max(counted.unwrap_or(0));
        Ok(records)
    }

    fn now_ms(&mut self) -> u64 {
        let wall_ms = self.clock.now_ms();
        let now_ms = self.time.look(wall_ms, self.clock.monotonic_us());
        let behind_ms = wall_ms.saturating_sub(now_ms);
        if std::mem::replace(&mut self.jumped, behind_ms > JUMP_MS) != self.jumped && self.jumped {
            tracing::warn!(
                ahead_ms = behind_ms,
                "the wall clock is far ahead of the records: it is followed slowly, and nothing is given up for its sake"
            );
        }
        u64::try_from(now_ms).unwrap_or(0)
    }

    /// The last one's number.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// What was appended after it is not there.
    pub(super) fn go_back(&mut self, last: u64) {
        self.last = last;
    }

    pub(super) fn append(
        &mut self,
        parts: &Parts,
        batch: &mut WriteBatch,
        topic: &str,
        chunk: &Chunk,
    ) -> Result<u64, PortError> {
        if !self.by_topic.contains_key(topic) && self.by_topic.len() >= TOPICS_MAX {
            let message = format!("records of {TOPICS_MAX} models are kept already");
            return Err(PortError::Invalid(message));
        }
        self.last += 1;
        let value = encode(chunk);
        let at_ms = self.now_ms();
        let place =
            [&at_ms.to_be_bytes()[..], &(value.len() as u64).to_be_bytes(), topic.as_bytes()].concat();
        self.bytes += value.len() as u64;
        *self.by_topic.entry(topic.to_owned()).or_default() += value.len() as u64;
        self.oldest_ms = self.oldest_ms.min(at_ms);
        batch.insert(&parts.records, key(topic, self.last), value);
        batch.insert(&parts.record_order, self.last.to_be_bytes(), place);
        batch.insert(&parts.subjects, RECORDS_KEY, self.last.to_be_bytes());
        Ok(self.last)
    }

    /// Gives up what is too old; and when there are too many bytes, the oldest of the topic that has the most: one model's records take no
    /// other's place.
    pub(super) fn prune(&mut self, parts: &Parts) -> Result<(), PortError> {
        let old_ms = self.now_ms().saturating_sub(self.kept.age.as_millis() as u64);
        if self.oldest_ms < old_ms {
            self.prune_old(parts, old_ms)?;
        }
        let mut pruned = 0;
        while self.bytes > self.kept.bytes && pruned < PRUNE_MAX {
            let Some(topic) = self.largest() else { break };
            pruned += self.prune_topic(parts, &topic, PRUNE_MAX - pruned)?.max(1);
        }
        Ok(())
    }

    fn prune_old(&mut self, parts: &Parts, old_ms: u64) -> Result<(), PortError> {
        let mut batch = parts.database.batch();
        let mut oldest_ms = u64::MAX;
        for held in parts.record_order.iter().take(PRUNE_MAX) {
            let (place, value) = held.into_inner().map_err(trouble)?;
            let (at_ms, bytes, topic) = order(&value).unwrap_or((0, 0, ""));
            oldest_ms = at_ms;
            if at_ms >= old_ms {
                break;
            }
            self.forget(topic, bytes);
            batch.remove(&parts.records, key(topic, sequence_of(&place)));
            batch.remove(&parts.record_order, place);
        }
        batch.commit().map_err(trouble)?;
        self.oldest_ms = oldest_ms;
        Ok(())
    }

    fn largest(&self) -> Option<String> {
        let largest = self.by_topic.iter().max_by_key(|(topic, bytes)| (**bytes, topic.as_str()));
        largest.map(|(topic, _)| topic.clone())
    }

    /// Gives up the oldest of a topic until there is room, or another has more; how many those were.
    fn prune_topic(&mut self, parts: &Parts, topic: &str, most: usize) -> Result<usize, PortError> {
        let others = self.by_topic.iter().filter(|(other, _)| *other != topic);
        let next = others.map(|(_, bytes)| *bytes).max().unwrap_or(0);
        let mut batch = parts.database.batch();
        let mut pruned = 0;
        for held in parts.records.range(key(topic, 0)..=key(topic, u64::MAX)).take(most) {
            let own = self.by_topic.get(topic).copied().unwrap_or(0);
            if self.bytes <= self.kept.bytes || own < next {
                break;
            }
            let (key, value) = held.into_inner().map_err(trouble)?;
            self.forget(topic, value.len() as u64);
            batch.remove(&parts.record_order, sequence_of(&key).to_be_bytes());
            batch.remove(&parts.records, key);
            pruned += 1;
        }
        if pruned == 0 {
            // What is counted is not there: it counts no more.
            let own = self.by_topic.get(topic).copied().unwrap_or(0);
            self.forget(topic, own);
        }
        batch.commit().map_err(trouble)?;
        Ok(pruned)
    }

    fn forget(&mut self, topic: &str, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(own) = self.by_topic.get_mut(topic) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.by_topic.remove(topic);
            }
        }
    }
}

/// When it came, its bytes, its topic.
fn order(value: &[u8]) -> Option<(u64, u64, &str)> {
    let (at_ms, rest) = value.split_first_chunk::<8>()?;
    let (bytes, topic) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*at_ms), u64::from_be_bytes(*bytes), std::str::from_utf8(topic).ok()?))
}

impl Embedded {
    fn chunks_now(&self, topic: &str, after: u64, count: usize) -> Result<Vec<Chunk>, PortError> {
        let range = key(topic, after.saturating_add(1))..=key(topic, u64::MAX);
        let mut found = Vec::new();
        for held in self.parts()?.records.range(range).take(count.min(READ_MAX)) {
            let (key, value) = held.into_inner().map_err(trouble)?;
            found.extend(decode(sequence_of(&key), &value));
        }
        Ok(found)
    }
}

#[async_trait]
impl RecordLog for Embedded {
    async fn record(&self, topic: &str, chunk: Chunk) -> Result<u64, PortError> {
        check_topic(topic)?;
        check_size("a chunk of records", chunk.content.len(), ENTRY_BYTES_MAX)?;
        let topic = topic.to_owned();
        self.write(|reply| Job::Record { topic, chunk, reply }).await
    }

    async fn chunks(&self, topic: &str, after: u64, count: usize) -> Result<Vec<Chunk>, PortError> {
        check_topic(topic)?;
        let (home, topic) = (self.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || home.chunks_now(&topic, after, count)).await.map_err(trouble)?
    }

    async fn last_chunk(&self, topic: &str) -> Result<u64, PortError> {
        check_topic(topic)?;
        let mut range = self.parts()?.records.range(key(topic, 0)..=key(topic, u64::MAX));
        let last = range.next_back().map(|held| held.key()).transpose().map_err(trouble)?;
        Ok(last.map_or(0, |key| sequence_of(&key)))
    }
}
