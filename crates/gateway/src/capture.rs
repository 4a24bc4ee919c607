//! Calls as records: a sampled call is noted as it goes by, and made into rows of its version's monitoring stream when it is over,
//! off its path. What waits has a bound in bytes; what does not fit, or cannot be read, is counted. It must not know what becomes
//! of records.

mod rows;
mod stream;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use acgs_columns::RecordBatch;
use acgs_contracts::lifecycle::v1::Capture;
use acgs_mesh::random;
use acgs_vocabulary::{Constitution, ports::Clock};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::{
    body::Noted,
    losses::{Dropped, Reason},
    stats::Stats,
};

/// Calls that wait to be made into rows.
const WAITING_MAX: usize = 16_384;
/// Calls that are made into rows together.
const TOGETHER_MAX: usize = 1_024;
/// How long is waited for others after the first: a batch costs nearly the same with one row as with many.
const GATHER: Duration = Duration::from_millis(10);
/// Streams at once: versions of models.
const STREAMS_MAX: usize = 256;
/// Batches that wait for a stream.
const BATCHES_MAX: usize = 1_024;

/// A call that is being captured.
#[derive(Debug)]
pub struct Captured {
    /// What tensors mean.
    pub spec: Arc<Capture>,
    /// The model.
    pub model_id: Arc<str>,
    /// The version that answered.
    pub version: Arc<str>,
    /// The request, noted as it went through.
    pub request: Arc<Noted>,
    /// How its message may be compressed.
    pub encoding: Option<String>,
    /// And that of the answer.
    pub answer_encoding: Option<String>,
    /// Wall time at which it came, milliseconds since the epoch.
    pub received_ms: i64,
}

/// A call that is over.
#[derive(Debug)]
struct Exchange {
    captured: Captured,
    request: Vec<Bytes>,
    answer: Option<Vec<Bytes>>,
    code: Code,
    latency_ms: f64,
    /// Drawn, so that gateways do not count alike.
    number: i64,
    _room: OwnedSemaphorePermit,
}

/// Takes calls. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Captures {
    calls: mpsc::Sender<Exchange>,
    room: Arc<Semaphore>,
    numbers: Arc<AtomicU64>,
    stats: Arc<Stats>,
    clock: Arc<dyn Clock>,
}

/// What it works with.
#[derive(Clone, Debug)]
pub struct CaptureParts {
    /// The gateway among others: a partition of each stream.
    pub router_id: String,
    /// Orchestrators that have streams.
    pub orchestrators: Vec<String>,
    /// Under which constitution it asks.
    pub constitution: Constitution,
    /// Bytes of calls that may wait.
    pub bytes_max: usize,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

impl Captures {
    /// Its task runs on the current runtime.
    #[must_use]
    pub fn start(parts: CaptureParts) -> Self {
        let (calls, waiting) = mpsc::channel(WAITING_MAX);
        let room = Arc::new(Semaphore::new(parts.bytes_max.min(Semaphore::MAX_PERMITS)));
        let (stats, clock) = (Arc::clone(&parts.stats), Arc::clone(&parts.clock));
        tokio::spawn(run(parts, waiting));
        let numbers = Arc::new(random::sequence());
        Self { calls, room, numbers, stats, clock }
    }

    /// Wall time, milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Takes a call that has ended so; one for which there is no room is counted.
    pub fn take(&self, captured: Captured, code: Code, answer: Option<Vec<Bytes>>, latency_ms: f64) {
        let (model_id, version) = (Arc::clone(&captured.model_id), Arc::clone(&captured.version));
        let lost = |reason, detail: &str| {
            self.stats.losses.lost(&model_id, &version, &Dropped::new(reason, detail), 1);
        };
        // What was noted of an answer that is too large is nothing.
        let request = captured.request.whole().filter(|_| answer.is_some() || code != Code::Ok);
        let Some(request) = request else {
            return lost(Reason::TooLarge, "see gateway.capture_bytes_max");
        };
        let pieces = request.iter().chain(answer.iter().flatten());
        let bytes = u32::try_from(pieces.map(Bytes::len).sum::<usize>()).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) else {
            return lost(Reason::NoRoom, "too many bytes wait");
        };
        let number = (random::next(&self.numbers) >> 1) as i64;
        let exchange = Exchange { captured, request, answer, code, latency_ms, number, _room: room };
        if self.calls.try_send(exchange).is_err() {
            lost(Reason::NoRoom, "too many calls wait");
        }
    }
}

type Key = (Arc<str>, Arc<str>);

/// Rows on their way, and of how many calls they are.
#[derive(Debug)]
struct Frame {
    batch: RecordBatch,
    calls: u64,
}

