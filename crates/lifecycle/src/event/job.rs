//! What happens to a job: how it begins, and its steps. It must not know when a step may be taken.

use std::collections::BTreeMap;

use acgs_vocabulary::Severity;
use serde::{Deserialize, Serialize};

use crate::{
    job::JobStep,
    policy::Mode,
    trigger::{Evidence, TriggerKind},
};

/// The records that a version was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataWindow {
    /// Event time of the first, inclusive.
    pub from_ms: i64,
    /// Event time of the last, exclusive.
    pub until_ms: i64,
    /// How many.
    pub rows: u64,
    /// SHA-256 of the data set's bytes, 64 hex digits.
    pub digest: String,
}

/// What a worker is given to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it is trained on.
    pub train: DataWindow,
    /// What it is judged on, as the worker sees it: without labels.
    pub holdout: DataWindow,
    /// SHA-256 of the same records with their labels.
    pub truth_digest: String,
    /// Both together, for the refit; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refit: Option<DataWindow>,
    /// The version that serves; empty without one.
    pub parent: String,
    /// Which trainer.
    pub trainer: String,
    /// For the trainer.
    pub hyperparameters: BTreeMap<String, String>,
}

/// A job as it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Its number among all jobs, from 1.
    pub job: u64,
    /// What set it off.
    pub kind: TriggerKind,
    /// How grave.
    pub severity: Severity,
    /// What the policy says of the kind.
    pub mode: Mode,
    /// Same evidence, same key.
    pub dedupe_key: String,
    /// What was found, and by whom.
    pub evidence: Evidence,
    /// Event time of the evidence.
    pub event_time_ms: i64,
    /// Wall time at which it is queued.
    pub coalesce_until_ms: i64,
    /// Records that a trainer could have, if anybody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// A person says that cooldown, budget and loop protection do not count.
    #[serde(default)]
    pub overrides: bool,
}

/// A step of a job, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum JobMoved {
    /// More evidence.
    Merge {
        /// Of the evidence.
        dedupe_key: String,
        /// Why too.
        evidence: Evidence,
        /// Of the evidence.
        severity: Severity,
        /// Of the evidence.
        event_time_ms: i64,
    },
    /// Not to be done.
    Suppress {
        /// A reason for people; kept in the log.
        why: String,
        /// Event time from which it may be; absent when event time does not decide.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_event_ms: Option<i64>,
    },
    /// Into the queue.
    Queue {
        /// Its place: higher first.
        rank: i64,
        /// Wall time at which it is given up.
        expires_at_ms: i64,
    },
    /// Another takes its place.
    Supersede {
        /// The number of the job that does.
        by: u64,
    },
    /// A worker takes it; the event's number is the fence.
    Lease {
        /// The worker's name, as it gave it.
        worker: String,
        /// Wall time by which it has to be heard of.
        deadline_ms: i64,
        /// What it is to do.
        plan: Box<Plan>,
    },
    /// The worker has begun.
    Start {
        /// Wall time by which it has to be heard of.
        deadline_ms: i64,
        /// Wall time by which it has to be done.
        phase_until_ms: i64,
    },
    /// The worker is alive.
    Renew {
        /// Wall time by which it has to be heard of.
        deadline_ms: i64,
    },
    /// It is tried again later.
    BackOff {
        /// How often it was tried.
        attempt: u32,
        /// Wall time from which.
        until_ms: i64,
        /// A reason for people; kept in the log.
        why: String,
    },
    /// It is not tried again by itself.
    GiveUp {
        /// A reason for people; kept in the log.
        why: String,
        /// Wall time until which the model's circuit stays open; absent when it stays closed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        circuit_until_ms: Option<i64>,
    },
    /// The wait is over.
    Return {
        /// Its place.
        rank: i64,
        /// Wall time at which it is given up.
        expires_at_ms: i64,
    },
    /// An artifact came back.
    Evaluate {
        /// The version that it is now.
        version: String,
        /// SHA-256 of the scores of the held-out records.
        scores_digest: String,
        /// Wall time by which the gates have to be done.
        phase_until_ms: i64,
    },
    /// A person has to agree.
    Await {
        /// Wall time by which.
        until_ms: i64,
        /// Whether the new version did better than what served.
        helped: bool,
    },
    /// Good.
    Succeed {
        /// Event time until which kinds of this class and below do not trigger again.
        cooldown_until_ms: i64,
        /// Whether the new version did better than what served.
        helped: bool,
    },
    /// Not good enough.
    Reject {
        /// A reason for people; kept in the log.
        why: String,
        /// Event time until which kinds of this class and below do not trigger again.
        cooldown_until_ms: i64,
        /// Whether a person decided so: that is no sign that retraining does not help.
        by_person: bool,
    },
    /// Too late.
    Expire,
    /// Ended.
    Cancel {
        /// A reason for people; kept in the log.
        why: String,
    },
    /// Queued again by a person.
    Requeue {
        /// Its place.
        rank: i64,
        /// Wall time at which it is given up.
        expires_at_ms: i64,
    },
}

impl JobMoved {
    /// The step.
    #[must_use]
    pub fn step(&self) -> JobStep {
        match self {
            Self::Merge { .. } => JobStep::Merge,
            Self::Suppress { .. } => JobStep::Suppress,
            Self::Queue { .. } => JobStep::Queue,
            Self::Supersede { .. } => JobStep::Supersede,
            Self::Lease { .. } => JobStep::Lease,
            Self::Start { .. } => JobStep::Start,
            Self::Renew { .. } => JobStep::Renew,
            Self::BackOff { .. } => JobStep::BackOff,
            Self::GiveUp { .. } => JobStep::GiveUp,
            Self::Return { .. } => JobStep::Return,
            Self::Evaluate { .. } => JobStep::Evaluate,
            Self::Await { .. } => JobStep::Await,
            Self::Succeed { .. } => JobStep::Succeed,
            Self::Reject { .. } => JobStep::Reject,
            Self::Expire => JobStep::Expire,
            Self::Cancel { .. } => JobStep::Cancel,
            Self::Requeue { .. } => JobStep::Requeue,
        }
    }
}
