//! What a command comes to: events on a copy of its model, or a refusal. Nothing is written here. It must not know where
//! events are kept, or what time it is: orders say it.

mod deploy;
mod draft;
mod evidence;
mod jobs;
mod people;
mod refusal;
mod repeat;
mod versions;
mod work;

use std::sync::Arc;

use crate::command::Command;
use crate::{
    deployment::Cause,
    event::{Answered, Change, Event},
    job::JobState,
    model::Model,
    state::Counts,
};
use draft::Draft;
pub use refusal::Refusal;

/// What all models share; deploy/acgs.toml holds the defaults.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Models; another is refused with LIFECYCLE_FULL.
    pub models_max: usize,
    /// Jobs that workers or gates have at once, over all models.
    pub running_max: usize,
    /// A worker that is silent for this long loses its lease, in milliseconds.
    pub lease_ms: i64,
    /// A training takes at most this long, in milliseconds.
    pub train_ms: i64,
    /// Judging takes at most this long, in milliseconds.
    pub validate_ms: i64,
    /// A job that nobody takes for this long expires, in milliseconds.
    pub queue_ms: i64,
    /// Attempts before a job is given up.
    pub attempts_max: u32,
    /// First wait before another attempt, in milliseconds; it doubles each time.
    pub backoff_ms: i64,
    /// Longest wait before another attempt, in milliseconds.
    pub backoff_ms_max: i64,
    /// Points that a waiting job gains each minute.
    pub ageing_per_minute: i64,
    /// Jobs given up in a row after which a model's circuit opens.
    pub circuit_failures: u32,
    /// How long it stays open, in milliseconds.
    pub circuit_ms: i64,
    /// A version that served is kept warm for at least this long, in milliseconds.
    pub standby_ms: i64,
    /// Versions kept warm whatever their age.
    pub standbys_kept: usize,
}

/// Who asks, and when.
#[derive(Clone, Debug)]
pub struct Order {
    /// Wall time, milliseconds since the epoch.
    pub now_ms: i64,
    /// Who or what.
    pub actor: String,
    /// Of a wish that may come again; empty without one.
    pub request_id: String,
    /// In [0, 1): where in its range a wait lies.
    pub jitter: f64,
    /// Whether the worker of the model's job has not been heard of for the life of a lease, by a clock that does not jump.
    pub silent: bool,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; or there was nothing to do.
    Done,
    /// The revision of the policy.
    Policy(u64),
    /// The job that a trigger made or joined.
    Job {
        /// Its number.
        job: u64,
        /// Where it stands.
        state: JobState,
        /// Whether the job was there before, and the trigger added nothing or itself.
        known: bool,
    },
    /// The trigger is below what the policy looks at.
    Ignored,
    /// A worker has the job, with this fence.
    Leased(u64),
    /// The job is another's, or nobody's: the current fence, 0 for none.
    Stale(u64),
    /// A deployment.
    Deployment(u64),
}

/// What a decision looks at.
#[derive(Clone, Debug)]
pub struct View {
    /// The model, if it is known.
    pub model: Option<Arc<Model>>,
    /// What concerns all.
    pub counts: Counts,
    /// Jobs that other models have running.
    pub running_elsewhere: usize,
    /// Models that there are.
    pub models: usize,
}

/// Events that are decided and not yet written, with what they make of the model.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The model; empty for all.
    pub model_id: Arc<str>,
    /// As it is afterwards; `None` when only what concerns all has changed.
    pub model: Option<Arc<Model>>,
    /// What concerns all, afterwards.
    pub counts: Counts,
    /// In order; may be none.
    pub events: Vec<Event>,
    /// For whoever asked.
    pub answer: Answer,
}

