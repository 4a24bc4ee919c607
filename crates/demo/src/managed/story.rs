//! What the bus tells of the model while its flights depart: windows, retrainings and deployments, in the order in which they came.
//! It must not know the flights.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use acgs_contracts::orchestrator::v1::{
    SubscribeRequest, SubscribeResponse, orchestrator_service_client::OrchestratorServiceClient,
};
use acgs_lifecycle::{
    Change, Event,
    event::{DeploymentMoved, JobMoved, NewDeployment, Observed},
};
use acgs_mesh::client::MeshChannel;
use acgs_vocabulary::event::{
    Envelope,
    payload::{LifecycleStepped, WindowReported},
};
use anyhow::Context;
use tonic::Streaming;

use acgs_console::connect::explain;

use crate::NAME;

/// Where a deployment stands, as far as the story cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its endpoints are looked for and warmed.
    Warming,
    /// It has, or gets, traffic.
    Under,
    /// It is being taken back.
    Leaving,
}

/// A deployment that is not over.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) number: u64,
    pub(super) version: String,
    pub(super) baseline: String,
    standing: Standing,
    /// Percent of traffic that it has been given.
    pub(super) weight: u32,
    /// When it was decided to take it back, milliseconds since the epoch, and why.
    pub(super) decided: Option<(i64, String)>,
}

/// Something worth hearing.
#[derive(Debug)]
pub(super) enum Heard {
    /// A window is reported.
    Window,
    /// A retraining is ordered.
    Ordered(Box<Observed>),
    /// A retraining is over, and came to this.
    Trained { job: u64, version: Option<String>, why: Option<String> },
    /// A trigger came to no training.
    Dropped,
    /// A deployment begins.
    Begun(Box<NewDeployment>),
    /// A deployment has another weight, and every router says so.
    Shifted(Open),
    /// A version serves.
    Promoted(Open),
    /// A deployment was taken back, and routers have said so.
    TakenBack(Open),
    /// Somebody is asked for.
    Help(u32),
}

/// Follows the bus.
#[derive(Debug)]
pub(super) struct Story {
    events: Streaming<SubscribeResponse>,
    /// Retrainings that are not over, with why, and the version that each came to.
    jobs: HashMap<u64, (Box<Observed>, Option<String>)>,
    pub(super) deployment: Option<Open>,
    /// Windows that were reported, by stream and end.
    pub(super) windows: HashSet<(String, i64)>,
}

impl Story {
    /// From the beginning.
    pub(super) async fn new(orchestrator: MeshChannel) -> anyhow::Result<Self> {
        let request = SubscribeRequest { after_sequence: Some(0), subject_filter: ">".into() };
        let events = OrchestratorServiceClient::new(orchestrator).subscribe(request).await;
        Ok(Self {
            events: events.map_err(|status| explain(&status))?.into_inner(),
            jobs: HashMap::new(),
            deployment: None,
            windows: HashSet::new(),
        })
    }

    /// Whether event time has to stand still: nothing else in this year waits for a training, or for a server to be warm.
    pub(super) fn holds(&self) -> bool {
        let warming = self.deployment.as_ref().is_some_and(|open| open.standing == Standing::Warming);
        warming || !self.jobs.is_empty()
    }

    /// What it stands still for.
    pub(super) fn awaited(&self) -> String {
        let jobs = self.jobs.keys().map(|job| format!("job-{job}"));
        let deployment = self.deployment.as_ref().map(|open| format!("deployment-{}", open.number));
        jobs.chain(deployment).collect::<Vec<_>>().join(", ")
    }

    /// Whether a stream's window that ends there was reported.
    pub(super) fn has_window(&self, stream_id: &str, end_ms: i64) -> bool {
        self.windows.contains(&(stream_id.to_owned(), end_ms))
    }

