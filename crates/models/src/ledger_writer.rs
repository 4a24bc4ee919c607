//! The one task of this process that decides about models: it takes the commands that wait, decides each in order, and writes
//! their events as one entry of the ledger, which is refused when another process wrote first; then it reads what that
//! wrote and decides again. It must not know what a command means.

mod group;
mod time;

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use acgs_lifecycle::{Answer, Command, State, decide::Limits};
use acgs_vocabulary::{
    Constitution, Problem,
    ports::{Clock, Ledger, PortError},
    problem::Kind,
};
use group::{answer_all, refuse_all};
use time::Time;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    entry::{self, BadEntry, Entry},
    places::Places,
};

/// Commands that wait; more are refused with LIFECYCLE_QUEUE.
const COMMANDS_MAX: usize = 4_096;
/// Longest id of a request, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Commands of one entry.
const GROUP_MAX: usize = 256;
/// Entries read at once.
const PAGE: usize = 4_096;
/// Races that are run again before the callers are told to try later.
const RACES_MAX: usize = 32;
/// Races that are run again at once; after those they pause.
const RACES_AT_ONCE: usize = 4;
/// Between two looks at the time, at most.
const TICK: Duration = Duration::from_millis(250);
/// Between attempts while the home cannot be reached.
const RETRY: Duration = Duration::from_millis(250);
/// Models whose time has come that are looked at together.
const DUE_MAX: usize = 128;

/// What it is made of.
#[derive(Clone, Debug)]
pub struct LedgerWriterDeps {
    /// Where events are written.
    pub ledger: Arc<dyn Ledger>,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Bounds and waits.
    pub limits: Limits,
    /// What entries carry.
    pub constitution: Constitution,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

/// Why it could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger is not what was written.
    #[error(transparent)]
    Ledger(#[from] BadEntry),
    /// The home's trouble.
    #[error(transparent)]
    Home(#[from] PortError),
}

struct Request {
    actor: String,
    request_id: String,
    model_id: String,
    command: Command,
    reply: oneshot::Sender<Result<Answer, Problem>>,
}

/// What is known of all models. Clones share it.
#[derive(Clone, Debug)]
pub struct LedgerWriter {
    requests: mpsc::Sender<Request>,
    known: Arc<RwLock<Known>>,
    pub(super) ledger: Arc<dyn Ledger>,
    changed: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) state: State,
    pub(super) places: Places,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Request").field("model_id", &self.model_id).finish_non_exhaustive()
    }
}

impl LedgerWriter {
    /// Reads the ledger, and decides from then on.
    ///
    /// # Errors
    /// When the ledger cannot be read or was changed.
    pub async fn start(parts: LedgerWriterDeps) -> Result<Self, StartError> {
        let (requests, waiting) = mpsc::channel(COMMANDS_MAX);
        let (told, changed) = watch::channel(0);
        let known = Arc::new(RwLock::new(Known::default()));
        let mut task = Task {
            known: Arc::clone(&known),
            sequence: 0,
            digest: entry::BEGINNING.to_owned(),
            broken: None,
            told,
            random: RandomState::new(),
            time: Time::new(Arc::clone(&parts.clock), i64::MIN),
            newest_ms: i64::MIN,
            rests: false,
            parts: parts.clone(),
        };
        while task.catch_up().await? {}
        task.time = Time::new(Arc::clone(&parts.clock), task.newest_ms);
        tokio::spawn(task.run(waiting));
        Ok(Self { requests, known, ledger: parts.ledger, changed })
    }

    /// Decides a command, and answers when its events are written.
    ///
    /// # Errors
    /// The refusal, `LIFECYCLE_QUEUE`, or the home's trouble: then nothing is known to have happened.
    pub async fn submit(&self, actor: &str, model_id: &str, command: Command) -> Result<Answer, Problem> {
        self.submit_once(actor, "", model_id, command).await
    }