/// Decides a command.
///
/// # Errors
/// When it is refused; then nothing has happened.
pub fn decide(
    view: &View,
    limits: &Limits,
    order: &Order,
    model_id: &str,
    command: Command,
) -> Result<Decision, Refusal> {
    if model_id.is_empty() {
        return for_all(&view.counts, order, command);
    }
    let mut draft = Draft::new(view, limits, order, model_id);
    if !draft.model.model_id.is_empty() {
        draft.due()?;
    } else if !matches!(command, Command::RegisterModel { .. }) {
        return Err(Refusal::UnknownModel(model_id.to_owned()));
    }
    let wish = draft.wish(&command);
    if let Some(answer) = draft.answered(&wish)? {
        return Ok(draft.finish(answer));
    }
    let answer = match command {
        Command::RegisterModel { model_name, service_id } => draft.register_model(model_name, service_id),
        Command::SupplyEvidence(evidence) => draft.supply_evidence(evidence),
        Command::PutPolicy { policy, expected } => draft.put_policy(policy, expected),
        Command::SetFreeze { frozen, why } => draft.set_freeze(frozen, why),
        Command::ClearLoop => draft.clear_loop(),
        Command::RegisterVersion { new, serving } => draft.register_version(new, serving),
        Command::Quarantine { version, why } => draft.quarantine(&version, &why),
        Command::Release { version, intact } => draft.release(&version, intact),
        Command::Archive { version } => draft.archive(&version),
        Command::Trigger(trigger) => draft.trigger(trigger),
        Command::Lease { job, worker, plan } => draft.lease(job, worker, plan),
        Command::Start(held) => draft.start(&held),
        Command::Heartbeat(held) => draft.heartbeat(&held),
        Command::TrainFailed { held, retryable, why } => draft.train_failed(&held, retryable, &why),
        Command::TrainSucceeded { held, outcome } => draft.train_succeeded(&held, *outcome),
        Command::Unready { job, why } => draft.unready(job, &why),
        Command::GatesJudged { job, version, judged } => draft.gates_judged(job, &version, judged),
        Command::Decide { job, approved, why } => draft.decide_job(job, approved, &why),
        Command::Cancel { job, why } => draft.cancel(job, &why),
        Command::Requeue { job } => draft.requeue(job),
        Command::SetEndpoints { version, endpoints, change } => {
            draft.set_endpoints(&version, endpoints, change)
        }
        Command::StartDeployment(start) => draft.start_deployment(&start),
        Command::PauseDeployment { deployment, why } => draft.pause_deployment(deployment, why),
        Command::ResumeDeployment { deployment } => draft.resume_deployment(deployment),
        Command::AbortDeployment { deployment, why } => {
            draft.abort_deployment(deployment, Cause::Operator, &why)
        }
        Command::PromoteDeployment { deployment, why } => draft.promote_deployment(deployment, &why),
        Command::Rollback { expected, why } => draft.roll_back(expected.as_deref(), &why),
        Command::Prepared { deployment, found } => draft.prepared(deployment, found),
        Command::RouteApplied { deployment, epoch, confirmed, fenced } => {
            draft.route_applied(deployment, epoch, confirmed, fenced)
        }
        Command::Evidence { deployment, counts, tails } => draft.evidence(deployment, &counts, tails),
        Command::Due => Ok(Answer::Done),
    }?;
    draft.remember(wish, &answer)?;
    Ok(draft.finish(answer))
}

/// A freeze of everything is the only thing that concerns no model.
fn for_all(counts: &Counts, order: &Order, command: Command) -> Result<Decision, Refusal> {
    let Command::SetFreeze { frozen, why } = command else {
        return Err(Refusal::UnknownModel(String::new()));
    };
    let (id, command) = (&order.request_id, if frozen { "freeze" } else { "thaw" });
    let known = counts.answers.iter().rev().find(|known| !id.is_empty() && known.request_id == *id);
    if let Some(other) = known.filter(|known| known.command != command) {
        return Err(Refusal::RequestReused { id: id.clone(), was: other.command.clone() });
    }
    let mut changes = Vec::new();
    if known.is_none() && counts.frozen != frozen.then(|| why.clone()) {
        changes.push(Change::FreezeSet { frozen, why });
    }
    if known.is_none() && !id.is_empty() {
        let (request_id, command) = (id.clone(), command.to_owned());
        let answered = Answered { request_id, command, about: String::new(), deployment: 0 };
        changes.push(Change::Answered(Box::new(answered)));
    }
    let mut counts = counts.clone();
    let mut events = Vec::new();
    for change in changes {
        let event = Event {
            number: counts.events + 1,
            at_ms: order.now_ms,
            model_id: Arc::from(""),
            actor: order.actor.clone(),
            guards: Vec::new(),
            change,
        };
        counts.apply(&event);
        events.push(event);
    }
    Ok(Decision { model_id: Arc::from(""), model: None, counts, events, answer: Answer::Done })
}

#[cfg(test)]
#[path = "decide/bench.rs"]
mod bench;

#[cfg(test)]
#[path = "decide/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "decide/explorer.rs"]
mod explorer;

#[cfg(test)]
mod counted;

#[cfg(test)]
#[path = "decide/deploy_tests.rs"]
mod deploy_tests;

#[cfg(test)]
#[path = "decide/baseline_tests.rs"]
mod baseline_tests;

#[cfg(test)]
#[path = "decide/repeat_tests.rs"]
mod repeat_tests;
