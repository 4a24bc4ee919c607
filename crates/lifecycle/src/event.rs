//! What has happened: the only thing that is kept. State is what these add up to. It must not know who decides.

mod deployment;
mod job;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

pub use deployment::{DeploymentMoved, NewDeployment};
pub use job::{DataWindow, JobMoved, Observed, Plan};

use crate::{compliance::ComplianceEvidence, gates::GateResult, policy::Policy, stage::StageStep};

/// One thing that has happened to one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts all events, from 1; also the fence of the lease that it grants.
    pub number: u64,
    /// Wall time, milliseconds since the epoch.
    pub at_ms: i64,
    /// The model; empty for what concerns all.
    pub model_id: Arc<str>,
    /// Who or what did it.
    pub actor: String,
    /// What was looked at, and how it came out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// What it does to its model.
    pub change: Change,
}

/// A condition of a decision with the values that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Its name.
    pub name: String,
    /// How it came out.
    pub holds: bool,
    /// What was found.
    pub found: String,
    /// What it was held against.
    pub bound: String,
}

impl Guard {
    /// A condition with its values.
    #[must_use]
    pub fn new(name: &str, holds: bool, found: impl ToString, bound: impl ToString) -> Self {
        Self { name: name.into(), holds, found: found.to_string(), bound: bound.to_string() }
    }
}

/// A file that is a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 of its bytes, 64 hex digits.
    pub digest: String,
    /// Its size; 0 when it is elsewhere and nobody said.
    pub size_bytes: u64,
    /// What can read it, such as `acgs-linear/1`.
    pub format: String,
    /// Where it is; empty for the mesh's own home.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
}

/// A version as it is registered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewVersion {
    /// Its name, unique in the model.
    pub version: String,
    /// What serves.
    pub artifact: Artifact,
    /// What it was made of, if anybody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataWindow>,
    /// The version that it follows; empty without one.
    pub parent: String,
    /// What its maker measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// What is known about principles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<ComplianceEvidence>,
    /// The job that made it; 0 without one.
    #[serde(default)]
    pub job: u64,
    /// The constitution that it was made under; empty when its maker did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub constitutional_hash: String,
}

/// An answer that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Of the caller; empty for what is a repetition without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// What was asked for, as [`crate::Command::moves`] calls it.
    pub command: String,
    /// Of which version, job or deployment; empty for the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The deployment that it made or concerned; 0 without one.
    #[serde(default)]
    pub deployment: u64,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A model is known.
    ModelRegistered {
        /// For people.
        model_name: String,
        /// The service that serves it; may be empty.
        service_id: String,
    },
    /// Something is known about principles, for the versions to come.
    EvidenceSupplied {
        /// What was found, and by whom.
        evidence: Vec<ComplianceEvidence>,
    },
    /// A policy is in force.
    PolicyPut {
        /// Counts the model's policies.
        revision: u64,
        /// What it says.
        policy: Arc<Policy>,
    },
    /// Nothing is queued or leased any more, or again.
    FreezeSet {
        /// Whether it is frozen.
        frozen: bool,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// A person has looked after a model whose retrainings did not help.
    LoopCleared,
    /// A version is known.
    VersionRegistered(Box<NewVersion>),
    /// A version takes a step.
    VersionMoved {
        /// The version's name, unique in its model.
        version: String,
        /// Which step.
        step: StageStep,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// One of two people wants a version out of quarantine.
    ReleaseAsked {
        /// The version's name, unique in its model.
        version: String,
    },
    /// Gates were judged.
    GatesJudged {
        /// The version.
        version: String,
        /// How each came out, with what it looked at.
        results: Vec<GateResult>,
    },
    /// A trigger became a job.
    JobObserved(Box<Observed>),
    /// A job takes a step.
    JobMoved {
        /// The job's number, from 1.
        job: u64,
        /// Which step, with what belongs to it.
        #[serde(flatten)]
        moved: JobMoved,
    },
    /// A worker that no longer holds the lease sent something; it was refused.
    StaleRefused {
        /// Of which job.
        job: u64,
        /// The worker's name, as it gave it.
        worker: String,
        /// With which fence.
        fence: u64,
        /// What it sent.
        what: String,
    },
    /// Where a version answers.
    EndpointsSet {
        /// The version's name, unique in its model.
        version: String,
        /// `host:port`, in order.
        endpoints: Vec<String>,
    },
    /// A version is on its way into service.
    DeploymentStarted(Box<NewDeployment>),
    /// A deployment takes a step.
    DeploymentMoved {
        /// The deployment's number, from 1.
        deployment: u64,
        /// Which step, with what belongs to it.
        #[serde(flatten)]
        moved: DeploymentMoved,
    },
    /// A request that moves traffic or a stage was answered: sent again, it is answered alike.
    Answered(Box<Answered>),
    /// Retrainings in a row did not help: a person is needed.
    HelpNeeded {
        /// How many.
        in_a_row: u32,
    },
}

impl Change {
    /// What happened, as the history of a model, job or deployment tells it.
    #[must_use]
    pub fn happened(&self) -> String {
        match self {
            Self::ModelRegistered { .. } => "model_registered".to_owned(),
            Self::EvidenceSupplied { .. } => "evidence_supplied".to_owned(),
            Self::PolicyPut { .. } => "policy_put".to_owned(),
            Self::FreezeSet { .. } => "freeze_set".to_owned(),
            Self::LoopCleared => "loop_cleared".to_owned(),
            Self::VersionRegistered(_) => "version_registered".to_owned(),
            Self::VersionMoved { step, .. } => format!("version_{}", step.happened()),
            Self::ReleaseAsked { .. } => "release_asked".to_owned(),
            Self::GatesJudged { .. } => "gates_judged".to_owned(),
            Self::JobObserved(_) => "job_observed".to_owned(),
            Self::JobMoved { moved, .. } => format!("job_{}", moved.step().as_str()),
            Self::StaleRefused { .. } => "stale_refused".to_owned(),
            Self::EndpointsSet { .. } => "endpoints_set".to_owned(),
            Self::DeploymentStarted(_) => "deployment_started".to_owned(),
            Self::DeploymentMoved { moved, .. } => format!("deployment_{}", moved.step().as_str()),
            Self::Answered(_) => "request_answered".to_owned(),
            Self::HelpNeeded { .. } => "help_needed".to_owned(),
        }
    }
}
