//! A process of a mesh while it runs, and its end in order. It must not know how it was started.

use std::{sync::Arc, time::Duration};

use acgs_mesh::{health::HealthSwitch, refusals::Refusals, server};
use acgs_storage::Outbox;
use acgs_streams::OrchestratorService;
use acgs_vocabulary::{
    Constitution,
    ports::{Clock, EventLog, EventSink, FindingSink},
};
use anyhow::Context;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{addresses::Addresses, remote::Remote, role::Role};

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
}

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

    /// Ends in order: not ready, others told, streams told, lanes handed over, calls finished within the grace.
    ///
    /// # Errors
    /// When a server did not end well.
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
        if let Some(orchestrator) = &self.orchestrator
            && timeout(self.grace, orchestrator.drained()).await.is_err()
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
        if let Some(outbox) = &self.outbox
            && timeout(self.grace, outbox.flush()).await.is_err()
        {
            let message = format!("{} events did not reach the log before the end", outbox.waiting());
            trouble.get_or_insert(anyhow::anyhow!(message));
        }
        trouble.map_or(audit, Err)
    }
}
