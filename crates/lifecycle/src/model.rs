//! One model: its versions, its jobs, and what the past allows. Changed by events only. It must not know what decides.

mod apply;
mod deploy;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use acgs_vocabulary::Severity;

pub use apply::Broken;

use crate::{
    compliance::ComplianceEvidence,
    deployment::{Deployment, Routes},
    event::{Answered, NewVersion, Plan},
    gates::GateResult,
    job::JobState,
    policy::{Mode, Policy},
    stage::Stage,
    trigger::{Class, Evidence, TriggerKind},
};

/// Jobs that are over and still known here; all are in the log.
pub const JOBS_KEPT: usize = 64;
/// Deployments that are over and still known here; all are in the log.
pub const DEPLOYMENTS_KEPT: usize = 16;
/// Endpoints of one version.
pub const ENDPOINTS_MAX: usize = 64;
/// Answers to requests that are remembered for one model; a request that is repeated later is a new one.
pub const ANSWERS_KEPT: usize = 64;
/// Versions of one model.
pub const VERSIONS_MAX: usize = 1_000;
/// Refusals of stale workers that are written down for one job; more are only counted.
pub const STALE_MAX: u32 = 16;

/// A version.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// As it was registered.
    pub new: NewVersion,
    /// Counts the model's versions, from 1.
    pub number: u64,
    /// Where it stands.
    pub stage: Stage,
    /// Wall time.
    pub registered_at_ms: i64,
    /// Wall time of its last step.
    pub staged_at_ms: i64,
    /// How it was judged last.
    pub gates: Vec<GateResult>,
    /// Who wants it out of quarantine.
    pub release_asked_by: Option<String>,
    /// Where it answers, `host:port`, in order.
    pub endpoints: Vec<String>,
    /// Whether somebody took it back while it served, and it was not deployed since.
    pub taken_back: bool,
}

/// An answer, and how the model stood then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The answer.
    pub answered: Answered,
    /// The version that served afterwards.
    pub champion: Option<Arc<str>>,
    /// The newest deployment afterwards; 0 without one.
    pub newest_deployment: u64,
    /// Wall time.
    pub at_ms: i64,
}

/// Who has a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The worker.
    pub worker: String,
    /// The number of the event that granted it.
    pub fence: u64,
    /// Wall time by which it has to be heard of.
    pub deadline_ms: i64,
    /// Wall time by which it has to be done with what it does.
    pub phase_until_ms: i64,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Among all jobs.
    pub number: u64,
    /// What set it off.
    pub kind: TriggerKind,
    /// The gravest of its evidence.
    pub severity: Severity,
    /// What the policy said.
    pub mode: Mode,
    /// Of its evidence.
    pub dedupe_keys: Vec<String>,
    /// Why; the first ones.
    pub evidence: Vec<Evidence>,
    /// How often it was triggered.
    pub triggers: u32,
    /// The newest of its evidence.
    pub event_time_ms: i64,
    /// Records that a trainer could have, if anybody counted.
    pub records: Option<u64>,
    /// A person says that cooldown, budget and loop protection do not count.
    pub overrides: bool,
    /// Who or what asked.
    pub requester: String,
    /// Wall time.
    pub observed_at_ms: i64,
    /// Where it stands.
    pub state: JobState,
    /// Wall time of its last step.
    pub stepped_at_ms: i64,
    /// Wall time at which it goes on by itself.
    pub due_at_ms: Option<i64>,
    /// When it was queued first; its age counts from there.
    pub queued_at_ms: i64,
    /// Its place in the queue: higher first.
    pub rank: i64,
    /// How often it failed.
    pub attempt: u32,
    /// Who has it.
    pub lease: Option<Lease>,
    /// What is to be done.
    pub plan: Option<Arc<Plan>>,
    /// What came of it.
    pub version: Option<String>,
    /// Whether what came of it did better; known when the gates have judged.
    pub helped: bool,
    /// The last reason.
    pub why: String,
    /// Event time from which its kind may trigger again.
    pub next_event_ms: Option<i64>,
    /// Refusals of stale workers.
    pub stale: u32,
}

