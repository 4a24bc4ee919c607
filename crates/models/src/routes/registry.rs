//! Who routes, which routes they have confirmed, how they see endpoints, and what they have counted. It must not decide what
//! follows from that.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use acgs_lifecycle::{
    analysis::Counts,
    deployment::{Deployment, Tails},
};
use acgs_vocabulary::{Problem, problem::Kind};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use super::seen::{Confirmations, Health, LossOf, Lost, RouterSeen};
use super::traffic_totals::{Source, Sums, TrafficTotals};

/// Versions whose endpoints one router tells of.
const HEALTH_MAX: usize = 10_000;
/// Kinds of captures that one router has lost.
const LOST_MAX: usize = 1_000;
/// Models whose routes one router confirms.
const APPLIED_MAX: usize = 100_000;
/// Lives of one router that are remembered.
const FORMERS_MAX: usize = 4;
/// Routers that are gone and may still route.
const GONE_MAX: usize = 10_000;

#[derive(Debug)]
struct Member {
    connection: u64,
    incarnation: Arc<str>,
    /// Those of its id that it took the place of, the newest first.
    formers: Vec<Arc<str>>,
    connected_at_ms: i64,
    heard_ms: i64,
    applied: HashMap<Arc<str>, u64>,
    health: HashMap<(Arc<str>, Arc<str>), Health>,
    lost: BTreeMap<LossOf, Lost>,
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    members: BTreeMap<Arc<str>, Member>,
    /// Routers that went without a word, and when: until their lease is over they may send requests anywhere.
    gone: HashMap<Arc<str>, i64>,
    /// By deployment: what was counted, and how many had connected when the base was known.
    totals: HashMap<u64, (TrafficTotals, u64)>,
    connections: u64,
    observers: usize,
}

/// What is known of routers. Clones share it.
#[derive(Clone, Debug)]
pub struct RouterRegistry {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<watch::Sender<u64>>,
    routers_max: usize,
}

/// A router that is connected, until it is dropped.
#[derive(Debug)]
pub struct RouterSession {
    routers: RouterRegistry,
    /// `None` for an observer.
    router: Option<Arc<str>>,
    incarnation: Arc<str>,
    connection: u64,
    /// It had counted nothing when it connected.
    fresh: bool,
    clock: Arc<dyn acgs_vocabulary::ports::Clock>,
    /// Cancelled when the same router has connected again.
    pub over: CancellationToken,
}

/// What a router says first.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// Unique among routers.
    pub router_id: &'a str,
    /// Unique to this life of it.
    pub incarnation: &'a str,
    /// It reads only.
    pub observer: bool,
    /// It has counted nothing yet.
    pub fresh: bool,
}

