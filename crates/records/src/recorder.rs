//! Puts a stream's frames into the record log after they were looked at and before they are taken. It must not know what becomes of them.

use std::{sync::Arc, time::Duration};

use acgs_columns::{Field, Kind as FieldKind, RecordBatch, Role, Schema};
use acgs_interchange::{Tags, to_arrow_tagged};
use acgs_vocabulary::{
    Problem,
    ports::{
        Chunk, ENTRY_BYTES_MAX, RecordLog,
        records::{FramePlace, FrameRecorder, FrameSource},
    },
    problem::Kind,
};
use async_trait::async_trait;

use crate::tag::{self, topic};

/// While the home cannot be reached, a frame waits for this long before its client is told.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between attempts.
const RETRY: Duration = Duration::from_millis(250);

/// Of one life of a stream.
#[derive(Clone, Debug)]
pub struct Recorder {
    log: Arc<dyn RecordLog>,
    topic: Arc<str>,
    tags: Arc<Tags>,
}

impl Recorder {
    /// For one life of a stream.
    #[must_use]
    pub fn new(log: Arc<dyn RecordLog>, source: &FrameSource, constitutional_hash: &str) -> Self {
        let epoch = source.epoch.to_string();
        let tags = [
            (tag::STREAM, &*source.stream_id),
            (tag::INSTANCE, &*source.instance),
            (tag::MODEL, &*source.model_id),
            (tag::VERSION, &*source.model_version),
            (tag::EPOCH, &*epoch),
            (tag::HASH, constitutional_hash),
        ];
        let tags = tags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { log, topic: topic(&source.model_id).into(), tags: Arc::new(tags) }
    }

    fn tags(&self, place: FramePlace<'_>, holds: &str) -> Tags {
        let mut tags = (*self.tags).clone();
        tags.insert(tag::PARTITION.to_owned(), place.partition.to_owned());
        tags.insert(tag::JOIN.to_owned(), place.join.to_string());
        tags.insert(tag::JOINED_AFTER.to_owned(), place.joined_after.to_string());
        tags.insert(tag::SEQ.to_owned(), place.seq.to_string());
        tags.insert(tag::HOLDS.to_owned(), holds.to_owned());
        tags
    }

    fn encode(&self, place: FramePlace<'_>, holds: &str, batch: &RecordBatch) -> Result<Vec<Chunk>, Problem> {
        let mut chunks = Vec::new();
        split(&self.tags(place, holds), batch, &mut chunks).map_err(|problem| problem.within(holds))?;
        Ok(chunks)
    }

    /// Waits for a home that is away: the client is not acknowledged meanwhile.
    async fn write(&self, chunk: Chunk) -> Result<(), Problem> {
        let written = async {
            loop {
                match self.log.record(&self.topic, chunk.clone()).await {
                    Ok(_) => return Ok(()),
                    Err(error) if error.is_passing() => tokio::time::sleep(RETRY).await,
                    Err(error) => return Err(Problem::from(error)),
                }
            }
        };
        tokio::time::timeout(PATIENCE, written).await.unwrap_or_else(|_| {
            let message =
                "the record log could not be reached; what was not acknowledged has to be sent again";
            Err(Problem::new(Kind::Unavailable, "HOME_UNAVAILABLE", message))
        })
    }
}

#[async_trait]
impl FrameRecorder for Recorder {
    fn encode_rows(&self, place: FramePlace<'_>, batch: &RecordBatch) -> Result<Vec<Chunk>, Problem> {
        self.encode(place, tag::ROWS, batch)
    }

    fn encode_labels(&self, place: FramePlace<'_>, batch: &RecordBatch) -> Result<Vec<Chunk>, Problem> {
        self.encode(place, tag::LABELS, batch)
    }

    async fn keep(&self, chunks: Vec<Chunk>) -> Result<(), Problem> {
        for chunk in chunks {
            self.write(chunk).await?;
        }
        Ok(())
    }

    async fn void(&self, place: FramePlace<'_>) -> Result<(), Problem> {
        let broken = |error: &dyn std::fmt::Display| Problem::internal(error.to_string());
        let timestamp = Field::new("timestamp", FieldKind::Timestamp, Role::Timestamp);
        let schema = Schema::new(vec![timestamp]).map(Arc::new).map_err(|error| broken(&error))?;
        let content = to_arrow_tagged(&schema, &[], self.tags(place, tag::NOTHING));
        let content = content.map_err(|error| broken(&error))?.into();
        // Whoever reads a range has to know, whichever it is.
        self.write(Chunk { sequence: 0, from_ms: i64::MIN, until_ms: i64::MAX, content }).await
    }
}

/// Least and greatest event time of a batch; all of time when it has none.
fn times(batch: &RecordBatch) -> (i64, i64) {
    let Some(place) = batch.schema().index_of_role(Role::Timestamp) else { return (i64::MIN, i64::MAX) };
    let column = &batch.columns()[place];
    let known = (0..batch.rows()).filter_map(|row| column.integer(row));
    known.fold((i64::MAX, i64::MIN), |(from_ms, until_ms), time_ms| {
        (from_ms.min(time_ms), until_ms.max(time_ms))
    })
}

/// Cuts a batch until each piece fits into a chunk.
fn split(tags: &Tags, batch: &RecordBatch, chunks: &mut Vec<Chunk>) -> Result<(), Problem> {
    let mut tags_here = tags.clone();
    tags_here.insert(tag::PART.to_owned(), chunks.len().to_string());
    let content = to_arrow_tagged(batch.schema(), std::slice::from_ref(batch), tags_here)
        .map_err(|error| Problem::internal(error.to_string()))?;
    if content.len() <= ENTRY_BYTES_MAX {
        let (from_ms, until_ms) = times(batch);
        chunks.push(Chunk { sequence: 0, from_ms, until_ms, content: content.into() });
        return Ok(());
    }
    if batch.rows() == 1 {
        let message = format!("a record has {} bytes, at most {ENTRY_BYTES_MAX}", content.len());
        return Err(Problem::field("batch", "RECORD_TOO_LARGE", message));
    }
    let half = batch.rows() / 2;
    split(tags, &batch.slice(0, half), chunks)?;
    split(tags, &batch.slice(half, batch.rows() - half), chunks)
}
