//! What a process is, which parts that takes, and what each is called. It must not know how a part is made.

use acgs_vocabulary::JudgeKind;

use crate::remote::service_of;

pub(crate) const ORCHESTRATOR: &str = "acgs.orchestrator.v1.OrchestratorService";
/// The services over the life of models.
pub(crate) const LIFECYCLE: [&str; 4] = [
    "acgs.lifecycle.v1.ModelService",
    "acgs.lifecycle.v1.JobService",
    "acgs.lifecycle.v1.DeploymentService",
    "acgs.lifecycle.v1.RoutingService",
];
/// Under which the health of the gateway is known.
pub(crate) const GATEWAY: &str = "acgs.gateway";

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Judges and orchestrator, lanes in process.
    All,
    /// One judge.
    Judge(JudgeKind),
    /// The orchestrator; judges are elsewhere.
    Orchestrator,
    /// The gateway; orchestrators are elsewhere.
    Gateway,
}

/// A part of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// One judge's services.
    Judge(JudgeKind),
    /// Streams and models.
    Orchestrator,
    /// Calls of models.
    Gateway,
}

impl Role {
    /// The parts that it takes, in the order in which they are made: who is used comes first.
    pub(crate) fn parts(self) -> Vec<Part> {
        match self {
            Self::All => {
                let judges = JudgeKind::ALL.into_iter().map(Part::Judge);
                judges.chain([Part::Orchestrator, Part::Gateway]).collect()
            }
            Self::Judge(judge) => vec![Part::Judge(judge)],
            Self::Orchestrator => vec![Part::Orchestrator],
            Self::Gateway => vec![Part::Gateway],
        }
    }

    /// What it serves, as health knows it.
    pub(crate) fn services(self) -> Vec<&'static str> {
        self.parts().into_iter().flat_map(Part::services).collect()
    }
}

impl Part {
    fn services(self) -> Vec<&'static str> {
        match self {
            Self::Judge(judge) => vec![service_of(judge)],
            Self::Orchestrator => [ORCHESTRATOR].into_iter().chain(LIFECYCLE).collect(),
            Self::Gateway => vec![GATEWAY],
        }
    }
}

/// The original's names.
pub(crate) fn service_name(judge: JudgeKind) -> &'static str {
    match judge {
        JudgeKind::Quality => "data-quality-service",
        JudgeKind::Drift => "drift-detection-service",
        JudgeKind::Performance => "performance-monitoring-service",
    }
}
