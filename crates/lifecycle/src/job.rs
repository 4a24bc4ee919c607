//! The states of a retraining job and the only steps between them. It must not know why a step is taken.

use crate::words::words;

words! {
    /// Where a job stands.
    pub enum JobState {
        /// A trigger was seen; others of its kind may join it.
        Observed = "observed",
        /// Not to be done, with the reason; the end.
        Suppressed = "suppressed",
        /// Waits for a worker.
        Queued = "queued",
        /// A worker has it and has not begun.
        Leased = "leased",
        /// A worker trains.
        Running = "running",
        /// The gates judge what came out.
        Evaluating = "evaluating",
        /// A person has to agree.
        AwaitingApproval = "awaiting_approval",
        /// Waits to be tried again.
        Backoff = "backoff",
        /// A validated version came of it; the end.
        Succeeded = "succeeded",
        /// What came of it was not good enough; the end.
        Rejected = "rejected",
        /// A graver one took its place; the end.
        Superseded = "superseded",
        /// Somebody ended it; the end.
        Cancelled = "cancelled",
        /// Nobody took it, or nobody agreed, in time; the end.
        Expired = "expired",
        /// It failed for good; only a person queues it again.
        DeadLettered = "dead_lettered",
    }
}

words! {
    /// What can happen to a job.
    pub enum JobStep {
        /// More evidence of the same kind.
        Merge = "merge",
        /// A rule forbids it.
        Suppress = "suppress",
        /// Coalescing is over.
        Queue = "queue",
        /// A graver one takes its place.
        Supersede = "supersede",
        /// A worker takes it.
        Lease = "lease",
        /// The worker has begun.
        Start = "start",
        /// The worker is alive.
        Renew = "renew",
        /// The worker is lost or failed, and it may be tried again.
        BackOff = "back_off",
        /// It is not tried again by itself.
        GiveUp = "give_up",
        /// The wait is over.
        Return = "return",
        /// An artifact came back.
        Evaluate = "evaluate",
        /// The gates passed and a person has to agree.
        Await = "await",
        /// The gates passed, or a person agreed.
        Succeed = "succeed",
        /// The gates failed, or a person did not agree.
        Reject = "reject",
        /// Too late.
        Expire = "expire",
        /// Somebody ends it.
        Cancel = "cancel",
        /// Somebody queues it again.
        Requeue = "requeue",
    }
}

impl JobState {
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
}

impl JobStep {
    /// Where it leads, from wherever it may be taken; `None` when a job stays where it is.
    #[must_use]
    pub fn leads_to(self) -> Option<JobState> {
        let moves = |state: JobState| state.after(self).filter(|next| *next != state);
        JobState::ALL.into_iter().find_map(moves)
    }
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
    fn a_step_leads_to_one_state_or_stays() {
        for step in JobStep::ALL {
            let all: BTreeSet<JobState> = JobState::ALL
                .into_iter()
                .filter_map(|state| state.after(step).filter(|next| *next != state))
                .collect();
            assert_eq!(all.into_iter().collect::<Vec<_>>(), Vec::from_iter(step.leads_to()), "{step:?}");
        }
    }

    #[test]
    fn a_dead_letter_leaves_only_by_a_person() {
        let ways: Vec<JobStep> =
            JobStep::ALL.into_iter().filter(|step| JobState::DeadLettered.after(*step).is_some()).collect();
        assert_eq!(ways, [JobStep::Cancel, JobStep::Requeue]);
    }
}
