//! Files in and out: artifacts, records of models, data of jobs.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use acgs_contracts::lifecycle::v1 as proto;
use acgs_interchange::{to_arrow, to_parquet};
use acgs_vocabulary::{
    Problem,
    budget::{self, Reservation, Use, heavy},
    constitution::sha256_hex,
    ports::records::Selection,
    problem::Kind,
};
use futures_core::Stream;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use super::{ModelsDeps, artifact_key, checks};
use crate::job_files::{dataset_key, scores_key};

/// Largest artifact, in bytes: what every home takes.
const ARTIFACT_BYTES_MAX: u64 = 64 << 20;
/// A piece on its way out.
const PIECE_BYTES: usize = 1 << 20;
/// A caller that takes no piece for so long is let go.
const PIECE_PATIENCE: Duration = Duration::from_secs(30);
/// A piece on its way in.
const CHUNK_BYTES_MAX: usize = 4 << 20;
const ROWS_DEFAULT: u64 = 1_000_000;
const ROWS_MAX: u64 = 5_000_000;

/// A file in pieces.
pub(super) type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Hands a file out piece by piece; a caller that takes none for too long is let go, and with it what is held.
fn pieces<T: Send + 'static>(
    bytes: Vec<u8>,
    room: Reservation,
    piece: impl Fn(usize, Vec<u8>) -> T + Send + 'static,
) -> Pieces<T> {
    let (out, pieces) = mpsc::channel(1);
    let whole = Arc::new(AtomicBool::new(false));
    let is_whole = Arc::clone(&whole);
    tokio::spawn(async move {
        let count = bytes.len().div_ceil(PIECE_BYTES).max(1);
        for place in 0..count {
            let from = place * PIECE_BYTES;
            let until = bytes.len().min(from + PIECE_BYTES);
            let next = piece(place, bytes[from..until].to_vec());
            match timeout(PIECE_PATIENCE, out.send(Ok(next))).await {
                Ok(Ok(())) => {}
                Ok(Err(_gone)) => return,
                Err(_) => {
                    tracing::info!("a caller that takes nothing of a file was let go");
                    return;
                }
            }
        }
        whole.store(true, Ordering::Release);
        drop(room);
    });
    // Who comes back for the rest hears that it is not the whole.
    let end = std::iter::once_with(move || {
        let stalled = || {
            let message = format!("no piece was taken for {} s; ask again", PIECE_PATIENCE.as_secs());
            Status::from(Problem::exhausted("STALLED_CLIENT", message, 1_000))
        };
        (!is_whole.load(Ordering::Acquire)).then(|| Err(stalled()))
    });
    Box::pin(ReceiverStream::new(pieces).chain(tokio_stream::iter(end.flatten())))
}

/// Room for a file that is to be read.
fn room_for(bytes: u64) -> Result<Reservation, Problem> {
    Ok(budget::process().of(Use::Files).reserve(usize::try_from(bytes).unwrap_or(usize::MAX))?)
}

impl ModelsDeps {
    pub(super) async fn take_artifact(
        &self,
        mut incoming: Streaming<proto::PutArtifactRequest>,
    ) -> Result<proto::PutArtifactResponse, Status> {
        use proto::put_artifact_request::Message;
        let first = incoming.next().await.transpose()?.and_then(|message| message.message);
        let Some(Message::Header(header)) = first else {
            return Err(Problem::field("message", "HEADER_FIRST", "the first message is the header").into());
        };
        checks::digest("header.digest", &header.digest)?;
        let large = |bytes: u64| {
            let message = format!(
                "has {bytes} bytes, at most {ARTIFACT_BYTES_MAX}; keep it elsewhere and give its uri"
            );
            Problem::field("header.size_bytes", "ARTIFACT_TOO_LARGE", message)
        };
        if header.size_bytes > ARTIFACT_BYTES_MAX {
            return Err(large(header.size_bytes).into());
        }
        let (mut bytes, mut room) = (Vec::new(), room_for(0)?);
        while let Some(message) = incoming.next().await {
            let Some(Message::Chunk(chunk)) = message?.message else {
                return Err(Problem::field("message", "HEADER_FIRST", "after the header come chunks").into());
            };
            if chunk.len() > CHUNK_BYTES_MAX {
                let message = format!("has {} bytes, at most {CHUNK_BYTES_MAX}", chunk.len());
                return Err(Problem::field("chunk", "ARTIFACT_TOO_LARGE", message).into());
            }
            // More than was announced ends it at once: what is held stays within what was promised.
            if bytes.len() as u64 + chunk.len() as u64 > header.size_bytes {
                return Err(large(bytes.len() as u64 + chunk.len() as u64).into());
            }
            // Lists double when they are full.
            room.resize(2 * (bytes.len() + chunk.len())).map_err(Problem::from)?;
            bytes.extend_from_slice(&chunk);
        }
        let found = heavy(|| sha256_hex(&bytes)).await;
        if found != header.digest || bytes.len() as u64 != header.size_bytes {
            let message = format!("what came has {} bytes and the digest {found}", bytes.len());
            return Err(Problem::field("header.digest", "DIGEST_MISMATCH", message).into());
        }
        let size_bytes = bytes.len() as u64;
        self.blobs.put(&artifact_key(&found), bytes).await.map_err(Problem::from)?;
        Ok(proto::PutArtifactResponse { digest: found, size_bytes })
    }

