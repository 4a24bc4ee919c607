//! Routes in force. A change replaces a model's route at once, is confirmed when no call that was given the old one is still
//! on its way out, and older epochs change nothing. While nobody is heard who could take a candidate back, candidates have
//! nothing. It must not know who says what routes are.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use acgs_contracts::lifecycle::v1 as proto;
use acgs_mesh::{
    discover::Addresses,
    pool::{Connections, Pool, Probe},
    random,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{runtime::Handle, sync::watch, time::Instant};

use crate::{
    counts::{Arm, Counted},
    pick::{PLACES, pick, place_of},
    shards::Shards,
};

/// Calls that were given the old route are waited for this long.
const SETTLE: Duration = Duration::from_millis(100);

/// A version's endpoints, connected.
#[derive(Debug)]
pub struct Target {
    /// The version.
    pub version: Arc<str>,
    /// The version as metadata has it.
    pub header: HeaderValue,
    /// Its endpoints, connected by each thread.
    pub pools: Box<[Pool]>,
    /// Checks in a row in which it was ready to infer.
    pub warm_checks: AtomicU32,
    addresses: watch::Sender<Addresses>,
}

/// Counters of a deployment.
#[derive(Debug)]
struct Arms {
    candidate_paired: Arc<Arm>,
    candidate_alone: Arc<Arm>,
    baseline: Arc<Arm>,
    rest: Arc<Arm>,
}

/// Where calls for a model go.
#[derive(Debug)]
pub struct Route {
    said: proto::ModelRoutes,
    stable: Option<Arc<Target>>,
    candidate: Option<(Arc<Target>, u32)>,
    shadow: Option<(Arc<Target>, u32)>,
    sticky_by: Option<HeaderName>,
    /// What is captured, and of how many in a million calls.
    capture: Option<(Arc<proto::Capture>, u64)>,
    pub(crate) model_id: Arc<str>,
    arms: Option<Arms>,
    targets: BTreeMap<Arc<str>, Arc<Target>>,
}

/// What a call was given.
#[derive(Debug)]
pub struct Choice {
    /// Where it goes.
    pub target: Arc<Target>,
    /// What it counts for.
    pub arm: Option<Arc<Arm>>,
    /// Who answers a copy.
    pub shadow: Option<(Arc<Target>, Arc<Arm>)>,
    /// The model, and what its captured calls mean, when this one is captured.
    pub capture: Option<(Arc<str>, Arc<proto::Capture>)>,
    /// Held until the call is on its way: then the route may be given up.
    pub route: Arc<Route>,
}

/// All routes.
#[derive(Debug)]
pub struct Table {
    routes: RwLock<HashMap<Arc<str>, Arc<Route>>>,
    arms: Mutex<BTreeMap<Counted, Arc<Arm>>>,
    changes: watch::Sender<u64>,
    random: AtomicU64,
    started: Instant,
    /// Microseconds after the start until which candidates may have calls.
    led_until_us: AtomicU64,
    probe: Probe,
    shards: Arc<Shards>,
    /// Of each thread: versions at one address share a connection, and all threads a watch of its health.
    connections: Box<[Connections]>,
}

impl Target {
    /// Endpoints that take calls from every thread.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.pools.iter().map(|pool| pool.instances().len()).min().unwrap_or(0)
    }
}

impl Route {
    /// Methods that go through; none for those that ask.
    #[must_use]
    pub fn methods(&self) -> &[String] {
        &self.said.methods
    }
}

impl Table {
    /// Without routes; endpoints are well as `probe` finds them.
    #[must_use]
    pub fn new(probe: Probe, shards: Arc<Shards>) -> Self {
        Self {
            routes: RwLock::default(),
            arms: Mutex::default(),
            changes: watch::Sender::new(0),
            random: random::sequence(),
            started: Instant::now(),
            led_until_us: AtomicU64::new(0),
            probe,
            connections: {
                let first = Connections::default();
                shards.handles().iter().map(|_| first.beside()).collect()
            },
            shards,
        }
    }

    /// Every change of it.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Somebody is there who can take candidates back: for this long they may have calls.
    pub fn heard(&self, lease: Duration) {
        let until = (self.started.elapsed() + lease).as_micros() as u64;
        self.led_until_us.fetch_max(until, Ordering::Relaxed);
    }

    fn is_led(&self) -> bool {
        (self.started.elapsed().as_micros() as u64) < self.led_until_us.load(Ordering::Relaxed)
    }

