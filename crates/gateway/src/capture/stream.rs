//! A version's monitoring stream, as this gateway's partition of it. It must not know what a record holds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use acgs_client::{OnLoss, SessionConfig, SessionError, WindowSession, dial};
use acgs_columns::{Field, Kind, RecordBatch, Role, Schema};
use acgs_contracts::{
    common::v1::ReferenceSelector,
    lifecycle::v1::Capture,
    orchestrator::v1::{Durability, Open, TumblingWindow, WindowSpec, window_spec},
};
use acgs_mesh::client::connect;
use acgs_vocabulary::convert::{batch, schema};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{CaptureParts, rows::Shape};

/// Largest frame that is sent, in bytes of columns; a server takes 4 MiB.
const FRAME_BYTES_MAX: usize = 2 << 20;
/// Batches that are sent and not accepted.
const UNACCEPTED_MAX: usize = 1_024;
/// An orchestrator that does not open the stream by then does not have it.
const OPENING: Duration = Duration::from_secs(5);
/// For this long a broken stream is opened again before that is worth a word.
const RECONNECT: Duration = Duration::from_secs(1);
/// Between attempts after that.
const RETRY: Duration = Duration::from_millis(250);

/// One stream.
pub(super) struct Stream {
    parts: CaptureParts,
    asked: Open,
    session: WindowSession,
}

impl Stream {
    pub(super) fn new(
        parts: CaptureParts,
        model_id: &str,
        version: &str,
        spec: Arc<Capture>,
        shape: Shape,
    ) -> Self {
        let durability = if spec.recorded { Durability::Log } else { Durability::Memory };
        let reference = (!spec.reference.is_empty())
            .then(|| ReferenceSelector { name: spec.reference.clone(), version: 0 });
        let open = Open {
            stream_id: format!("gateway/{model_id}/{version}"),
            partition_id: parts.router_id.clone(),
            durability: durability.into(),
            schema: Some(schema::to_proto(&shape)),
            label_schema: label_schema(&shape, &spec).map(|fields| schema::to_proto(&fields)),
            window: Some(WindowSpec {
                kind: Some(window_spec::Kind::Tumbling(TumblingWindow { size_ms: spec.window_ms })),
                out_of_orderness_ms: Some(spec.out_of_orderness_ms),
                label_horizon_ms: Some(spec.label_horizon_ms),
                ..WindowSpec::default()
            }),
            service_id: spec.service_id.clone(),
            model_id: model_id.to_owned(),
            model_version: version.to_owned(),
            reference,
            ..Open::default()
        };
        let config = SessionConfig {
            addresses: parts.orchestrators.to_vec(),
            opening: OPENING,
            reconnect: RECONNECT,
            // Nobody else has these calls: what was not accepted goes into the stream's next life.
            on_loss: OnLoss::Continue,
        };
        let constitution = parts.constitution.clone();
        let dial = dial(move |address| {
            let constitution = constitution.clone();
            async move { connect(&format!("http://{address}"), constitution).await }
        });
        Self { parts, asked: open.clone(), session: WindowSession::new(dial, config, open) }
    }

    /// How it is opened.
    pub(super) fn asked(&self) -> &Open {
        &self.asked
    }

    /// Until nobody sends any more and all is accepted, or everything ends; after the one before has done so.
    pub(super) async fn run(
        mut self,
        mut batches: mpsc::Receiver<RecordBatch>,
        before: Option<JoinHandle<()>>,
        ends: Arc<AtomicBool>,
    ) {
        let stop = self.parts.stop.clone();
        tokio::select! {
            () = self.carry_all(&mut batches, before) => if ends.load(Ordering::Relaxed) {
                self.end().await;
            },
            () = stop.cancelled() => {}
        }
        batches.close();
        while let Ok(batch) = batches.try_recv() {
            self.dropped(batch.rows() as u64);
        }
    }

    /// The stream is over when every gateway has said so; that it was heard is worth a moment.
    async fn end(&mut self) {
        let end = async {
            self.session.end().await?;
            while self.session.next().await?.is_some() {}
            Ok::<_, SessionError>(())
        };
        let _others_go_on_with_it = tokio::time::timeout(RECONNECT, end).await;
    }

    async fn carry_all(&mut self, batches: &mut mpsc::Receiver<RecordBatch>, before: Option<JoinHandle<()>>) {
        if let Some(before) = before {
            let _it_is_over = before.await;
        }
        let (mut told, mut refused) = (false, false);
        loop {
            let frames = self.session.unaccepted_frames();
            match self.carry(batches).await {
                Ok(()) => return,
                // Another stream takes its place, and what is left cannot be brought.
                Err(_) if batches.is_closed() && batches.is_empty() => return,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let stream_id = &self.asked.stream_id;
                        tracing::warn!(stream_id, %error, "captured calls wait for their stream");
                    }
                    // A frame that is refused twice at the head of all others holds them up for ever.
                    let is_bad =
                        error.status().is_some_and(|status| status.code() == tonic::Code::InvalidArgument);
                    let stuck = is_bad && refused && self.session.unaccepted_frames() >= frames;
                    if stuck {
                        let rows = self.session.discard_first();
                        self.dropped(rows);
                    }
                    refused = is_bad && !stuck;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn dropped(&self, rows: u64) {
        self.parts.stats.captures_dropped.fetch_add(rows, Ordering::Relaxed);
    }

    async fn carry(&mut self, batches: &mut mpsc::Receiver<RecordBatch>) -> Result<(), SessionError> {
        loop {
            self.session.ready().await?;
            // Nobody reads reports here: they are in the log.
            while self.session.heard().is_some() {}
            let room = self.session.credit_bytes() > 0 && self.session.unaccepted_frames() < UNACCEPTED_MAX;
            tokio::select! {
                batch = batches.recv(), if room => match batch {
                    Some(batch) => self.send(&batch).await?,
                    None => return self.session.settle().await,
                },
                told = self.session.next() => if told?.is_none() {
                    return Ok(());
                },
            }
        }
    }

    /// In frames that a server takes.
    async fn send(&mut self, batch: &RecordBatch) -> Result<(), SessionError> {
        let frames = batch.size_bytes().div_ceil(FRAME_BYTES_MAX).max(1);
        let rows = batch.rows().div_ceil(frames).max(1);
        let mut sent = Ok(());
        for start in (0..batch.rows()).step_by(rows) {
            let part = batch.slice(start, rows.min(batch.rows() - start));
            // What cannot be sent now is kept.
            sent = self.session.send_rows(batch::to_proto(&part), part.size_bytes()).await;
        }
        sent
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Rows that were never accepted are lost, and said so.
        self.dropped(self.session.unaccepted_rows());
    }
}

/// Ids with the kind that the rows give them, and the label.
fn label_schema(shape: &Schema, spec: &Capture) -> Option<Schema> {
    let id = shape.fields().iter().find(|field| field.role == Role::Id)?;
    if spec.label.is_empty() {
        return None;
    }
    let kind = if spec.label_is_number { Kind::Double } else { Kind::Boolean };
    Schema::new(vec![id.clone(), Field::new(&spec.label, kind, Role::Label)]).ok()
}
