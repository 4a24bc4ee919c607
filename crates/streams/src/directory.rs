//! The registry with its clock and its watchers: what one orchestrator knows of the services there are. It must not know
//! who watches.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use acgs_vocabulary::{AllowList, Problem, ports::Clock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::registry::{Moment, Registered, Registry, Service};

/// How often silence is looked for.
const SWEEP: Duration = Duration::from_millis(100);

/// The services. Clones share them.
#[derive(Clone, Debug)]
pub struct Directory {
    registry: Arc<Mutex<Registry>>,
    clock: Arc<dyn Clock>,
    all: watch::Sender<Arc<[Registered]>>,
}

impl Directory {
    /// Empty; forgets those who are silent for `lease_ms`, until `stop` is cancelled.
    #[must_use]
    pub fn start(allowed: AllowList, lease_ms: u64, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        let registry = Arc::new(Mutex::new(Registry::new(allowed, lease_ms)));
        let directory = Self { registry, clock, all: watch::Sender::new(Arc::from([])) };
        let sweeper = directory.clone();
        tokio::spawn(async move {
            let mut sweeps = tokio::time::interval(SWEEP);
            loop {
                tokio::select! {
                    _ = sweeps.tick() => sweeper.sweep(),
                    () = stop.cancelled() => return,
                }
            }
        });
        directory
    }

    fn with<T>(&self, act: impl FnOnce(&mut Registry, Moment) -> (T, bool)) -> T {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Moment { wall_ms: self.clock.now_ms(), steady_ms: self.clock.monotonic_ms() };
        let (done, changed) = act(&mut registry, now);
        if changed {
            self.all.send_replace(registry.find("").cloned().collect());
        }
        done
    }

    fn sweep(&self) {
        self.with(|registry, now| ((), registry.expire(now)));
    }

    /// How long a registration lives without a heartbeat, in milliseconds.
    #[must_use]
    pub fn lease_ms(&self) -> u64 {
        self.with(|registry, _| (registry.lease_ms(), false))
    }

    /// A service is there; returns its incarnation.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub fn register(&self, service: Service) -> Result<u64, Problem> {
        self.with(|registry, now| {
            let registered = registry.register(service, now).map(|registered| registered.incarnation);
            let changed = registered.is_ok();
            (registered, changed)
        })
    }

    /// A service is still there.
    ///
    /// # Errors
    /// `UNKNOWN_SERVICE`.
    pub fn heartbeat(&self, id: &str, serving: bool, load: u32) -> Result<(), Problem> {
        self.with(|registry, now| match registry.heartbeat(id, serving, load, now) {
            Ok(changed) => (Ok(()), changed),
            Err(problem) => (Err(problem), false),
        })
    }

    /// A service is gone. True when it was known.
    pub fn deregister(&self, id: &str) -> bool {
        self.with(|registry, _| {
            let known = registry.deregister(id);
            (known, known)
        })
    }

    /// Those with a capability, or all with the empty one, by id, as they are now.
    #[must_use]
    pub fn find(&self, capability: &str) -> Vec<Registered> {
        self.with(|registry, _| (registry.find(capability).cloned().collect(), false))
    }

    /// All of them, and every change of what they are.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<[Registered]>> {
        self.all.subscribe()
    }
}
