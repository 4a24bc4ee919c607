//! The task of one stream: it feeds the pure core from clients and lanes, and hands out what comes back. It must not
//! know protobuf, and it decides nothing that the core can decide.

mod client;
mod frames;
mod joining;
mod messages;
mod publishing;
mod recording;
mod telling;
mod time;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use acgs_lane::{Connector, LaneUp, epochs::is_outdated};
use acgs_vocabulary::{
    Problem,
    budget::{self, Reservation, Use, heavy},
    ports::{
        Clock,
        records::{FrameLog, FrameRecorder},
    },
    problem::Kind,
};
use client::Client;
use joining::Settling;
pub use messages::{ClientEnd, Frame, Input, Joined, Rooms, Standing, Told, Waiting, Waits};
use publishing::Publishing;
use recording::{Done, Recording, Step};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    core::{Action, Core, HEAVY, Report},
    lanes::{Event, Lanes},
    leases::Lease,
    publish::{Publication, Publisher, Said},
};

/// Inputs that wait for the stream's task.
pub const INPUTS_MAX: usize = 16;
/// Messages that wait for a client.
pub const CLIENT_QUEUE: usize = 256;
const TICK: Duration = Duration::from_millis(250);
/// How long a draining stream waits for its judges.
const DRAIN_US: u64 = 5_000_000;

const MOVED: &str = "another orchestrator owns the stream now; open it again";
const DRAINING: &str = "the server is stopping; open the stream again elsewhere";

/// What the task needs.
#[derive(Clone, Debug)]
pub struct ActorDeps {
    /// Bounds.
    pub config: Config,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Lanes.
    pub connector: Arc<dyn Connector>,
    /// The log.
    pub publisher: Publisher,
    /// Where frames of LOG streams are kept.
    pub records: Arc<dyn FrameLog>,
    /// Clients that were let go because they took nothing.
    pub stalled_clients: Arc<AtomicU64>,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

/// What happened.
enum Turn {
    Lane(Event),
    Input(Input),
    Step(Done),
    /// A frame that waited for room is looked at again.
    Unpark,
    /// What is being taken goes on.
    GoOn,
    Tick,
    Disowned,
    Nothing,
}

/// The task.
#[derive(Debug)]
pub struct Actor {
    core: Core,
    lanes: Lanes,
    publishing: Publishing,
    deps: ActorDeps,
    clients: Vec<Client>,
    kept: VecDeque<Arc<Report>>,
    /// What they take of the process's memory.
    kept_room: Reservation,
    forgotten_through: u64,
    /// What each partition's client has, also while it is away.
    acked: HashMap<String, u64>,
    detached_since_us: Option<u64>,
    had_clients: bool,
    model_id: Arc<str>,
    service_id: Arc<str>,
    /// Says that this process owns the stream; let go with it.
    lease: Option<Lease>,
    /// Another orchestrator owns the stream: nothing more is said of it here.
    is_outdated: bool,
    /// The trace of the call that opened the stream.
    traceparent: Option<Arc<str>>,
    /// Unique to this life of the stream.
    life: Arc<str>,
    /// Where its frames are kept before they are taken, when they are.
    recorder: Option<Arc<dyn FrameRecorder>>,
    standing: Arc<Standing>,
    ticked_us: u64,
    /// Since when something is in the middle of being taken.
    busy_since_us: Option<u64>,
    /// Time in which nothing was heard for that.
    unheard_us: u64,
    /// What was looked at and is not done yet.
    recording: Recording,
    /// A frame that waits until there is room.
    parked: Option<Frame>,
    /// Who is told when what is being taken is done.
    settling: Option<Settling>,
}

impl Actor {
    /// Opens the lanes of a stream.
    ///
    /// # Errors
    /// When a judge refuses.
    pub async fn open(
        core: Core,
        deps: ActorDeps,
        lease: Option<Lease>,
        traceparent: Option<Arc<str>>,
        (life, recorder): (Arc<str>, Option<Arc<dyn FrameRecorder>>),
    ) -> Result<Self, Problem> {
        let config = deps.config.lanes();
        let epoch = lease.as_ref().map_or(0, Lease::epoch);
        let lanes = Lanes::open(&deps.connector, config, epoch, core.opens()).await?;
        let mut core = core;
        for lane in lanes.absent().collect::<Vec<_>>() {
            let _nothing_is_open_yet = core.lane_lost(lane, deps.clock.monotonic_us());
        }
        let (model_id, service_id) =
            (Arc::from(core.spec().model_id.as_str()), Arc::from(core.spec().service_id.as_str()));
        let ticked_us = deps.clock.monotonic_us();
        Ok(Self {
            core,
            lanes,
            publishing: Publishing::new(deps.publisher.clone()),
            deps,
            clients: Vec::new(),
            kept: VecDeque::new(),
            kept_room: budget::process().of(Use::Reports).nothing(),
            forgotten_through: 0,
            acked: HashMap::new(),
            detached_since_us: None,
            had_clients: false,
            model_id,
            service_id,
            lease,
            is_outdated: false,
            traceparent,
            life,
            recorder,
            standing: Arc::default(),
            ticked_us,
            busy_since_us: None,
            unheard_us: 0,
            recording: Recording::default(),
            parked: None,
            settling: None,
        })
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// Runs until the stream is over, abandoned, or everything stops, and its reports are handed to the log.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        self.serve(&mut inputs).await;
        // From here on the stream is free, whoever opens it.
        drop(inputs);
        self.clients.clear();
        self.lease = None;
        self.void_rest();
        self.publishing.rest().await;
    }

