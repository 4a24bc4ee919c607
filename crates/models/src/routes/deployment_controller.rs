//! Takes deployments from step to step: looks at what routers say, and tells the ledger writer, which decides. Every orchestrator has
//! one; what two of them say about the same thing counts once. It must not know what is decided.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use acgs_lifecycle::{
    Command, Guard,
    deployment::{Deployment, Phase},
    model::Model,
};
use acgs_vocabulary::ports::{Clock, records::ModelRecords};
use tokio_util::sync::CancellationToken;

use super::{
    RouteSettings,
    losses::Losses,
    registry::{Confirmations, RouterRegistry},
};
use crate::ledger_writer::LedgerWriter;

/// Between two looks, at most.
const TICK: Duration = Duration::from_millis(100);
/// Between two looks, at least: what comes in between is seen together.
const PAUSE: Duration = Duration::from_millis(5);
/// Counts that have not changed are told this often, so that silence is noticed.
const SILENCE: Duration = Duration::from_millis(500);
/// Checks of a candidate that have to be well in a row.
const WARM_CHECKS: u32 = 3;

/// What it works with.
#[derive(Clone, Debug)]
pub struct DeploymentController {
    /// Who decides.
    pub writer: LedgerWriter,
    /// What routers say.
    pub routers: RouterRegistry,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Records with their labels, of models whose loss is judged.
    pub records: Arc<dyn ModelRecords>,
    /// How long is waited for routers.
    pub settings: RouteSettings,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

/// What was told of a deployment, and when.
#[derive(Debug, Default)]
struct Told {
    counts: HashMap<u64, (acgs_lifecycle::analysis::Counts, Instant)>,
    /// Since when an epoch is waited for.
    epochs: HashMap<u64, (u64, i64)>,
    losses: HashMap<u64, acgs_lifecycle::analysis::LossFound>,
}

impl DeploymentController {
    /// Looks until everything ends.
    pub async fn run(self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.fly() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn fly(&self) {
        let (mut seen, mut decided) = (self.routers.changed(), self.writer.changed());
        let mut told = Told::default();
        let mut losses = Losses::new(Arc::clone(&self.records));
        loop {
            let open: Vec<(Arc<Model>, Arc<Deployment>)> = self.writer.look(|state| {
                let open = |model: &Arc<Model>| Some((Arc::clone(model), Arc::clone(model.deployment()?)));
                state.deploying().filter_map(open).collect()
            });
            let is_open = |number: u64| open.iter().any(|(_, deployment)| deployment.number == number);
            self.routers.keep(is_open);
            told.counts.retain(|number, _| is_open(*number));
            told.epochs.retain(|number, _| is_open(*number));
            told.losses.retain(|number, _| is_open(*number));
            losses.keep(is_open);
            for (model, deployment) in &open {
                let kind = model.policy.as_ref().map(|policy| policy.gates.loss).unwrap_or_default();
                match losses.found(&model.model_id, deployment, kind).await {
                    Ok(found) => told.losses.extend(found.map(|found| (deployment.number, found))),
                    Err(problem) => tracing::debug!(%problem, "losses wait"),
                }
                for command in self.says(model, deployment, &mut told) {
                    if let Err(problem) =
                        self.writer.submit("deployment-controller", &model.model_id, command).await
                    {
                        tracing::debug!(%problem, "a deployment waits");
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                _ = seen.changed(), if !open.is_empty() => {}
                _ = decided.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// What is to be said of a deployment now.
    fn says(&self, model: &Model, deployment: &Deployment, told: &mut Told) -> Vec<Command> {
        let mut commands = Vec::new();
        match deployment.phase {
            Phase::Preparing => {
                commands.extend(self.counts(deployment, told));
                commands.extend(self.prepared(model, deployment));
            }
            Phase::Shifting | Phase::Promoting | Phase::Aborting => {
                commands.extend(self.applied(model, deployment, told));
            }
            Phase::Shadowing | Phase::Analyzing | Phase::Baking | Phase::Paused => {
                commands.extend(self.counts(deployment, told));
            }
            Phase::Pending | Phase::Completed | Phase::RolledBack | Phase::Failed => {}
        }
        commands
    }

    fn prepared(&self, model: &Model, deployment: &Deployment) -> Option<Command> {
        let health = self.routers.health(&model.model_id, &deployment.version);
        let well = |(_, health): &&(String, super::registry::Health)| {
            health.ready >= 1 && health.warm_checks >= WARM_CHECKS
        };
        let count = health.iter().filter(well).count();
        if health.is_empty() || count < health.len() {
            return None;
        }
        let least = health.iter().map(|(_, health)| health.ready).min().unwrap_or(0);
        let found = vec![
            Guard::new("routers", true, count, "all that are connected, at least 1"),
            Guard::new("endpoints_ready", true, least, "at least 1, as every router sees it"),
            Guard::new("warm_checks", true, format!("at least {WARM_CHECKS}"), WARM_CHECKS),
        ];
        Some(Command::Prepared { deployment: deployment.number, found })
    }

    fn applied(&self, model: &Model, deployment: &Deployment, told: &mut Told) -> Option<Command> {
        let (now_ms, epoch) = (self.clock.monotonic_ms(), model.route_epoch);
        let lease_ms = i64::from(self.settings.candidate_lease_ms);
        let since = told.epochs.entry(deployment.number).or_insert((epoch, now_ms));
        if since.0 != epoch {
            *since = (epoch, now_ms);
        }
        let waited_ms = now_ms - since.1;
        let found = self.routers.confirmations(&model.model_id, epoch, now_ms, lease_ms);
        let confirm_ms = i64::from(self.settings.confirm_ms);
        let Confirmations { confirmed, missing, gone } = found;
        let late = waited_ms >= confirm_ms;
        let ready = match deployment.phase {
            // Whoever has not said that the candidate has nothing hears no beat, and takes it out when the lease is over.
            Phase::Aborting => {
                let fenced = waited_ms >= confirm_ms + lease_ms;
                fenced || missing.is_empty() && gone.is_empty()
            }
            _ => !confirmed.is_empty() && (missing.is_empty() || late),
        };
        ready.then(|| {
            let fenced = missing.into_iter().chain(gone).collect();
            Command::RouteApplied { deployment: deployment.number, epoch, confirmed, fenced }
        })
    }

    fn counts(&self, deployment: &Deployment, told: &mut Told) -> Option<Command> {
        let (mut counts, tails) = self.routers.cut(deployment, self.clock.monotonic_us());
        counts.loss = told.losses.get(&deployment.number).copied().or(deployment.counts.loss);
        let known = told.counts.get(&deployment.number);
        let silent = known.is_none_or(|(_, at)| at.elapsed() >= SILENCE);
        let changed = known.is_none_or(|(last, _)| *last != counts);
        if !(changed || silent) {
            return None;
        }
        told.counts.insert(deployment.number, (counts.clone(), Instant::now()));
        Some(Command::Evidence { deployment: deployment.number, counts: Box::new(counts), tails })
    }
}
