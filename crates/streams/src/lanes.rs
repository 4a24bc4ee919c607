//! The orchestrator's ends of the lanes of one stream: opening, credit, and opening again elsewhere when a judge is lost.
//! It must not know windows.

pub(crate) mod link;

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use acgs_columns::{Field, Kind};
use acgs_lane::{Connector, LaneConfigs, LaneDown, LaneId, LaneUp, ReplayLog, message::Open};
use acgs_vocabulary::{
    Problem,
    budget::{self, Use},
};
use link::{Link, Said};
use tokio::time::Instant;

/// Messages that may wait for a lane before the stream takes no more frames.
const QUEUE_SOFT_MAX: usize = 256;
/// A stream whose judges do not come up by then is opened without them.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// One that was given up for its silence is asked again after so many times the patience: meanwhile it holds nobody.
const SILENT_PAUSES: u32 = 6;

/// How lanes are kept.
#[derive(Clone, Copy, Debug)]
pub struct LaneConfig {
    /// Bytes of rows between snapshots.
    pub snapshot_every_bytes: u64,
    /// A judge that was not found again for this long is given up, in milliseconds.
    pub patience_ms: u64,
    /// A lane is opened again, perhaps elsewhere, at this age, give or take a tenth, in milliseconds.
    pub age_max_ms: u64,
}

/// One lane.
#[derive(Debug)]
struct Lane {
    id: LaneId,
    replay_log: ReplayLog,
    link: Link,
    /// Since when there is no judge that does anything.
    down_since: Option<Instant>,
    /// When a judge was found last.
    opened_at: Instant,
    /// Whether it has ever been open.
    was_open: bool,
    /// Whether it was open when it was looked at last.
    is_open: bool,
}

impl Lane {
    /// Since when there is no judge that does anything, counted from now if the last one was there for long: a judge that has
    /// nothing to say is no absent one.
    fn down_since(&mut self, patience: Duration) -> Instant {
        if self.link.is_open() && self.opened_at.elapsed() > 2 * patience {
            self.down_since = None;
        }
        *self.down_since.get_or_insert_with(Instant::now)
    }
}

/// The lanes of a stream.
pub struct Lanes {
    config: LaneConfig,
    remote: bool,
    lanes: Vec<Lane>,
    /// To be told.
    given_up: VecDeque<Event>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.lanes.iter().map(|lane| lane.id)).finish()
    }
}

/// What a lane says.
#[derive(Debug)]
pub enum Event {
    /// There is room again for what the lanes are to be told.
    Ready,
    /// A judge answered.
    Up(LaneId, LaneUp),
    /// A judge refused, or cannot be found again: what it owes will not come.
    Lost(LaneId, Problem),
    /// A judge was found after all; it judges what begins from now on.
    Back(LaneId),
}

/// Bytes of a row of a lane, at least 1.
fn row_bytes(open: &Open) -> u64 {
    let width = |field: &Field| match field.kind {
        Kind::Double | Kind::Int64 | Kind::Timestamp => 8,
        Kind::Text => 4,
        Kind::Boolean => 1,
    };
    open.schema.fields().iter().map(width).sum::<u64>().max(1)
}

impl Lanes {
    /// Opens all lanes under the epoch of the stream's lease, and brings each judge what it needs. One that cannot be found is looked for further.
    ///
    /// # Errors
    /// When a judge refuses.
    pub async fn open(
        connector: &Arc<dyn Connector>,
        config: LaneConfig,
        epoch: u64,
        opens: Vec<(LaneId, Open, LaneConfigs)>,
    ) -> Result<Self, Problem> {
        let remote = connector.is_remote();
        let widest = opens.iter().map(|(_, open, _)| row_bytes(open)).max().unwrap_or(1);
        let lane = |(id, mut open, configs): (LaneId, Open, LaneConfigs)| {
            open.epoch = epoch;
            // A lane of few columns says what it has as often as the others: until then frames are kept for it.
            let every_bytes = config.snapshot_every_bytes * row_bytes(&open) / widest;
            let never = !remote || config.snapshot_every_bytes == 0;
            open.snapshot_every_bytes = if never { 0 } else { every_bytes.max(1) };
            let age_max_ms = if remote { config.age_max_ms } else { 0 };
            let link = Link::new(Arc::clone(connector), id, open, configs, age_max_ms);
            Lane {
                id,
                replay_log: ReplayLog::new(remote).within(&budget::process().of(Use::Frames)),
                link,
                down_since: Some(Instant::now()),
                opened_at: Instant::now(),
                was_open: false,
                is_open: false,
            }
        };
        let mut lanes =
            Self { config, remote, lanes: opens.into_iter().map(lane).collect(), given_up: VecDeque::new() };
        let opened = tokio::time::timeout(FIRST_PATIENCE, poll_fn(|context| lanes.poll_first(context))).await;
        match opened {
            Ok(Err(problem)) => Err(problem),
            Ok(Ok(())) => Ok(lanes),
            Err(_) => {
                for lane in lanes.lanes.iter_mut().filter(|lane| !lane.link.is_open()) {
                    tracing::warn!(lane = %lane.id, "a stream begins without a judge");
                    lane.replay_log.abandon();
                }
                Ok(lanes)
            }
        }
    }

