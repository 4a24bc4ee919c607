//! A reference from a client's stream: header, batches, frozen. A part of the service.

use std::time::Duration;

use acgs_contracts::drift::v1 as proto;
use acgs_reference::Reference;
use acgs_vocabulary::{
    Problem,
    budget::{self, Use},
    convert::{batch, schema},
};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

use super::{DriftService, store};

/// A client that sends nothing for this long is let go.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a row while a column is sorted, and rows are put in order of time.
const SORTED: usize = 96;

fn silent() -> Problem {
    Problem::exhausted("STALLED_CLIENT", "no batch came for too long; send the reference again", 1_000)
}

impl DriftService {
    /// Freezes what a client streams under the next version of its name, and publishes that.
    pub(super) async fn freeze_stream(
        &self,
        mut incoming: Streaming<proto::PutReferenceRequest>,
    ) -> Result<Reference, Status> {
        use proto::put_reference_request::Message;
        let store = self.store()?;
        let mut room = budget::process().of(Use::Files).nothing();
        let first = incoming.next().await.transpose()?.and_then(|message| message.message);
        let Some(Message::Header(header)) = first else {
            return Err(Problem::field("message", "HEADER_FIRST", "the first message is the header").into());
        };
        let fields = header.schema.clone().unwrap_or_default();
        let schema = schema::schema(&fields).map_err(|problem| problem.within("header.schema"))?;
        store::check_header(&header, &schema)?;
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
        loop {
            let next = tokio::time::timeout(MESSAGE_PATIENCE, incoming.next()).await;
            let Some(message) = next.map_err(|_| silent())? else { break };
            let Some(Message::Batch(message)) = message?.message else {
                return Err(Problem::field("message", "HEADER_FIRST", "after the header come batches").into());
            };
            let batch = batch::batch(message, &schema).map_err(|problem| problem.within("batch"))?;
            rows += batch.rows() as u64;
            bytes += batch.heap_bytes();
            if rows > acgs_reference::reference::ROWS_MAX || bytes > acgs_reference::reference::BYTES_MAX {
                let (rows_max, mib_max) =
                    (acgs_reference::reference::ROWS_MAX, acgs_reference::reference::BYTES_MAX >> 20);
                let message = format!("a reference has at most {rows_max} rows in at most {mib_max} MiB");
                return Err(Problem::field("batch", "TOO_MANY_ROWS", message).into());
            }
            // Freezing copies a column at a time.
            room.resize(bytes + rows as usize * SORTED).map_err(Problem::from)?;
            batches.push(batch);
        }
        if batches.is_empty() {
            return Err(Problem::field("batch", "EMPTY_DATA", "a reference needs rows").into());
        }
        let window_ms = header.window_ms;
        let mut frozen =
            self.computing.apart(move || acgs_reference::freeze(&schema, &batches, window_ms)).await?;
        frozen.name = header.name;
        frozen.model_id = header.model_id;
        frozen.created_ms = self.clock.now_ms();
        frozen.constitutional_hash = self.constitution.current().to_owned();
        let stored = store.put(frozen).await?;
        self.publish_stored(&stored);
        Ok(stored)
    }
}
