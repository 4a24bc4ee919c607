//! `StreamWindows`: a client's messages into its stream, and what it is told out of it.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use acgs_columns::{RecordBatch, Schema};
use acgs_contracts::orchestrator::v1 as proto;
use acgs_vocabulary::{
    Problem,
    budget::{self, Share, Use},
    convert::batch,
    ports::{
        Clock,
        records::{FramePlace, FrameRecorder},
    },
    problem::Kind,
};
use futures_core::Stream;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{StreamsDeps, messages, not_yet, open};
use crate::{
    actor::{CLIENT_QUEUE, ClientEnd, Input, Told, Waiting},
    core::labels,
    streams::Streams,
};

/// Frames of a client on their way into the record log.
const KEEPING_MAX: usize = 32;
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
    let farewell = Arc::new(OnceLock::new());
    let client = streams.client_id();
    let partition = message.partition_id;
    let (waiting, let_go) = (Waiting::default(), CancellationToken::new());
    let end = ClientEnd {
        id: client,
        partition: partition.clone(),
        out,
        farewell: Arc::clone(&farewell),
        waiting: waiting.clone(),
        reader: let_go.clone().drop_guard(),
    };
    let (stream, joined) = streams.join(spec, message.resume_after, end, traceparent).await?;
    let opened = proto::Opened {
        accepted_through: joined.accepted_through,
        credit_bytes: deps.config.credit_bytes,
        resumed: joined.resumed,
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
            next_seq: joined.accepted_through + 1,
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

/// Whether an input can be taken at once.
enum Keep {
    Now(Result<Input, Problem>),
    Later(Kept),
}
use Keep::{Later, Now};

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
    /// Where frames go before they are taken, when the stream is kept.
    recording: Option<Recording>,
}

/// A client's frames on their way into the record log.
struct Recording {
    recorder: Arc<dyn FrameRecorder>,
    partition: Arc<str>,
    join: u64,
    joined_after: u64,
    /// Frames before it are kept already, frames after it are refused.
    next_seq: u64,
}

/// A frame, or why there is none, once it is where it has to be.
type Kept = Pin<Box<dyn Future<Output = Result<Input, Problem>> + Send>>;

impl Reader {
    async fn run(mut self, mut incoming: Streaming<proto::StreamWindowsRequest>) {
        let (mut ended, mut refused) = (false, false);
        let mut keeping: FuturesOrdered<Kept> = FuturesOrdered::new();
        let mut open = true;
        // A client that is gone leaves when what it sent is where it has to be.
        while open || !keeping.is_empty() {
            let input = tokio::select! {
                message = incoming.next(), if open && keeping.len() < KEEPING_MAX => {
                    let read = match message {
                        Some(Ok(message)) => Some(self.read(message)),
                        // What could not be read is refused like what could; a connection that broke is neither.
                        Some(Err(status)) => refusal(&status).map(Err),
                        None => None,
                    };
                    let Some(read) = read else {
                        open = false;
                        continue;
                    };
                    match self.keep(read, keeping.is_empty()) {
                        Now(input) => input,
                        Later(kept) => {
                            keeping.push_back(kept);
                            continue;
                        }
                    }
                }
                Some(kept) = keeping.next() => kept,
                // The stream is over: a client that does not close its side does not hold the connection.
                () = self.stream.closed() => return,
                () = self.let_go.cancelled() => return,
            };
            ended |= matches!(input, Ok(Input::End { .. }));
            match input {
                Ok(input) => {
                    if self.stream.send(input).await.is_err() {
                        return;
                    }
                }
                Err(problem) => {
                    refused = true;
                    let _stream_over = self.stream.send(Input::Refuse { client: self.client, problem }).await;
                    break;
                }
            }
        }
        // After its end a client still waits for reports; before it, it is gone and may come back.
        if !ended && !refused {
            let _stream_over = self.stream.send(Input::Leave { client: self.client }).await;
        }
    }