    /// Lanes whose judges are given up for now.
    pub fn absent(&self) -> impl Iterator<Item = LaneId> + '_ {
        self.lanes.iter().filter(|lane| lane.replay_log.is_absent()).map(|lane| lane.id)
    }

    /// Ready when every lane is open; an error when one is refused.
    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Problem>> {
        for lane in &mut self.lanes {
            // What was lost is looked for again, which has to be polled too.
            while !lane.link.is_open() {
                match lane.link.poll(context, &mut lane.replay_log) {
                    Poll::Ready(Said::Opened) => {
                        (lane.down_since, lane.was_open, lane.is_open) = (None, true, true);
                        lane.opened_at = Instant::now();
                    }
                    Poll::Ready(Said::Refused(problem)) => return Poll::Ready(Err(problem)),
                    Poll::Ready(Said::Up(_) | Said::Aged | Said::Lost(_)) => {}
                    Poll::Pending => break,
                }
            }
        }
        if self.lanes.iter().all(|lane| lane.link.is_open()) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Queues a message; one for a lost lane goes nowhere.
    pub fn push(&mut self, lane: LaneId, message: LaneDown) {
        if let Some(lane) = self.lanes.iter_mut().find(|known| known.id == lane) {
            lane.replay_log.push(message);
        }
    }

    /// Whether every lane has credit and room for another frame.
    #[must_use]
    pub fn ready(&self) -> bool {
        let ready = |lane: &Lane| {
            let (messages, bytes, frames) = lane.replay_log.unsent();
            let (credit_bytes, credit_frames) = lane.link.credit();
            credit_bytes > bytes && credit_frames > frames && messages < QUEUE_SOFT_MAX
        };
        self.lanes.iter().all(|lane| lane.replay_log.is_absent() || ready(lane))
    }

    /// Lets go of judges that hold the stream and say nothing: a lane that is waited for and silent is as good as lost.
    pub fn let_go_of_silent(&mut self) {
        let patience = Duration::from_millis(self.config.patience_ms);
        let mut given_up = Vec::new();
        for lane in self.lanes.iter_mut().filter(|lane| !lane.replay_log.is_absent()) {
            let (messages, bytes, frames) = lane.replay_log.unsent();
            let (credit_bytes, credit_frames) = lane.link.credit();
            let full = messages >= QUEUE_SOFT_MAX || credit_bytes <= bytes || credit_frames <= frames;
            if self.remote && full && lane.link.silence() >= patience {
                tracing::warn!(lane = %lane.id, "a judge holds a stream and says nothing");
                // The next one has as much time to say something.
                let next = lane.down_since(patience).elapsed() >= patience;
                let problem = lane.link.let_go(if next { patience * SILENT_PAUSES } else { Duration::ZERO });
                if next {
                    lane.replay_log.abandon();
                    given_up.push(Event::Lost(lane.id, problem));
                }
            }
        }
        self.given_up.extend(given_up);
    }

    /// Sends what is queued, and waits for the next event.
    pub async fn next(&mut self) -> Event {
        let was_ready = self.ready();
        poll_fn(|context| match self.poll(context) {
            // What was queued went out: nothing else would say so.
            Poll::Pending if !was_ready && self.ready() => Poll::Ready(Event::Ready),
            polled => polled,
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if let Some(event) = self.given_up.pop_front() {
            return Poll::Ready(event);
        }
        let mut index = 0;
        while index < self.lanes.len() {
            let lane = &mut self.lanes[index];
            let id = lane.id;
            match lane.link.poll(context, &mut lane.replay_log) {
                Poll::Ready(Said::Up(up)) => {
                    // Only one that answers is there.
                    lane.down_since = None;
                    match &up {
                        LaneUp::Verdict(verdict) => {
                            lane.replay_log.answered(&verdict.window, verdict.revision)
                        }
                        LaneUp::Snapshot(state) => lane.replay_log.snapshot(state.clone()),
                        LaneUp::Need { .. } | LaneUp::Credit { .. } => {}
                    }
                    return Poll::Ready(Event::Up(id, up));
                }
                Poll::Ready(Said::Opened) => {
                    (lane.was_open, lane.is_open, lane.opened_at) = (true, true, Instant::now());
                    let gap_ms = lane.down_since.map_or(0, |since| since.elapsed().as_millis() as u64);
                    tracing::info!(lane = %id, gap_ms, "a lane is open again");
                    if lane.replay_log.revive() {
                        lane.down_since = None;
                        return Poll::Ready(Event::Back(id));
                    }
                    // There may be something to send, or to hear, at once.
                    continue;
                }
                Poll::Ready(Said::Aged) => continue,
                Poll::Ready(Said::Lost(problem)) => {
                    let patience = Duration::from_millis(self.config.patience_ms);
                    // One that was there for long was there, also when it had nothing to say.
                    if std::mem::take(&mut lane.is_open) && lane.opened_at.elapsed() > patience {
                        lane.down_since = None;
                    }
                    let since = *lane.down_since.get_or_insert_with(Instant::now);
                    // What was sent to a judge of this process was not kept.
                    let over = !self.remote || since.elapsed() >= patience;
                    if over && !lane.replay_log.is_absent() {
                        lane.replay_log.abandon();
                        return Poll::Ready(Event::Lost(id, problem));
                    }
                    continue;
                }
                Poll::Ready(Said::Refused(problem)) => {
                    // One that took the lane before may be followed by one that does not, for now or for good.
                    let again = lane.was_open && self.remote;
                    let known = lane.replay_log.is_absent();
                    if again {
                        lane.replay_log.abandon();
                        lane.link.let_go(Duration::ZERO);
                    } else {
                        self.lanes.remove(index);
                    }
                    if known && again {
                        continue;
                    }
                    return Poll::Ready(Event::Lost(id, problem));
                }
                Poll::Pending => index += 1,
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
