//! A version's monitoring stream, as this gateway's partition of it: opened at whichever orchestrator has it, opened again when it
//! breaks, with what was not accepted sent again. It must not know what a record holds.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use acgs_columns::{Field, Kind, RecordBatch, Role, Schema};
use acgs_contracts::{
    common::v1::ReferenceSelector,
    lifecycle::v1::Capture,
    orchestrator::v1::{
        Durability, Open, Rows, StreamWindowsRequest, TumblingWindow, WindowSpec,
        orchestrator_service_client::OrchestratorServiceClient, stream_windows_request::Message as Say,
        stream_windows_response::Message as Told, window_spec,
    },
};
use acgs_mesh::client::connect;
use acgs_vocabulary::convert::{batch, schema};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{CaptureParts, rows::Shape};

/// Messages that wait to be sent.
const OUTGOING_MAX: usize = 16;
/// Batches that are sent and not accepted.
const SENT_MAX: usize = 1_024;
/// Largest message received, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// An orchestrator that does not open the stream by then does not have it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts.
const RETRY: Duration = Duration::from_millis(250);

type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// One stream.
pub(super) struct Stream {
    parts: CaptureParts,
    open: Open,
    /// Sent, and not accepted yet; the first has the number after the last accepted.
    sent: VecDeque<RecordBatch>,
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
        Self { parts, open, sent: VecDeque::new() }
    }

    /// Until nobody sends any more, or everything ends.
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<RecordBatch>) {
        let mut told = false;
        for orchestrator in self.parts.orchestrators.clone().iter().cycle() {
            let stop = self.parts.stop.clone();
            let session = tokio::select! {
                session = self.session(orchestrator, &mut batches) => session,
                () = stop.cancelled() => return,
            };
            match session {
                Ok(()) => return,
                // Another stream has taken its place, and it has nothing left to send.
                Err(_) if batches.is_closed() && batches.is_empty() => return,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let stream_id = &self.open.stream_id;
                        tracing::warn!(stream_id, orchestrator, %error, "captured calls wait for their stream");
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn session(
        &mut self,
        orchestrator: &str,
        batches: &mut mpsc::Receiver<RecordBatch>,
    ) -> Result<(), Trouble> {
        let channel = connect(&format!("http://{orchestrator}"), self.parts.constitution.clone()).await?;
        let mut client = OrchestratorServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
        out.send(request(Say::Open(self.open.clone()))).await?;
        let opening = client.stream_windows(ReceiverStream::new(outgoing));
        let mut incoming = tokio::time::timeout(PATIENCE, opening).await??.into_inner();
        let first = tokio::time::timeout(PATIENCE, incoming.message()).await??;
        let Some(Told::Opened(opened)) = first.and_then(|message| message.message) else {
            return Err("the stream was not opened".into());
        };
        let (mut accepted, mut credit) = (opened.accepted_through, opened.credit_bytes as i64);
        // Another life of this partition: what was not accepted is told again.
        let again: Vec<RecordBatch> = self.sent.drain(..).collect();
        let mut next = accepted + 1;
        for batch in again {
            self.send(&out, &mut next, &mut credit, batch).await?;
        }
        loop {
            let room = credit > 0 && self.sent.len() < SENT_MAX;
            tokio::select! {
                batch = batches.recv(), if room => match batch {
                    Some(batch) => self.send(&out, &mut next, &mut credit, batch).await?,
                    None => {
                        out.send(request(Say::End(Default::default()))).await?;
                        return Ok(());
                    }
                },
                told = incoming.message() => match told?.map(|message| message.message) {
                    Some(Some(Told::Accepted(through))) => {
                        credit += through.credit_bytes as i64;
                        while accepted < through.through_seq && self.sent.pop_front().is_some() {
                            accepted += 1;
                        }
                    }
                    Some(Some(Told::Report(report))) => {
                        // Nobody reads reports here: they are in the log.
                        let through_report_seq = report.report_seq;
                        let ack = acgs_contracts::orchestrator::v1::AckReports { through_report_seq };
                        let _the_next_says_as_much = out.try_send(request(Say::Ack(ack)));
                    }
                    Some(_) => {}
                    None => return Err("the stream was closed".into()),
                },
            }
        }
    }

    async fn send(
        &mut self,
        out: &mpsc::Sender<StreamWindowsRequest>,
        next: &mut u64,
        credit: &mut i64,
        batch: RecordBatch,
    ) -> Result<(), Trouble> {
        *credit -= batch.size_bytes() as i64;
        let rows = Rows { seq: *next, batch: Some(batch::to_proto(&batch)), ..Rows::default() };
        *next += 1;
        self.sent.push_back(batch);
        Ok(out.send(request(Say::Rows(rows))).await?)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Rows that were never accepted are lost, and said so.
        let lost: usize = self.sent.iter().map(RecordBatch::rows).sum();
        self.parts.stats.captures_dropped.fetch_add(lost as u64, Ordering::Relaxed);
    }
}

fn request(message: Say) -> StreamWindowsRequest {
    StreamWindowsRequest { message: Some(message) }
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
