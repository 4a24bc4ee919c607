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

use crate::{body::Noted, stats::Stats};

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
        let taken = || {
            let request = captured.request.whole()?;
            let pieces = request.iter().chain(answer.iter().flatten());
            let bytes = pieces.map(Bytes::len).sum::<usize>();
            let room = Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
            Some((request, room))
        };
        let Some((request, room)) = taken() else {
            self.stats.captures_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let number = (random::next(&self.numbers) >> 1) as i64;
        let exchange = Exchange { captured, request, answer, code, latency_ms, number, _room: room };
        if self.calls.try_send(exchange).is_err() {
            self.stats.captures_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

type Key = (Arc<str>, Arc<str>);

/// A version's stream, and the schema that its first call had.
struct Open {
    spec: Arc<Capture>,
    shape: rows::Shape,
    batches: mpsc::Sender<RecordBatch>,
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
            if take(&parts, &mut streams, &mut made, key, &exchange).is_none() {
                parts.stats.captures_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        for (key, rows) in made {
            send(&parts, streams.get(&key), rows);
        }
    }
}

/// Hands rows to their stream; what it has no room for is counted.
fn send(parts: &CaptureParts, open: Option<&Open>, rows: rows::Rows) {
    let count = rows.calls();
    let sent = rows.finish().and_then(|batch| open?.batches.try_send(batch).ok());
    let counter = if sent.is_some() { &parts.stats.captures } else { &parts.stats.captures_dropped };
    counter.fetch_add(count, Ordering::Relaxed);
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

/// `None` when the call cannot be a record.
fn take(
    parts: &CaptureParts,
    streams: &mut HashMap<Key, Open>,
    made: &mut HashMap<Key, rows::Rows>,
    key: Key,
    exchange: &Exchange,
) -> Option<()> {
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
                return None;
            }
        }
        let shape = call.shape(spec)?;
        // Another schema, or another meaning, is another life of the stream; what was made for the one before goes there.
        if let Some(rows) = made.remove(&key) {
            send(parts, streams.get(&key), rows);
        }
        let (batches, outgoing) = mpsc::channel(BATCHES_MAX);
        let stream = stream::Stream::new(parts.clone(), &key.0, &key.1, Arc::clone(spec), Arc::clone(&shape));
        let (asked, ends) = (stream.asked().clone(), Arc::new(AtomicBool::new(false)));
        // Two at once would take the partition from each other. What is another stream has to end before the next begins.
        let before = streams.remove(&key).map(|open| {
            open.ends.store(open.asked != asked, Ordering::Relaxed);
            open.task
        });
        let task = tokio::spawn(stream.run(outgoing, before, Arc::clone(&ends)));
        streams.insert(key.clone(), Open { spec: Arc::clone(spec), shape, batches, task, asked, ends });
    }
    let shape = &streams.get(&key)?.shape;
    let rows = match made.entry(key) {
        std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
        std::collections::hash_map::Entry::Vacant(new) => new.insert(rows::Rows::new(Arc::clone(shape))),
    };
    rows.push(call, exchange)
}
