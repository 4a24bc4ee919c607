//! `SubmitLabels`: batches of labels to the streams that wait for them.

use acgs_contracts::orchestrator::v1 as proto;
use acgs_vocabulary::{Problem, convert::batch, names};
use proto::submit_labels_request::Message;
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

use super::open;
use crate::streams::{LabelTarget, Streams};

/// Takes labels until the caller is done.
///
/// # Errors
/// `HEADER_FIRST`, `UNKNOWN_STREAM`, or what is wrong with a batch, naming the field.
pub(super) async fn answer(
    streams: &Streams,
    mut incoming: Streaming<proto::SubmitLabelsRequest>,
) -> Result<proto::SubmitLabelsResponse, Status> {
    let first = incoming.next().await.transpose()?.and_then(|message| message.message);
    let Some(Message::Header(header)) = first else {
        return Err(Problem::field("message", "HEADER_FIRST", "the first message is the header").into());
    };
    let fields = header.schema.unwrap_or_default();
    let schema = open::label_schema(&fields).map_err(|problem| problem.within("header.schema"))?;
    names::check_short("header.stream_id", &header.stream_id, names::NAME_BYTES_MAX)?;
    names::check_short("header.model_id", &header.model_id, names::NAME_BYTES_MAX)?;
    let target = match header.stream_id.is_empty() {
        true => LabelTarget::Model(header.model_id),
        false => LabelTarget::Stream(header.stream_id),
    };
    let mut submission = streams.submit_labels(target, schema).await?;
    while let Some(message) = incoming.next().await {
        let Some(Message::Batch(message)) = message?.message else {
            return Err(Problem::field("message", "HEADER_FIRST", "after the header come batches").into());
        };
        let batch = batch::batch(message, submission.schema()).map_err(|problem| problem.within("batch"))?;
        submission.take(&batch).await?;
    }
    let counts = submission.counts();
    Ok(proto::SubmitLabelsResponse {
        matched: counts.matched,
        waiting: counts.waiting,
        dropped: counts.dropped,
        corrected: counts.corrected,
    })
}
