//! A pool of instances of one service, for generated clients: each call goes to the less busy of two that are well, and is
//! counted to the end of its answer. It must not know what is called.
//!
//! Discovery and connections are driven by a task of their own, so that a pool without calls knows who is there too. A call
//! that no instance has seen is given to another; one that an instance may have died of goes to one more at most. A pool without instances
//! fails at once.

mod body;
mod choice;
mod gathering;
mod gauge;
mod keeper;
mod link;
mod member;
mod probe;
mod replay;
mod shared;
mod state;

use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    task::{Context, Poll, Waker},
};

use acgs_vocabulary::{Problem, problem::Kind};
pub use body::PoolBody;
use http::{Request, Response};
use member::{Member, Undone};
pub use probe::{Probe, Question, unary};
pub use shared::Connections;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, body::Body};
use tower::{
    Service,
    discover::{Change, Discover},
    ready_cache::ReadyCache,
};

use crate::{
    discover::{Addresses, Changes},
    random,
};

/// Calls and streams in flight on one instance, below what its server takes on one connection.
const IN_FLIGHT_MAX: usize = 1_000;
/// So long after the last instance was lost, or after the first was heard of, it is worth waiting for one.
const EMPTY_PATIENCE: Duration = Duration::from_secs(5);
/// Instances that one call is offered to.
const OFFERS_MAX: usize = 3;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Set in a request's extensions: it may be carried out twice, and is sent again, once, when the connection to an instance breaks before it
/// is answered and whoever sent it agrees. Only small calls are, whose whole body is there at once.
#[derive(Clone, Debug)]
pub struct Repeatable(pub Arc<dyn OnLoss>);

/// Asked when an instance went away with a call that was not answered: perhaps the call was too much for it.
pub trait OnLoss: Send + Sync + fmt::Debug {
    /// Whether the call may go to another instance than the one at this address.
    fn lost(&self, address: &str) -> bool;
}

struct Inner {
    cache: ReadyCache<String, Member, Request<Body>>,
    /// Of the task that drives connections: whatever is polled for a call wakes that task, not the call.
    waker: Waker,
}

struct Shared {
    name: Arc<str>,
    probe: Probe,
    connections: Connections,
    inner: Mutex<Inner>,
    /// Who is said to be there; the pool's task may not have heard of it yet.
    source: watch::Receiver<Addresses>,
    /// Since when nobody takes calls.
    empty: watch::Sender<Option<Instant>>,
    random: AtomicU64,
    _task: DropGuard,
}

/// The pool. Clones share it.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

