//! `StreamWindows`: a client's messages into its stream, and what it is told out of it.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use acgs_columns::Schema;
use acgs_contracts::orchestrator::v1 as proto;
use acgs_vocabulary::{
    Problem,
    budget::{self, Share, Use},
    convert::batch,
    ports::{
        Chunk, Clock,
        records::{FramePlace, FrameRecorder},
    },
    problem::Kind,
};
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{StreamsDeps, messages, not_yet, open};
use crate::{
    actor::{CLIENT_QUEUE, ClientEnd, Frame, Input, Rooms, Told, Waiting},
    core::{Held, labels},
    streams::Streams,
};

/// A client says what it wants by then.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest frame, as columns count.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// Largest frame with its dictionaries, in bytes.
const FRAME_HEAP_MAX: usize = 16 << 20;

/// What a client is told, ending in the reason when there is one.
#[derive(Debug)]
pub struct Answers {
    opened: Option<proto::StreamWindowsResponse>,
    told: mpsc::Receiver<Told>,
    handed: Arc<AtomicU64>,
    farewell: Arc<OnceLock<Problem>>,
    closed: bool,
    over: bool,
}

impl Stream for Answers {
    type Item = Result<proto::StreamWindowsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(opened) = self.opened.take() {
            return Poll::Ready(Some(Ok(opened)));
        }
        if self.over {
            return Poll::Ready(None);
        }
        match self.told.poll_recv(context) {
            Poll::Ready(Some(told)) => {
                self.closed |= matches!(told, Told::Closed(_));
                if let Told::Report(report) = &told {
                    self.handed.store(report.report_seq, Ordering::Relaxed);
                }
                Poll::Ready(Some(Ok(messages::told(told))))
            }
            Poll::Ready(None) => {
                self.over = true;
                let lost =
                    || Problem::new(Kind::Unavailable, "STREAM_ENDED", "the stream has ended; open it again");
                let reason = self.farewell.get().cloned().or_else(|| (!self.closed).then(lost));
                Poll::Ready(reason.map(|problem| Err(problem.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Joins the client that opens here to its stream.
///
/// # Errors
/// When the first message is not a good `Open`, or the stream cannot be had.
pub(super) async fn run(
    deps: &StreamsDeps,
    streams: &Streams,
    mut incoming: Streaming<proto::StreamWindowsRequest>,
    traceparent: Option<Arc<str>>,
) -> Result<Answers, Status> {
    use proto::stream_windows_request::Message;
    let first = tokio::time::timeout(OPEN_TIMEOUT, incoming.next()).await;
    let first = first.map_err(|_| Problem::field("open", "OPEN_FIRST", "did not come in time"))?;
    let Some(Message::Open(message)) = first.transpose()?.and_then(|message| message.message) else {
        return Err(Problem::field("message", "OPEN_FIRST", "the first message is `open`").into());
    };
    let spec = open::spec(&message, &*deps.references).await.map_err(|problem| problem.within("open"))?;
    let rows = Arc::clone(&spec.schema);
    let label_fields = match &message.label_schema {
        Some(fields) => {
            Some(open::label_schema(fields).map_err(|problem| problem.within("open.label_schema"))?)
        }
        None => None,
    };
    let (out, told) = mpsc::channel(CLIENT_QUEUE);
    let (farewell, handed) = (Arc::new(OnceLock::new()), Arc::<AtomicU64>::default());
    let client = streams.client_id();
    let partition = message.partition_id;
    let (waiting, let_go) = (Waiting::default(), CancellationToken::new());
    let end = ClientEnd {
        id: client,
        partition: partition.clone(),
        life: message.life,
        out,
        handed: Arc::clone(&handed),
        farewell: Arc::clone(&farewell),
        waiting: waiting.clone(),
        reader: let_go.clone().drop_guard(),
    };
    let (stream, joined) = streams.join(spec, message.resume_after, end, traceparent).await?;
    let opened = proto::Opened {
        accepted_through: joined.accepted_through,
        credit_bytes: deps.config.credit_bytes,
        resumed: joined.resumed,
        life: joined.life,
    };
    let opened = proto::stream_windows_response::Message::Opened(opened);
    let reader = Reader {
        client,
        stream: stream.inputs,
        recording: stream.recorder.map(|recorder| Recording {
            recorder,
            partition: partition.into(),
            join: joined.join,
            joined_after: joined.accepted_through,
        }),
        rows,
        labels: label_fields,
        clock: Arc::clone(&deps.clock),
        waiting,
        held: Share::unbounded(),
        let_go,
    };
    tokio::spawn(reader.run(incoming));
    Ok(Answers {
        opened: Some(proto::StreamWindowsResponse { message: Some(opened) }),
        told,
        handed,
        farewell,
        closed: false,
        over: false,
    })
}

/// Why a message could not be read, when that is its sender's doing.
fn refusal(status: &Status) -> Option<Problem> {
    let (kind, otherwise) = match status.code() {
        Code::InvalidArgument => (Kind::Invalid, "BAD_MESSAGE"),
        Code::OutOfRange => (Kind::OutOfRange, "MESSAGE_TOO_LARGE"),
        Code::ResourceExhausted => (Kind::Exhausted, "MEMORY"),
        _ => return None,
    };
    Some(Problem::told(kind, status, otherwise))
}

/// Reads a client until it is done or wrong.
struct Reader {
    client: u64,
    stream: mpsc::Sender<Input>,
    rows: Arc<Schema>,
    labels: Option<Arc<Schema>>,
    clock: Arc<dyn Clock>,
    /// Frames that were received and are not taken yet.
    waiting: Waiting,
    /// What frames of this client hold, wherever they are.
    held: Share,
    /// Cancelled when the client is let go.
    let_go: CancellationToken,
    /// How frames are kept, when the stream is.
    recording: Option<Recording>,
}

/// How frames of a client are kept.
struct Recording {
    recorder: Arc<dyn FrameRecorder>,
    partition: Arc<str>,
    join: u64,
    joined_after: u64,
}

impl Reader {
    async fn run(self, mut incoming: Streaming<proto::StreamWindowsRequest>) {
        let (mut ended, mut refused) = (false, false);
        loop {
            let read = tokio::select! {
                message = incoming.next() => match message {
                    Some(Ok(message)) => self.read(message),
                    // What could not be read is refused like what could; a connection that broke is neither.
                    Some(Err(status)) => match refusal(&status) {
                        Some(problem) => Err(problem),
                        None => break,
                    },
                    None => break,
                },
                // The stream is over: a client that does not close its side does not hold the connection.
                () = self.stream.closed() => return,
                () = self.let_go.cancelled() => return,
            };
            ended |= matches!(read, Ok(Input::End { .. }));
            refused = read.is_err();
            let input = read.unwrap_or_else(|problem| Input::Refuse { client: self.client, problem });
            if self.stream.send(input).await.is_err() {
                return;
            }
            if refused {
                break;
            }
        }
        // After its end a client still waits for reports; before it, it is gone and may come back.
        if !ended && !refused {
            let _stream_over = self.stream.send(Input::Leave { client: self.client }).await;
        }
    }

    /// What a frame takes of the process's memory: a little that no other can take, and more while there is.
    fn hold(&self, bytes: usize) -> Result<Rooms, Problem> {
        let share = budget::process().of(Use::Frames);
        let little = self.held.held() + bytes <= share.least();
        let room = if little { share.force(bytes) } else { share.reserve(bytes)? };
        Ok((room, self.held.force(bytes)))
    }

    /// A frame as it is kept; nothing when it is not, or was before.
    fn encode(
        &self,
        seq: u64,
        encode: impl FnOnce(&dyn FrameRecorder, FramePlace<'_>) -> Result<Vec<Chunk>, Problem>,
    ) -> Result<(Vec<Chunk>, Option<Rooms>), Problem> {
        let Some(recording) = self.recording.as_ref().filter(|recording| seq > recording.joined_after) else {
            return Ok((Vec::new(), None));
        };
        let (join, joined_after) = (recording.join, recording.joined_after);
        let place = FramePlace { partition: &recording.partition, join, joined_after, seq };
        let chunks = encode(&*recording.recorder, place)?;
        let bytes = chunks.iter().map(|chunk| chunk.content.len()).sum();
        Ok((chunks, Some(self.hold(bytes)?)))
    }

    fn rows(&self, rows: proto::Rows) -> Result<Frame, Problem> {
        let received_us = self.clock.monotonic_us();
        if !rows.arrow_ipc.is_empty() {
            let message = "this version takes rows as `batch`; Arrow IPC comes in a later one";
            return Err(not_yet("ARROW_IPC", message));
        }
        let batch = rows.batch.ok_or_else(|| Problem::field("rows.batch", "MISSING", "is missing"))?;
        let batch = batch::batch(batch, &self.rows).map_err(|problem| problem.within("rows.batch"))?;
        if batch.size_bytes() > FRAME_BYTES_MAX {
            let message = format!("has {} bytes, at most {FRAME_BYTES_MAX}", batch.size_bytes());
            return Err(Problem::field("rows.batch", "FRAME_TOO_LARGE", message));
        }
        // What it takes, dictionaries and all, until the last judge is done with it.
        let bytes = batch.heap_bytes();
        if bytes > FRAME_HEAP_MAX {
            let message = format!("has {bytes} bytes with its dictionaries, at most {FRAME_HEAP_MAX}");
            return Err(Problem::field("rows.batch", "FRAME_TOO_LARGE", message));
        }
        let batch = batch.keeping(|bytes| self.hold(bytes))?;
        let (chunks, room) = self.encode(rows.seq, |recorder, place| recorder.encode_rows(place, &batch))?;
        Ok(Frame {
            client: self.client,
            seq: rows.seq,
            bytes: batch.size_bytes() as u64,
            held: Held::Rows(batch),
            received_us,
            chunks,
            room,
            waits: Some(self.waiting.one()),
        })
    }

    fn labels(&self, message: proto::Labels) -> Result<Frame, Problem> {
        let Some(schema) = &self.labels else {
            let message = "the stream was opened without `label_schema`";
            return Err(Problem::new(Kind::Precondition, "NO_LABELS_EXPECTED", message));
        };
        let batch = message.batch.ok_or_else(|| Problem::field("labels.batch", "MISSING", "is missing"))?;
        let batch = batch::batch(batch, schema).map_err(|problem| problem.within("labels.batch"))?;
        let (chunks, room) =
            self.encode(message.seq, |recorder, place| recorder.encode_labels(place, &batch))?;
        Ok(Frame {
            client: self.client,
            seq: message.seq,
            bytes: batch.size_bytes() as u64,
            held: Held::Labels(labels(schema, &batch)),
            received_us: self.clock.monotonic_us(),
            chunks,
            room,
            waits: None,
        })
    }

    /// The input that a message is.
    fn read(&self, message: proto::StreamWindowsRequest) -> Result<Input, Problem> {
        use proto::stream_windows_request::Message;
        let client = self.client;
        match message.message {
            Some(Message::Rows(rows)) => Ok(Input::Frame(self.rows(rows)?)),
            Some(Message::Labels(labels)) => Ok(Input::Frame(self.labels(labels)?)),
            Some(Message::Ack(ack)) => Ok(Input::Ack { client, through: ack.through_report_seq }),
            Some(Message::End(_)) => Ok(Input::End { client }),
            Some(Message::Open(_)) => {
                let message = "a stream is opened once; its schema does not change in mid-stream";
                Err(Problem::new(Kind::Precondition, "SCHEMA_CHANGED", message))
            }
            None => {
                Err(Problem::field("message", "MISSING", "is none of the messages that this version knows"))
            }
        }
    }
}

/// Passes a stream on until the token is cancelled; then it ends as unavailable.
pub(super) fn until<T: Send + 'static>(
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stop: CancellationToken,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
    let (out, answers) = mpsc::channel(16);
    tokio::spawn(async move {
        tokio::pin!(stream);
        loop {
            tokio::select! {
                item = stream.next() => match item {
                    Some(item) => {
                        if out.send(item).await.is_err() {
                            return;
                        }
                    }
                    None => return,
                },
                () = out.closed() => return,
                () = stop.cancelled() => {
                    let problem = Problem::new(Kind::Unavailable, "DRAINING", "the server is stopping");
                    let _client_left = out.send(Err(problem.into())).await;
                    return;
                }
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(answers)
}
