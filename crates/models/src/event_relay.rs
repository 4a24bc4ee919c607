//! Tells the bus what happened to models: reads the ledger behind everything else and hands each event to the outbox. Every
//! process does; an event has the same id wherever it is told from, and what the log says was told is not told again, however late: it is on the
//! bus once. It must not decide anything.

use std::{sync::Arc, time::Duration};

use acgs_lifecycle::{
    Change, Event,
    deployment::{DeploymentStep, Phase},
    job::{JobState, JobStep},
    stage::Stage,
};
use acgs_vocabulary::{
    Severity,
    constitution::sha256_hex,
    event::{Envelope, EventKind, Origin, payload::LifecycleStepped},
    ports::{
        EventLog, EventSink,
        consume::{Handler, LedgerEntry},
    },
};
use async_trait::async_trait;

use crate::entry::Entry;

/// Under which name it is kept how far the bus was told.
pub const POSITION: &str = "lifecycle/told";

/// Events of the ledger in the log.
const TOLD: &str = "acgs.model.>";
/// Between attempts to ask the log.
const RETRY: Duration = Duration::from_millis(250);

/// Where events go, and where they are.
#[derive(Debug)]
pub struct EventRelay {
    sink: Arc<dyn EventSink>,
    log: Arc<dyn EventLog>,
    /// The newest event that the log is known to have: its number, and when it was decided.
    told: Option<(u64, i64)>,
}

impl EventRelay {
    /// Into a sink whose events this log has in the end, in their order.
    #[must_use]
    pub fn new(sink: Arc<dyn EventSink>, log: Arc<dyn EventLog>) -> Self {
        Self { sink, log, told: None }
    }

    /// Asks the log what it has, unless it is known to have this one.
    async fn look(&mut self, newest: &Event) {
        while !self.has(newest) {
            match self.log.newest_of(TOLD).await {
                Ok(newest) => {
                    self.told = newest.and_then(|newest| numbered(&newest.envelope));
                    return;
                }
                Err(error) if error.is_passing() => tokio::time::sleep(RETRY).await,
                Err(error) => {
                    tracing::error!(%error, "the log cannot say what was told");
                    return;
                }
            }
        }
    }

    /// Whether the log is known to have an event: they are told in their order, so what is newer implies it.
    fn has(&self, event: &Event) -> bool {
        // One of the same number may be of a ledger that is gone: it was decided before.
        self.told.is_some_and(|(number, at_ms)| event.number <= number && event.at_ms <= at_ms)
    }
}

fn numbered(envelope: &Envelope) -> Option<(u64, i64)> {
    let stepped = envelope.read::<LifecycleStepped<Event>>().ok()?;
    Some((stepped.event.number, stepped.event.at_ms))
}

#[async_trait]
impl Handler<LedgerEntry> for EventRelay {
    async fn handle(&mut self, (sequence, bytes): LedgerEntry) {
        match serde_json::from_slice::<Entry>(&bytes) {
            Ok(entry) => {
                let Some(newest) = entry.events.last() else { return };
                self.look(newest).await;
                for event in entry.events.iter().filter(|event| !self.has(event)) {
                    if let Some(envelope) = envelope(event, &entry.constitutional_hash) {
                        self.sink.send(envelope).await;
                    }
                }
            }
            Err(error) => tracing::error!(sequence, %error, "an entry of the ledger cannot be told"),
        }
    }

    async fn settle(&mut self) {
        self.sink.flush().await;
    }
}

/// What kind of event the bus knows it as; `None` for what only the ledger has.
fn kind(event: &Event) -> Option<EventKind> {
    Some(match &event.change {
        Change::ModelRegistered { .. } => EventKind::ModelRegistered,
        Change::EvidenceSupplied { .. }
        | Change::PolicyPut { .. }
        | Change::FreezeSet { .. }
        | Change::LoopCleared => EventKind::ModelUpdated,
        Change::VersionRegistered(_) => EventKind::ModelVersionStaged(Stage::Registered.as_str()),
        Change::VersionMoved { step, .. } => EventKind::ModelVersionStaged(step.leads_to()?.as_str()),
        Change::JobObserved(_) => EventKind::RetrainingStepped(JobState::Observed.as_str()),
        Change::JobMoved { moved, .. } => match moved.step() {
            JobStep::Queue => EventKind::RetrainingRequired,
            JobStep::Succeed | JobStep::Reject | JobStep::GiveUp => EventKind::RetrainingCompleted,
            step => EventKind::RetrainingStepped(step.leads_to()?.as_str()),
        },
        Change::EndpointsSet { .. } => EventKind::ModelUpdated,
        Change::DeploymentStarted(_) => EventKind::DeploymentStepped(Phase::Pending.as_str()),
        Change::DeploymentMoved { moved, .. } => deployment_kind(moved.step())?,
        Change::StaleRefused { .. } => EventKind::RetrainingStepped("refused"),
        // Told is what came of it.
        Change::Answered(_) => return None,
        Change::HelpNeeded { .. } => EventKind::ModelAlert(Severity::High),
        Change::ReleaseAsked { .. } | Change::GatesJudged { .. } => return None,
    })
}

/// The phase that a step leads to; where that depends on where it was taken, what happened.
fn deployment_kind(step: DeploymentStep) -> Option<EventKind> {
    let phase = match step {
        DeploymentStep::Extend => return None,
        DeploymentStep::Fail => return Some(EventKind::ModelAlert(Severity::Critical)),
        DeploymentStep::Apply => "applied",
        DeploymentStep::Observe => "observed",
        DeploymentStep::Resume => "resumed",
        step => step.leads_to()?.as_str(),
    };
    Some(EventKind::DeploymentStepped(phase))
}

fn envelope(event: &Event, constitutional_hash: &str) -> Option<Envelope> {
    let kind = kind(event)?;
    let job = match &event.change {
        Change::JobObserved(observed) => Some(observed.job),
        Change::JobMoved { job, .. } | Change::StaleRefused { job, .. } => Some(*job),
        _ => None,
    };
    let deployment = match &event.change {
        Change::DeploymentStarted(new) => Some(new.deployment),
        Change::DeploymentMoved { deployment, .. } => Some(*deployment),
        _ => None,
    };
    let caused_by = match &event.change {
        Change::JobObserved(observed) => Some(observed.evidence.event_id.as_str()),
        _ => None,
    };
    let stepped = LifecycleStepped {
        event: event.clone(),
        job_id: job.map(|job| format!("job-{job}")),
        deployment_id: deployment.map(|deployment| format!("deployment-{deployment}")),
    };
    let event_id = sha256_hex(format!("lifecycle\n{}", event.number).as_bytes());
    let origin = Origin { service: "model-lifecycle", at_ms: event.at_ms, constitutional_hash };
    let envelope = Envelope::new(kind, event_id, origin, &stepped).about(&event.model_id);
    Some(envelope.caused_by(caused_by.unwrap_or_default()))
}

#[cfg(test)]
#[path = "event_relay_tests.rs"]
mod tests;
