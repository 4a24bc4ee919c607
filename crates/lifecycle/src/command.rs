//! What can be wanted of a model, by people, workers and the mesh's own controllers. It must not know what comes of it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    analysis::Counts as Counted,
    compliance::ComplianceEvidence,
    deployment::Tails,
    event::{Artifact, NewVersion, Plan},
    gates::Judged,
    policy::Policy,
    rollout::{Rollout, RolloutPlan},
    trigger::Trigger,
};

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
        /// A reason for people; kept in the log.
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
        /// The version's name, unique in its model.
        version: String,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// Let a version out of quarantine; two people have to ask.
    Release {
        /// The version's name, unique in its model.
        version: String,
        /// Whether its artifact was read again and is what was registered.
        intact: bool,
    },
    /// Put a retired version away.
    Archive {
        /// The version's name, unique in its model.
        version: String,
    },
    /// Something may call for a retraining.
    Trigger(Trigger),
    /// A worker takes a job.
    Lease {
        /// The job's number, from 1.
        job: u64,
        /// The worker's name, as it gave it.
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
        /// A reason for people; kept in the log.
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
        /// The job's number, from 1.
        job: u64,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// Gates were judged.
    GatesJudged {
        /// Of which job.
        job: u64,
        /// Of which version.
        version: String,
        /// What each gate came to.
        judged: Judged,
    },
    /// A person agrees, or does not.
    Decide {
        /// To which job.
        job: u64,
        /// Whether.
        approved: bool,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// Somebody ends a job.
    Cancel {
        /// The job's number, from 1.
        job: u64,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// Somebody queues a dead letter again.
    Requeue {
        /// The job's number, from 1.
        job: u64,
    },
    /// Say where a version answers.
    SetEndpoints {
        /// The version's name, unique in its model.
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
        /// The deployment's number, from 1.
        deployment: u64,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// Go on.
    ResumeDeployment {
        /// The deployment's number, from 1.
        deployment: u64,
    },
    /// Take it back.
    AbortDeployment {
        /// The deployment's number, from 1.
        deployment: u64,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// Give it everything without more evidence; one that has everything is done.
    PromoteDeployment {
        /// The deployment's number, from 1.
        deployment: u64,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// Put the version that served before into service again; an open deployment is taken back instead.
    Rollback {
        /// The version that serves, when the caller knows it.
        expected: Option<String>,
        /// A reason for people; kept in the log.
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

impl Command {
    /// What it is called, and which version, job or deployment it is about (empty for the model), when a person moves traffic, a stage or
    /// what is in force with it. Workers' and the mesh's own are safe to repeat by themselves: `None`.
    #[must_use]
    pub fn moves(&self) -> Option<(&'static str, String)> {
        let deployment = |number: &u64| format!("deployment-{number}");
        let job = |number: &u64| format!("job-{number}");
        Some(match self {
            Self::PutPolicy { .. } => ("put_policy", String::new()),
            Self::SetFreeze { frozen, .. } => (if *frozen { "freeze" } else { "thaw" }, String::new()),
            Self::ClearLoop => ("clear_loop", String::new()),
            Self::RegisterVersion { new, .. } => ("register_version", new.version.clone()),
            Self::Quarantine { version, .. } => ("quarantine_version", version.clone()),
            Self::Release { version, .. } => ("release_version", version.clone()),
            Self::Archive { version } => ("archive_version", version.clone()),
            Self::Decide { job: number, approved: true, .. } => ("approve_job", job(number)),
            Self::Decide { job: number, .. } => ("deny_job", job(number)),
            Self::Cancel { job: number, .. } => ("cancel_job", job(number)),
            Self::Requeue { job: number } => ("requeue_job", job(number)),
            Self::SetEndpoints { version, .. } => ("set_endpoints", version.clone()),
            Self::StartDeployment(start) => ("start_deployment", start.version.clone()),
            Self::PauseDeployment { deployment: number, .. } => ("pause_deployment", deployment(number)),
            Self::ResumeDeployment { deployment: number } => ("resume_deployment", deployment(number)),
            Self::AbortDeployment { deployment: number, .. } => ("abort_deployment", deployment(number)),
            Self::PromoteDeployment { deployment: number, .. } => ("promote_deployment", deployment(number)),
            Self::Rollback { expected, .. } => ("rollback", expected.clone().unwrap_or_default()),
            Self::RegisterModel { .. }
            | Self::SupplyEvidence(_)
            | Self::Trigger(_)
            | Self::Lease { .. }
            | Self::Start(_)
            | Self::Heartbeat(_)
            | Self::TrainFailed { .. }
            | Self::TrainSucceeded { .. }
            | Self::Unready { .. }
            | Self::GatesJudged { .. }
            | Self::Prepared { .. }
            | Self::RouteApplied { .. }
            | Self::Evidence { .. }
            | Self::Due => return None,
        })
    }

    /// Whether it would do more each time it comes: then the same is a repetition for as long as nothing else has moved traffic. Who wants
    /// to go back further says from where; who wants a deployment to be over without a bake says so with another id.
    #[must_use]
    pub fn is_once(&self, request_id: &str) -> bool {
        match self {
            Self::Rollback { expected, .. } => expected.is_none() || request_id.is_empty(),
            Self::PromoteDeployment { .. } => request_id.is_empty(),
            _ => false,
        }
    }
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
    /// A reason for people; kept in the log.
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
    pub metrics: BTreeMap<String, f64>,
    /// What it knows about principles.
    pub evidence: Vec<ComplianceEvidence>,
    /// The constitution that it was made under.
    pub constitutional_hash: String,
}
