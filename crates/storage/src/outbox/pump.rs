//! The task of the outbox: events go out in the order in which they came, many at a time. When one fails, nothing more is sent until it is
//! known what of those on their way has arrived; then it goes on with the oldest that has not. It must not know what an event says.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use acgs_vocabulary::{
    event::Envelope,
    ports::{Appended, Clock, EventLog, PortError},
};
use futures_util::{StreamExt, stream::FuturesOrdered};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Counts, Item, NOBODY, Waiting};
use crate::unsent::Left;

/// Events that are sent and not yet acknowledged.
const IN_FLIGHT_MAX: usize = 256;
/// While the oldest has had no answer for so long, nothing more is sent: a log that elects who leads it, say, takes what is sent after those that
/// are lost.
const STALL: Duration = Duration::from_millis(250);
/// How long those who hand over are waited for at the end.
const CLOSING: Duration = Duration::from_secs(1);
/// Between attempts.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Between two lines of the log while the log takes nothing.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Events read at once when it is looked up what has arrived.
const PAGE: usize = 500;
/// Events of a log without a place that are looked through.
const LOOK_BACK: u64 = 4_096;
/// A place in the log that is older than this is asked for anew before more is sent.
const PLACE_AGE: Duration = Duration::from_secs(10);

pub(super) struct Pump {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    counts: Arc<Counts>,
    /// Sent, and not known to have arrived; the oldest first.
    unacknowledged: VecDeque<Waiting>,
    /// When they were sent.
    sent: VecDeque<Instant>,
    /// Was to be sent after them when the oldest had no answer.
    held: Option<Waiting>,
    /// A place in the log before which nothing of `unacknowledged` is, and when it was true.
    place: Option<(u64, Instant)>,
    said: Option<Instant>,
}

impl Pump {
    pub(super) fn new(log: Arc<dyn EventLog>, counts: Arc<Counts>, clock: Arc<dyn Clock>) -> Self {
        Self {
            log,
            clock,
            counts,
            unacknowledged: VecDeque::new(),
            sent: VecDeque::new(),
            held: None,
            place: None,
            said: None,
        }
    }

    /// Until nobody can hand anything over and all is written, or until it is closed; what is not known to be written then comes back.
    pub(super) async fn run(mut self, mut items: mpsc::Receiver<Item>, closing: CancellationToken) -> Left {
        tokio::select! {
            () = self.write(&mut items) => return Left::default(),
            () = closing.cancelled() => {}
        }
        self.unacknowledged.extend(self.held.take());
        // Who waits for a place hands over too, and what comes after that.
        let end = Instant::now() + CLOSING;
        while Instant::now() < end
            && let Ok(Some(item)) = timeout_at(end.min(Instant::now() + CLOSING / 4), items.recv()).await
        {
            self.unacknowledged.extend(event_of(item));
        }
        items.close();
        // One that was given a place and does not use it holds nobody.
        while let Ok(Some(item)) = timeout_at(end + CLOSING, items.recv()).await {
            self.unacknowledged.extend(event_of(item));
        }
        let events = self.unacknowledged.into_iter().map(|waiting| *waiting.envelope).collect();
        Left { events, after: self.place.map(|(place, _)| place) }
    }

    async fn write(&mut self, items: &mut mpsc::Receiver<Item>) {
        let mut answers = FuturesOrdered::new();
        let mut flushes: Vec<oneshot::Sender<()>> = Vec::new();
        let mut open = true;
        while open || self.held.is_some() || !self.unacknowledged.is_empty() {
            let takes = open && self.held.is_none() && answers.len() < IN_FLIGHT_MAX && flushes.is_empty();
            tokio::select! {
                // A flush waits for what is in flight; nothing new is taken meanwhile, so that it ends.
                item = items.recv(), if takes => match item {
                    Some(Item::Event(waiting)) => self.held = Some(waiting),
                    Some(Item::Flush(done)) => flushes.push(done),
                    None => open = false,
                },
                Some(answer) = answers.next() => if let Err(error) = self.settle(answer) {
                    // Whatever comes of the others, it comes: each is answered, or its connection breaks.
                    let rest: Vec<_> = answers.collect().await;
                    answers = FuturesOrdered::new();
                    self.recover(error, rest).await;
                }
            }
            if self.held.is_some() && self.unacknowledged.is_empty() {
                self.refresh_place().await;
            }
            if !self.is_stalled()
                && let Some(waiting) = self.held.take()
            {
                answers.push_back(append(Arc::clone(&self.log), Envelope::clone(&waiting.envelope)));
                self.unacknowledged.push_back(waiting);
                self.sent.push_back(Instant::now());
                self.note_oldest();
            }
            if self.unacknowledged.is_empty() {
                for done in flushes.drain(..) {
                    let _nobody_waits = done.send(());
                }
            }
        }
    }

    fn is_stalled(&self) -> bool {
        self.sent.front().is_some_and(|sent| sent.elapsed() >= STALL)
    }