/// An instance as the pool sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// `host:port`.
    pub address: String,
    /// Whether it takes calls.
    pub ready: bool,
    /// Calls and streams that are open on it.
    pub in_flight: usize,
    /// What its answers take, as a peak that decays, in microseconds.
    pub latency_us: f64,
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pool").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Pool {
    /// Of the instances at these addresses that say that they serve `health_service`. Its task ends with the last clone.
    #[must_use]
    pub fn start(health_service: &'static str, source: watch::Receiver<Addresses>) -> Self {
        let probe = Probe { service: health_service.into(), otherwise: None, panic_percent: 0 };
        Self::probing(health_service, probe, source, &Connections::default())
    }

    /// Of the instances at these addresses that are well as `probe` finds them, over connections that others may use, too; `name` is for
    /// people.
    #[must_use]
    pub fn probing(
        name: &str,
        probe: Probe,
        source: watch::Receiver<Addresses>,
        connections: &Connections,
    ) -> Self {
        let stop = CancellationToken::new();
        let inner = Mutex::new(Inner { cache: ReadyCache::default(), waker: Waker::noop().clone() });
        let random = random::sequence();
        let name = Arc::from(name);
        let shared = Arc::new(Shared {
            name,
            probe,
            connections: connections.clone(),
            inner,
            source: source.clone(),
            empty: watch::Sender::new(Some(Instant::now())),
            random,
            _task: stop.clone().drop_guard(),
        });
        let worker = Arc::downgrade(&shared);
        tokio::spawn(async move {
            let mut changes = Changes::new(source);
            let drive = poll_fn(|context| match worker.upgrade() {
                Some(shared) => shared.drive(context, &mut changes),
                None => Poll::Ready(()),
            });
            tokio::select! {
                () = drive => {}
                () = stop.cancelled() => {}
            }
        });
        Self(shared)
    }

    /// The instances that take calls, by address.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        let inner = self.0.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Instance> = inner
            .cache
            .iter_ready()
            .filter(|(_, member)| member.is_well())
            .map(|(address, member)| Instance {
                address: address.clone(),
                ready: true,
                in_flight: member.gauge().in_flight(),
                latency_us: member.gauge().latency_us(),
            })
            .collect();
        all.sort_by(|one, other| one.address.cmp(&other.address));
        all
    }

    /// Until when it is worth waiting for an instance: for a while after the last was lost, or the first was heard of. `None` while
    /// somebody takes calls, when nobody is expected, and when nobody has come for long.
    #[must_use]
    pub fn worth_waiting_until(&self) -> Option<Instant> {
        let since = (*self.0.empty.borrow())?;
        let is_known = !self.0.inner.lock().unwrap_or_else(PoisonError::into_inner).cache.is_empty();
        // The pool's task has not heard of those yet.
        let is_told = !is_known && !self.0.source.borrow().is_empty();
        let now = Instant::now();
        let until = if is_told { now } else { since } + EMPTY_PATIENCE;
        (now < until && (is_known || is_told)).then_some(until)
    }

    /// Done when somebody takes calls.
    pub async fn somebody(&self) {
        let mut empty = self.0.empty.subscribe();
        let _the_pool_is_there = empty.wait_for(Option::is_none).await;
    }

    /// Waits until an instance takes calls.
    pub async fn ready(&self) {
        while self.instances().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// Lets members become ready, and asks those from a place on whether they still are; true when one is not.
///
/// The cache polls members that wait with wakers of its own, which are good for nothing once a member is ready: only the
/// second question makes sure that this task hears of the member's end.
fn settle(
    cache: &mut ReadyCache<String, Member, Request<Body>>,
    context: &mut Context<'_>,
    from: usize,
) -> bool {
    let _never_fails = cache.poll_pending(context);
    let (mut index, mut moved) = (from, false);
    while index < cache.ready_len() {
        match cache.check_ready_index(context, index) {
            Ok(true) => index += 1,
            _ => moved = true,
        }
    }
    moved
}

impl Shared {
    /// Takes what discovery says, and lets connections come up and go down.
    fn drive(&self, context: &mut Context<'_>, changes: &mut Changes) -> Poll<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.waker.clone_from(context.waker());
        loop {
            match pin!(&mut *changes).poll_discover(context) {
                Poll::Ready(Some(Ok(Change::Insert(key, address)))) => {
                    if inner.cache.is_empty() {
                        self.empty.send_replace(Some(Instant::now()));
                    }
                    let kept = self.connections.kept(&address, &self.probe);
                    inner.cache.push(key, Member::new(kept, self.probe.panic_percent > 0));
                }
                Poll::Ready(Some(Ok(Change::Remove(key)))) => {
                    inner.cache.evict(&key);
                }
                Poll::Ready(Some(Err(never))) => match never as Infallible {},
                // Nobody will be found any more, and those who are there stay.
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        // Those who were ready and are not any more are looked at too, so that nobody sees them as ready.
        while settle(&mut inner.cache, context, 0) {}
        self.note(&inner.cache);
        Poll::Pending
    }

    /// Whether somebody takes calls, for those who wait.
    fn note(&self, cache: &ReadyCache<String, Member, Request<Body>>) {
        let nobody = cache.ready_len() == 0;
        self.empty.send_if_modified(|since| {
            let changed = since.is_some() != nobody;
            if changed {
                *since = nobody.then(Instant::now);
            }
            changed
        });
    }

    fn empty(&self) -> Problem {
        let message = format!("no instance of {} takes calls now", self.name);
        Problem::new(Kind::Unavailable, "NO_INSTANCE", message)
    }
}

impl Service<Request<Body>> for Pool {
    type Response = Response<PoolBody>;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Response<PoolBody>, Boxed>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let repeatable = request.extensions().get::<Repeatable>().cloned();
            let (mut request, copy) = replay::copy(request);
            let (mut offers, mut repeated) = (0, false);
            loop {
                let sending =
                    shared.offer(request).map_err(|(_, problem)| Boxed::from(Status::from(problem)))?;
                offers += 1;
                let Ok(outcome) = sending.await;
                match outcome {
                    Ok(response) => return Ok(response),
                    Err(Undone::Unsent(unsent, error)) if offers < OFFERS_MAX => {
                        tracing::debug!(%error, "a call that was not sent goes to another instance");
                        request = *unsent;
                    }
                    Err(Undone::Lost(error, address)) => {
                        let is_unseen = replay::is_unseen(&error);
                        // A peer that reset one call lives, and may have carried it out.
                        let died = !is_unseen && !replay::is_reset(&error);
                        // Told of each loss, also when the call goes nowhere any more.
                        let agreed = died && repeatable.as_ref().is_some_and(|asked| asked.0.lost(&address));
                        let again = offers < OFFERS_MAX && (is_unseen || (agreed && !repeated));
                        let Some(copy) = copy.as_ref().filter(|_| again) else { return Err(lost(&error)) };
                        tracing::debug!(%error, "a call that was not answered goes to another instance");
                        repeated |= !is_unseen;
                        request = copy.clone().request();
                    }
                    Err(Undone::Unsent(_, error)) => return Err(lost(&error)),
                }
            }
        })
    }
}

/// A connection that broke is "unavailable": what the call came to is not known.
fn lost(error: &hyper::Error) -> Boxed {
    let problem = Problem::new(
        Kind::Unavailable,
        "INSTANCE_LOST",
        format!("the connection to an instance broke: {error}"),
    );
    Boxed::from(Status::from(problem))
}

#[cfg(test)]
#[path = "pool/tests.rs"]
mod tests;
