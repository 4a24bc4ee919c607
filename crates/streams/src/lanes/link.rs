//! The link of one lane to whichever judge serves it now: opened, restored from the replay log, and opened again when it breaks
//! or gets old. It must not know what the lane carries.

use std::{
    fmt,
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use acgs_lane::{
    Connector, LaneConfigs, LaneDown, LaneHandle, LaneId, LaneUp, ReplayLog,
    message::Open,
    panes::{CREDIT_BYTES, CREDIT_MESSAGES},
};
use acgs_vocabulary::{Problem, problem::Kind};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_util::sync::PollSender;

/// A judge that has not granted credit by then does not take the lane.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// Between attempts to find a judge.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A lane that is lost before this age may have been the reason itself.
const YOUNG: Duration = Duration::from_secs(1);

/// What a link comes to.
#[derive(Debug)]
pub(crate) enum Said {
    /// The judge spoke.
    Up(LaneUp),
    /// There is a judge.
    Opened,
    /// It is old, and another is looked for: nothing is wrong with it.
    Aged,
    /// There is none now; another is being looked for.
    Lost(Problem),
    /// The lane itself is wrong: no judge would take it.
    Refused(Problem),
}

type Opening = Pin<Box<dyn Future<Output = Result<Opened, Problem>> + Send>>;

enum State {
    Opening(Opening),
    Pausing(Pin<Box<Sleep>>),
    Open {
        down: PollSender<LaneDown>,
        up: mpsc::Receiver<Result<LaneUp, Problem>>,
        old: Option<Pin<Box<Sleep>>>,
    },
}

struct Opened {
    handle: LaneHandle,
    credit_bytes: i64,
    credit_frames: i64,
}

/// The link.
pub(crate) struct Link {
    connector: Arc<dyn Connector>,
    lane: LaneId,
    open: Open,
    configs: LaneConfigs,
    age_max_ms: u64,
    state: State,
    /// Said before the replay log's messages: the state of the judge before.
    restoring: std::collections::VecDeque<LaneDown>,
    credit_bytes: i64,
    credit_frames: i64,
    pause: Duration,
    opened_at: Instant,
    heard_at: Instant,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl Link {
    /// Looks for a judge. With an age of 0 the link is never opened again for its age.
    pub(crate) fn new(
        connector: Arc<dyn Connector>,
        lane: LaneId,
        open: Open,
        configs: LaneConfigs,
        age_max_ms: u64,
    ) -> Self {
        let state = State::Opening(opening(&connector, lane, &open, &configs));
        Self {
            connector,
            lane,
            open,
            configs,
            age_max_ms,
            state,
            restoring: std::collections::VecDeque::new(),
            credit_bytes: CREDIT_BYTES as i64,
            credit_frames: i64::from(CREDIT_MESSAGES),
            pause: PAUSE_FIRST,
            opened_at: Instant::now(),
            heard_at: Instant::now(),
        }
    }

    /// Whether there is a judge.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// How long an open lane has said nothing.
    pub(crate) fn silence(&self) -> Duration {
        if self.is_open() { self.heard_at.elapsed() } else { Duration::ZERO }
    }

    /// Lets go of a judge that does not answer, and looks for another after this long at least.
    pub(crate) fn let_go(&mut self, pause: Duration) -> Problem {
        let problem = Problem::new(Kind::Unavailable, "LANE_LOST", "the judge does not answer");
        self.lost(problem.clone());
        if !pause.is_zero() {
            self.state = State::Pausing(Box::pin(sleep(pause)));
        }
        problem
    }

    /// Bytes and frames that may be given out in addition.
    pub(crate) fn credit(&self) -> (i64, i64) {
        (self.credit_bytes, self.credit_frames)
    }

    /// Moves on: sends what the replay log has, hears what the judge says, looks for another.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, replay_log: &mut ReplayLog) -> Poll<Said> {
        loop {
            match &mut self.state {
                State::Opening(opening) => match std::task::ready!(opening.as_mut().poll(context)) {
                    Ok(opened) => {
                        self.opened(opened, replay_log);
                        return Poll::Ready(Said::Opened);
                    }
                    Err(problem) if is_lost(&problem) => return Poll::Ready(self.lost(problem)),
                    Err(problem) => return Poll::Ready(Said::Refused(problem)),
                },
                State::Pausing(sleep) => {
                    std::task::ready!(sleep.as_mut().poll(context));
                    self.look();
                }
                State::Open { .. } => return self.poll_open(context, replay_log),
            }
        }
    }

    fn look(&mut self) {
        let opening = opening(&self.connector, self.lane, &self.open, &self.configs);
        self.state = State::Opening(opening);
    }

    fn opened(&mut self, opened: Opened, replay_log: &mut ReplayLog) {
        self.restoring = replay_log.replay().into();
        (self.credit_bytes, self.credit_frames) = (opened.credit_bytes, opened.credit_frames);
        self.heard_at = Instant::now();
        if self.opened_at.elapsed() > YOUNG {
            self.pause = PAUSE_FIRST;
        }
        self.opened_at = Instant::now();
        let age = (self.age_max_ms > 0).then(|| jittered(self.age_max_ms));
        self.state = State::Open {
            down: PollSender::new(opened.handle.down),
            up: opened.handle.up,
            old: age.map(|age| Box::pin(sleep_until(Instant::now() + age))),
        };
    }

    fn lost(&mut self, problem: Problem) -> Said {
        // A lane that is down takes as much as one whose judge is slow.
        (self.credit_bytes, self.credit_frames) = (CREDIT_BYTES as i64, i64::from(CREDIT_MESSAGES));
        self.state = State::Pausing(Box::pin(sleep(self.pause)));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Said::Lost(problem)
    }

    fn poll_open(&mut self, context: &mut Context<'_>, replay_log: &mut ReplayLog) -> Poll<Said> {
        let State::Open { down, up, old } = &mut self.state else { return Poll::Pending };
        while !self.restoring.is_empty() || replay_log.has_unsent() {
            match down.poll_reserve(context) {
                Poll::Ready(Ok(())) => {
                    let Some(message) = self.restoring.pop_front().or_else(|| replay_log.next()) else {
                        down.abort_send();
                        break;
                    };
                    if let LaneDown::Rows { batch, .. } = &message {
                        self.credit_bytes -= batch.size_bytes() as i64;
                        self.credit_frames -= 1;
                    }
                    if down.send_item(message).is_err() {
                        break;
                    }
                }
                // The judge's last words are in `up`.
                Poll::Ready(Err(_)) => break,
                Poll::Pending => break,
            }
        }
        let problem = match up.poll_recv(context) {
            Poll::Ready(Some(Ok(answer))) => {
                self.heard_at = Instant::now();
                if let LaneUp::Credit { bytes, messages } = &answer {
                    self.credit_bytes += *bytes as i64;
                    self.credit_frames += i64::from(*messages);
                }
                return Poll::Ready(Said::Up(answer));
            }
            Poll::Ready(Some(Err(problem))) => problem,
            Poll::Ready(None) => Problem::new(Kind::Unavailable, "LANE_LOST", "the judge ended the lane"),
            Poll::Pending => {
                let Some(old) = old else { return Poll::Pending };
                std::task::ready!(old.as_mut().poll(context));
                tracing::debug!(lane = %self.lane, "a lane is opened again for its age");
                self.look();
                return Poll::Ready(Said::Aged);
            }
        };
        if is_lost(&problem) {
            // The judge may be gone and another there: no pause before the first look, unless lanes die young.
            let said = self.lost(problem);
            if self.opened_at.elapsed() > YOUNG {
                self.look();
            }
            return Poll::Ready(said);
        }
        Poll::Ready(Said::Refused(problem))
    }
}

/// Whether another judge may take what this one did not.
fn is_lost(problem: &Problem) -> bool {
    matches!(problem.kind(), Kind::Unavailable | Kind::Internal | Kind::Exhausted)
}

/// An age, give or take a tenth, so that lanes opened together do not move together.
fn jittered(age_ms: u64) -> Duration {
    let tenth = (age_ms / 10).max(1);
    let jitter = RandomState::new().hash_one(age_ms) % (2 * tenth);
    Duration::from_millis(age_ms - tenth + jitter)
}

fn opening(connector: &Arc<dyn Connector>, lane: LaneId, open: &Open, configs: &LaneConfigs) -> Opening {
    let (connector, open, configs) = (Arc::clone(connector), open.clone(), configs.clone());
    Box::pin(async move {
        let opening = async {
            let handle = connector.open(lane).await?;
            handshake(lane, handle, open, &configs).await
        };
        timeout(OPEN_TIMEOUT, opening).await.map_err(|_| {
            let message = format!("the {} judge did not take the lane in time", lane.judge.as_str());
            Problem::new(Kind::Unavailable, "LANE_LOST", message)
        })?
    })
}

async fn handshake(
    lane: LaneId,
    handle: LaneHandle,
    open: Open,
    configs: &LaneConfigs,
) -> Result<Opened, Problem> {
    let LaneHandle { down, mut up } = handle;
    let lost =
        || Problem::new(Kind::Unavailable, "LANE_LOST", "the judge ended the lane while it was opened");
    down.send(LaneDown::Open(open)).await.map_err(|_| lost())?;
    loop {
        match up.recv().await.ok_or_else(lost)?? {
            LaneUp::Need { digest } => {
                let content = configs.content(&digest).ok_or_else(|| {
                    let message = format!("the {} judge needs what was not offered", lane.judge.as_str());
                    Problem::new(Kind::Precondition, "LANE_PROTOCOL", message)
                })?;
                let config = LaneDown::Config { digest, content };
                down.send(config).await.map_err(|_| lost())?;
            }
            LaneUp::Credit { bytes, messages } => {
                return Ok(Opened {
                    handle: LaneHandle { down, up },
                    credit_bytes: bytes as i64,
                    credit_frames: i64::from(messages),
                });
            }
            LaneUp::Verdict(_) | LaneUp::Snapshot(_) => {
                return Err(Problem::new(
                    Kind::Precondition,
                    "LANE_PROTOCOL",
                    "a judge answered before it was asked",
                ));
            }
        }
    }
}
