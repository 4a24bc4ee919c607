//! What people and policies want of deployments, and how one begins and ends.

use std::sync::Arc;

use super::{Answer, Refusal, draft::Draft};
use crate::{
    command::{EndpointChange, Start},
    deployment::{Cause, Deployment, DeploymentStep, PauseReason, Phase},
    event::{Change, DeploymentMoved, Guard, NewDeployment},
    model::{ENDPOINTS_MAX, Version},
    policy::Rollout,
    rollout::RolloutPlan,
    stage::{Stage, StageStep},
};

/// Routers that have not said by then that a candidate has nothing are a matter for people.
const ROUTE_LIMIT_MS: i64 = 30_000;

impl Draft<'_> {
    pub(super) fn set_endpoints(
        &mut self,
        name: &str,
        asked: Vec<String>,
        change: EndpointChange,
    ) -> Result<Answer, Refusal> {
        let version = self.version(name)?;
        let known = &version.endpoints;
        let mut endpoints: Vec<String> = match change {
            EndpointChange::Set => Vec::new(),
            EndpointChange::Add => known.clone(),
            EndpointChange::Remove => known.iter().filter(|known| !asked.contains(known)).cloned().collect(),
        };
        if change != EndpointChange::Remove {
            for endpoint in asked {
                if !endpoints.contains(&endpoint) {
                    endpoints.push(endpoint);
                }
            }
        }
        if version.endpoints == endpoints {
            return Ok(Answer::Done);
        }
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(Refusal::Full(format!("a version has at most {ENDPOINTS_MAX} endpoints")));
        }
        let weight = self.model.routes.shares.iter().find(|(version, _)| **version == *name);
        if let (true, Some((_, weight))) = (endpoints.is_empty() && self.is_routed(), weight) {
            let message = format!("version {name:?} has {weight} % of the traffic");
            return Err(Refusal::WrongState(message));
        }
        self.push(Change::EndpointsSet { version: name.to_owned(), endpoints }, Vec::new())?;
        self.prepare_if_there()?;
        Ok(Answer::Done)
    }

    /// Whether requests go through routers.
    fn is_routed(&self) -> bool {
        self.model.versions.values().any(|version| !version.endpoints.is_empty())
    }

    pub(super) fn start_deployment(&mut self, start: &Start) -> Result<Answer, Refusal> {
        let version = self.version(&start.version)?;
        if let Some(open) = self.model.deployment() {
            let message =
                format!("deployment-{} of {:?} is {}", open.number, open.version, open.phase.as_str());
            return Err(Refusal::WrongState(message));
        }
        let frozen = self.counts.frozen.clone().or_else(|| self.model.frozen.clone());
        let fits = matches!(version.stage, Stage::Validated | Stage::Standby)
            || version.stage == Stage::Registered && start.unjudged;
        let guards = vec![
            Guard::new("stage", fits, version.stage.as_str(), "validated or standby"),
            Guard::new("freeze", frozen.is_none(), frozen.as_deref().unwrap_or("none"), "none"),
        ];
        if let Some(guard) = guards.iter().find(|guard| !guard.holds) {
            let mut message = format!("{}: found {}, asked for {}", guard.name, guard.found, guard.bound);
            if version.stage == Stage::Registered {
                message += "; no gate has judged it: say that you vouch for it";
            }
            return Err(Refusal::NotNow(message));
        }
        if version.stage == Stage::Registered {
            let vouched =
                || vec![Guard::new("gates", true, format!("{} vouches", self.order.actor), "gates")];
            let guards = vouched();
            self.move_version(&start.version, StageStep::ValidationStarted, &start.why, Vec::new())?;
            self.move_version(&start.version, StageStep::ValidationPassed, &start.why, guards)?;
        }
        let policy = self.model.policy.clone();
        let strategy = start.strategy.or_else(|| policy.as_ref().map(|policy| policy.rollout));
        let strategy = strategy.filter(|strategy| *strategy != Rollout::Hold).unwrap_or(Rollout::Canary);
        let plan = start.plan.clone().or_else(|| policy.map(|policy| policy.deployment.clone()));
        self.begin(&start.version, strategy, plan.unwrap_or_default(), &start.why, guards)
            .map(Answer::Deployment)
    }

    fn begin(
        &mut self,
        name: &str,
        strategy: Rollout,
        plan: RolloutPlan,
        why: &str,
        guards: Vec<Guard>,
    ) -> Result<u64, Refusal> {
        let deployment = self.counts.deployments + 1;
        let new = NewDeployment {
            deployment,
            version: name.to_owned(),
            baseline: self.model.champion.as_deref().unwrap_or("").to_owned(),
            strategy,
            due_at_ms: self.now_ms() + plan.prepare_ms,
            plan: Arc::new(plan.of(strategy, self.version(name)?.endpoints.len())),
            why: why.to_owned(),
        };
        self.move_version(name, StageStep::DeploymentStarted, why, Vec::new())?;
        self.push(Change::DeploymentStarted(Box::new(new)), guards)?;
        self.prepare_if_there()?;
        Ok(deployment)
    }

    /// One that waits for endpoints goes on when there are some.
    fn prepare_if_there(&mut self) -> Result<(), Refusal> {
        let Some(open) = self.model.deployment().filter(|open| open.phase == Phase::Pending).cloned() else {
            return Ok(());
        };
        let endpoints = self.version(&open.version)?.endpoints.len();
        if endpoints == 0 {
            return Ok(());
        }
        let due_at_ms = self.now_ms() + open.plan.prepare_ms;
        let guards = vec![Guard::new("endpoints", true, endpoints, "at least 1")];
        self.move_deployment(open.number, DeploymentMoved::Prepare { due_at_ms }, guards)
    }

    /// What passed the gates goes into service as the policy says; one at a time.
    pub(super) fn deploy_by_policy(&mut self, name: &str, why: &str) -> Result<(), Refusal> {
        let policy = self.policy()?;
        let waits = self.model.deployment().is_some() || self.stopped().is_some();
        if policy.rollout == Rollout::Hold || waits {
            return Ok(());
        }
        if policy.rollout == Rollout::Immediate && !self.is_routed() {
            return self.promote(name, why);
        }
        self.begin(name, policy.rollout, policy.deployment.clone(), why, Vec::new())?;
        Ok(())
    }

    /// After one deployment: the newest version that passed meanwhile.
    fn deploy_next(&mut self) -> Result<(), Refusal> {
        let Some(policy) = self.model.policy.clone() else { return Ok(()) };
        let serving = self.model.champion.as_ref().and_then(|champion| self.model.version(champion));
        let after = serving.map_or(0, |serving| serving.number);
        let waits = self.model.versions.values().filter(|version| {
            let deployed =
                self.model.deployments.values().any(|known| *known.version == *version.new.version);
            version.stage == Stage::Validated && version.new.job > 0 && version.number > after && !deployed
        });
        let newest = waits.max_by_key(|version| version.number).map(|version| version.new.version.clone());
        match newest {
            Some(name) if policy.rollout != Rollout::Hold => {
                self.deploy_by_policy(&name, "it passed while another was deployed")
            }
            _ => Ok(()),
        }
    }

    fn open(&self, number: u64, step: DeploymentStep) -> Result<Arc<Deployment>, Refusal> {
        let deployment = self.deployment(number)?;
        if deployment.phase.after(step, deployment.before).is_none() {
            let message = format!("deployment-{number} is {}", deployment.phase.as_str());
            return Err(Refusal::WrongState(message));
        }
        Ok(deployment)
    }

    pub(super) fn pause_deployment(&mut self, number: u64, why: String) -> Result<Answer, Refusal> {
        self.open(number, DeploymentStep::Pause)?;
        let moved = DeploymentMoved::Pause { reason: PauseReason::Manual, why };
        self.move_deployment(number, moved, Vec::new())?;
        Ok(Answer::Deployment(number))
    }

    pub(super) fn resume_deployment(&mut self, number: u64) -> Result<Answer, Refusal> {
        let paused = self.open(number, DeploymentStep::Resume)?;
        self.resume(&paused, Vec::new())?;
        Ok(Answer::Deployment(number))
    }

    pub(super) fn resume(&mut self, paused: &Deployment, guards: Vec<Guard>) -> Result<(), Refusal> {
        let now_ms = self.now_ms();
        let plan = &paused.plan;
        let limit_ms = match paused.before {
            Some(Phase::Baking) => plan.bake_ms,
            _ => plan.step_limit_ms,
        };
        let progress_due_ms = match paused.pause {
            Some(PauseReason::Manual | PauseReason::BaselineFailing) => paused.due_after_hold(now_ms),
            _ => paused.progress_due_ms,
        };
        let moved = DeploymentMoved::Resume { due_at_ms: now_ms + limit_ms, progress_due_ms };
        self.move_deployment(paused.number, moved, guards)
    }

    pub(super) fn promote_deployment(&mut self, number: u64, why: &str) -> Result<Answer, Refusal> {
        let deployment = self.deployment(number)?;
        let guards = vec![Guard::new("evidence", true, format!("not asked for: {why}"), "a person's word")];
        match deployment.phase {
            Phase::Baking => self.complete(&deployment, guards)?,
            Phase::Preparing => {
                let message =
                    format!("deployment-{number} is preparing: its endpoints are not known to be well");
                return Err(Refusal::WrongState(message));
            }
            _ => {
                self.open(number, DeploymentStep::Promote)?;
                self.move_deployment(number, DeploymentMoved::Promote, guards)?;
            }
        }
        Ok(Answer::Deployment(number))
    }

    pub(super) fn abort_deployment(
        &mut self,
        number: u64,
        cause: Cause,
        why: &str,
    ) -> Result<Answer, Refusal> {
        self.open(number, DeploymentStep::Abort)?;
        self.abort(number, cause, why, Vec::new())?;
        Ok(Answer::Deployment(number))
    }

    /// Weights go back at once; it is over when routers have said so.
    pub(super) fn abort(
        &mut self,
        number: u64,
        cause: Cause,
        why: &str,
        guards: Vec<Guard>,
    ) -> Result<(), Refusal> {
        let deployment = self.deployment(number)?;
        if matches!(deployment.phase, Phase::Pending | Phase::Preparing) {
            let moved = DeploymentMoved::Withdraw { cause, why: why.to_owned() };
            self.move_deployment(number, moved, guards)?;
            return self.let_go(&deployment, cause, why);
        }
        let due_at_ms = self.now_ms() + ROUTE_LIMIT_MS;
        self.move_deployment(number, DeploymentMoved::Abort { cause, why: why.to_owned(), due_at_ms }, guards)
    }

    /// The open deployment is taken back, if there is one that is not already.
    pub(super) fn take_back(&mut self, cause: Cause, why: &str) -> Result<(), Refusal> {
        let open =
            self.model.deployment().filter(|open| open.phase != Phase::Aborting).map(|open| open.number);
        match open {
            Some(number) => self.abort(number, cause, why, Vec::new()),
            None => Ok(()),
        }
    }

    /// A deployment is over without success: its version goes where the cause sends it.
    pub(super) fn let_go(&mut self, deployment: &Deployment, cause: Cause, why: &str) -> Result<(), Refusal> {
        if self.version(&deployment.version)?.stage == Stage::Candidate {
            let step = match cause {
                Cause::Analysis => StageStep::DeploymentRolledBack,
                Cause::Operator | Cause::Deadline => StageStep::DeploymentAborted,
            };
            self.move_version(&deployment.version, step, why, Vec::new())?;
            if cause == Cause::Analysis && self.model.policy.is_some() {
                self.ask_for_help()?;
            }
        }
        self.deploy_next()
    }

    pub(super) fn complete(&mut self, deployment: &Deployment, guards: Vec<Guard>) -> Result<(), Refusal> {
        self.move_deployment(deployment.number, DeploymentMoved::Complete, guards)?;
        self.swap(
            &deployment.version,
            StageStep::Replaced,
            &format!("deployment-{} is completed", deployment.number),
        )?;
        self.deploy_next()
    }

    pub(super) fn roll_back(&mut self, expected: Option<&str>, why: &str) -> Result<Answer, Refusal> {
        if let Some(expected) = expected.filter(|expected| self.model.champion.as_deref() != Some(expected)) {
            let was_it = |version: &Arc<Version>| version.taken_back && version.stage == Stage::Standby;
            if self.model.version(expected).is_some_and(was_it) {
                return Ok(Answer::Done);
            }
            let found = self.model.champion.as_deref().unwrap_or("").to_owned();
            return Err(Refusal::Champion { expected: expected.to_owned(), found });
        }
        if let Some(open) = self.model.deployment().cloned() {
            return match open.phase {
                Phase::Aborting => Ok(Answer::Deployment(open.number)),
                _ => self.abort_deployment(open.number, Cause::Operator, why),
            };
        }
        let champion = self.model.champion.as_deref().unwrap_or("").to_owned();
        // What was itself taken back is nothing to go back to.
        let standby = self.model.standbys().into_iter().find(|standby| !standby.taken_back);
        let standby = standby.map(|standby| standby.new.version.clone());
        let Some(standby) = standby else { return Err(Refusal::NoStandby(champion)) };
        self.move_version(&standby, StageStep::DeploymentStarted, why, Vec::new())?;
        self.swap(&standby, StageStep::TakenBack, why)?;
        Ok(Answer::Done)
    }
}
