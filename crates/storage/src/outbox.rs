//! The outbox: events on their way to the log, many at a time, kept while the log cannot be reached. Bounded: when it is
//! full, those who can wait do, and what cannot is counted. It must not know what an event says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use acgs_vocabulary::{
    event::Envelope,
    ports::{Clock, EventLog, EventSink, PortError},
};
use async_trait::async_trait;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    task::unconstrained,
};

/// Events that are sent and not yet acknowledged. They are sent in order; one that failed is sent again by itself.
const IN_FLIGHT_MAX: usize = 256;
/// Between attempts for one event.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What the task is given.
#[derive(Debug)]
enum Item {
    Event {
        envelope: Box<Envelope>,
        since_us: u64,
    },
    /// Answered when all before it is written.
    Flush(oneshot::Sender<()>),
}

/// What became of events so far.
#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    acknowledged: AtomicU64,
    retried: AtomicU64,
    lost: AtomicU64,
    slowest_us: AtomicU64,
}

/// Events on their way. Clones share it.
#[derive(Clone, Debug)]
pub struct Outbox {
    items: mpsc::Sender<Item>,
    counts: Arc<Counts>,
    clock: Arc<dyn Clock>,
    capacity: usize,
}

impl Outbox {
    /// Starts the task that writes; it ends when the last clone is gone and all is written.
    #[must_use]
    pub fn start(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, capacity: usize) -> Self {
        let (items, queue) = mpsc::channel(capacity.max(1));
        let counts = Arc::new(Counts::default());
        // A task that has done much is asked to let others go first, in the middle of a row of events; the rest of the row would
        // then be written before those that were asked to wait. So this one is not asked.
        tokio::spawn(unconstrained(pump(log, queue, Arc::clone(&counts), Arc::clone(&clock))));
        Self { items, counts, clock, capacity: capacity.max(1) }
    }

    /// Events that are not acknowledged yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.counts.waiting.load(Ordering::Relaxed)
    }

    /// How many may wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Events in the log.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.counts.acknowledged.load(Ordering::Relaxed)
    }

    /// Attempts after the first.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.counts.retried.load(Ordering::Relaxed)
    }

    /// Events that no log takes, or that came when the outbox was full and could not wait.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Longest time from handing over to acknowledgement since the last call, in microseconds.
    #[must_use]
    pub fn take_slowest_us(&self) -> u64 {
        self.counts.slowest_us.swap(0, Ordering::Relaxed)
    }

    fn item(&self, envelope: Envelope) -> Item {
        Item::Event { envelope: Box::new(envelope), since_us: self.clock.monotonic_us() }
    }
}

#[async_trait]
impl EventSink for Outbox {
    async fn send(&self, envelope: Envelope) {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if self.items.send(self.item(envelope)).await.is_err() {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn offer(&self, envelope: Envelope) -> bool {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        let taken = self.items.try_send(self.item(envelope)).is_ok();
        if !taken {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.items.send(Item::Flush(done)).await.is_ok() {
            let _task_ended = written.await;
        }
    }
}

async fn pump(
    log: Arc<dyn EventLog>,
    mut items: mpsc::Receiver<Item>,
    counts: Arc<Counts>,
    clock: Arc<dyn Clock>,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut flushes: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        tokio::select! {
            // A flush waits for what is in flight; nothing new is taken meanwhile, so that it ends.
            item = items.recv(), if in_flight.len() < IN_FLIGHT_MAX && flushes.is_empty() => match item {
                Some(Item::Event { envelope, since_us }) => {
                    in_flight.push(deliver(&*log, *envelope, since_us, &counts, &*clock));
                }
                Some(Item::Flush(done)) => flushes.push(done),
                None => break,
            },
            Some(()) = in_flight.next() => {}
        }
        if in_flight.is_empty() {
            for done in flushes.drain(..) {
                let _nobody_waits = done.send(());
            }
        }
    }
    while in_flight.next().await.is_some() {}
}

/// Tries until the log has the event, or says that it will never take it.
async fn deliver(log: &dyn EventLog, envelope: Envelope, since_us: u64, counts: &Counts, clock: &dyn Clock) {
    let mut pause = RETRY_FIRST;
    loop {
        match log.append(envelope.clone(), None).await {
            Ok(_) => {
                counts.acknowledged.fetch_add(1, Ordering::Relaxed);
                let took_us = clock.monotonic_us().saturating_sub(since_us);
                counts.slowest_us.fetch_max(took_us, Ordering::Relaxed);
                break;
            }
            Err(PortError::Unavailable(error)) => {
                if counts.retried.fetch_add(1, Ordering::Relaxed).is_multiple_of(1_000) {
                    tracing::warn!(error, id = envelope.event_id, "events wait in the outbox");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            Err(error) => {
                counts.lost.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, id = envelope.event_id, "an event was lost: no log takes it");
                break;
            }
        }
    }
    counts.waiting.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
