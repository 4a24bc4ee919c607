//! A deployment: its phases, the only steps between them, and what share of traffic its version has in each. It must not know
//! why a step is taken.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    analysis::Counts,
    capture::Capture,
    rollout::{Rollout, RolloutPlan},
    words::words,
};

words! {
    /// Where a deployment stands.
    pub enum Phase {
        /// Waits for endpoints of its version.
        Pending = "pending",
        /// They have to be well, and warm.
        Preparing = "preparing",
        /// The version answers copies.
        Shadowing = "shadowing",
        /// Routers are told of a new weight.
        Shifting = "shifting",
        /// The version has its weight and is judged.
        Analyzing = "analyzing",
        /// Weights are held.
        Paused = "paused",
        /// Routers are told that the version has all.
        Promoting = "promoting",
        /// It has all, and is judged.
        Baking = "baking",
        /// It is the champion; the end.
        Completed = "completed",
        /// Routers are told that it has nothing.
        Aborting = "aborting",
        /// It has nothing; the end.
        RolledBack = "rolled_back",
        /// Routers did not say that it has nothing; the end.
        Failed = "failed",
    }
}

words! {
    /// What can happen to a deployment.
    pub enum DeploymentStep {
        /// There are endpoints.
        Prepare = "prepare",
        /// Copies are answered from now on.
        Shadow = "shadow",
        /// The next weight.
        Shift = "shift",
        /// Every router has it.
        Apply = "apply",
        /// Not decided yet: more time.
        Extend = "extend",
        /// What was counted is written down.
        Observe = "observe",
        /// Weights are held.
        Pause = "pause",
        /// On it goes.
        Resume = "resume",
        /// All traffic.
        Promote = "promote",
        /// It is good.
        Complete = "complete",
        /// It is taken back.
        Abort = "abort",
        /// It never had anything to take back.
        Withdraw = "withdraw",
        /// Routers did not answer.
        Fail = "fail",
    }
}

impl Phase {
    /// The table: where a step leads, or `None` where it may not be taken. `before` is where a paused one was.
    #[must_use]
    pub fn after(self, step: DeploymentStep, before: Option<Self>) -> Option<Self> {
        use DeploymentStep as Step;
        Some(match (self, step) {
            (Self::Pending, Step::Prepare) => Self::Preparing,
            (Self::Preparing, Step::Shadow) => Self::Shadowing,
            (Self::Preparing | Self::Shadowing | Self::Analyzing, Step::Shift) => Self::Shifting,
            (Self::Shifting, Step::Apply) => Self::Analyzing,
            (Self::Promoting, Step::Apply) => Self::Baking,
            (Self::Aborting, Step::Apply) => Self::RolledBack,
            (Self::Shadowing | Self::Analyzing, Step::Extend) => self,
            (
                Self::Preparing | Self::Shadowing | Self::Analyzing | Self::Baking | Self::Paused,
                Step::Observe,
            ) => self,
            (
                Self::Shadowing | Self::Shifting | Self::Analyzing | Self::Promoting | Self::Baking,
                Step::Pause,
            ) => Self::Paused,
            (Self::Paused, Step::Resume) => return before,
            (
                Self::Preparing | Self::Shadowing | Self::Shifting | Self::Analyzing | Self::Paused,
                Step::Promote,
            ) => Self::Promoting,
            (Self::Baking, Step::Complete) => Self::Completed,
            (Self::Pending | Self::Preparing, Step::Withdraw) => Self::RolledBack,
            (Self::Aborting, Step::Fail) => Self::Failed,
            (from, Step::Abort) if from.is_open() && from != Self::Aborting => Self::Aborting,
            _ => return None,
        })
    }

    /// Whether it goes on.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Completed | Self::RolledBack | Self::Failed)
    }
}

words! {
    /// Why weights are held.
    pub enum PauseReason {
        /// A person said so.
        Manual = "manual",
        /// Neither good nor bad for too long.
        Inconclusive = "inconclusive",
        /// It has no calls: that is never success.
        NoData = "no_data",
        /// What serves beside it fails, and it does not: nothing to return to.
        BaselineFailing = "baseline_failing",
    }
}

words! {
    /// Why it is taken back.
    pub enum Cause {
        /// It is worse: its version is quarantined.
        Analysis = "analysis",
        /// A person said so: its version is validated again.
        Operator = "operator",
        /// It took too long: likewise.
        Deadline = "deadline",
    }
}

impl DeploymentStep {
    /// Where it leads, when that is one phase from wherever it may be taken.
    #[must_use]
    pub fn leads_to(self) -> Option<Phase> {
        let mut all = Phase::ALL
            .into_iter()
            .filter_map(|phase| phase.after(self, Some(phase)).filter(|next| *next != phase));
        let first = all.next()?;
        all.all(|next| next == first).then_some(first)
    }
}