    pub(super) async fn give_artifact(
        &self,
        digest: &str,
    ) -> Result<Pieces<proto::GetArtifactResponse>, Problem> {
        checks::digest("digest", digest)?;
        let mut room = room_for(ARTIFACT_BYTES_MAX)?;
        let bytes = self.blobs.get(&artifact_key(digest)).await?;
        let bytes = bytes.ok_or_else(|| Problem::missing("artifact", digest, "UNKNOWN_ARTIFACT"))?;
        room.force(bytes.len());
        Ok(pieces(bytes, room, |_, chunk| proto::GetArtifactResponse { chunk }))
    }

    pub(super) async fn give_records(
        &self,
        request: proto::ReadRecordsRequest,
    ) -> Result<Pieces<proto::ReadRecordsResponse>, Problem> {
        self.model(&request.model_id)?;
        if request.from_ms >= request.until_ms {
            return Err(Problem::field("until_ms", "BAD_RANGE", "is not after from_ms"));
        }
        let rows_max = if request.rows_max == 0 { ROWS_DEFAULT } else { request.rows_max };
        if rows_max > ROWS_MAX {
            let message = format!("is {rows_max}, at most {ROWS_MAX}");
            return Err(Problem::field("rows_max", "BAD_LIMIT", message));
        }
        if self.records.last_sequence(&request.model_id).await? == 0 {
            return Err(super::look::no_records());
        }
        let selection = Selection {
            from_ms: request.from_ms,
            until_ms: request.until_ms,
            labelled: request.labelled,
            rows_max: usize::try_from(rows_max).unwrap_or(usize::MAX),
        };
        let table = self.records.dataset(&request.model_id, selection).await?;
        let rows = table.rows;
        let mut room = room_for(table.batches.iter().map(|batch| batch.size_bytes() as u64).sum())?;
        let arrow = request.format() == proto::TableFormat::Arrow;
        let file = tokio::task::spawn_blocking(move || {
            let bytes = match arrow {
                true => to_arrow(&table.schema, &table.batches),
                false => to_parquet(&table.schema, &table.batches),
            }?;
            let digest = sha256_hex(&bytes);
            Ok::<_, acgs_interchange::Error>((bytes, digest))
        });
        let file = file.await.map_err(|error| Problem::internal(error.to_string()))?;
        let (bytes, digest) = file.map_err(|error| Problem::internal(error.to_string()))?;
        let data = proto::DataWindow { from_ms: request.from_ms, until_ms: request.until_ms, rows, digest };
        room.force(bytes.len());
        Ok(pieces(bytes, room, move |place, chunk| {
            let data = (place == 0).then(|| data.clone());
            proto::ReadRecordsResponse { chunk, data }
        }))
    }

    pub(super) async fn give_dataset(
        &self,
        request: &proto::ReadDatasetRequest,
    ) -> Result<Pieces<proto::ReadDatasetResponse>, Problem> {
        let number = checks::job_number(&request.job_id)?;
        let held = self.writer.look(|state| state.job(number).map(|(_, job)| job.clone()));
        let job = held.ok_or_else(|| Problem::missing("job", &request.job_id, "UNKNOWN_JOB"))?;
        let current = job.lease.as_ref().map_or(0, |lease| lease.fence);
        let plan = job.plan.as_ref().filter(|_| current == request.fence && current > 0);
        let Some(plan) = plan else {
            let message = format!("fence {} does not hold {}", request.fence, request.job_id);
            return Err(Problem::new(Kind::Precondition, "STALE_FENCE", message));
        };
        let bad = |message: &str| Err(Problem::field("part", "BAD_PART", message));
        let digest = match request.part() {
            proto::DataPart::Train => &plan.train.digest,
            proto::DataPart::Holdout => &plan.holdout.digest,
            proto::DataPart::Refit => {
                let Some(refit) = &plan.refit else { return bad("the job is not trained once more") };
                // Whoever has seen the labels cannot score any more.
                if self.blobs.get(&scores_key(number, current)).await?.is_none() {
                    let message = "the scores of the held-out records come first";
                    return Err(Problem::new(Kind::Precondition, "SCORES_FIRST", message));
                }
                &refit.digest
            }
            proto::DataPart::Unspecified => return bad("is not said"),
        };
        let mut room = room_for(ARTIFACT_BYTES_MAX)?;
        let bytes = self.blobs.get(&dataset_key(digest)).await?;
        let bytes =
            bytes.ok_or_else(|| Problem::internal(format!("the data of {} are gone", request.job_id)))?;
        room.force(bytes.len());
        Ok(pieces(bytes, room, |_, chunk| proto::ReadDatasetResponse { chunk }))
    }
}
