//! `WatchRoutes`: one router's stream. It is told routes as they change and beats in between, and says what it has put in
//! force and what it sees. A router that does not confirm hears no beats. It must not decide anything.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{analysis::Compared, deployment::Deployment, model::Model};
use acgs_vocabulary::{Problem, names, problem::Kind};
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use super::{
    ModelsDeps,
    checks::{DEPLOYMENT, numbered, router_name},
    route_message::message,
};
use crate::routes::{
    registry::{Health, Hello, LossOf, Lost, RouterSession},
    traffic_totals::Sums,
};

/// What waits for a router.
const TOLD_MAX: usize = 64;
/// A router says who it is by then.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Entries of one list of a message.
const ENTRIES_MAX: usize = 1_000;
/// Characters of what a loss was about.
const DETAIL_MAX: usize = 256;
/// Buckets of one version.
const BUCKETS_MAX: usize = 640;

/// What a router is told.
pub(super) type Told = Pin<Box<dyn Stream<Item = Result<proto::WatchRoutesResponse, Status>> + Send>>;

use proto::{watch_routes_request::Message as Said, watch_routes_response::Message as Tell};

/// Serves a router until it leaves.
///
/// # Errors
/// When it does not say who it is, or there are too many.
pub(super) async fn run(
    deps: ModelsDeps,
    mut incoming: Streaming<proto::WatchRoutesRequest>,
) -> Result<Told, Status> {
    let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.next()).await;
    let first = first.map_err(|_| Problem::field("hello", "HELLO_FIRST", "did not come in time"))?;
    let Some(Said::Hello(hello)) = first.transpose()?.and_then(|message| message.message) else {
        return Err(Problem::field("message", "HELLO_FIRST", "the first message is `hello`").into());
    };
    router_name("hello.router_id", &hello.router_id)?;
    router_name("hello.incarnation", &hello.incarnation)?;
    let clock = Arc::clone(&deps.clock);
    let said = Hello {
        router_id: &hello.router_id,
        incarnation: &hello.incarnation,
        observer: hello.observer,
        fresh: hello.fresh,
    };
    let router = deps.routers.join(said, clock)?;
    let (out, told) = mpsc::channel(TOLD_MAX);
    let session = Session { deps, router, out, sent: HashMap::new() };
    tokio::spawn(session.serve(incoming));
    Ok(Box::pin(ReceiverStream::new(told)))
}

struct Session {
    deps: ModelsDeps,
    router: RouterSession,
    out: mpsc::Sender<Result<proto::WatchRoutesResponse, Status>>,
    /// Epochs that were told, and when.
    sent: HashMap<Arc<str>, (u64, i64)>,
}

/// The router has left.
struct Gone;

impl Session {
    async fn serve(mut self, mut incoming: Streaming<proto::WatchRoutesRequest>) {
        let stop = self.deps.stop.clone();
        let over = self.router.over.clone();
        let refused = tokio::select! {
            ended = self.talk(&mut incoming) => ended.err(),
            () = over.cancelled() => {
                let message = "the same router has connected again";
                Some(Problem::new(Kind::Precondition, "REPLACED", message))
            }
            () = stop.cancelled() => Some(Problem::new(Kind::Unavailable, "DRAINING", "the server is stopping")),
        };
        if let Some(problem) = refused {
            let _gone_anyway = self.out.send(Err(problem.into())).await;
        }
    }

    /// Until the router leaves, or says what cannot be.
    async fn talk(&mut self, incoming: &mut Streaming<proto::WatchRoutesRequest>) -> Result<(), Problem> {
        let mut changed = self.deps.writer.changed();
        let beat = Duration::from_millis(u64::from(self.deps.routing.beat_ms));
        let mut beats = tokio::time::interval(beat);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if self.table().await.is_err() {
            return Ok(());
        }
        loop {
            let told = tokio::select! {
                said = incoming.next() => match said {
                    Some(Ok(message)) => {
                        self.take(message)?;
                        Ok(())
                    }
                    Some(Err(_)) | None => return Ok(()),
                },
                changed = changed.changed() => match changed {
                    Ok(()) => self.tell_changes().await,
                    Err(_) => return Ok(()),
                },
                _ = beats.tick() => self.beat().await,
            };
            if told.is_err() {
                return Ok(());
            }
        }
    }

    async fn say(&self, message: Tell) -> Result<(), Gone> {
        self.out.send(Ok(proto::WatchRoutesResponse { message: Some(message) })).await.map_err(|_| Gone)
    }

    async fn table(&mut self) -> Result<(), Gone> {
        let now_ms = self.deps.clock.monotonic_ms();
        let models: Vec<(Arc<str>, proto::ModelRoutes)> = self.deps.writer.look(|state| {
            state.routed().map(|model| (Arc::clone(&model.model_id), message(model))).collect()
        });
        let mut table = proto::RouteTable {
            models: Vec::new(),
            beat_ms: self.deps.routing.beat_ms,
            candidate_lease_ms: self.deps.routing.candidate_lease_ms,
        };
        for (model_id, routes) in models {
            self.sent.insert(model_id, (routes.epoch, now_ms));
            table.models.push(routes);
        }
        self.say(Tell::Table(table)).await
    }

