//! A process of a mesh while it runs, and its end in order. It must not know how it was started.

use std::{sync::Arc, time::Duration};

use acgs_mesh::{health::HealthSwitch, refusals::Refusals, server};
use acgs_storage::{Outbox, unsent::Unsent};
use acgs_streams::OrchestratorService;
use acgs_vocabulary::{
    Constitution,
    ports::{Clock, EventLog, EventSink, FindingSink},
};
use anyhow::Context;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{addresses::Addresses, remote::Remote, role::Role, unsent};

/// A process of a mesh, or a whole one.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    /// What it serves under.
    pub constitution: Constitution,
    /// Its log, if it has a home.
    pub log: Option<Arc<dyn EventLog>>,
    /// Its home, for a person.
    pub home: String,
    /// Judges in other processes, if it is an orchestrator of such.
    pub judges: Option<Remote>,
    pub(crate) role: Role,
    pub(crate) notice: Duration,
    pub(crate) grace: Duration,
    pub(crate) health: HealthSwitch,
    pub(crate) stop: CancellationToken,
    pub(crate) announcing: CancellationToken,
    pub(crate) servers: JoinSet<Result<(), server::ServeError>>,
    /// Ends with why when the home is lost.
    pub(crate) watched: Option<JoinHandle<Option<String>>>,
    pub(crate) orchestrator: Option<OrchestratorService>,
    pub(crate) audit: JoinHandle<()>,
    pub(crate) announcer: Option<JoinHandle<()>>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sink: Arc<dyn FindingSink>,
    pub(crate) outbox: Option<Outbox>,
    /// Where events go that the log does not take any more.
    pub(crate) unsent: Option<Unsent>,
}

/// What is left of the time to end for what comes after the streams.
const AFTER_STREAMS: Duration = Duration::from_secs(2);
/// How long the log is waited for whatever the time.
const FLUSH_LEAST: Duration = Duration::from_secs(1);

/// Waits for the home to be lost.
async fn lost(watched: &mut Option<JoinHandle<Option<String>>>) -> String {
    match watched {
        Some(watched) => match watched.await {
            Ok(Some(why)) => why,
            Ok(None) => std::future::pending().await,
            Err(error) => error.to_string(),
        },
        None => std::future::pending().await,
    }
}

impl Running {
    /// Events that are on their way to the log.
    #[must_use]
    pub fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_ref()
    }

    /// Waits for a server to fail, or for the home to be lost; that is the end of all.
    pub async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            ended = self.servers.join_next() => match ended {
                Some(Ok(Ok(()))) | None => anyhow::anyhow!("a server ended by itself"),
                Some(Ok(Err(error))) => error.into(),
                Some(Err(error)) => error.into(),
            },
            why = lost(&mut self.watched) => anyhow::anyhow!("the home is lost: {why}"),
        }
    }

    /// Ends in order: not ready, others told, streams told, lanes handed over, calls finished; all of it within notice and grace, and little
    /// more. What the log does not take by then is kept for the next start.
    ///
    /// # Errors
    /// When a server did not end well, or events are lost.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.health.all_down();
        self.announcing.cancel();
        if let Some(announcer) = self.announcer.take() {
            announcer.await.context("the task that registers was lost")?;
        }
        if self.role != Role::All {
            // Those who watch our health send what is new elsewhere.
            tokio::time::sleep(self.notice).await;
        }
        self.stop.cancel();
        let end = Instant::now() + self.grace;
        if let Some(orchestrator) = &self.orchestrator
            && timeout_at(end - AFTER_STREAMS.min(self.grace / 4), orchestrator.drained()).await.is_err()
        {
            tracing::error!("streams or their events were not done at the end of the grace");
        }
        let mut trouble = None;
        while let Some(ended) = self.servers.join_next().await {
            let failed = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => anyhow::Error::from(error),
                Err(error) => anyhow::Error::from(error).context("a server's task was lost"),
            };
            trouble.get_or_insert(failed);
        }
        // What was said last is in the log before the process ends.
        let audit = self.audit.await.context("the audit's task was lost");
        // Refusals of connections that were still open are told too.
        self.refusals.publish(&*self.sink, self.clock.now_ms());
        if let Some(outbox) = &self.outbox {
            let _what_is_left_is_kept =
                timeout_at(end.max(Instant::now() + FLUSH_LEAST), outbox.flush()).await;
            // Also of those who still wait for a place in it.
            let lost_before = outbox.lost();
            let left = outbox.close().await;
            if !unsent::keep(self.unsent.as_ref(), &left, self.clock.now_ms()) {
                trouble.get_or_insert(anyhow::anyhow!("{} events are lost", left.events.len()));
            }
            let late = outbox.lost() - lost_before;
            if late > 0 {
                trouble.get_or_insert(anyhow::anyhow!("{late} events came after the end and are lost"));
            }
        }
        trouble.map_or(audit, Err)
    }
}
