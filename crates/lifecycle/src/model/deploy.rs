//! What events do to deployments, and to where requests go. It must not decide anything.

use std::sync::Arc;

use super::{
    DEPLOYMENTS_KEPT, Model,
    apply::{Broken, broken},
};
use crate::{
    deployment::{Deployment, PauseReason, Phase, Routes},
    event::{Change, DeploymentMoved, Event, NewDeployment},
    stage::Stage,
};

impl Model {
    /// The deployment that goes on.
    #[must_use]
    pub fn deployment(&self) -> Option<&Arc<Deployment>> {
        self.deployments.values().next_back().filter(|last| last.phase.is_open())
    }

    pub(super) fn begin_deployment(&mut self, event: &Event, new: &NewDeployment) -> Result<(), Broken> {
        if self.deployment().is_some() {
            return Err(broken(event, "a deployment is open already"));
        }
        let Some((version, _)) = self.versions.get_key_value(new.version.as_str()) else {
            return Err(broken(event, format!("there is no version {:?}", new.version)));
        };
        let deployment = Deployment {
            number: new.deployment,
            version: Arc::clone(version),
            baseline: new.baseline.clone(),
            strategy: new.strategy,
            plan: Arc::clone(&new.plan),
            actor: event.actor.clone(),
            started_at_ms: event.at_ms,
            phase: Phase::Pending,
            step: 0,
            before: None,
            pause: None,
            cause: None,
            why: new.why.clone(),
            phase_at_ms: event.at_ms,
            due_at_ms: Some(new.due_at_ms),
            progress_due_ms: event.at_ms.saturating_add(new.plan.progress_ms),
            extensions: 0,
            tails: None,
            counts: Default::default(),
            baseline_accepted: false,
            calls_before: 0,
            grown_at_ms: event.at_ms,
            observed_at_ms: event.at_ms,
            fenced: Vec::new(),
        };
        self.deployments.insert(new.deployment, Arc::new(deployment));
        while self.deployments.len() > DEPLOYMENTS_KEPT {
            self.deployments.pop_first();
        }
        Ok(())
    }

    pub(super) fn move_deployment(
        &mut self,
        event: &Event,
        number: u64,
        moved: &DeploymentMoved,
    ) -> Result<(), Broken> {
        let Some(deployment) = self.deployments.get_mut(&number) else {
            return Err(broken(event, format!("there is no deployment {number}")));
        };
        let deployment = Arc::make_mut(deployment);
        let (from, step) = (deployment.phase, moved.step());
        let Some(to) = from.after(step, deployment.before) else {
            let message = format!("{step:?} of a deployment that is {}", from.as_str());
            return Err(broken(event, message));
        };
        deployment.phase = to;
        step_deployment(deployment, event, from, moved);
        if from != to {
            deployment.phase_at_ms = event.at_ms;
        }
        Ok(())
    }

    /// Where requests go follows from versions and the open deployment; an epoch is the event that changed it.
    pub(super) fn reroute(&mut self, event: &Event) {
        let touches = matches!(
            event.change,
            Change::VersionMoved { .. }
                | Change::EndpointsSet { .. }
                | Change::PolicyPut { .. }
                | Change::DeploymentStarted(_)
                | Change::DeploymentMoved { .. }
        );
        if !touches {
            return;
        }
        let routes = self.routes_now();
        let endpoints = matches!(event.change, Change::EndpointsSet { .. });
        if endpoints || routes != self.routes {
            self.route_epoch = event.number;
            self.routes = routes;
        }
    }

    fn routes_now(&self) -> Routes {
        let open = self.deployment();
        let candidate = open.filter(|open| {
            self.versions.get(&open.version).is_some_and(|version| version.stage == Stage::Candidate)
        });
        let weight = candidate.map_or(0, |open| open.weight().min(100));
        let mut routes = Routes {
            deployment: open.map_or(0, |open| open.number),
            candidate: candidate.map(|open| Arc::clone(&open.version)),
            sticky_by: open.map(|open| open.plan.sticky_by.clone()).unwrap_or_default(),
            capture: self.policy.as_ref().and_then(|policy| policy.capture.clone()),
            methods: self.policy.as_ref().map(|policy| policy.methods.clone()).unwrap_or_default(),
            ..Routes::default()
        };
        if let Some(champion) = &self.champion
            && weight < 100
        {
            routes.shares.push((Arc::clone(champion), 100 - weight));
        }
        if let Some(open) = candidate {
            // Without anything that serves it has all, or nothing yet.
            if weight == 100 || weight > 0 && self.champion.is_some() {
                routes.shares.push((Arc::clone(&open.version), weight));
            }
            let percent = open.shadow_percent();
            routes.shadow = (percent > 0).then(|| (Arc::clone(&open.version), percent));
        }
        routes
    }
}