    /// What has to be in the record log first comes later; what follows it too.
    fn keep(&mut self, read: Result<(Input, Option<RecordBatch>), Problem>, none_waits: bool) -> Keep {
        let (input, labels) = match read {
            Ok(read) => read,
            Err(problem) if none_waits => return Now(Err(problem)),
            Err(problem) => return Later(Box::pin(std::future::ready(Err(problem)))),
        };
        if let (Input::End { .. }, Some(recording)) = (&input, &mut self.recording) {
            // What comes after it is refused.
            recording.next_seq = u64::MAX;
        }
        let seq = match &input {
            Input::Rows { seq, .. } | Input::Labels { seq, .. } => Some(*seq),
            _ => None,
        };
        let recording = self.recording.as_mut().filter(|recording| seq == Some(recording.next_seq));
        let (Some(recording), Some(seq)) = (recording, seq) else {
            return if none_waits { Now(Ok(input)) } else { Later(Box::pin(std::future::ready(Ok(input)))) };
        };
        recording.next_seq += 1;
        let (recorder, partition) = (Arc::clone(&recording.recorder), Arc::clone(&recording.partition));
        let (join, joined_after) = (recording.join, recording.joined_after);
        Later(Box::pin(async move {
            let place = FramePlace { partition: &partition, join, joined_after, seq };
            match (&input, labels) {
                (Input::Rows { batch, .. }, _) => recorder.rows(place, batch).await?,
                (_, Some(labels)) => recorder.labels(place, &labels).await?,
                _ => {}
            }
            Ok(input)
        }))
    }

    /// The input that a message is; the batch of labels too, which the input has in another form.
    fn read(&self, message: proto::StreamWindowsRequest) -> Result<(Input, Option<RecordBatch>), Problem> {
        use proto::stream_windows_request::Message;
        let client = self.client;
        match message.message {
            Some(Message::Rows(rows)) => {
                let received_us = self.clock.monotonic_us();
                if !rows.arrow_ipc.is_empty() {
                    let message = "this version takes rows as `batch`; Arrow IPC comes in a later one";
                    return Err(not_yet("ARROW_IPC", message));
                }
                let batch =
                    rows.batch.ok_or_else(|| Problem::field("rows.batch", "MISSING", "is missing"))?;
                let batch =
                    batch::batch(batch, &self.rows).map_err(|problem| problem.within("rows.batch"))?;
                if batch.size_bytes() > FRAME_BYTES_MAX {
                    let message = format!("has {} bytes, at most {FRAME_BYTES_MAX}", batch.size_bytes());
                    return Err(Problem::field("rows.batch", "FRAME_TOO_LARGE", message));
                }
                // What it takes, dictionaries and all, until the last judge is done with it.
                let bytes = batch.heap_bytes();
                if bytes > FRAME_HEAP_MAX {
                    let message =
                        format!("has {bytes} bytes with its dictionaries, at most {FRAME_HEAP_MAX}");
                    return Err(Problem::field("rows.batch", "FRAME_TOO_LARGE", message));
                }
                let share = budget::process().of(Use::Frames);
                let little = self.held.held() + bytes <= share.least();
                let batch = batch.keeping(|bytes| {
                    let room = if little { share.force(bytes) } else { share.reserve(bytes)? };
                    Ok::<_, Problem>((room, self.held.force(bytes)))
                })?;
                let waits = self.waiting.one();
                Ok((Input::Rows { client, seq: rows.seq, batch, received_us, waits }, None))
            }
            Some(Message::Labels(message)) => {
                let Some(schema) = &self.labels else {
                    let message = "the stream was opened without `label_schema`";
                    return Err(Problem::new(Kind::Precondition, "NO_LABELS_EXPECTED", message));
                };
                let batch =
                    message.batch.ok_or_else(|| Problem::field("labels.batch", "MISSING", "is missing"))?;
                let batch = batch::batch(batch, schema).map_err(|problem| problem.within("labels.batch"))?;
                let bytes = batch.size_bytes() as u64;
                let input = Input::Labels { client, seq: message.seq, labels: labels(schema, &batch), bytes };
                Ok((input, self.recording.is_some().then_some(batch)))
            }
            Some(Message::Ack(ack)) => Ok((Input::Ack { client, through: ack.through_report_seq }, None)),
            Some(Message::End(_)) => Ok((Input::End { client }, None)),
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