impl RouterRegistry {
    /// Empty; so many routers and observers at most.
    #[must_use]
    pub fn new(routers_max: usize) -> Self {
        let changed = Arc::new(watch::Sender::new(0));
        Self { inner: Arc::default(), changed, routers_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it writes.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Every change of it.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes a router in; one of the same id is told to go.
    ///
    /// # Errors
    /// `ROUTERS_FULL`.
    pub fn join(
        &self,
        hello: Hello<'_>,
        clock: Arc<dyn acgs_vocabulary::ports::Clock>,
    ) -> Result<RouterSession, Problem> {
        let Hello { router_id, incarnation, observer, fresh } = hello;
        let mut inner = self.lock();
        let taken = inner.members.len() + inner.observers;
        if taken >= self.routers_max && !inner.members.contains_key(router_id) {
            return Err(Problem::exhausted("ROUTERS_FULL", format!("{taken} routers are connected"), 5_000));
        }
        inner.connections += 1;
        let (connection, over) = (inner.connections, CancellationToken::new());
        let (router_id, incarnation): (Arc<str>, Arc<str>) = (router_id.into(), incarnation.into());
        if observer {
            inner.observers += 1;
            drop(inner);
            return Ok(RouterSession {
                routers: self.clone(),
                router: None,
                incarnation,
                connection,
                fresh,
                clock,
                over,
            });
        }
        let before = inner.members.remove(&router_id);
        let mut formers = Vec::new();
        if let Some(before) = before {
            // One that was replaced and is back replaces in its turn: there are two.
            if *before.incarnation != *incarnation && before.formers.contains(&incarnation) {
                tracing::warn!(%router_id, "two gateways have one name, and take each other's place again and again: set gateway.id");
            }
            formers = before.formers;
            formers.retain(|former| *former != before.incarnation);
            formers.insert(0, before.incarnation);
            formers.truncate(FORMERS_MAX);
            before.over.cancel();
        }
        let member = Member {
            connection,
            incarnation: Arc::clone(&incarnation),
            formers,
            connected_at_ms: clock.now_ms(),
            heard_ms: clock.monotonic_ms(),
            applied: HashMap::new(),
            health: HashMap::new(),
            lost: BTreeMap::new(),
            over: over.clone(),
        };
        inner.gone.remove(&router_id);
        inner.members.insert(Arc::clone(&router_id), member);
        drop(inner);
        self.touch();
        Ok(RouterSession {
            routers: self.clone(),
            router: Some(router_id),
            incarnation,
            connection,
            fresh,
            clock,
            over,
        })
    }

    /// Who has these routes, by steady time. A router that is gone for longer than its lease routes to no candidate any more.
    #[must_use]
    pub fn confirmations(&self, model_id: &str, epoch: u64, now_ms: i64, lease_ms: i64) -> Confirmations {
        let mut inner = self.lock();
        inner.gone.retain(|_, since_ms| now_ms - *since_ms < lease_ms);
        let mut found = Confirmations::default();
        for (router_id, member) in &inner.members {
            let has = member.applied.get(model_id).is_some_and(|applied| *applied >= epoch);
            if has { &mut found.confirmed } else { &mut found.missing }.push(router_id.to_string());
        }
        found.gone = inner.gone.keys().map(ToString::to_string).collect();
        found.gone.sort();
        found
    }

    /// How connected routers see a version; a router that has said nothing of it sees none.
    #[must_use]
    pub fn health(&self, model_id: &Arc<str>, version: &Arc<str>) -> Vec<(String, Health)> {
        let key = (Arc::clone(model_id), Arc::clone(version));
        let inner = self.lock();
        let of = |member: &Member| member.health.get(&key).copied().unwrap_or_default();
        inner.members.iter().map(|(router_id, member)| (router_id.to_string(), of(member))).collect()
    }

    /// What was counted of a deployment.
    #[must_use]
    pub fn counted(&self, deployment: &Deployment) -> Counts {
        self.lock().totals_of(deployment).0.counts()
    }

    /// The same after blocks of time were ended that are long enough, by a monotonic clock; and the baseline's percentiles, once they are
    /// known. For who judges.
    #[must_use]
    pub fn cut(&self, deployment: &Deployment, now_us: u64) -> (Counts, Option<Tails>) {
        let mut inner = self.lock();
        let (totals, _) = inner.totals_of(deployment);
        totals.cut(now_us, &deployment.plan.analysis);
        (totals.counts(), totals.tails())
    }

    /// Forgets deployments that are over.
    pub fn keep(&self, open: impl Fn(u64) -> bool) {
        self.lock().totals.retain(|number, _| open(*number));
    }

    /// Everybody, by id.
    #[must_use]
    pub fn routers(&self) -> Vec<RouterSeen> {
        let inner = self.lock();
        let seen = |(router_id, member): (&Arc<str>, &Member)| {
            let mut applied: Vec<_> =
                member.applied.iter().map(|(model_id, epoch)| (Arc::clone(model_id), *epoch)).collect();
            applied.sort();
            let (router_id, heard_ms) = (Arc::clone(router_id), member.heard_ms);
            let lost = member.lost.iter().map(|(of, lost)| (of.clone(), lost.clone())).collect();
            RouterSeen { router_id, connected_at_ms: member.connected_at_ms, heard_ms, applied, lost }
        };
        inner.members.iter().map(seen).collect()
    }
}

impl Inner {
    fn totals_of(&mut self, deployment: &Deployment) -> &mut (TrafficTotals, u64) {
        let connections = self.connections;
        self.totals.entry(deployment.number).or_insert_with(|| {
            let version = Arc::clone(&deployment.version);
            (TrafficTotals::new(version, deployment.counts.clone(), deployment.tails), connections)
        })
    }
}

impl RouterSession {
    /// Its place, while it is still its own.
    fn with<T>(&self, change: impl FnOnce(&mut Member) -> T) -> Result<T, Problem> {
        let replaced = || {
            let message = "the same router has connected again";
            Problem::new(Kind::Precondition, "REPLACED", message)
        };
        let router = self.router.as_ref().ok_or_else(replaced)?;
        let mut inner = self.routers.lock();
        let member = inner.members.get_mut(router).filter(|member| member.connection == self.connection);
        let member = member.ok_or_else(replaced)?;
        member.heard_ms = self.clock.monotonic_ms();
        Ok(change(member))
    }

    /// Whether nobody waits for it.
    #[must_use]
    pub fn is_observer(&self) -> bool {
        self.router.is_none()
    }

    /// It has put routes in force.
    ///
    /// # Errors
    /// `REPLACED`.
    pub fn applied(&self, routes: impl IntoIterator<Item = (String, u64)>) -> Result<(), Problem> {
        if self.is_observer() {
            return Ok(());
        }
        self.with(|member| {
            for (model_id, epoch) in routes {
                if member.applied.len() < APPLIED_MAX || member.applied.contains_key(model_id.as_str()) {
                    let held = member.applied.entry(model_id.into()).or_default();
                    *held = (*held).max(epoch);
                }
            }
        })?;
        self.routers.touch();
        Ok(())
    }

    /// How it sees endpoints.
    ///
    /// # Errors
    /// `REPLACED`.
    pub fn sees(&self, all: impl IntoIterator<Item = ((String, String), Health)>) -> Result<(), Problem> {
        if self.is_observer() {
            return Ok(());
        }
        self.with(|member| {
            for ((model_id, version), health) in all {
                let key = (model_id.into(), version.into());
                if member.health.len() < HEALTH_MAX || member.health.contains_key(&key) {
                    member.health.insert(key, health);
                }
            }
        })?;
        self.routers.touch();
        Ok(())
    }

    /// Captures that it has lost: sums since it began.
    ///
    /// # Errors
    /// `REPLACED`.
    pub fn lost(&self, all: impl IntoIterator<Item = (LossOf, Lost)>) -> Result<(), Problem> {
        if self.is_observer() {
            return Ok(());
        }
        self.with(|member| {
            for (of, lost) in all {
                if member.lost.len() < LOST_MAX || member.lost.contains_key(&of) {
                    member.lost.insert(of, lost);
                }
            }
        })
    }

    /// What it has counted of an open deployment.
    pub fn counted(&self, deployment: &Deployment, version: &str, paired: bool, sums: Sums) {
        let Some(router) = &self.router else { return };
        let router = (Arc::clone(router), Arc::clone(&self.incarnation));
        let source = Source { router, version: version.into(), paired };
        let mut inner = self.routers.lock();
        let (totals, known_at) = inner.totals_of(deployment);
        let changed = totals.take(source, sums, self.fresh && self.connection > *known_at);
        drop(inner);
        if changed {
            self.routers.touch();
        }
    }

    /// Whether it has these routes, for as long as it should have had them.
    #[must_use]
    pub fn has(&self, model_id: &str, epoch: u64) -> bool {
        let Some(router) = &self.router else { return true };
        let inner = self.routers.lock();
        let member = inner.members.get(router).filter(|member| member.connection == self.connection);
        member.is_some_and(|member| member.applied.get(model_id).is_some_and(|applied| *applied >= epoch))
    }
}

impl Drop for RouterSession {
    fn drop(&mut self) {
        let now_ms = self.clock.monotonic_ms();
        let mut inner = self.routers.lock();
        match &self.router {
            None => inner.observers -= 1,
            Some(router) => {
                let own =
                    inner.members.get(router).is_some_and(|member| member.connection == self.connection);
                if own {
                    inner.members.remove(router);
                    if inner.gone.len() < GONE_MAX {
                        inner.gone.insert(Arc::clone(router), now_ms);
                    }
                }
            }
        }
        drop(inner);
        self.routers.touch();
    }
}