/// The baseline's percentiles, from which on calls are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tails {
    /// Microseconds.
    pub p95_us: u64,
    /// Microseconds.
    pub p99_us: u64,
    /// Calls that they are of.
    pub calls: u64,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Among all deployments.
    pub number: u64,
    /// What is deployed.
    pub version: Arc<str>,
    /// What served when it began; empty for nothing.
    pub baseline: String,
    /// How traffic moves to it.
    pub strategy: Rollout,
    /// In which steps.
    pub plan: Arc<RolloutPlan>,
    /// Who or what began it.
    pub actor: String,
    /// Wall time.
    pub started_at_ms: i64,
    /// Where it stands.
    pub phase: Phase,
    /// Which of the plan's steps, from 0.
    pub step: usize,
    /// Where a paused one was.
    pub before: Option<Phase>,
    /// Why a paused one is paused.
    pub pause: Option<PauseReason>,
    /// Why it is, or was, taken back.
    pub cause: Option<Cause>,
    /// The last reason.
    pub why: String,
    /// Wall time of the last step into this phase.
    pub phase_at_ms: i64,
    /// Wall time at which it goes on by itself.
    pub due_at_ms: Option<i64>,
    /// Wall time by which it has to be over.
    pub progress_due_ms: i64,
    /// How often this step was extended.
    pub extensions: u32,
    /// The baseline's percentiles.
    pub tails: Option<Tails>,
    /// What was counted so far.
    pub counts: Counts,
    /// A person let it go on beside a baseline that fails.
    pub baseline_accepted: bool,
    /// The candidate's calls when this step began.
    pub calls_before: u64,
    /// Wall time at which the candidate was seen to have had more calls.
    pub grown_at_ms: i64,
    /// Wall time at which counts were written down last.
    pub observed_at_ms: i64,
    /// Routers that did not confirm the last change and are fenced.
    pub fenced: Vec<String>,
}

impl Deployment {
    /// Percent of traffic that its version has.
    #[must_use]
    pub fn weight(&self) -> u32 {
        match if self.phase == Phase::Paused { self.before.unwrap_or(Phase::Paused) } else { self.phase } {
            Phase::Shifting | Phase::Analyzing => self.plan.steps.get(self.step).copied().unwrap_or(0),
            Phase::Promoting | Phase::Baking => 100,
            _ => 0,
        }
    }

    /// Percent of requests of which it answers copies.
    #[must_use]
    pub fn shadow_percent(&self) -> u32 {
        let phase = if self.phase == Phase::Paused { self.before } else { Some(self.phase) };
        if phase == Some(Phase::Shadowing) { self.plan.shadow_percent } else { 0 }
    }

    /// When it has to be over after it was held for others: that time is not its own, and what has run out meanwhile it has anew.
    #[must_use]
    pub fn due_after_hold(&self, now_ms: i64) -> i64 {
        let stood_ms = (now_ms - self.phase_at_ms).max(0);
        let least_ms = self.plan.step_limit_ms.saturating_add(self.plan.bake_ms);
        self.progress_due_ms.saturating_add(stood_ms).max(now_ms.saturating_add(least_ms))
    }

    /// Wall time at which something is due.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        match self.phase {
            phase if !phase.is_open() => None,
            Phase::Aborting => self.due_at_ms,
            // Nothing by itself: a deadline would return to what fails.
            Phase::Paused
                if matches!(self.pause, Some(PauseReason::Manual | PauseReason::BaselineFailing)) =>
            {
                None
            }
            _ => Some(self.due_at_ms.map_or(self.progress_due_ms, |due_ms| due_ms.min(self.progress_due_ms))),
        }
    }
}

/// What share of a model's traffic each version has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Versions with a weight above 0, in percent; none when nothing serves, else they add up to 100.
    pub shares: Vec<(Arc<str>, u32)>,
    /// A version that answers copies, and of what percent of requests.
    pub shadow: Option<(Arc<str>, u32)>,
    /// The deployment that is open; 0 for none.
    pub deployment: u64,
    /// The version that is being deployed, also while it has no weight.
    pub candidate: Option<Arc<str>>,
    /// Metadata by whose value callers stay with a version.
    pub sticky_by: String,
    /// Which calls become records.
    pub capture: Option<Capture>,
    /// Methods that go through; none for those that ask.
    pub methods: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [DeploymentStep; 13] = [
        DeploymentStep::Prepare,
        DeploymentStep::Shadow,
        DeploymentStep::Shift,
        DeploymentStep::Apply,
        DeploymentStep::Extend,
        DeploymentStep::Observe,
        DeploymentStep::Pause,
        DeploymentStep::Resume,
        DeploymentStep::Promote,
        DeploymentStep::Complete,
        DeploymentStep::Abort,
        DeploymentStep::Withdraw,
        DeploymentStep::Fail,
    ];

    #[test]
    fn every_open_phase_can_be_taken_back_and_what_is_over_stays_over() {
        for from in Phase::ALL {
            let leads = STEPS.iter().filter_map(|step| from.after(*step, Some(Phase::Analyzing)));
            assert_eq!(leads.count() > 0, from.is_open(), "{from:?}");
            let back = from.after(DeploymentStep::Abort, None);
            assert_eq!(back.is_some(), from.is_open() && from != Phase::Aborting, "{from:?}");
        }
    }

    #[test]
    fn only_what_has_baked_is_completed() {
        for from in Phase::ALL {
            for step in STEPS {
                for before in [None, Some(Phase::Shifting), Some(Phase::Analyzing), Some(Phase::Baking)] {
                    if from.after(step, before) == Some(Phase::Completed) {
                        assert_eq!(from, Phase::Baking);
                    }
                }
            }
        }
    }
}
