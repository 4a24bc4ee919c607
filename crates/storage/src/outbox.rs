//! The outbox: events on their way to the log, many at a time, kept while the log cannot be reached. Bounded: when it is
//! full, those who can wait do, and what cannot is counted. It must not know what an event says.

mod pump;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use acgs_vocabulary::{
    event::Envelope,
    ports::{Clock, EventLog, EventSink},
};
use async_trait::async_trait;
use pump::Pump;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, unconstrained},
};
use tokio_util::sync::CancellationToken;

use crate::unsent::Left;

/// What the task is given.
#[derive(Debug)]
enum Item {
    Event(Waiting),
    /// Answered when all before it is written.
    Flush(oneshot::Sender<()>),
}

/// An event, and when it was handed over.
#[derive(Debug)]
struct Waiting {
    envelope: Box<Envelope>,
    since_us: u64,
}

/// Nothing waits.
const NOBODY: u64 = u64::MAX;

/// What became of events so far.
#[derive(Debug)]
struct Counts {
    waiting: AtomicUsize,
    /// When the oldest that waits was handed over; `NOBODY` when none does.
    oldest_us: AtomicU64,
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
    closing: CancellationToken,
    /// Ends with what did not reach the log.
    task: Arc<Mutex<Option<JoinHandle<Left>>>>,
}

impl Outbox {
    /// Starts the task that writes; it ends when the last clone is gone and all is written.
    #[must_use]
    pub fn start(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, capacity: usize) -> Self {
        let (items, queue) = mpsc::channel(capacity.max(1));
        let counts = Arc::new(Counts {
            waiting: AtomicUsize::new(0),
            oldest_us: AtomicU64::new(NOBODY),
            acknowledged: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            slowest_us: AtomicU64::new(0),
        });
        // A task that has done much is asked to let others go first, in the middle of a row of events; the rest of the row would
        // then be written before those that were asked to wait. So this one is not asked.
        let pump = Pump::new(log, Arc::clone(&counts), Arc::clone(&clock));
        let closing = CancellationToken::new();
        let task = tokio::spawn(unconstrained(pump.run(queue, closing.clone())));
        let task = Arc::new(Mutex::new(Some(task)));
        Self { items, counts, clock, capacity: capacity.max(1), closing, task }
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

    /// How long the oldest of them has waited.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        match self.counts.oldest_us.load(Ordering::Relaxed) {
            NOBODY => None,
            since_us => Some(Duration::from_micros(self.clock.monotonic_us().saturating_sub(since_us))),
        }
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

    /// Whether all that was handed over before is in the log; false when the outbox was closed before.
    pub async fn flushed(&self) -> bool {
        let (done, written) = oneshot::channel();
        self.items.send(Item::Flush(done)).await.is_ok() && written.await.is_ok()
    }

    /// Takes nothing more, and gives back what is not known to be in the log, in its order.
    pub async fn close(&self) -> Left {
        self.closing.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        match task {
            Some(task) => task.await.unwrap_or_default(),
            None => Left::default(),
        }
    }

    fn item(&self, envelope: Envelope) -> Item {
        Item::Event(Waiting { envelope: Box::new(envelope), since_us: self.clock.monotonic_us() })
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
        let _or_closed = self.flushed().await;
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