    async fn serve(&mut self, inputs: &mut mpsc::Receiver<Input>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.deps.stop.clone();
        let disowned = self.lease.as_ref().map(Lease::lost).unwrap_or_default();
        let standing = Arc::clone(&self.standing);
        let mut draining_since_us = None;
        loop {
            let ready = self.lanes.ready() && !self.is_blocked() && !self.publishing.is_full();
            let busy = self.core.is_busy();
            let goes_on = ready && !busy;
            let is_held_up = self.parked.is_some() || self.recording.is_full();
            let takes = goes_on && !is_held_up && draining_since_us.is_none();
            let unparks = goes_on && self.parked.is_some() && self.recording.is_empty();
            let turn = tokio::select! {
                event = self.lanes.next() => Turn::Lane(event),
                input = inputs.recv(), if takes => match input {
                    Some(input) => Turn::Input(input),
                    None => {
                        self.close_alerts();
                        return;
                    }
                },
                done = self.recording.next(), if goes_on => Turn::Step(done),
                () = std::future::ready(()), if unparks => Turn::Unpark,
                () = std::future::ready(()), if busy && ready => Turn::GoOn,
                () = self.publishing.next() => Turn::Nothing,
                _ = ticks.tick() => Turn::Tick,
                () = standing.needed(), if self.may_be_given_up(inputs.is_empty()) => Turn::Nothing,
                () = disowned.cancelled() => Turn::Disowned,
                () = stop.cancelled(), if draining_since_us.is_none() => {
                    draining_since_us = Some(self.now_us());
                    Turn::Nothing
                }
            };
            if !self.is_owner().await {
                if let Turn::Step((step, _)) = turn {
                    self.recording.put_back(step);
                }
                return;
            }
            let actions = match turn {
                Turn::Lane(event) => self.on_lane(event),
                // To ask for the room of many windows is long.
                Turn::Input(input) if self.core.is_long(input.rows()) => heavy(|| self.on_input(input)).await,
                Turn::Input(input) => self.on_input(input),
                Turn::Step(done) => self.on_step(done),
                Turn::Unpark => self.unpark(),
                // Whoever else wants this thread has it meanwhile.
                Turn::GoOn => {
                    let now_us = self.now_us();
                    heavy(|| self.core.go_on(now_us, HEAVY)).await
                }
                Turn::Tick => self.on_tick(self.has_steps() || (!takes && !inputs.is_empty())),
                Turn::Disowned => {
                    self.is_outdated = true;
                    Vec::new()
                }
                Turn::Nothing => Vec::new(),
            };
            self.note_busy();
            if self.is_outdated {
                self.farewell(&Problem::new(Kind::Precondition, "NOT_OWNER", MOVED));
                return;
            }
            self.perform(actions);
            self.settle_what_is_done();
            self.tell(inputs.is_empty());
            if self.core.is_over() && !self.has_steps() {
                self.close_alerts();
                self.finish().await;
                return;
            }
            if let Some(since_us) = draining_since_us
                && ((self.core.is_quiet() && !self.has_steps())
                    || self.now_us().saturating_sub(since_us) > DRAIN_US)
            {
                // Also what was taken meanwhile: who is not told of it sends it again, into another life of the stream.
                self.tell(true);
                let left_us = DRAIN_US.saturating_sub(self.now_us().saturating_sub(since_us));
                Self::tell_rest(&self.clients, &self.kept, Duration::from_micros(left_us)).await;
                self.farewell(&Problem::new(Kind::Unavailable, "DRAINING", DRAINING));
                return;
            }
            // Who waits at the door is there.
            if self.may_be_given_up(inputs.is_empty()) && self.is_abandoned() {
                tracing::info!(stream = %self.core.spec().stream_id, "a detached stream was given up");
                self.close_alerts();
                return;
            }
        }
    }

