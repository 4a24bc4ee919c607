//! The log frame by frame, in the order in which it was written. It must not know what is looked for.

use acgs_interchange::from_arrow_tagged;
use acgs_vocabulary::{
    Problem,
    ports::{
        Chunk, RecordLog,
        records::{FramePage, FrameRows, RecordFrame},
    },
};

use crate::tag;

/// Chunks read at once.
const PAGE: usize = 64;

/// The frames of a topic after a sequence.
///
/// # Errors
/// The home's trouble.
pub(crate) async fn read(log: &dyn RecordLog, topic: &str, after: u64) -> Result<FramePage, Problem> {
    let chunks = log.chunks(topic, after, PAGE).await?;
    let through_sequence = chunks.last().map(|chunk| chunk.sequence);
    // Decoding is work: other tasks go on meanwhile.
    let decoded = tokio::task::spawn_blocking(move || chunks.iter().filter_map(frame).collect());
    let frames = decoded.await.map_err(|error| Problem::internal(error.to_string()))?;
    Ok(FramePage { frames, through_sequence })
}

fn frame(chunk: &Chunk) -> Option<RecordFrame> {
    let ((_, batches), tags) = match from_arrow_tagged(&chunk.content) {
        Ok(read) => read,
        Err(error) => {
            tracing::error!(sequence = chunk.sequence, %error, "a chunk of the record log cannot be read");
            return None;
        }
    };
    let place = tag::place(&tags);
    let holds_labels = match tags.get(tag::HOLDS).map(String::as_str) {
        Some(tag::NOTHING) => return None,
        holds => holds == Some(tag::LABELS),
    };
    Some(RecordFrame {
        life: place.life,
        place: place.kept,
        model_version: tags.get(tag::VERSION).cloned().unwrap_or_default(),
        rows: if holds_labels { FrameRows::Labels(batches) } else { FrameRows::Records(batches) },
    })
}
