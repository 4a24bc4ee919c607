//! The stages of a model version and the only steps between them. It must not know why a step is taken.

use crate::words::words;

words! {
    /// Where a version stands.
    pub enum Stage {
        /// Known, not judged.
        Registered = "registered",
        /// Being judged.
        Validating = "validating",
        /// May be deployed.
        Validated = "validated",
        /// Judged and not good enough; the end.
        Rejected = "rejected",
        /// In a deployment.
        Candidate = "candidate",
        /// Serves.
        Champion = "champion",
        /// Served last and is kept warm.
        Standby = "standby",
        /// No longer kept warm.
        Retired = "retired",
        /// Put away; the end.
        Archived = "archived",
        /// Must not serve until two people release it.
        Quarantined = "quarantined",
    }
}

words! {
    /// What can happen to a version.
    pub enum StageStep {
        /// Judging begins.
        ValidationStarted = "validation_started",
        /// It passed.
        ValidationPassed = "validation_passed",
        /// It did not.
        ValidationFailed = "validation_failed",
        /// A deployment takes it up.
        DeploymentStarted = "deployment_started",
        /// The deployment is done: it serves.
        DeploymentCompleted = "deployment_completed",
        /// Somebody ended its deployment.
        DeploymentAborted = "deployment_aborted",
        /// Analysis ended its deployment.
        DeploymentRolledBack = "deployment_rolled_back",
        /// Another serves instead.
        Replaced = "replaced",
        /// Somebody took it back while it served.
        TakenBack = "taken_back",
        /// It was kept warm for long enough.
        StandbyElapsed = "standby_elapsed",
        /// Put away.
        Archive = "archive",
        /// Taken out at once.
        Quarantine = "quarantine",
        /// Two people let it out again.
        Release = "release",
    }
}

impl Stage {
    /// The table: where a step leads, or `None` where it may not be taken.
    #[must_use]
    pub const fn after(self, step: StageStep) -> Option<Self> {
        use StageStep as Step;
        Some(match (self, step) {
            (Self::Registered, Step::ValidationStarted) => Self::Validating,
            (Self::Validating, Step::ValidationPassed)
            | (Self::Candidate, Step::DeploymentAborted)
            | (Self::Quarantined, Step::Release) => Self::Validated,
            (Self::Validating, Step::ValidationFailed) => Self::Rejected,
            (Self::Validated | Self::Standby, Step::DeploymentStarted) => Self::Candidate,
            (Self::Candidate, Step::DeploymentCompleted) => Self::Champion,
            (Self::Champion, Step::Replaced | Step::TakenBack) => Self::Standby,
            (Self::Standby, Step::StandbyElapsed) => Self::Retired,
            (Self::Retired, Step::Archive) => Self::Archived,
            (Self::Archived | Self::Quarantined, Step::Quarantine) => return None,
            (_, Step::Quarantine) | (Self::Candidate, Step::DeploymentRolledBack) => Self::Quarantined,
            _ => return None,
        })
    }

    /// Whether nothing leads away.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Archived)
    }
}

impl StageStep {
    /// As the history of a version tells it.
    #[must_use]
    pub const fn happened(self) -> &'static str {
        match self {
            Self::Archive => "archived",
            Self::Quarantine => "quarantined",
            Self::Release => "released",
            other => other.as_str(),
        }
    }

    /// Where it leads, from wherever it may be taken.
    #[must_use]
    pub fn leads_to(self) -> Option<Stage> {
        Stage::ALL.into_iter().find_map(|stage| stage.after(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_candidate_becomes_champion_and_only_the_good_become_candidates() {
        for from in Stage::ALL {
            for step in StageStep::ALL {
                match from.after(step) {
                    Some(Stage::Champion) => assert_eq!(from, Stage::Candidate),
                    Some(Stage::Candidate) => assert!(matches!(from, Stage::Validated | Stage::Standby)),
                    Some(Stage::Validated) if from == Stage::Quarantined => {
                        assert_eq!(step, StageStep::Release);
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_step_leads_to_one_stage() {
        for step in StageStep::ALL {
            let all: std::collections::BTreeSet<Stage> =
                Stage::ALL.into_iter().filter_map(|stage| stage.after(step)).collect();
            assert_eq!(all.into_iter().collect::<Vec<_>>(), [step.leads_to().unwrap()], "{step:?}");
        }
    }

    #[test]
    fn what_is_not_the_end_leads_on_and_a_rejected_one_only_out_of_use() {
        for from in Stage::ALL {
            let leads_on = StageStep::ALL.iter().any(|step| from.after(*step).is_some());
            assert_eq!(leads_on, !from.is_terminal(), "{from:?}");
        }
        let from_rejected: Vec<Stage> =
            StageStep::ALL.iter().filter_map(|step| Stage::Rejected.after(*step)).collect();
        assert_eq!(from_rejected, [Stage::Quarantined]);
    }
}
