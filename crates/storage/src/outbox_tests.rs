//! The outbox keeps what a log that is away would lose, in bounds; time is paused.

use std::sync::atomic::AtomicBool;

use acgs_vocabulary::ports::{Appended, Logged, PortError};

use super::*;
use crate::conformance::envelope;

/// A log that can be away.
#[derive(Debug, Default)]
struct Flaky {
    away: AtomicBool,
    held: std::sync::Mutex<Vec<String>>,
    /// Attempts that fail, by their number; with `true` what was sent arrives all the same.
    failing: std::sync::Mutex<std::collections::HashMap<u64, bool>>,
    attempts: AtomicU64,
}

#[async_trait]
impl EventLog for Flaky {
    async fn append(&self, envelope: Envelope, _expected: Option<u64>) -> Result<Appended, PortError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(PortError::Unavailable("away".into()));
        }
        if envelope.event_id == "bad" {
            return Err(PortError::Invalid("bad".into()));
        }
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let fails = self.failing.lock().unwrap().get(&attempt).copied();
        let sequence = {
            let mut held = self.held.lock().unwrap();
            if fails != Some(false) {
                held.push(envelope.event_id);
            }
            held.len() as u64
        };
        if fails.is_some() {
            // A request without an answer fails later than those after it are answered.
            tokio::time::sleep(Duration::from_secs(2)).await;
            return Err(PortError::Unavailable("no answer".into()));
        }
        // Homes take an event at once and acknowledge it later.
        tokio::task::yield_now().await;
        Ok(Appended { sequence, duplicate: false })
    }

    async fn read(&self, after: u64, count: usize) -> Result<Vec<Logged>, PortError> {
        let held = self.held.lock().unwrap();
        let page = held.iter().enumerate().skip(after as usize).take(count);
        let logged = |(place, id): (usize, &String)| Logged {
            sequence: place as u64 + 1,
            envelope: envelope(id, "acgs.x"),
        };
        Ok(page.map(logged).collect())
    }

    async fn last(&self) -> Result<u64, PortError> {
        Ok(self.held.lock().unwrap().len() as u64)
    }

    async fn newest_of(&self, _filter: &str) -> Result<Option<Logged>, PortError> {
        Ok(None)
    }

    async fn subscribe(&self, _after: u64, _filter: &str) -> Result<mpsc::Receiver<Logged>, PortError> {
        Err(PortError::Unavailable("no".into()))
    }
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now_ms(&self) -> i64 {
        0
    }

    fn monotonic_us(&self) -> u64 {
        0
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_while_the_log_is_away() {
    let log = Arc::new(Flaky::default());
    log.away.store(true, Ordering::Relaxed);
    let outbox = Outbox::start(log.clone(), Arc::new(Still), 1_000);
    for number in 0..1_000 {
        outbox.send(envelope(&number.to_string(), "acgs.x")).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((outbox.waiting(), outbox.acknowledged()), (1_000, 0));
    log.away.store(false, Ordering::Relaxed);
    outbox.flush().await;
    assert_eq!((outbox.waiting(), outbox.acknowledged(), outbox.lost()), (0, 1_000, 0));
    let mut held = log.held.lock().unwrap().clone();
    held.sort();
    held.dedup();
    assert_eq!(held.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_one_that_has_no_answer_for_long() {
    let log = Arc::new(Flaky::default());
    // The first is lost on its way, and that is known after two seconds.
    log.failing.lock().unwrap().insert(0, false);
    let outbox = Outbox::start(log.clone(), Arc::new(Still), 1_000);
    outbox.send(envelope("open", "acgs.x")).await;
    for number in 0..100 {
        tokio::time::sleep(Duration::from_millis(260)).await;
        outbox.send(envelope(&number.to_string(), "acgs.x")).await;
    }
    outbox.flush().await;
    let expected: Vec<String> =
        std::iter::once("open".to_owned()).chain((0..100).map(|number| number.to_string())).collect();
    assert_eq!(*log.held.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_reach_the_log_comes_back_in_order() {
    let log = Arc::new(Flaky::default());
    let outbox = Outbox::start(log.clone(), Arc::new(Still), 1_000);
    outbox.send(envelope("there", "acgs.x")).await;
    outbox.flush().await;
    log.away.store(true, Ordering::Relaxed);
    for number in 0..600 {
        outbox.send(envelope(&number.to_string(), "acgs.x")).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let left = outbox.close().await;
    assert_eq!(left.after, Some(1));
    let ids: Vec<&str> = left.events.iter().map(|event| event.event_id.as_str()).collect();
    let expected: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    assert_eq!(ids, expected);
    outbox.send(envelope("late", "acgs.x")).await;
    assert_eq!(outbox.lost(), 1, "nothing is taken any more");
}

#[tokio::test(start_paused = true)]
async fn order_holds_while_the_log_is_there() {
    let log = Arc::new(Flaky::default());
    let outbox = Outbox::start(log.clone(), Arc::new(Still), 10);
    for number in 0..500 {
        outbox.send(envelope(&number.to_string(), "acgs.x")).await;
    }
    outbox.flush().await;
    let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    assert_eq!(*log.held.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_wait_is_counted() {
    let log = Arc::new(Flaky::default());
    log.away.store(true, Ordering::Relaxed);
    let outbox = Outbox::start(log.clone(), Arc::new(Still), 4);
    let taken = (0..2_000).filter(|number| outbox.offer(envelope(&number.to_string(), "acgs.x"))).count();
    assert_eq!(taken, 4, "the task has had no turn yet");
    assert_eq!(outbox.lost(), 1_996);
    log.away.store(false, Ordering::Relaxed);
    outbox.send(envelope("bad", "acgs.x")).await;
    outbox.flush().await;
    assert_eq!((outbox.acknowledged(), outbox.lost(), outbox.waiting()), (4, 1_997, 0));
}

/// A log that takes events through a channel to whoever writes them, as homes do, so that a sender may have to let others go first.
#[derive(Debug)]
struct Channelled(mpsc::Sender<(String, oneshot::Sender<u64>)>);

#[async_trait]
impl EventLog for Channelled {
    async fn append(&self, envelope: Envelope, _expected: Option<u64>) -> Result<Appended, PortError> {
        let (reply, sequence) = oneshot::channel();
        let gone = |_| PortError::Unavailable("gone".into());
        self.0.send((envelope.event_id, reply)).await.map_err(|_| gone(()))?;
        Ok(Appended { sequence: sequence.await.map_err(|_| gone(()))?, duplicate: false })
    }

    async fn read(&self, _after: u64, _count: usize) -> Result<Vec<Logged>, PortError> {
        Ok(Vec::new())
    }

    async fn last(&self) -> Result<u64, PortError> {
        Ok(0)
    }

    async fn newest_of(&self, _filter: &str) -> Result<Option<Logged>, PortError> {
        Ok(None)
    }

    async fn subscribe(&self, _after: u64, _filter: &str) -> Result<mpsc::Receiver<Logged>, PortError> {
        Err(PortError::Unavailable("no".into()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_over_in_order_is_written_in_order_however_much_it_is() {
    let (jobs, mut given) = mpsc::channel::<(String, oneshot::Sender<u64>)>(64);
    let writer = tokio::spawn(async move {
        let mut written = Vec::new();
        while let Some((event_id, reply)) = given.recv().await {
            written.push(event_id.parse::<u64>().unwrap());
            let _nobody_waits = reply.send(written.len() as u64);
        }
        written
    });
    let outbox = Outbox::start(Arc::new(Channelled(jobs)), Arc::new(Still), 100_000);
    for number in 0..20_000_u64 {
        outbox.send(envelope(&number.to_string(), "acgs.x")).await;
    }
    outbox.flush().await;
    drop(outbox);
    let written = writer.await.unwrap();
    let early = written.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert_eq!((written.len(), early), (20_000, 0), "events that came before an earlier one");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_it_goes_on_with_the_oldest_and_what_has_arrived_is_not_sent_again() {
    for arrives in [false, true] {
        let log = Arc::new(Flaky::default());
        // From the fifth on the connection is gone for a while.
        *log.failing.lock().unwrap() =
            (5..40).map(|attempt| (attempt, arrives && attempt % 3 == 0)).collect();
        let outbox = Outbox::start(log.clone(), Arc::new(Still), 1_000);
        for number in 0..500 {
            outbox.send(envelope(&number.to_string(), "acgs.x")).await;
        }
        outbox.flush().await;
        let held: Vec<u64> = log.held.lock().unwrap().iter().map(|id| id.parse().unwrap()).collect();
        let mut all = held.clone();
        all.sort_unstable();
        assert_eq!(all, (0..500).collect::<Vec<_>>(), "each once, arrives: {arrives}");
        assert_eq!((outbox.waiting(), outbox.acknowledged()), (0, 500));
        assert_eq!(outbox.oldest(), None);
    }
}

/// As NATS does: when the connection breaks, what was on its way is lost from some event on, and nothing after it arrives.
#[tokio::test(start_paused = true)]
async fn order_holds_over_a_broken_connection() {
    let log = Arc::new(Flaky::default());
    // All that were on their way, and the first attempts afterwards.
    *log.failing.lock().unwrap() = (100..100 + 256 + 3).map(|attempt| (attempt, attempt < 120)).collect();
    let outbox = Outbox::start(log.clone(), Arc::new(Still), 1_000);
    for number in 0..1_000 {
        outbox.send(envelope(&number.to_string(), "acgs.x")).await;
    }
    outbox.flush().await;
    let expected: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    assert_eq!(*log.held.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn one_that_no_log_takes_holds_nobody() {
    let log = Arc::new(Flaky::default());
    *log.failing.lock().unwrap() = [(2, false)].into();
    let outbox = Outbox::start(log.clone(), Arc::new(Still), 100);
    for id in ["a", "bad", "b", "bad", "c"] {
        outbox.send(envelope(id, "acgs.x")).await;
    }
    outbox.flush().await;
    assert_eq!((outbox.acknowledged(), outbox.lost(), outbox.waiting()), (3, 2, 0));
    assert_eq!(log.held.lock().unwrap().len(), 3);
}
