//! A version's monitoring stream, as this gateway's partition of it. It must not know what a record holds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use acgs_client::{OnLoss, SessionConfig, SessionError, WindowSession, dial};
use acgs_columns::{Field, Kind, RecordBatch, Role, Scale, Schema};
use acgs_contracts::{
    common::v1::{RecordBatch as BatchMessage, ReferenceSelector},
    lifecycle::v1::Capture,
    orchestrator::v1::{Durability, Open, TumblingWindow, WindowSpec, window_spec},
};
use acgs_mesh::client::connect;
use acgs_vocabulary::{
    Problem,
    convert::{batch, schema},
    problem::Kind as ProblemKind,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tonic::Code;

use super::{CaptureParts, Frame, Key, rows::Shape};
use crate::losses::{Dropped, Reason};

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

/// Why calls are lost at the end.
const STOPPED: &str = "the gateway stopped before an orchestrator had them";

/// One stream.
pub(super) struct Stream {
    parts: CaptureParts,
    key: Key,
    shape: Shape,
    asked: Open,
    session: WindowSession,
    /// Calls that were accepted, and are counted.
    counted: u64,
}

impl Stream {
    pub(super) fn new(parts: CaptureParts, key: Key, spec: &Capture, shape: Shape) -> Self {
        let (model_id, version) = (&key.0, &key.1);
        let durability = if spec.recorded { Durability::Log } else { Durability::Memory };
        let reference = (!spec.reference.is_empty())
            .then(|| ReferenceSelector { name: spec.reference.clone(), version: 0 });
        let open = Open {
            stream_id: format!("gateway/{model_id}/{version}"),
            partition_id: parts.router_id.clone(),
            durability: durability.into(),
            schema: Some(schema::to_proto(&shape)),
            label_schema: label_schema(&shape, spec).map(|fields| schema::to_proto(&fields)),
            window: Some(WindowSpec {
                kind: Some(window_spec::Kind::Tumbling(TumblingWindow { size_ms: spec.window_ms })),
                out_of_orderness_ms: Some(spec.out_of_orderness_ms),
                label_horizon_ms: Some(spec.label_horizon_ms),
                ..WindowSpec::default()
            }),
            service_id: spec.service_id.clone(),
            model_id: model_id.to_string(),
            model_version: version.to_string(),
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
        let session = WindowSession::new(dial, config, open.clone());
        Self { parts, key, shape, asked: open, session, counted: 0 }
    }

    /// How it is opened.
    pub(super) fn asked(&self) -> &Open {
        &self.asked
    }

    /// Until nobody sends any more and all is accepted, or everything ends; after the one before has done so.
    pub(super) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Frame>,
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
        while let Ok(frame) = batches.try_recv() {
            self.dropped(&Dropped::new(Reason::NotAccepted, STOPPED), frame.calls);
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

    async fn carry_all(&mut self, batches: &mut mpsc::Receiver<Frame>, before: Option<JoinHandle<()>>) {
        if let Some(before) = before {
            let _it_is_over = before.await;
        }
        let (mut told, mut refused) = (false, false);
        loop {
            let frames = self.session.unaccepted_frames();
            let carried = self.carry(batches).await;
            self.count();
            match carried {
                Ok(()) => return,
                // Another stream takes its place, and what is left cannot be brought.
                Err(_) if batches.is_closed() && batches.is_empty() => return,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let stream_id = &self.asked.stream_id;
                        tracing::warn!(stream_id, %error, "captured calls wait for their stream");
                    }
                    // A frame that is refused twice at the head of all others would hold them up for ever: it is halved until the call is
                    // found that cannot be a record.
                    let refusal = frame_refused(&error);
                    let stuck = refused && self.session.unaccepted_frames() >= frames;
                    refused = refusal.is_some() && !stuck;
                    if let Some(told) = refusal.filter(|_| stuck) {
                        let shape = Arc::clone(&self.shape);
                        let calls = self.session.replace_first(|batch| halves(batch, &shape));
                        self.dropped(&Dropped::new(Reason::Refused, told), calls);
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn dropped(&self, dropped: &Dropped, calls: u64) {
        self.parts.stats.losses.lost(&self.key.0, &self.key.1, dropped, calls);
    }

    /// Counts what was accepted since.
    fn count(&mut self) {
        let accepted = self.session.accepted_weight();
        let new = accepted - std::mem::replace(&mut self.counted, accepted);
        self.parts.stats.captures.fetch_add(new, Ordering::Relaxed);
    }

    async fn carry(&mut self, batches: &mut mpsc::Receiver<Frame>) -> Result<(), SessionError> {
        loop {
            self.session.ready().await?;
            // Nobody reads reports here: they are in the log.
            while self.session.heard().is_some() {}
            self.count();
            let room = self.session.credit_bytes() > 0 && self.session.unaccepted_frames() < UNACCEPTED_MAX;
            tokio::select! {
                batch = batches.recv(), if room => match batch {
                    Some(frame) => {
                        self.send(&frame).await?;
                    }
                    None => return self.session.settle().await,
                },
                told = self.session.next() => if told?.is_none() {
                    return Ok(());
                },
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.count();
        // Calls that were never accepted are lost, and said so.
        self.dropped(&Dropped::new(Reason::NotAccepted, STOPPED), self.session.unaccepted_weight());
    }
}

impl Stream {
    /// In frames that a server takes: a call that is larger is in several, and counts with the last.
    async fn send(&mut self, Frame { batch, calls }: &Frame) -> Result<(), SessionError> {
        let frames = batch.size_bytes().div_ceil(FRAME_BYTES_MAX).max(1);
        let rows = batch.rows().div_ceil(frames).max(1);
        let mut sent = Ok(());
        for start in (0..batch.rows()).step_by(rows) {
            let part = batch.slice(start, rows.min(batch.rows() - start));
            let weight = if start + rows >= batch.rows() { *calls } else { 0 };
            // What cannot be sent now is kept.
            sent = self.session.send_rows_weighing(batch::to_proto(&part), part.size_bytes(), weight).await;
        }
        sent
    }
}

/// What a server says against a frame itself, which it will say again; not what it says against the stream.
fn frame_refused(error: &SessionError) -> Option<String> {
    let status = error.status()?;
    let kind = match status.code() {
        Code::InvalidArgument => ProblemKind::Invalid,
        Code::OutOfRange => ProblemKind::OutOfRange,
        _ => return None,
    };
    let problem = Problem::told(kind, status, "REFUSED");
    let of_stream = problem.field_path().is_some_and(|field| field.starts_with("open"));
    (!of_stream).then(|| problem.to_string())
}

/// Two halves of a frame, each of whole calls; nothing when it is one call, or cannot be read.
fn halves(batch: BatchMessage, shape: &Shape) -> Vec<(BatchMessage, usize, u64)> {
    let Ok(batch) = batch::batch(batch, shape) else { return Vec::new() };
    let calls = batch.columns().last();
    let call_of = |row: usize| calls.and_then(|calls| calls.integer(row));
    // Rows at which another call begins.
    let begins: Vec<usize> = (1..batch.rows()).filter(|row| call_of(*row) != call_of(row - 1)).collect();
    let Some(middle) = begins.get(begins.len() / 2).copied() else { return Vec::new() };
    let before = begins.iter().filter(|row| **row < middle).count() as u64 + 1;
    let weights = [before, begins.len() as u64 + 1 - before];
    let parts = [batch.slice(0, middle), batch.slice(middle, batch.rows() - middle)];
    let told = |(part, calls): (RecordBatch, u64)| (batch::to_proto(&part), part.size_bytes(), calls);
    parts.into_iter().zip(weights).map(told).collect()
}

/// Ids with the kind that the rows give them, and the label.
fn label_schema(shape: &Schema, spec: &Capture) -> Option<Schema> {
    let id = shape.fields().iter().find(|field| field.role == Role::Id)?;
    if spec.label.is_empty() {
        return None;
    }
    // Numbers hold labels of yes and no in every coding, until it is known which of them says yes.
    let scale = spec.label_is_number.then_some(Scale::Numeric);
    Schema::new(vec![id.clone(), Field { scale, ..Field::new(&spec.label, Kind::Double, Role::Label) }]).ok()
}