    /// The next thing worth hearing; `None` when nothing came in time.
    pub(super) async fn hear(&mut self, wait: Duration) -> anyhow::Result<Option<Heard>> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let Ok(event) = tokio::time::timeout_at(until, self.events.message()).await else {
                return Ok(None);
            };
            let event = event.map_err(|status| explain(&status))?.context("the mesh went away")?;
            if let Some(heard) = self.take(&event)? {
                return Ok(Some(heard));
            }
        }
    }

    fn take(&mut self, event: &SubscribeResponse) -> anyhow::Result<Option<Heard>> {
        let envelope: Envelope = serde_json::from_str(&event.envelope_json)?;
        if envelope.carries::<WindowReported>() {
            let window = envelope.read::<WindowReported>()?.window;
            self.windows.insert((window.stream_id.to_string(), window.end_ms));
            return Ok(Some(Heard::Window));
        }
        if !envelope.carries::<LifecycleStepped<Event>>() {
            return Ok(None);
        }
        let event = envelope.read::<LifecycleStepped<Event>>()?.event;
        if &*event.model_id != NAME {
            return Ok(None);
        }
        Ok(match event.change {
            Change::JobObserved(observed) => {
                self.jobs.insert(observed.job, (observed, None));
                None
            }
            Change::JobMoved { job, moved } => self.job(job, moved),
            Change::DeploymentStarted(new) => {
                self.deployment = Some(Open {
                    number: new.deployment,
                    version: new.version.clone(),
                    baseline: new.baseline.clone(),
                    standing: Standing::Warming,
                    weight: 0,
                    decided: None,
                });
                Some(Heard::Begun(new))
            }
            Change::DeploymentMoved { moved, .. } => self.deployed(moved, event.at_ms),
            Change::HelpNeeded { in_a_row } => Some(Heard::Help(in_a_row)),
            _ => None,
        })
    }

    fn job(&mut self, job: u64, moved: JobMoved) -> Option<Heard> {
        let version = |story: &mut Self| story.jobs.remove(&job).and_then(|(_, version)| version);
        match moved {
            JobMoved::Queue { .. } => self.jobs.get(&job).map(|(why, _)| Heard::Ordered(why.clone())),
            JobMoved::Evaluate { version, .. } => {
                self.jobs.get_mut(&job)?.1 = Some(version);
                None
            }
            JobMoved::Succeed { .. } => Some(Heard::Trained { job, version: version(self), why: None }),
            JobMoved::Reject { why, .. } | JobMoved::GiveUp { why, .. } => {
                Some(Heard::Trained { job, version: version(self), why: Some(why) })
            }
            JobMoved::Suppress { .. }
            | JobMoved::Supersede { .. }
            | JobMoved::Expire
            | JobMoved::Cancel { .. } => {
                self.jobs.remove(&job);
                Some(Heard::Dropped)
            }
            _ => None,
        }
    }

    fn deployed(&mut self, moved: DeploymentMoved, at_ms: i64) -> Option<Heard> {
        let open = self.deployment.as_mut()?;
        match moved {
            DeploymentMoved::Shift { weight, .. } => {
                (open.standing, open.weight) = (Standing::Under, weight);
                None
            }
            DeploymentMoved::Promote => {
                (open.standing, open.weight) = (Standing::Under, 100);
                None
            }
            DeploymentMoved::Apply { .. } if open.standing == Standing::Leaving => {
                self.deployment.take().map(Heard::TakenBack)
            }
            DeploymentMoved::Apply { .. } => Some(Heard::Shifted(open.clone())),
            DeploymentMoved::Complete => self.deployment.take().map(Heard::Promoted),
            DeploymentMoved::Abort { why, .. } => {
                open.standing = Standing::Leaving;
                open.decided = Some((at_ms, why));
                None
            }
            DeploymentMoved::Withdraw { why, .. } | DeploymentMoved::Fail { why } => {
                open.decided.get_or_insert((at_ms, why));
                self.deployment.take().map(Heard::TakenBack)
            }
            _ => None,
        }
    }
}