    /// The same for a wish that may come again: with the id that it had, it is answered as before and does nothing.
    ///
    /// # Errors
    /// As [`LedgerWriter::submit`]; `BAD_NAME` for the id, `REQUEST_REUSED` when it stands for another wish.
    pub async fn submit_once(
        &self,
        actor: &str,
        request_id: &str,
        model_id: &str,
        command: Command,
    ) -> Result<Answer, Problem> {
        if request_id.len() > REQUEST_ID_BYTES_MAX || request_id.chars().any(char::is_control) {
            let message = format!("is not at most {REQUEST_ID_BYTES_MAX} bytes without control characters");
            return Err(Problem::field("request_id", "BAD_NAME", message));
        }
        let (reply, answer) = oneshot::channel();
        let (actor, model_id, request_id) = (actor.to_owned(), model_id.to_owned(), request_id.to_owned());
        let stopping = || Problem::new(Kind::Unavailable, "DRAINING", "the server is stopping");
        self.requests.try_send(Request { actor, request_id, model_id, command, reply }).map_err(|error| {
            match error {
                mpsc::error::TrySendError::Full(_) => {
                    let message = format!("{COMMANDS_MAX} commands wait already");
                    Problem::exhausted("LIFECYCLE_QUEUE", message, 100)
                }
                mpsc::error::TrySendError::Closed(_) => stopping(),
            }
        })?;
        answer.await.map_err(|_| stopping())?
    }

    pub(super) fn known(&self) -> RwLockReadGuard<'_, Known> {
        // Nothing panics while it writes.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state. Short work only: nothing is decided meanwhile.
    pub fn look<T>(&self, at: impl FnOnce(&State) -> T) -> T {
        at(&self.known().state)
    }

    /// The number of the last event, and every change of it.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

struct Task {
    parts: LedgerWriterDeps,
    known: Arc<RwLock<Known>>,
    /// Of the last entry that is taken in.
    sequence: u64,
    digest: String,
    /// Set when the ledger is not what was written: nothing is decided on it any more.
    broken: Option<String>,
    told: watch::Sender<u64>,
    random: RandomState,
    time: Time,
    /// When the newest event was decided, by the clock of who did.
    newest_ms: i64,
    /// What is due waits for something else: it is looked at again at the next tick.
    rests: bool,
}

impl Task {
    /// Takes in what others wrote; returns whether there may be more.
    async fn catch_up(&mut self) -> Result<bool, StartError> {
        let page = self.parts.ledger.entries(self.sequence, PAGE).await?;
        let more = page.len() == PAGE;
        for (sequence, bytes) in page {
            self.take(sequence, &bytes)?;
        }
        Ok(more)
    }

    fn take(&mut self, sequence: u64, bytes: &[u8]) -> Result<(), BadEntry> {
        let taken = self.apply(sequence, bytes);
        if let Err(error) = &taken {
            self.broken = Some(error.to_string());
        }
        taken
    }

    fn apply(&mut self, sequence: u64, bytes: &[u8]) -> Result<(), BadEntry> {
        let bad = |why: String| BadEntry { sequence, why };
        if sequence != self.sequence + 1 {
            return Err(bad(format!("follows entry {}", self.sequence)));
        }
        let entry = Entry::decode(sequence, bytes, &self.digest)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for event in &entry.events {
            known.state.apply(event).map_err(|broken| bad(format!("is broken: {broken}")))?;
        }
        known.places.note(sequence, &entry.events);
        let last = known.state.counts().events;
        drop(known);
        self.newest_ms = entry.events.iter().map(|event| event.at_ms).fold(self.newest_ms, i64::max);
        self.rests = false;
        (self.sequence, self.digest) = (sequence, entry::digest(bytes));
        self.told.send_replace(last);
        Ok(())
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut others = None;
        let mut waiting = Vec::new();
        loop {
            if others.is_none() {
                // Without it, what others write is seen when something is decided here.
                others = self.parts.ledger.follow(self.sequence).await.ok();
            }
            let stop = self.parts.stop.clone();
            tokio::select! {
                count = requests.recv_many(&mut waiting, GROUP_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.decide_all(std::mem::take(&mut waiting)).await;
                }
                entry = next_of(&mut others) => match entry {
                    Some((sequence, _)) if sequence <= self.sequence => {}
                    Some((sequence, bytes)) => {
                        let taken = self.take(sequence, &bytes);
                        self.time.compare(self.newest_ms);
                        if let Err(error) = taken {
                            tracing::error!(%error, "the ledger cannot be followed");
                        }
                    }
                    None => {
                        others = None;
                        tokio::time::sleep(RETRY).await;
                    }
                },
                () = tokio::time::sleep(self.until_due()) => self.let_time_pass().await,
                () = stop.cancelled() => {
                    // What is asked after the end is told so by the closed channel.
                    requests.close();
                    while requests.recv_many(&mut waiting, GROUP_MAX).await > 0 {
                        self.decide_all(std::mem::take(&mut waiting)).await;
                    }
                    return;
                }
            }
        }
    }

