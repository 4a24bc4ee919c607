//! What orchestrators say: routes and beats; and what they are told: which routes are in force, how endpoints are, what was
//! counted. A gateway follows all of them at once: the highest epoch wins, and any beat counts. It must not know routes' meaning.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use acgs_contracts::lifecycle::v1::{
    self as proto, routing_service_client::RoutingServiceClient, watch_routes_request::Message as Say,
    watch_routes_response::Message as Told,
};
use acgs_mesh::client::connect;
use acgs_vocabulary::Constitution;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    counts::Counted,
    losses::{Loss, Losses},
    stats::Stats,
    table::Table,
};

/// Messages that wait for an orchestrator.
const OUTGOING_MAX: usize = 16;
/// Between two looks at what was counted.
const EVERY: Duration = Duration::from_millis(50);
/// What has not changed is told this often.
const QUIET: Duration = Duration::from_secs(1);
/// Between attempts.
const RETRY: Duration = Duration::from_millis(200);
/// An orchestrator that says nothing for this many of its beats is connected to anew.
const BEATS_MISSED: u32 = 20;
/// Entries of one list of a message.
const ENTRIES_MAX: usize = 1_000;
/// Largest message from an orchestrator, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a gateway says of itself.
#[derive(Clone, Debug)]
pub struct Follower {
    /// Its name among routers.
    pub router_id: String,
    /// Unique to this life.
    pub incarnation: String,
    /// Under which constitution it asks.
    pub constitution: Constitution,
    /// Routes in force.
    pub table: Arc<Table>,
    /// What it has counted beside calls.
    pub stats: Arc<Stats>,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

impl Follower {
    /// Follows one orchestrator until everything ends.
    pub async fn run(self, orchestrator: String) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.follow(&orchestrator) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn follow(&self, orchestrator: &str) {
        let mut told = false;
        loop {
            match self.session(orchestrator).await {
                Ok(()) => told = false,
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!(orchestrator, %error, "no routes from an orchestrator; going on with those known");
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn session(&self, orchestrator: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let url = format!("http://{orchestrator}");
        let channel = connect(&url, self.constitution.clone()).await?;
        let mut client = RoutingServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
        let hello = proto::RouterHello {
            router_id: self.router_id.clone(),
            incarnation: self.incarnation.clone(),
            observer: false,
            fresh: self.table.counted().iter().all(|(_, arm)| arm.stamp() == 0),
        };
        out.send(request(Say::Hello(hello))).await?;
        let mut incoming = client.watch_routes(ReceiverStream::new(outgoing)).await?.into_inner();
        let (mut beat, mut lease) = (Duration::from_millis(250), Duration::from_secs(3));
        let mut looks = tokio::time::interval(EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = Watched::default();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    heard = Instant::now();
                    match message.message {
                        Some(Told::Table(table)) => {
                            (beat, lease) = (millis(table.beat_ms), millis(table.candidate_lease_ms));
                            for routes in table.models {
                                self.table.apply(routes).await;
                            }
                            self.table.heard(lease);
                            for routes in self.table.epochs().chunks(ENTRIES_MAX) {
                                let applied = proto::RoutesApplied { routes: routes.to_vec() };
                                out.send(request(Say::Applied(applied))).await?;
                            }
                            tracing::info!(orchestrator, models = self.table.models(), "following its routes");
                        }
                        Some(Told::Routes(routes)) => {
                            let applied = proto::AppliedRoute { model_id: routes.model_id.clone(), epoch: routes.epoch };
                            self.table.apply(routes).await;
                            self.table.heard(lease);
                            let applied = proto::RoutesApplied { routes: vec![applied] };
                            out.send(request(Say::Applied(applied))).await?;
                        }
                        Some(Told::Beat(_)) => self.table.heard(lease),
                        None => {}
                    }
                }
                _ = looks.tick() => {
                    if heard.elapsed() > beat * BEATS_MISSED {
                        return Err("it says nothing any more".into());
                    }
                    for observed in told.observed(&self.table, &self.stats.losses) {
                        out.send(request(Say::Observed(observed))).await?;
                    }
                }
            }
        }
    }
}

fn request(message: Say) -> proto::WatchRoutesRequest {
    proto::WatchRoutesRequest { message: Some(message) }
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(u64::from(millis))
}

/// What an orchestrator was told.
#[derive(Debug, Default)]
struct Watched {
    stamps: HashMap<Counted, u64>,
    health: Vec<proto::VersionHealth>,
    /// Captures that were lost, in all.
    lost: u64,
    lost_at: Option<Instant>,
    at: Option<Instant>,
}

impl Watched {
    /// What is new; after a while, everything.
    fn observed(&mut self, table: &Table, losses: &Losses) -> Vec<proto::RouterObserved> {
        let all = self.at.is_none_or(|at| at.elapsed() >= QUIET);
        let counted = table.counted();
        self.stamps.retain(|known, _| counted.iter().any(|(counted, _)| counted == known));
        let mut versions = Vec::new();
        for (counted, arm) in counted {
            let stamp = arm.stamp();
            if all || self.stamps.get(&counted) != Some(&stamp) {
                versions.push(arm.observed(&counted));
                self.stamps.insert(counted, stamp);
            }
        }
        let health = table.health();
        let changed = all || health != self.health;
        if all {
            self.at = Some(Instant::now());
        }
        let captures_lost = self.lost(losses);
        if versions.is_empty() && captures_lost.is_empty() && !changed {
            return Vec::new();
        }
        let health = if changed {
            self.health.clone_from(&health);
            health
        } else {
            Vec::new()
        };
        let (mut versions, mut health) = (versions.into_iter().peekable(), health.into_iter().peekable());
        let mut lost = captures_lost.into_iter().peekable();
        let mut messages = Vec::new();
        while versions.peek().is_some()
            || health.peek().is_some()
            || lost.peek().is_some()
            || messages.is_empty()
        {
            messages.push(proto::RouterObserved {
                versions: versions.by_ref().take(ENTRIES_MAX).collect(),
                health: health.by_ref().take(ENTRIES_MAX).collect(),
                captures_lost: lost.by_ref().take(ENTRIES_MAX).collect(),
            });
        }
        messages
    }

    /// Captures that were lost, when there are more of them than were told.
    fn lost(&mut self, losses: &Losses) -> Vec<proto::CaptureLoss> {
        let lost = losses.all();
        if lost == self.lost || self.lost_at.is_some_and(|at| at.elapsed() < QUIET) {
            return Vec::new();
        }
        (self.lost, self.lost_at) = (lost, Some(Instant::now()));
        let message = |loss: Loss| proto::CaptureLoss {
            model_id: loss.model_id.to_string(),
            version: loss.version.to_string(),
            reason: loss.reason.as_str().to_owned(),
            calls: loss.calls,
            detail: loss.detail,
        };
        losses.kinds().into_iter().map(message).collect()
    }
}