    /// What became of the oldest; an error when it may or may not have arrived.
    fn settle(&mut self, answer: Result<Appended, PortError>) -> Result<(), PortError> {
        match answer {
            Ok(appended) => {
                let place = self.place.map_or(0, |(place, _)| place).max(appended.sequence);
                self.place = Some((place, Instant::now()));
                self.arrived();
            }
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => self.lose(&error),
        }
        Ok(())
    }

    fn arrived(&mut self) {
        if let Some(waiting) = self.unacknowledged.pop_front() {
            self.sent.pop_front();
            self.count(&waiting);
        }
        self.note_oldest();
    }

    fn count(&self, waiting: &Waiting) {
        self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        let took_us = self.clock.monotonic_us().saturating_sub(waiting.since_us);
        self.counts.slowest_us.fetch_max(took_us, Ordering::Relaxed);
        self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn lose(&mut self, error: &PortError) {
        if let Some(waiting) = self.unacknowledged.pop_front() {
            self.sent.pop_front();
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            tracing::error!(%error, id = waiting.envelope.event_id, "an event was lost: no log takes it");
        }
        self.note_oldest();
    }

    fn note_oldest(&self) {
        let oldest = self.unacknowledged.front().map_or(NOBODY, |waiting| waiting.since_us);
        self.counts.oldest_us.store(oldest, Ordering::Relaxed);
    }

    /// Where the log is before something is sent, so that it can be looked up afterwards.
    async fn refresh_place(&mut self) {
        if self.place.is_some_and(|(_, at)| at.elapsed() < PLACE_AGE) {
            return;
        }
        if let Ok(place) = self.log.last().await {
            self.place = Some((place, Instant::now()));
        }
    }

    /// Goes on with the oldest that has not arrived. `rest` is what became of the others.
    async fn recover(&mut self, first: PortError, rest: Vec<Result<Appended, PortError>>) {
        // Nothing is on its way from here on.
        self.sent.clear();
        self.complain(&first);
        self.drop_decided(rest);
        let mut pause = RETRY_FIRST;
        'again: loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
            self.counts.retried.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = self.look_up().await {
                self.complain(&error);
                continue;
            }
            while let Some(oldest) = self.unacknowledged.front() {
                let answer = self.log.append(Envelope::clone(&oldest.envelope), None).await;
                if let Err(error) = self.settle(answer) {
                    self.complain(&error);
                    continue 'again;
                }
            }
            self.said = None;
            return;
        }
    }

    /// Those after the oldest whose answers say what became of them.
    fn drop_decided(&mut self, rest: Vec<Result<Appended, PortError>>) {
        let oldest = self.unacknowledged.pop_front();
        let all = std::mem::take(&mut self.unacknowledged);
        for (waiting, answer) in all.into_iter().zip(rest) {
            match answer {
                Ok(_) => self.count(&waiting),
                Err(error) if error.is_passing() => self.unacknowledged.push_back(waiting),
                Err(error) => {
                    self.unacknowledged.push_front(waiting);
                    self.lose(&error);
                }
            }
        }
        self.unacknowledged.extend(oldest);
        self.unacknowledged.rotate_right(usize::from(!self.unacknowledged.is_empty()));
        self.note_oldest();
    }

    /// Leaves out what the log has after all: as it is there, not as it was how long ago.
    async fn look_up(&mut self) -> Result<(), PortError> {
        let last = self.log.last().await?;
        // A log that was made again counts from the beginning; what is older than the newest few thousand is not ours.
        let recent = last.saturating_sub(LOOK_BACK);
        let mut after = self.place.map_or(recent, |(place, _)| if last < place { recent } else { place });
        while after < last {
            let page = self.log.read(after, PAGE).await?;
            let Some(newest) = page.last() else { break };
            after = newest.sequence;
            let there: HashSet<&str> = page.iter().map(|logged| logged.envelope.event_id.as_str()).collect();
            let all = std::mem::take(&mut self.unacknowledged);
            for waiting in all {
                if there.contains(waiting.envelope.event_id.as_str()) {
                    self.count(&waiting);
                } else {
                    self.unacknowledged.push_back(waiting);
                }
            }
        }
        self.place = Some((after.max(last), Instant::now()));
        self.note_oldest();
        Ok(())
    }

    fn complain(&mut self, error: &PortError) {
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        let oldest = self.unacknowledged.front().map_or("", |waiting| waiting.envelope.event_id.as_str());
        let waiting = self.counts.waiting.load(Ordering::Relaxed);
        tracing::warn!(%error, waiting, oldest, "events wait in the outbox");
    }
}

fn event_of(item: Item) -> Option<Waiting> {
    match item {
        Item::Event(waiting) => Some(waiting),
        Item::Flush(_) => None,
    }
}

async fn append(log: Arc<dyn EventLog>, envelope: Envelope) -> Result<Appended, PortError> {
    log.append(envelope, None).await
}