    /// Puts a model's routes in force; false when they are no newer than what is. Returns when no call goes by the old ones
    /// any more.
    pub async fn apply(&self, said: proto::ModelRoutes) -> bool {
        let model_id: Arc<str> = said.model_id.as_str().into();
        let old = {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            let old = routes.get(&model_id).cloned();
            if old.as_ref().is_some_and(|old| old.said.epoch >= said.epoch) {
                return false;
            }
            let route = Arc::new(self.route(said, old.as_deref()));
            routes.insert(model_id, route);
            old
        };
        self.changes.send_modify(|count| *count += 1);
        if let Some(old) = old {
            let since = Instant::now();
            while Arc::strong_count(&old) > 1 && since.elapsed() < SETTLE {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        true
    }

    fn target(&self, version: &str, endpoints: &[String], old: Option<&Route>) -> Arc<Target> {
        let addresses: Addresses = endpoints.iter().cloned().collect();
        if let Some(known) = old.and_then(|old| old.targets.get(version)) {
            known.addresses.send_if_modified(|held| {
                let changed = *held != addresses;
                *held = addresses;
                changed
            });
            return Arc::clone(known);
        }
        let (addresses, source) = watch::channel(addresses);
        Arc::new(Target {
            version: version.into(),
            header: HeaderValue::from_str(version).unwrap_or_else(|_| HeaderValue::from_static("")),
            pools: self
                .shards
                .handles()
                .iter()
                .zip(&self.connections)
                .map(|(shard, connections)| self.pool(version, shard, connections, &source))
                .collect(),
            warm_checks: AtomicU32::new(0),
            addresses,
        })
    }

    /// Its tasks run on one thread.
    fn pool(
        &self,
        version: &str,
        shard: &Handle,
        connections: &Connections,
        source: &watch::Receiver<Addresses>,
    ) -> Pool {
        let _on_it = shard.enter();
        Pool::probing(version, self.probe.clone(), source.clone(), connections)
    }

    fn route(&self, said: proto::ModelRoutes, old: Option<&Route>) -> Route {
        let mut targets = BTreeMap::new();
        for known in &said.endpoints {
            targets.insert(
                Arc::from(known.version.as_str()),
                self.target(&known.version, &known.endpoints, old),
            );
        }
        for share in said.shares.iter().chain(&said.shadow) {
            let version: Arc<str> = share.version.as_str().into();
            targets.entry(version).or_insert_with(|| self.target(&share.version, &[], old));
        }
        let target = |version: &str| targets.get(version).map(Arc::clone);
        let is_candidate = |share: &&proto::RouteShare| share.version == said.candidate;
        let candidate = said.shares.iter().find(is_candidate);
        let candidate = candidate.and_then(|share| Some((target(&share.version)?, share.weight.min(100))));
        let stable = said.shares.iter().find(|share| !is_candidate(share));
        // All traffic is with the candidate: what served is still there, for when nobody is heard.
        let stable = stable.and_then(|share| target(&share.version)).or_else(|| {
            let kept = old?.stable.as_ref().filter(|_| !said.candidate.is_empty())?;
            target(&kept.version)
        });
        let arms = (!said.deployment_id.is_empty() && !said.candidate.is_empty()).then(|| {
            let baseline = stable.as_ref().map_or("", |stable| &*stable.version);
            Arms {
                candidate_paired: self.arm(&said, &said.candidate, true),
                candidate_alone: self.arm(&said, &said.candidate, false),
                baseline: self.arm(&said, baseline, true),
                rest: self.arm(&said, baseline, false),
            }
        });
        let shadow = said.shadow.as_ref();
        let shadow = shadow.and_then(|share| Some((target(&share.version)?, share.weight.min(100))));
        let sticky_by = HeaderName::from_bytes(said.sticky_by.as_bytes()).ok();
        let capture = said.capture.as_ref();
        let capture = capture.map(|spec| (Arc::new(spec.clone()), (spec.percent * 10_000.0) as u64));
        let model_id = said.model_id.as_str().into();
        Route { said, stable, candidate, shadow, sticky_by, capture, model_id, arms, targets }
    }

    fn arm(&self, said: &proto::ModelRoutes, version: &str, paired: bool) -> Arc<Arm> {
        let counted = Counted {
            model_id: said.model_id.as_str().into(),
            deployment_id: said.deployment_id.as_str().into(),
            version: version.into(),
            paired,
        };
        let mut arms = self.arms.lock().unwrap_or_else(PoisonError::into_inner);
        // Of the deployment before, what counts it is told no more.
        arms.retain(|known, _| {
            known.model_id != counted.model_id || known.deployment_id == counted.deployment_id
        });
        Arc::clone(arms.entry(counted).or_default())
    }

    /// The threads that carry calls.
    #[must_use]
    pub fn shards(&self) -> &Arc<Shards> {
        &self.shards
    }

    /// A number that is drawn.
    pub fn draw(&self) -> u64 {
        random::next(&self.random)
    }

    /// The route of a model.
    #[must_use]
    pub fn route_of(&self, model_id: &str) -> Option<Arc<Route>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(model_id).map(Arc::clone)
    }

    /// Where a call goes that has drawn this number; `None` when nothing serves the model.
    #[must_use]
    pub fn choose(&self, route: Arc<Route>, headers: &HeaderMap, drawn: u64) -> Option<Choice> {
        let key = route.sticky_by.as_ref().and_then(|name| headers.get(name));
        let place = match key {
            Some(key) => place_of(&route.said.model_id, key.as_bytes()),
            None => ((u128::from(drawn) * u128::from(PLACES)) >> 64) as u32,
        };
        let led = self.is_led();
        let weight = match (&route.candidate, &route.stable) {
            (Some((_, weight)), Some(_)) if led => *weight,
            // Nobody could take it back, and something else serves.
            (Some(_), Some(_)) | (None, _) => 0,
            (Some(_), None) => 100,
        };
        let picked = pick(place, weight);
        let target = if picked.candidate {
            route.candidate.as_ref().map(|(target, _)| Arc::clone(target))
        } else {
            route.stable.as_ref().map(Arc::clone)
        }?;
        let arm = route.arms.as_ref().map(|arms| {
            Arc::clone(match (picked.candidate, picked.paired) {
                (true, true) => &arms.candidate_paired,
                (true, false) => &arms.candidate_alone,
                (false, true) => &arms.baseline,
                (false, false) => &arms.rest,
            })
        });
        let copied = |percent: u32| led && drawn % 100 < u64::from(percent);
        let shadow = match (&route.shadow, &route.arms) {
            (Some((target, percent)), Some(arms)) if copied(*percent) => {
                Some((Arc::clone(target), Arc::clone(&arms.candidate_paired)))
            }
            _ => None,
        };
        // Other bits than those that draw the version.
        let sampled = random::mix(drawn) % 1_000_000;
        let capture = route.capture.as_ref().filter(|(_, share)| sampled < *share);
        let capture = capture.map(|(spec, _)| (Arc::clone(&route.model_id), Arc::clone(spec)));
        Some(Choice { target, arm, shadow, capture, route })
    }

    /// Epochs in force, by model.
    #[must_use]
    pub fn epochs(&self) -> Vec<proto::AppliedRoute> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let applied = |(model_id, route): (&Arc<str>, &Arc<Route>)| proto::AppliedRoute {
            model_id: model_id.to_string(),
            epoch: route.said.epoch,
        };
        routes.iter().map(applied).collect()
    }