    async fn tell_changes(&mut self) -> Result<(), Gone> {
        let sent = &self.sent;
        let changed: Vec<(Arc<str>, proto::ModelRoutes)> = self.deps.writer.look(|state| {
            let is_new = |model: &&Arc<Model>| {
                sent.get(&model.model_id).is_none_or(|(epoch, _)| *epoch < model.route_epoch)
            };
            let new = state.routed().filter(is_new);
            new.map(|model| (Arc::clone(&model.model_id), message(model))).collect()
        });
        let now_ms = self.deps.clock.monotonic_ms();
        for (model_id, routes) in changed {
            self.sent.insert(model_id, (routes.epoch, now_ms));
            self.say(Tell::Routes(routes)).await?;
        }
        Ok(())
    }

    /// Says that somebody is there who can take candidates back; not to one that does not confirm, and not while nothing
    /// could be written.
    async fn beat(&self) -> Result<(), Gone> {
        let home = self.deps.home.as_ref().is_none_or(|trouble| trouble.borrow().is_empty());
        let late_ms = self.deps.clock.monotonic_ms() - i64::from(self.deps.routing.confirm_ms);
        let late = |(model_id, (epoch, sent_ms)): (&Arc<str>, &(u64, i64))| {
            *sent_ms < late_ms && !self.router.has(model_id, *epoch)
        };
        if !home || self.sent.iter().any(late) {
            return Ok(());
        }
        self.say(Tell::Beat(proto::RouterBeat {})).await
    }

    fn take(&self, message: proto::WatchRoutesRequest) -> Result<(), Problem> {
        let many = |field: &str, count: usize| {
            let message = format!("has {count} entries, at most {ENTRIES_MAX}");
            if count > ENTRIES_MAX { Err(Problem::field(field, "BAD_MESSAGE", message)) } else { Ok(()) }
        };
        match message.message {
            Some(Said::Applied(applied)) => {
                many("applied.routes", applied.routes.len())?;
                self.router.applied(applied.routes.into_iter().map(|route| (route.model_id, route.epoch)))
            }
            Some(Said::Observed(observed)) => {
                many("observed.versions", observed.versions.len())?;
                many("observed.health", observed.health.len())?;
                many("observed.captures_lost", observed.captures_lost.len())?;
                for version in observed.versions {
                    self.counted(version)?;
                }
                let lost: Vec<_> = observed.captures_lost.into_iter().map(lost).collect::<Result<_, _>>()?;
                self.router.lost(lost)?;
                self.router.sees(observed.health.into_iter().map(|health| {
                    let seen = Health { ready: health.ready, warm_checks: health.warm_checks };
                    ((health.model_id, health.version), seen)
                }))
            }
            Some(Said::Hello(_)) | None => {
                Err(Problem::field("message", "BAD_MESSAGE", "is neither `applied` nor `observed`"))
            }
        }
    }

    /// Counts of an open deployment; what is over is not counted any more.
    fn counted(&self, observed: proto::VersionObserved) -> Result<(), Problem> {
        for (name, buckets) in [("latencies", &observed.latencies), ("waits", &observed.waits)] {
            if buckets.len() > BUCKETS_MAX {
                let message = format!("has {} buckets, at most {BUCKETS_MAX}", buckets.len());
                return Err(Problem::field(format!("observed.versions.{name}"), "BAD_MESSAGE", message));
            }
        }
        let number = numbered(DEPLOYMENT, &observed.deployment_id);
        let deployment: Option<Arc<Deployment>> = self.deps.writer.look(|state| {
            let (model, known) = state.deployment(number?)?;
            let of_model = *model.model_id == *observed.model_id && known.phase.is_open();
            (of_model && model.version(&observed.version).is_some()).then(|| Arc::clone(known))
        });
        let Some(deployment) = deployment else { return Ok(()) };
        let bucket =
            |bucket: &proto::LatencyBucket| (bucket.bucket.min(u32::from(u16::MAX)) as u16, bucket.calls);
        let sums = Sums {
            calls: observed.calls,
            errors: observed.errors.min(observed.calls),
            cancelled: observed.cancelled.min(observed.calls - observed.errors.min(observed.calls)),
            breaches: observed.breaches,
            latencies: observed.latencies.iter().map(bucket).collect(),
            waits: observed.waits.iter().map(bucket).collect(),
            shadow: Compared {
                pairs: observed.shadow_compared,
                different: observed.shadow_different.min(observed.shadow_compared),
            },
        };
        self.router.counted(&deployment, &observed.version, observed.paired, sums);
        Ok(())
    }
}

/// As it is kept: within its bounds, and without what could forge a line on somebody's screen.
fn lost(loss: proto::CaptureLoss) -> Result<(LossOf, Lost), Problem> {
    let named = |field: &str, name: &str| names::check(&format!("observed.captures_lost.{field}"), name, 1);
    named("model_id", &loss.model_id)?;
    named("version", &loss.version)?;
    named("reason", &loss.reason)?;
    let plain = |letter: &char| names::is_plain(letter.encode_utf8(&mut [0; 4]));
    let detail: String = loss.detail.chars().filter(plain).take(DETAIL_MAX).collect();
    Ok(((loss.model_id, loss.version, loss.reason), Lost { calls: loss.calls, detail }))
}
