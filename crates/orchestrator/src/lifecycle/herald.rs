//! Tells the bus what happened to models: reads the ledger behind everything else and hands each event to the outbox. Every
//! process does; an event has the same id wherever it is told from, so it is on the bus once. It must not decide anything.

use std::{sync::Arc, time::Duration};

use acgs_lifecycle::{
    Change, Event,
    deployment::DeploymentStep,
    event::{DeploymentMoved, JobMoved},
    stage::{Stage, StageStep},
};
use acgs_vocabulary::{
    Severity,
    constitution::sha256_hex,
    event::{Envelope, EventKind},
    ports::{EventSink, KeyValue, Ledger},
    text,
};
use tokio_util::sync::CancellationToken;

use super::{entry::Entry, position::Position};

/// Where it is kept how far the bus was told.
const TOLD: &str = "lifecycle/told";
/// Entries between two writes of that.
const WRITE_EVERY: u64 = 256;
/// When nothing comes for this long, it is written.
const QUIET: Duration = Duration::from_secs(1);
/// Between attempts while the home cannot be reached.
const RETRY: Duration = Duration::from_millis(500);

/// What it works with.
#[derive(Clone, Debug)]
pub struct Herald {
    /// What happened.
    pub ledger: Arc<dyn Ledger>,
    /// Where it is kept how far the bus was told.
    pub keys: Arc<dyn KeyValue>,
    /// To the bus.
    pub outbox: Arc<dyn EventSink>,
    /// The end of everything.
    pub stop: CancellationToken,
}

impl Herald {
    /// Tells until everything ends.
    pub async fn run(self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.tell_all() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn tell_all(&self) {
        let position = Position::new(Arc::clone(&self.keys), TOLD);
        let mut told = loop {
            match position.read().await {
                Ok(place) => break place.unwrap_or(0),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        let mut written = told;
        loop {
            let Ok(mut entries) = self.ledger.follow(told).await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            loop {
                let quiet = match tokio::time::timeout(QUIET, entries.recv()).await {
                    Ok(Some((sequence, bytes))) => {
                        self.tell(sequence, &bytes).await;
                        told = sequence;
                        false
                    }
                    Ok(None) => break,
                    Err(_nothing_came) => true,
                };
                if told >= written + WRITE_EVERY || quiet && told > written {
                    self.outbox.flush().await;
                    if position.write(told).await {
                        written = told;
                    }
                }
            }
        }
    }

    async fn tell(&self, sequence: u64, bytes: &[u8]) {
        match serde_json::from_slice::<Entry>(bytes) {
            Ok(entry) => {
                for event in &entry.events {
                    if let Some(envelope) = envelope(event, &entry.constitutional_hash) {
                        self.outbox.send(envelope).await;
                    }
                }
            }
            Err(error) => tracing::error!(sequence, %error, "an entry of the ledger cannot be told"),
        }
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
        Change::VersionMoved { step, .. } => EventKind::ModelVersionStaged(stage_after(*step).as_str()),
        Change::JobObserved(_) => EventKind::RetrainingStepped("observed"),
        Change::JobMoved { moved, .. } => match moved {
            JobMoved::Merge { .. } | JobMoved::Renew { .. } => return None,
            JobMoved::Queue { .. } => EventKind::RetrainingRequired,
            JobMoved::Succeed { .. } | JobMoved::Reject { .. } | JobMoved::GiveUp { .. } => {
                EventKind::RetrainingCompleted
            }
            JobMoved::Suppress { .. } => EventKind::RetrainingStepped("suppressed"),
            JobMoved::Supersede { .. } => EventKind::RetrainingStepped("superseded"),
            JobMoved::Lease { .. } => EventKind::RetrainingStepped("leased"),
            JobMoved::Start { .. } => EventKind::RetrainingStepped("running"),
            JobMoved::BackOff { .. } => EventKind::RetrainingStepped("backoff"),
            JobMoved::Return { .. } | JobMoved::Requeue { .. } => EventKind::RetrainingStepped("queued"),
            JobMoved::Evaluate { .. } => EventKind::RetrainingStepped("evaluating"),
            JobMoved::Await { .. } => EventKind::RetrainingStepped("awaiting_approval"),
            JobMoved::Expire => EventKind::RetrainingStepped("expired"),
            JobMoved::Cancel { .. } => EventKind::RetrainingStepped("cancelled"),
        },
        Change::EndpointsSet { .. } => EventKind::ModelUpdated,
        Change::DeploymentStarted(_) => EventKind::DeploymentStepped("pending"),
        Change::DeploymentMoved { moved, .. } => deployment_kind(moved)?,
        Change::StaleRefused { .. } => EventKind::RetrainingStepped("refused"),
        Change::HelpNeeded { .. } => EventKind::ModelAlert(Severity::High),
        Change::ReleaseAsked { .. } | Change::GatesJudged { .. } => return None,
    })
}

/// The phase that a step leads to, where its name says which.
fn deployment_kind(moved: &DeploymentMoved) -> Option<EventKind> {
    let phase = match moved.step() {
        DeploymentStep::Extend => return None,
        DeploymentStep::Prepare => "preparing",
        DeploymentStep::Shadow => "shadowing",
        DeploymentStep::Shift => "shifting",
        DeploymentStep::Apply => "applied",
        DeploymentStep::Observe => "observed",
        DeploymentStep::Pause => "paused",
        DeploymentStep::Resume => "resumed",
        DeploymentStep::Promote => "promoting",
        DeploymentStep::Complete => "completed",
        DeploymentStep::Abort => "aborting",
        DeploymentStep::Withdraw => "rolled_back",
        DeploymentStep::Fail => return Some(EventKind::ModelAlert(Severity::Critical)),
    };
    Some(EventKind::DeploymentStepped(phase))
}

/// The stage that a step leads to.
fn stage_after(step: StageStep) -> Stage {
    match step {
        StageStep::ValidationStarted => Stage::Validating,
        StageStep::ValidationPassed | StageStep::DeploymentAborted | StageStep::Release => Stage::Validated,
        StageStep::ValidationFailed => Stage::Rejected,
        StageStep::DeploymentStarted => Stage::Candidate,
        StageStep::DeploymentCompleted => Stage::Champion,
        StageStep::DeploymentRolledBack | StageStep::Quarantine => Stage::Quarantined,
        StageStep::Replaced => Stage::Standby,
        StageStep::StandbyElapsed => Stage::Retired,
        StageStep::Archive => Stage::Archived,
    }
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
        Change::JobObserved(observed) => Some(observed.evidence.event_id.clone()),
        _ => None,
    };
    let mut payload = serde_json::to_value(event).unwrap_or_default();
    if let Some(job) = job {
        payload["job_id"] = format!("job-{job}").into();
    }
    if let Some(deployment) = deployment {
        payload["deployment_id"] = format!("deployment-{deployment}").into();
    }
    Some(Envelope {
        event_id: sha256_hex(format!("lifecycle\n{}", event.number).as_bytes()),
        event_type: kind.name().into(),
        subject: kind.subject(),
        timestamp: text::rfc3339(event.at_ms),
        source_service: "model-lifecycle".into(),
        target_service: None,
        constitutional_hash: constitutional_hash.to_owned(),
        priority: kind.priority().into(),
        correlation_id: Some(event.model_id.to_string()).filter(|model| !model.is_empty()),
        causation_id: caused_by.filter(|event_id| !event_id.is_empty()),
        traceparent: None,
        payload,
        previous_digest: None,
    })
}
