//! The states of a retraining job and the only steps between them. It must not know why a step is taken.

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// A trigger was seen; others of its kind may join it.
    Observed,
    /// Not to be done, with the reason; the end.
    Suppressed,
    /// Waits for a worker.
    Queued,
    /// A worker has it and has not begun.
    Leased,
    /// A worker trains.
    Running,
    /// The gates judge what came out.
    Evaluating,
    /// A person has to agree.
    AwaitingApproval,
    /// Waits to be tried again.
    Backoff,
    /// A validated version came of it; the end.
    Succeeded,
    /// What came of it was not good enough; the end.
    Rejected,
    /// A graver one took its place; the end.
    Superseded,
    /// Somebody ended it; the end.
    Cancelled,
    /// Nobody took it, or nobody agreed, in time; the end.
    Expired,
    /// It failed for good; only a person queues it again.
    DeadLettered,
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStep {
    /// More evidence of the same kind.
    Merge,
    /// A rule forbids it.
    Suppress,
    /// Coalescing is over.
    Queue,
    /// A graver one takes its place.
    Supersede,
    /// A worker takes it.
    Lease,
    /// The worker has begun.
    Start,
    /// The worker is alive.
    Renew,
    /// The worker is lost or failed, and it may be tried again.
    BackOff,
    /// It is not tried again by itself.
    GiveUp,
    /// The wait is over.
    Return,
    /// An artifact came back.
    Evaluate,
    /// The gates passed and a person has to agree.
    Await,
    /// The gates passed, or a person agreed.
    Succeed,
    /// The gates failed, or a person did not agree.
    Reject,
    /// Too late.
    Expire,
    /// Somebody ends it.
    Cancel,
    /// Somebody queues it again.
    Requeue,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Observed,
        Self::Suppressed,
        Self::Queued,
        Self::Leased,
        Self::Running,
        Self::Evaluating,
        Self::AwaitingApproval,
        Self::Backoff,
        Self::Succeeded,
        Self::Rejected,
        Self::Superseded,
        Self::Cancelled,
        Self::Expired,
        Self::DeadLettered,
    ];

    /// The table: where a step leads, or `None` where it may not be taken.
    #[must_use]
    pub const fn after(self, step: JobStep) -> Option<Self> {
        use JobStep as Step;
        Some(match (self, step) {
            (Self::Observed, Step::Merge) => Self::Observed,
            (Self::Observed, Step::Suppress) => Self::Suppressed,
            (Self::Observed, Step::Queue)
            | (Self::Backoff, Step::Return)
            | (Self::DeadLettered, Step::Requeue) => Self::Queued,
            (Self::Queued | Self::Backoff | Self::AwaitingApproval, Step::Supersede) => Self::Superseded,
            (Self::Queued, Step::Lease) => Self::Leased,
            (Self::Leased, Step::Start) => Self::Running,
            (Self::Leased | Self::Running | Self::Evaluating, Step::Renew) => self,
            (Self::Leased | Self::Running | Self::Evaluating, Step::BackOff) => Self::Backoff,
            (Self::Leased | Self::Running | Self::Evaluating, Step::GiveUp) => Self::DeadLettered,
            (Self::Running, Step::Evaluate) => Self::Evaluating,
            (Self::Evaluating, Step::Await) => Self::AwaitingApproval,
            (Self::Evaluating | Self::AwaitingApproval, Step::Succeed) => Self::Succeeded,
            (Self::Evaluating | Self::AwaitingApproval, Step::Reject) => Self::Rejected,
            (Self::Queued | Self::AwaitingApproval, Step::Expire) => Self::Expired,
            (from, Step::Cancel) if !from.is_terminal() => Self::Cancelled,
            _ => return None,
        })
    }

    /// Whether it is over. A dead letter is not: somebody may queue it again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Suppressed
                | Self::Succeeded
                | Self::Rejected
                | Self::Superseded
                | Self::Cancelled
                | Self::Expired
        )
    }

    /// Whether a worker or the gates have it.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Leased | Self::Running | Self::Evaluating)
    }

    /// Whether it will go on by itself or by a worker.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !self.is_terminal() && !matches!(self, Self::DeadLettered)
    }

    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Suppressed => "suppressed",
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Evaluating => "evaluating",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Backoff => "backoff",
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

impl JobStep {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Merge,
        Self::Suppress,
        Self::Queue,
        Self::Supersede,
        Self::Lease,
        Self::Start,
        Self::Renew,
        Self::BackOff,
        Self::GiveUp,
        Self::Return,
        Self::Evaluate,
        Self::Await,
        Self::Succeed,
        Self::Reject,
        Self::Expire,
        Self::Cancel,
        Self::Requeue,
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// States that some steps lead to, without anybody who cancels.
    fn reachable(from: JobState) -> BTreeSet<JobState> {
        let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
        while let Some(state) = open.pop() {
            for step in JobStep::ALL.into_iter().filter(|step| *step != JobStep::Cancel) {
                open.extend(state.after(step).filter(|next| seen.insert(*next)));
            }
        }
        seen
    }

    #[test]
    fn every_state_is_reached_and_every_open_one_can_end_without_a_person() {
        let mut all = reachable(JobState::Observed);
        all.insert(JobState::Cancelled);
        assert_eq!(all.len(), JobState::ALL.len());
        for state in JobState::ALL {
            let leads_on = JobStep::ALL.iter().any(|step| state.after(*step).is_some());
            assert_eq!(leads_on, !state.is_terminal(), "{state:?}");
            if state.is_open() {
                assert!(reachable(state).iter().any(|state| state.is_terminal()), "{state:?}");
            }
        }
    }

    #[test]
    fn a_dead_letter_leaves_only_by_a_person() {
        let ways: Vec<JobStep> =
            JobStep::ALL.into_iter().filter(|step| JobState::DeadLettered.after(*step).is_some()).collect();
        assert_eq!(ways, [JobStep::Cancel, JobStep::Requeue]);
    }
}