/// A version's stream, and the schema that its first call had.
struct Open {
    spec: Arc<Capture>,
    shape: rows::Shape,
    batches: mpsc::Sender<Frame>,
    /// Carries it.
    task: tokio::task::JoinHandle<()>,
    /// How it was opened.
    asked: acgs_contracts::orchestrator::v1::Open,
    /// Whether it ends when it is replaced.
    ends: Arc<AtomicBool>,
}

async fn run(parts: CaptureParts, mut waiting: mpsc::Receiver<Exchange>) {
    let mut streams: HashMap<Key, Open> = HashMap::new();
    let mut calls = Vec::new();
    let stop = parts.stop.clone();
    while stop.run_until_cancelled(gather(&mut waiting, &mut calls)).await == Some(true) {
        let mut made: HashMap<Key, rows::Rows> = HashMap::new();
        for exchange in calls.drain(..) {
            let key = (Arc::clone(&exchange.captured.model_id), Arc::clone(&exchange.captured.version));
            let taken = take(&parts, &mut streams, &mut made, key.clone(), &exchange);
            if let Err(dropped) = taken {
                parts.stats.losses.lost(&key.0, &key.1, &dropped, 1);
            }
        }
        for (key, rows) in made {
            send(&parts, &key, streams.get(&key), rows);
        }
    }
}

/// Hands rows to their stream; what it has no room for is counted.
fn send(parts: &CaptureParts, key: &Key, open: Option<&Open>, rows: rows::Rows) {
    let calls = rows.calls();
    let sent = rows.finish().and_then(|batch| open?.batches.try_send(Frame { batch, calls }).ok());
    if sent.is_none() {
        let dropped = Dropped::new(Reason::NoRoom, "too many records wait for their stream");
        parts.stats.losses.lost(&key.0, &key.1, &dropped, calls);
    }
}

/// Calls that came together; `false` when there will be none.
async fn gather(waiting: &mut mpsc::Receiver<Exchange>, calls: &mut Vec<Exchange>) -> bool {
    let Some(first) = waiting.recv().await else { return false };
    calls.push(first);
    if waiting.len() < TOGETHER_MAX {
        tokio::time::sleep(GATHER).await;
    }
    while calls.len() < TOGETHER_MAX
        && let Ok(another) = waiting.try_recv()
    {
        calls.push(another);
    }
    true
}

/// # Errors
/// When the call cannot be a record.
fn take(
    parts: &CaptureParts,
    streams: &mut HashMap<Key, Open>,
    made: &mut HashMap<Key, rows::Rows>,
    key: Key,
    exchange: &Exchange,
) -> Result<(), Dropped> {
    let call = rows::Call::read(exchange)?;
    let spec = &exchange.captured.spec;
    let fits = streams.get(&key).is_some_and(|open| {
        let same = Arc::ptr_eq(&open.spec, spec) || *open.spec == **spec;
        same && call.fits(&open.shape, spec) && !open.batches.is_closed()
    });
    if !fits {
        if streams.len() >= STREAMS_MAX && !streams.contains_key(&key) {
            streams.retain(|_, open| !open.batches.is_closed());
            if streams.len() >= STREAMS_MAX {
                let told = format!("{STREAMS_MAX} versions are captured");
                return Err(Dropped::new(Reason::Streams, told));
            }
        }
        let shape = call.shape(spec)?;
        // Another schema, or another meaning, is another life of the stream; what was made for the one before goes there.
        if let Some(rows) = made.remove(&key) {
            send(parts, &key, streams.get(&key), rows);
        }
        let (batches, outgoing) = mpsc::channel(BATCHES_MAX);
        let stream = stream::Stream::new(parts.clone(), key.clone(), spec, Arc::clone(&shape));
        let (asked, ends) = (stream.asked().clone(), Arc::new(AtomicBool::new(false)));
        // Two at once would take the partition from each other. What is another stream has to end before the next begins.
        let before = streams.remove(&key).map(|open| {
            open.ends.store(open.asked != asked, Ordering::Relaxed);
            open.task
        });
        let task = tokio::spawn(stream.run(outgoing, before, Arc::clone(&ends)));
        streams.insert(key.clone(), Open { spec: Arc::clone(spec), shape, batches, task, asked, ends });
    }
    let Some(open) = streams.get(&key) else { return Ok(()) };
    if made.get(&key).is_some_and(|rows| !rows.has_room_for(&call))
        && let Some(full) = made.remove(&key)
    {
        send(parts, &key, Some(open), full);
    }
    let rows = made.entry(key).or_insert_with(|| rows::Rows::new(Arc::clone(&open.shape)));
    rows.push(&call, exchange)
}
