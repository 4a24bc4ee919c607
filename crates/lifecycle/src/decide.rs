//! What a command comes to: events on a copy of its model, or a refusal. Nothing is written here. It must not know where
//! events are kept, or what time it is: orders say it.

mod deploy;
mod draft;
mod evidence;
mod jobs;
mod people;
mod refusal;
mod versions;
mod work;

use std::sync::Arc;

use crate::{
    analysis::Counts as Counted,
    compliance::ComplianceEvidence,
    deployment::{Cause, Tails},
    event::{Artifact, Change, Event, NewVersion, Plan},
    gates::Judged,
    job::JobState,
    model::Model,
    policy::Policy,
    rollout::{Rollout, RolloutPlan},
    state::Counts,
    trigger::Trigger,
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
    /// In [0, 1): where in its range a wait lies.
    pub jitter: f64,
}

/// What is wanted of a model.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it known; known already, its names change.
    RegisterModel {
        /// For people.
        model_name: String,
        /// The service that serves it; may be empty.
        service_id: String,
    },
    /// Supply evidence for the versions to come.
    SupplyEvidence(Vec<ComplianceEvidence>),
    /// Put a policy in force.
    PutPolicy {
        /// The policy.
        policy: Arc<Policy>,
        /// The revision that it replaces, when the caller knows it.
        expected: Option<u64>,
    },
    /// Stop queueing and leasing, or go on.
    SetFreeze {
        /// Stop.
        frozen: bool,
        /// Why.
        why: String,
    },
    /// A person has looked after a model whose retrainings did not help.
    ClearLoop,
    /// Make a version known.
    RegisterVersion {
        /// The version.
        new: NewVersion,
        /// It serves already: it becomes the first champion.
        serving: bool,
    },
    /// Take a version out at once.
    Quarantine {
        /// Which.
        version: String,
        /// Why.
        why: String,
    },
    /// Let a version out of quarantine; two people have to ask.
    Release {
        /// Which.
        version: String,
        /// Whether its artifact was read again and is what was registered.
        intact: bool,
    },
    /// Put a retired version away.
    Archive {
        /// Which.
        version: String,
    },
    /// Something may call for a retraining.
    Trigger(Trigger),
    /// A worker takes a job.
    Lease {
        /// Which.
        job: u64,
        /// Who.
        worker: String,
        /// What it is to do.
        plan: Box<Plan>,
    },
    /// A worker has begun.
    Start(Held),
    /// A worker is alive.
    Heartbeat(Held),
    /// A worker failed, or what it sent is bad.
    TrainFailed {
        /// Its hold.
        held: Held,
        /// Whether another attempt may do better.
        retryable: bool,
        /// Why.
        why: String,
    },
    /// A worker is done.
    TrainSucceeded {
        /// Its hold.
        held: Held,
        /// What came out.
        outcome: Box<Trained>,
    },
    /// The job cannot be done: its data are not there.
    Unready {
        /// Which.
        job: u64,
        /// Why.
        why: String,
    },
    /// Gates were judged.
    GatesJudged {
        /// Of which job.
        job: u64,
        /// Of which version.
        version: String,
        /// How.
        judged: Judged,
    },
    /// A person agrees, or does not.
    Decide {
        /// To which job.
        job: u64,
        /// Whether.
        approved: bool,
        /// Why.
        why: String,
    },
    /// Somebody ends a job.
    Cancel {
        /// Which.
        job: u64,
        /// Why.
        why: String,
    },
    /// Somebody queues a dead letter again.
    Requeue {
        /// Which.
        job: u64,
    },
    /// Say where a version answers.
    SetEndpoints {
        /// Which.
        version: String,
        /// `host:port`.
        endpoints: Vec<String>,
        /// Whether these are all, or more, or no more.
        change: EndpointChange,
    },
    /// Bring a version into service.
    StartDeployment(Box<Start>),
    /// Hold its weights.
    PauseDeployment {
        /// Which.
        deployment: u64,
        /// Why.
        why: String,
    },
    /// Go on.
    ResumeDeployment {
        /// Which.
        deployment: u64,
    },
    /// Take it back.
    AbortDeployment {
        /// Which.
        deployment: u64,
        /// Why.
        why: String,
    },
    /// Give it everything without more evidence; one that has everything is done.
    PromoteDeployment {
        /// Which.
        deployment: u64,
        /// Why.
        why: String,
    },
    /// Put the version that served before into service again; an open deployment is taken back instead.
    Rollback {
        /// Why.
        why: String,
    },
    /// The candidate's endpoints are well, and warm.
    Prepared {
        /// Of which deployment.
        deployment: u64,
        /// What was found: endpoints, routers.
        found: Vec<crate::event::Guard>,
    },
    /// Routers have told which routes they have.
    RouteApplied {
        /// Of which deployment.
        deployment: u64,
        /// Of the routes.
        epoch: u64,
        /// Routers that have them.
        confirmed: Vec<String>,
        /// Routers that do not, and are kept from the candidate.
        fenced: Vec<String>,
    },
    /// What was counted since the deployment began.
    Evidence {
        /// Of which deployment.
        deployment: u64,
        /// Everything.
        counts: Box<Counted>,
        /// The baseline's percentiles, once they are known.
        tails: Option<Tails>,
    },
    /// Let time do what it does.
    Due,
}

