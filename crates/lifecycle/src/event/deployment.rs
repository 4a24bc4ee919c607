//! What happens to deployments. It must not know who decides.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    analysis::{Counts, GateFound},
    deployment::{Cause, DeploymentStep, PauseReason, Tails},
    rollout::{Rollout, RolloutPlan},
};

/// A deployment as it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewDeployment {
    /// Its number among all deployments, from 1.
    pub deployment: u64,
    /// What is deployed.
    pub version: String,
    /// What serves now; empty for nothing.
    pub baseline: String,
    /// How traffic moves to it.
    pub strategy: Rollout,
    /// In which steps.
    pub plan: Arc<RolloutPlan>,
    /// A reason for people; kept in the log.
    pub why: String,
    /// Wall time by which there have to be endpoints.
    pub due_at_ms: i64,
}

/// A step of a deployment, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum DeploymentMoved {
    /// There are endpoints.
    Prepare {
        /// Wall time by which they have to be well.
        due_at_ms: i64,
    },
    /// It answers copies.
    Shadow {
        /// Wall time by which enough have to be compared.
        due_at_ms: i64,
    },
    /// Its next weight.
    Shift {
        /// Which of the plan's steps, from 0.
        at: usize,
        /// In percent, as the plan has it.
        weight: u32,
    },
    /// Every router that is there has it; those that did not say so are fenced.
    Apply {
        /// Of the routes.
        epoch: u64,
        /// Routers that said so.
        confirmed: Vec<String>,
        /// Routers that did not, and take the candidate out by themselves.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fenced: Vec<String>,
        /// Wall time at which it goes on by itself; absent at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due_at_ms: Option<i64>,
    },
    /// More time for this step.
    Extend {
        /// Until this wall time.
        due_at_ms: i64,
    },
    /// What was counted.
    Observe {
        /// Everything since the beginning.
        counts: Box<Counts>,
        /// What it says.
        gates: Vec<GateFound>,
        /// The baseline's percentiles, when they have become known: from then on calls are timed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tails: Option<Tails>,
    },
    /// Weights are held.
    Pause {
        /// What it waits for.
        reason: PauseReason,
        /// In words.
        why: String,
    },
    /// On it goes.
    Resume {
        /// Wall time at which it goes on by itself.
        due_at_ms: i64,
        /// Wall time by which it has to be over.
        progress_due_ms: i64,
    },
    /// All traffic.
    Promote,
    /// It is the champion.
    Complete,
    /// It is taken back.
    Abort {
        /// What decided it.
        cause: Cause,
        /// In words.
        why: String,
        /// Wall time by which routers have to have said so.
        due_at_ms: i64,
    },
    /// It never had anything to take back.
    Withdraw {
        /// What decided it.
        cause: Cause,
        /// In words.
        why: String,
    },
    /// Routers did not say that it has nothing.
    Fail {
        /// In words.
        why: String,
    },
}

impl DeploymentMoved {
    /// The step.
    #[must_use]
    pub fn step(&self) -> DeploymentStep {
        match self {
            Self::Prepare { .. } => DeploymentStep::Prepare,
            Self::Shadow { .. } => DeploymentStep::Shadow,
            Self::Shift { .. } => DeploymentStep::Shift,
            Self::Apply { .. } => DeploymentStep::Apply,
            Self::Extend { .. } => DeploymentStep::Extend,
            Self::Observe { .. } => DeploymentStep::Observe,
            Self::Pause { .. } => DeploymentStep::Pause,
            Self::Resume { .. } => DeploymentStep::Resume,
            Self::Promote => DeploymentStep::Promote,
            Self::Complete => DeploymentStep::Complete,
            Self::Abort { .. } => DeploymentStep::Abort,
            Self::Withdraw { .. } => DeploymentStep::Withdraw,
            Self::Fail { .. } => DeploymentStep::Fail,
        }
    }
}