    fn until_due(&mut self) -> Duration {
        if self.rests {
            return TICK;
        }
        let now_ms = self.time.now_ms();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let wait_ms = known.state.next_due_ms().map(|due_ms| due_ms.saturating_sub(now_ms));
        wait_ms.map_or(TICK, |wait_ms| Duration::from_millis(wait_ms.max(1) as u64).min(TICK))
    }

    async fn let_time_pass(&mut self) {
        let now_ms = self.time.now_ms();
        let due: Vec<Arc<str>> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            self.time.look(&known.state);
            known.state.due(now_ms).take(DUE_MAX).cloned().collect()
        };
        let requests = due.into_iter().map(|model_id| Request {
            request_id: String::new(),
            actor: "clock".into(),
            model_id: model_id.to_string(),
            command: Command::Due,
            reply: oneshot::channel().0,
        });
        let requests: Vec<Request> = requests.collect();
        if !requests.is_empty() {
            let before = self.sequence;
            self.decide_all(requests).await;
            self.rests = self.sequence == before;
        }
    }

    async fn decide_all(&mut self, requests: Vec<Request>) {
        let mut waiting = VecDeque::from(requests);
        while !waiting.is_empty() {
            self.decide_some(&mut waiting).await;
        }
    }

    /// Decides as many as go into one entry, and writes it.
    async fn decide_some(&mut self, waiting: &mut VecDeque<Request>) {
        let now_ms = self.time.now_ms();
        for race in 0..RACES_MAX {
            if race >= RACES_AT_ONCE {
                // Those who race pause for different times.
                let jitter = RandomState::new().hash_one(race) % (1 << (race - RACES_AT_ONCE).min(6));
                tokio::time::sleep(Duration::from_millis(1 + jitter)).await;
            }
            if let Some(why) = &self.broken {
                let problem = Problem::internal(format!("nothing is decided: {why}"));
                refuse_all(waiting, waiting.len(), &problem);
                return;
            }
            let group = self.decide(waiting, now_ms);
            let count = group.answers.len();
            if group.events.is_empty() {
                answer_all(waiting, group.answers);
                return;
            }
            let entry = Entry {
                constitutional_hash: self.parts.constitution.current().to_owned(),
                previous_digest: self.digest.clone(),
                events: group.events,
            };
            let Some(bytes) = entry.encode() else {
                refuse_all(waiting, count, &Problem::internal("an entry is longer than a ledger takes"));
                return;
            };
            match self.parts.ledger.enter(self.sequence, bytes.clone()).await {
                Ok(sequence) => {
                    let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                    group.working.commit(&mut known.state);
                    known.places.note(sequence, &entry.events);
                    let last = known.state.counts().events;
                    drop(known);
                    self.rests = false;
                    (self.sequence, self.digest) = (sequence, entry::digest(&bytes));
                    self.told.send_replace(last);
                    answer_all(waiting, group.answers);
                    return;
                }
                Err(PortError::Conflict { .. }) => {
                    if let Err(error) = self.catch_up().await {
                        tracing::error!(%error, "the ledger cannot be read");
                        refuse_all(waiting, count, &unavailable(&error));
                        return;
                    }
                }
                Err(error) => {
                    refuse_all(waiting, count, &error.into());
                    return;
                }
            }
        }
        let problem = Problem::new(Kind::Unavailable, "CONFLICT", "many processes write at once; try again");
        refuse_all(waiting, waiting.len(), &problem);
    }
}

async fn next_of(others: &mut Option<mpsc::Receiver<(u64, Vec<u8>)>>) -> Option<(u64, Vec<u8>)> {
    match others {
        Some(others) => others.recv().await,
        None => std::future::pending().await,
    }
}

fn unavailable(error: &StartError) -> Problem {
    match error {
        StartError::Ledger(error) => Problem::internal(error.to_string()),
        StartError::Home(error) => error.clone().into(),
    }
}
