//! A model that is being decided about: each event is applied to the copy at once, so that what follows sees it.

use std::sync::Arc;

use super::{Answer, Decision, Limits, Order, Refusal, View};
use crate::{
    deployment::Deployment,
    event::{Change, DeploymentMoved, Event, Guard, JobMoved},
    model::{Job, Model, Version},
    policy::Policy,
    stage::StageStep,
    state::Counts,
    trigger::severity_points,
};

const MINUTE_MS: i64 = 60_000;

pub(super) struct Draft<'a> {
    pub(super) limits: &'a Limits,
    pub(super) order: &'a Order,
    pub(super) model: Model,
    pub(super) counts: Counts,
    /// Jobs that other models have running.
    pub(super) running_elsewhere: usize,
    /// Models that there are.
    pub(super) models: usize,
    model_id: Arc<str>,
    events: Vec<Event>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &View, limits: &'a Limits, order: &'a Order, model_id: &str) -> Self {
        let model = view.model.as_deref().cloned().unwrap_or_default();
        let model_id =
            view.model.as_ref().map_or_else(|| Arc::from(model_id), |known| Arc::clone(&known.model_id));
        let (counts, running_elsewhere, models) = (view.counts.clone(), view.running_elsewhere, view.models);
        Self { limits, order, model, counts, running_elsewhere, models, model_id, events: Vec::new() }
    }

    pub(super) fn finish(self, answer: Answer) -> Decision {
        Decision {
            model_id: self.model_id,
            model: Some(Arc::new(self.model)),
            counts: self.counts,
            events: self.events,
            answer,
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.order.now_ms
    }

    /// Number of the event that comes next.
    pub(super) fn next_number(&self) -> u64 {
        self.counts.events + 1
    }

    pub(super) fn push(&mut self, change: Change, guards: Vec<Guard>) -> Result<(), Refusal> {
        let event = Event {
            number: self.next_number(),
            at_ms: self.order.now_ms,
            model_id: Arc::clone(&self.model_id),
            actor: self.order.actor.clone(),
            guards,
            change,
        };
        self.model.apply(&event)?;
        self.counts.events = event.number;
        if let Change::DeploymentStarted(new) = &event.change {
            self.counts.deployments = self.counts.deployments.max(new.deployment);
        }
        self.events.push(event);
        Ok(())
    }

    pub(super) fn move_job(&mut self, job: u64, moved: JobMoved, guards: Vec<Guard>) -> Result<(), Refusal> {
        self.push(Change::JobMoved { job, moved }, guards)
    }

    pub(super) fn move_version(
        &mut self,
        version: &str,
        step: StageStep,
        why: &str,
        guards: Vec<Guard>,
    ) -> Result<(), Refusal> {
        let change = Change::VersionMoved { version: version.to_owned(), step, why: why.to_owned() };
        self.push(change, guards)
    }

    pub(super) fn job(&self, job: u64) -> Result<Arc<Job>, Refusal> {
        self.model.jobs.get(&job).cloned().ok_or(Refusal::UnknownJob(job))
    }

    pub(super) fn deployment(&self, number: u64) -> Result<Arc<Deployment>, Refusal> {
        self.model.deployments.get(&number).cloned().ok_or(Refusal::UnknownDeployment(number))
    }

    pub(super) fn move_deployment(
        &mut self,
        deployment: u64,
        moved: DeploymentMoved,
        guards: Vec<Guard>,
    ) -> Result<(), Refusal> {
        self.push(Change::DeploymentMoved { deployment, moved }, guards)
    }

    pub(super) fn version(&self, name: &str) -> Result<Arc<Version>, Refusal> {
        self.model.version(name).cloned().ok_or_else(|| Refusal::UnknownVersion(name.to_owned()))
    }

    pub(super) fn policy(&self) -> Result<Arc<Policy>, Refusal> {
        self.model.policy.clone().ok_or_else(|| Refusal::NoPolicy(self.model_id.to_string()))
    }

    pub(super) fn model_id(&self) -> &str {
        &self.model_id
    }

    /// A job's place in the queue. With one rate of ageing for all, the order of scores does not change with time:
    /// the score at the beginning, less what ageing would have given until then, stands for all times.
    pub(super) fn rank(&self, job: &Job, queued_at_ms: i64) -> i64 {
        let points = job.kind.class().weight() + severity_points(job.severity) * 10;
        points * MINUTE_MS - self.limits.ageing_per_minute * queued_at_ms
    }

    /// Why nothing of the model may be queued or leased; `None` when it may.
    pub(super) fn stopped(&self) -> Option<String> {
        let policy_off = self.model.policy.as_ref().is_some_and(|policy| !policy.enabled);
        let all = self.counts.frozen.as_ref().map(|why| format!("everything is frozen: {why}"));
        all.or_else(|| self.model.frozen.as_ref().map(|why| format!("the model is frozen: {why}")))
            .or_else(|| policy_off.then(|| "its policy is switched off".to_owned()))
    }
}