/// What a step leaves in the deployment itself.
fn step_deployment(deployment: &mut Deployment, event: &Event, from: Phase, moved: &DeploymentMoved) {
    let begin = |deployment: &mut Deployment| {
        deployment.calls_before = deployment.counts.calls();
        deployment.extensions = 0;
        deployment.grown_at_ms = event.at_ms;
    };
    match moved {
        DeploymentMoved::Prepare { due_at_ms } => deployment.due_at_ms = Some(*due_at_ms),
        DeploymentMoved::Extend { due_at_ms } => {
            deployment.extensions += 1;
            deployment.due_at_ms = Some(*due_at_ms);
        }
        DeploymentMoved::Shadow { due_at_ms } => {
            begin(deployment);
            deployment.due_at_ms = Some(*due_at_ms);
        }
        DeploymentMoved::Shift { at, .. } => (deployment.step, deployment.due_at_ms) = (*at, None),
        DeploymentMoved::Promote => {
            // The time that a person took to decide is not its own.
            let was_held =
                matches!(deployment.pause, Some(PauseReason::Manual | PauseReason::BaselineFailing));
            if from == Phase::Paused && was_held {
                deployment.progress_due_ms = deployment.due_after_hold(event.at_ms);
            }
            (deployment.due_at_ms, deployment.before, deployment.pause) = (None, None, None);
        }
        DeploymentMoved::Apply { fenced, due_at_ms, .. } => {
            begin(deployment);
            deployment.fenced.clone_from(fenced);
            deployment.due_at_ms = *due_at_ms;
        }
        DeploymentMoved::Observe { counts, tails, .. } => {
            if counts.calls() > deployment.counts.calls()
                || counts.shadow.pairs > deployment.counts.shadow.pairs
            {
                deployment.grown_at_ms = event.at_ms;
            }
            deployment.counts.clone_from(counts);
            deployment.tails = tails.or(deployment.tails);
            deployment.baseline_accepted &= counts.blocks.baseline_failing > 0.0;
            deployment.observed_at_ms = event.at_ms;
        }
        DeploymentMoved::Pause { reason, why } => {
            (deployment.before, deployment.pause) = (Some(from), Some(*reason));
            deployment.baseline_accepted &= *reason != PauseReason::BaselineFailing;
            deployment.why.clone_from(why);
            deployment.due_at_ms = None;
        }
        DeploymentMoved::Resume { due_at_ms, progress_due_ms } => {
            // It was let go on beside a baseline that still fails: it is not held for the same again.
            let fails = deployment.counts.blocks.baseline_failing > 0.0;
            deployment.baseline_accepted |= fails && deployment.pause == Some(PauseReason::BaselineFailing);
            (deployment.before, deployment.pause) = (None, None);
            deployment.grown_at_ms = event.at_ms;
            deployment.due_at_ms = Some(*due_at_ms);
            deployment.progress_due_ms = *progress_due_ms;
        }
        DeploymentMoved::Complete => deployment.due_at_ms = None,
        DeploymentMoved::Abort { cause, why, due_at_ms } => {
            (deployment.before, deployment.pause) = (None, None);
            (deployment.cause, deployment.due_at_ms) = (Some(*cause), Some(*due_at_ms));
            deployment.why.clone_from(why);
        }
        DeploymentMoved::Withdraw { cause, why } => {
            (deployment.cause, deployment.due_at_ms) = (Some(*cause), None);
            deployment.why.clone_from(why);
        }
        DeploymentMoved::Fail { why } => {
            deployment.due_at_ms = None;
            deployment.why.clone_from(why);
        }
    }
}