    fn now_us(&self) -> u64 {
        self.deps.clock.monotonic_us()
    }

    /// Whether nobody is there, and nothing of anybody waits.
    fn may_be_given_up(&self, nobody_waits: bool) -> bool {
        self.detached_since_us.is_some() && nobody_waits && !self.has_steps() && !self.core.is_busy()
    }

    /// Whether something was looked at that is not done yet.
    fn has_steps(&self) -> bool {
        self.parked.is_some() || !self.recording.is_empty()
    }

    fn on_lane(&mut self, event: Event) -> Vec<Action> {
        let now_us = self.now_us();
        match event {
            Event::Up(lane, LaneUp::Verdict(verdict)) => self.core.verdict(lane, verdict, now_us),
            Event::Up(..) | Event::Ready => Vec::new(),
            Event::Back(lane) => {
                let stream = &self.core.spec().stream_id;
                tracing::info!(%stream, %lane, "a judge is back");
                self.core.lane_back(lane);
                Vec::new()
            }
            Event::Lost(lane, problem) if is_outdated(&problem) => {
                let stream = &self.core.spec().stream_id;
                tracing::warn!(%stream, %lane, %problem, "the stream has another owner");
                self.is_outdated = true;
                Vec::new()
            }
            Event::Lost(lane, problem) => {
                let stream = &self.core.spec().stream_id;
                tracing::error!(%stream, %lane, %problem, "a lane was lost");
                self.core.lane_lost(lane, now_us)
            }
        }
    }

    fn on_input(&mut self, input: Input) -> Vec<Action> {
        let now_us = self.now_us();
        match input {
            Input::Join { spec, resume_after, client, reply } => {
                let joined = self.join(&spec, resume_after, client, now_us);
                let _client_left = reply.send(joined);
                Vec::new()
            }
            Input::Frame(frame) => self.on_frame(frame),
            Input::SubmitLabels { labels, reply } => {
                let actions = self.core.label(labels, now_us);
                self.settling = Some(Settling::Labels(reply));
                actions
            }
            Input::Stands { subject, reply } => {
                let _nobody_asks = reply.send(self.core.stands(&subject));
                Vec::new()
            }
            Input::Ack { client, through } => {
                if let Some(client) = self.clients.iter_mut().find(|known| known.end.id == client) {
                    let acked = self.acked.entry(client.end.partition.clone()).or_default();
                    *acked = (*acked).max(through.min(client.told_through));
                }
                Vec::new()
            }
            Input::End { client } => self.say_end(client),
            Input::Refuse { client, problem } => self.say_refused(client, problem),
            Input::Leave { client } => self.then(Step::Leave(client), Vec::new()),
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Down(lane, message) => self.lanes.push(lane, message),
                Action::Report(report) => {
                    let report: Arc<Report> = Arc::from(report);
                    self.kept_room.force(self.kept_room.bytes() + report.weight());
                    self.kept.push_back(Arc::clone(&report));
                    let publication = self.publication(Said::Report(report));
                    self.publishing.push(publication);
                }
            }
        }
    }

    fn publication(&self, said: Said) -> Publication {
        Publication {
            said,
            stream_id: Arc::clone(&self.core.spec().stream_id),
            model_id: Arc::clone(&self.model_id),
            service_id: Arc::clone(&self.service_id),
            epoch: self.lease.as_ref().map_or(0, Lease::epoch),
            life: Arc::clone(&self.life),
            traceparent: self.traceparent.clone(),
        }
    }

    /// Nobody looks any more: what stood is closed.
    fn close_alerts(&mut self) {
        let alerts = self.core.end();
        if !alerts.is_empty() {
            self.publishing.push(self.publication(Said::End(alerts.into())));
        }
    }
}
