//! The stages of a model version and the only steps between them. It must not know why a step is taken.

use serde::{Deserialize, Serialize};

/// Where a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Known, not judged.
    Registered,
    /// Being judged.
    Validating,
    /// May be deployed.
    Validated,
    /// Judged and not good enough; the end.
    Rejected,
    /// In a deployment.
    Candidate,
    /// Serves.
    Champion,
    /// Served last and is kept warm.
    Standby,
    /// No longer kept warm.
    Retired,
    /// Put away; the end.
    Archived,
    /// Must not serve until two people release it.
    Quarantined,
}

/// What can happen to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageStep {
    /// Judging begins.
    ValidationStarted,
    /// It passed.
    ValidationPassed,
    /// It did not.
    ValidationFailed,
    /// A deployment takes it up.
    DeploymentStarted,
    /// The deployment is done: it serves.
    DeploymentCompleted,
    /// Somebody ended its deployment.
    DeploymentAborted,
    /// Analysis ended its deployment.
    DeploymentRolledBack,
    /// Another serves instead.
    Replaced,
    /// It was kept warm for long enough.
    StandbyElapsed,
    /// Put away.
    Archive,
    /// Taken out at once.
    Quarantine,
    /// Two people let it out again.
    Release,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Registered,
        Self::Validating,
        Self::Validated,
        Self::Rejected,
        Self::Candidate,
        Self::Champion,
        Self::Standby,
        Self::Retired,
        Self::Archived,
        Self::Quarantined,
    ];

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
            (Self::Champion, Step::Replaced) => Self::Standby,
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

    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Validating => "validating",
            Self::Validated => "validated",
            Self::Rejected => "rejected",
            Self::Candidate => "candidate",
            Self::Champion => "champion",
            Self::Standby => "standby",
            Self::Retired => "retired",
            Self::Archived => "archived",
            Self::Quarantined => "quarantined",
        }
    }
}

impl StageStep {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ValidationStarted,
        Self::ValidationPassed,
        Self::ValidationFailed,
        Self::DeploymentStarted,
        Self::DeploymentCompleted,
        Self::DeploymentAborted,
        Self::DeploymentRolledBack,
        Self::Replaced,
        Self::StandbyElapsed,
        Self::Archive,
        Self::Quarantine,
        Self::Release,
    ];

    /// As events name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ValidationStarted => "validation_started",
            Self::ValidationPassed => "validation_passed",
            Self::ValidationFailed => "validation_failed",
            Self::DeploymentStarted => "deployment_started",
            Self::DeploymentCompleted => "deployment_completed",
            Self::DeploymentAborted => "deployment_aborted",
            Self::DeploymentRolledBack => "deployment_rolled_back",
            Self::Replaced => "replaced",
            Self::StandbyElapsed => "standby_elapsed",
            Self::Archive => "archived",
            Self::Quarantine => "quarantined",
            Self::Release => "released",
        }
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