    /// Everything that was said, for a snapshot.
    #[must_use]
    pub fn said(&self) -> Vec<proto::ModelRoutes> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.values().map(|route| route.said.clone()).collect()
    }

    /// Models that have routes.
    #[must_use]
    pub fn models(&self) -> usize {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Counters with what they count.
    #[must_use]
    pub fn counted(&self) -> Vec<(Counted, Arc<Arm>)> {
        let arms = self.arms.lock().unwrap_or_else(PoisonError::into_inner);
        arms.iter().map(|(counted, arm)| (counted.clone(), Arc::clone(arm))).collect()
    }

    /// Versions that are being deployed, which have to be warm, with their models.
    #[must_use]
    pub fn candidates(&self) -> Vec<(Arc<str>, Arc<Target>)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let candidate = |(model_id, route): (&Arc<str>, &Arc<Route>)| {
            let target = route.targets.get(route.said.candidate.as_str())?;
            Some((Arc::clone(model_id), Arc::clone(target)))
        };
        routes.iter().filter_map(candidate).collect()
    }

    /// How endpoints are, of every version that routes speak of.
    #[must_use]
    pub fn health(&self) -> Vec<proto::VersionHealth> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for (model_id, route) in &*routes {
            for (version, target) in &route.targets {
                all.push(proto::VersionHealth {
                    model_id: model_id.to_string(),
                    version: version.to_string(),
                    ready: target.ready() as u32,
                    warm_checks: target.warm_checks.load(Ordering::Relaxed),
                });
            }
        }
        all
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