/// What becomes of a version's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointChange {
    /// These and no others.
    Set,
    /// These too.
    Add,
    /// These no more.
    Remove,
}

/// A deployment that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Of which version.
    pub version: String,
    /// How; absent is the policy's.
    pub strategy: Option<Rollout>,
    /// In which steps; absent are the policy's.
    pub plan: Option<RolloutPlan>,
    /// A person vouches for a version that no gate has judged.
    pub unjudged: bool,
    /// Why.
    pub why: String,
}

/// A worker's claim on a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The job.
    pub job: u64,
    /// The worker.
    pub worker: String,
    /// The fence that it was given.
    pub fence: u64,
}

/// What a worker brings back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trained {
    /// The model file.
    pub artifact: Artifact,
    /// SHA-256 of the data set that it was trained on, 64 hex digits.
    pub data_digest: String,
    /// SHA-256 of the scores of the held-out records.
    pub scores_digest: String,
    /// What the trainer measured.
    pub metrics: std::collections::BTreeMap<String, f64>,
    /// What it knows about principles.
    pub evidence: Vec<ComplianceEvidence>,
    /// The constitution that it was made under.
    pub constitutional_hash: String,
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
        Command::Rollback { why } => draft.roll_back(&why),
        Command::Prepared { deployment, found } => draft.prepared(deployment, found),
        Command::RouteApplied { deployment, epoch, confirmed, fenced } => {
            draft.route_applied(deployment, epoch, confirmed, fenced)
        }
        Command::Evidence { deployment, counts, tails } => draft.evidence(deployment, *counts, tails),
        Command::Due => Ok(Answer::Done),
    }?;
    Ok(draft.finish(answer))
}

/// A freeze of everything is the only thing that concerns no model.
fn for_all(counts: &Counts, order: &Order, command: Command) -> Result<Decision, Refusal> {
    let Command::SetFreeze { frozen, why } = command else {
        return Err(Refusal::UnknownModel(String::new()));
    };
    let mut counts = counts.clone();
    counts.events += 1;
    counts.frozen = frozen.then(|| why.clone());
    let event = Event {
        number: counts.events,
        at_ms: order.now_ms,
        model_id: Arc::from(""),
        actor: order.actor.clone(),
        guards: Vec::new(),
        change: Change::FreezeSet { frozen, why },
    };
    let model_id = Arc::clone(&event.model_id);
    Ok(Decision { model_id, model: None, counts, events: vec![event], answer: Answer::Done })
}

#[cfg(test)]
#[path = "decide/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "decide/explorer.rs"]
mod explorer;

#[cfg(test)]
#[path = "decide/deploy_tests.rs"]
mod deploy_tests;
