//! Health follows whether the home takes writes: a probe, what the home knows of itself, and how long the oldest event has waited. It
//! must not know which home it is.

use std::{sync::Arc, time::Duration};

use acgs_mesh::health::HealthSwitch;
use acgs_storage::{HomeProbe, HomeState, Outbox};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::role::{LIFECYCLE, ORCHESTRATOR, Role};

/// What health says of the home.
pub(crate) const HOME: &str = "acgs.home";
/// Between two probes, and what one may take.
const EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);
/// An event that waits for so long says that the log takes none.
const OLDEST: Duration = Duration::from_secs(30);
/// Probes in a row without an answer after which the home is down; one may be unlucky on a busy machine.
const MISSES: u32 = 2;
/// A home in this process that has not answered for so long never will.
const HUNG: Duration = Duration::from_secs(60);
/// Between two lines of the log while it lasts.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What is watched, and who is told.
#[derive(Debug)]
pub(crate) struct HomeWatch {
    pub(crate) probe: Arc<dyn HomeProbe>,
    /// Whether a home elsewhere can be reached; `None` for one in this process.
    pub(crate) connected: Option<watch::Receiver<bool>>,
    pub(crate) outbox: Option<Outbox>,
    pub(crate) health: HealthSwitch,
    pub(crate) role: Role,
    /// Why the home takes no writes, for `/health`; empty while it does.
    pub(crate) why: watch::Sender<String>,
}

impl HomeWatch {
    /// Until `stop`, or until the home cannot be had any more in this process: why.
    pub(crate) async fn run(self, stop: CancellationToken) -> Option<String> {
        let mut answered = Instant::now();
        let mut said = None;
        let mut connected = self.connected.clone();
        loop {
            let found = tokio::select! {
                found = self.look(&mut answered) => found,
                // What was asked before says nothing of what is now.
                () = changed(&mut connected) => continue,
            };
            let why = found.clone().err().unwrap_or_default();
            self.tell(why.is_empty());
            self.say(&why, &mut said);
            self.why.send_replace(why);
            if let HomeState::Lost(why) = self.probe.state() {
                return Some(why);
            }
            if self.connected.is_none() && answered.elapsed() > HUNG {
                return Some(format!("the home has not answered for {} s", HUNG.as_secs()));
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = changed(&mut connected) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    async fn look(&self, answered: &mut Instant) -> Result<(), String> {
        if self.connected.as_ref().is_some_and(|connected| !*connected.borrow()) {
            return Err("NATS cannot be reached".into());
        }
        if let HomeState::Failing(why) | HomeState::Lost(why) = self.probe.state() {
            *answered = Instant::now();
            return Err(why);
        }
        let mut misses = 0;
        loop {
            match timeout(PATIENCE, self.probe.probe()).await {
                Err(_) if misses + 1 < MISSES => misses += 1,
                Err(_) => {
                    return Err(format!("writes had no answer for {} s", (MISSES * PATIENCE).as_secs()));
                }
                Ok(probed) => {
                    *answered = Instant::now();
                    probed.map_err(|error| error.to_string())?;
                    break;
                }
            }
        }
        match self.outbox.as_ref().and_then(Outbox::oldest) {
            Some(oldest) if oldest > OLDEST => {
                Err(format!("the oldest event waits for {} s", oldest.as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// While the home is away it is down, and an orchestrator takes no new streams, whose leases it could not have.
    fn tell(&self, well: bool) {
        self.health.set(HOME, well);
        if matches!(self.role, Role::Judge(_)) {
            return;
        }
        for service in [ORCHESTRATOR].into_iter().chain(LIFECYCLE) {
            self.health.set(service, well);
        }
    }

    fn say(&self, why: &str, said: &mut Option<Instant>) {
        match (why.is_empty(), &said) {
            (true, Some(_)) => {
                tracing::info!("the home takes writes again");
                *said = None;
            }
            (false, last) if last.is_none_or(|last| last.elapsed() >= SAY_EVERY) => {
                let waiting = self.outbox.as_ref().map_or(0, Outbox::waiting);
                tracing::error!(why, events_waiting = waiting, "the home takes no writes");
                *said = Some(Instant::now());
            }
            _ => {}
        }
    }
}

async fn changed(connected: &mut Option<watch::Receiver<bool>>) {
    if let Some(connected) = connected
        && connected.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