impl Job {
    /// Class and gravity, for who goes first: higher is more urgent.
    #[must_use]
    pub fn urgency(&self) -> (std::cmp::Reverse<Class>, Severity) {
        (std::cmp::Reverse(self.kind.class()), self.severity)
    }
}

/// Everything about one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Its id.
    pub model_id: Arc<str>,
    /// For people.
    pub model_name: String,
    /// The service that serves it; may be empty.
    pub service_id: String,
    /// Wall time.
    pub registered_at_ms: i64,
    /// The policy in force.
    pub policy: Option<Arc<Policy>>,
    /// Counts its policies.
    pub policy_revision: u64,
    /// Known about principles, for the versions to come.
    pub evidence: Vec<ComplianceEvidence>,
    /// Whether somebody has stopped it, and why.
    pub frozen: Option<String>,
    /// By name.
    pub versions: BTreeMap<Arc<str>, Arc<Version>>,
    /// The one that serves.
    pub champion: Option<Arc<str>>,
    /// Open and dead-lettered jobs, and the last that are over.
    pub jobs: BTreeMap<u64, Arc<Job>>,
    /// Event time until which a kind does not trigger.
    pub cooldown_until_ms: BTreeMap<TriggerKind, i64>,
    /// How often a kind was rejected in a row; each doubles the cooldown.
    pub rejections: BTreeMap<TriggerKind, u32>,
    /// Event times of the trainings that were begun.
    pub trainings: VecDeque<i64>,
    /// Jobs that failed for good in a row.
    pub failures: u32,
    /// Wall time until which nothing is queued.
    pub circuit_until_ms: Option<i64>,
    /// Retrainings in a row that did not help.
    pub unhelpful: u32,
    /// Newest event time of any trigger.
    pub event_time_ms: i64,
    /// Event time of the last moment of the calendar that was a trigger.
    pub scheduled_ms: Option<i64>,
    /// Counts versions that were ever registered.
    pub versions_made: u64,
    /// The one that is open, and the last that are over.
    pub deployments: BTreeMap<u64, Arc<Deployment>>,
    /// What share each version has now; follows from all else.
    pub routes: Routes,
    /// The number of the event that changed where requests go last; 0 before.
    pub route_epoch: u64,
    /// Requests that were answered last, the newest last.
    pub answers: Arc<VecDeque<Kept>>,
}

impl Model {
    /// A version by name.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&Arc<Version>> {
        self.versions.get(name)
    }

    /// The job that a worker or the gates have.
    #[must_use]
    pub fn running(&self) -> Option<&Arc<Job>> {
        self.jobs.values().find(|job| job.state.is_running())
    }

    /// The job that waits for a worker.
    #[must_use]
    pub fn queued(&self) -> Option<&Arc<Job>> {
        self.jobs.values().filter(|job| job.state == JobState::Queued).max_by_key(|job| job.rank)
    }

    /// Jobs that will go on by themselves or by a worker.
    pub fn open_jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.values().filter(|job| job.state.is_open())
    }

    /// Versions kept warm, the newest first.
    #[must_use]
    pub fn standbys(&self) -> Vec<&Arc<Version>> {
        let mut all: Vec<_> =
            self.versions.values().filter(|version| version.stage == Stage::Standby).collect();
        all.sort_by_key(|version| {
            (std::cmp::Reverse(version.staged_at_ms), std::cmp::Reverse(version.number))
        });
        all
    }

    /// The newest deployment; 0 without one.
    #[must_use]
    pub fn newest_deployment(&self) -> u64 {
        self.deployments.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Trainings begun in a budget's period before an event time.
    #[must_use]
    pub fn trainings_since(&self, since_ms: i64) -> usize {
        self.trainings.iter().filter(|event_ms| **event_ms > since_ms).count()
    }

    /// Wall time at which something is due by itself.
    #[must_use]
    pub fn due_at_ms(&self) -> Option<i64> {
        let deployment = self.deployment().and_then(|open| open.next_due_ms());
        self.jobs.values().filter_map(|job| job.due_at_ms).chain(deployment).min()
    }
}
