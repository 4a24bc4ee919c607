//! The orchestrator's ends of the lanes of one stream: opening, credit, queues. It must not know windows.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use acgs_lane::{Connector, LaneDown, LaneHandle, LaneUp, message::Open};
use acgs_vocabulary::{JudgeKind, Problem, ports::StoredReference, problem::Kind};
use tokio_util::sync::PollSender;

/// A judge that has not granted credit by then does not take the lane.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that may wait for a lane before the stream takes no more frames.
const QUEUE_SOFT_MAX: usize = 256;

/// One lane.
#[derive(Debug)]
struct Lane {
    judge: JudgeKind,
    down: PollSender<LaneDown>,
    up: tokio::sync::mpsc::Receiver<Result<LaneUp, Problem>>,
    queue: VecDeque<LaneDown>,
    credit_bytes: i64,
    credit_messages: i64,
}

/// The lanes of a stream.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Lane>,
}

/// What a lane says.
#[derive(Debug)]
pub enum Event {
    /// A judge answered.
    Up(JudgeKind, LaneUp),
    /// A judge is gone; the lane with it.
    Lost(JudgeKind, Problem),
}

impl Lanes {
    /// Opens all lanes, and brings each judge what it needs.
    ///
    /// # Errors
    /// When a judge refuses or does not answer.
    pub async fn open(
        connector: &dyn Connector,
        opens: Vec<(JudgeKind, Open)>,
        reference: Option<&StoredReference>,
    ) -> Result<Self, Problem> {
        let mut lanes = Vec::new();
        for (judge, open) in opens {
            let handle = connector.open(judge).await?;
            let opening = handshake(judge, handle, open, reference);
            let lane = tokio::time::timeout(OPEN_TIMEOUT, opening).await.map_err(|_| {
                let message = format!("the {} judge did not take the lane in time", judge.as_str());
                Problem::new(Kind::Unavailable, "LANE_LOST", message)
            })??;
            lanes.push(lane);
        }
        Ok(Self { lanes })
    }

    /// Queues a message; one for a lost lane goes nowhere.
    pub fn push(&mut self, judge: JudgeKind, message: LaneDown) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.judge == judge) {
            if let LaneDown::Rows { batch, .. } = &message {
                lane.credit_bytes -= batch.size_bytes() as i64;
                lane.credit_messages -= 1;
            }
            lane.queue.push_back(message);
        }
    }

    /// Whether every lane has credit and room for another frame.
    #[must_use]
    pub fn ready(&self) -> bool {
        let ready = |lane: &Lane| {
            lane.credit_bytes > 0 && lane.credit_messages > 0 && lane.queue.len() < QUEUE_SOFT_MAX
        };
        self.lanes.iter().all(ready)
    }

    /// Sends what is queued, and waits for the next event.
    pub async fn next(&mut self) -> Event {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            match lane.poll(context) {
                Poll::Ready(Ok(LaneUp::Credit { bytes, messages })) => {
                    lane.credit_bytes += bytes as i64;
                    lane.credit_messages += i64::from(messages);
                    return Poll::Ready(Event::Up(lane.judge, LaneUp::Credit { bytes, messages }));
                }
                Poll::Ready(Ok(up)) => return Poll::Ready(Event::Up(lane.judge, up)),
                Poll::Ready(Err(problem)) => {
                    let judge = lane.judge;
                    self.lanes.remove(index);
                    return Poll::Ready(Event::Lost(judge, problem));
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

impl Lane {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<LaneUp, Problem>> {
        while !self.queue.is_empty() {
            match self.down.poll_reserve(context) {
                Poll::Ready(Ok(())) => {
                    if let Some(message) = self.queue.pop_front()
                        && self.down.send_item(message).is_err()
                    {
                        break;
                    }
                }
                // The judge's last words are in `up`.
                Poll::Ready(Err(_)) => break,
                Poll::Pending => break,
            }
        }
        match self.up.poll_recv(context) {
            Poll::Ready(Some(answer)) => Poll::Ready(answer),
            Poll::Ready(None) => {
                Poll::Ready(Err(Problem::new(Kind::Unavailable, "LANE_LOST", "the judge ended the lane")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

async fn handshake(
    judge: JudgeKind,
    handle: LaneHandle,
    open: Open,
    reference: Option<&StoredReference>,
) -> Result<Lane, Problem> {
    let LaneHandle { down, mut up } = handle;
    let lost =
        || Problem::new(Kind::Unavailable, "LANE_LOST", "the judge ended the lane while it was opened");
    down.send(LaneDown::Open(open)).await.map_err(|_| lost())?;
    loop {
        match up.recv().await.ok_or_else(lost)?? {
            LaneUp::Need { digest } => {
                let stored = reference.filter(|stored| stored.digest == digest).ok_or_else(|| {
                    Problem::internal(format!("the {} judge needs what was not offered", judge.as_str()))
                })?;
                let config = LaneDown::Config { digest, content: stored.content.clone() };
                down.send(config).await.map_err(|_| lost())?;
            }
            LaneUp::Credit { bytes, messages } => {
                return Ok(Lane {
                    judge,
                    down: PollSender::new(down),
                    up,
                    queue: VecDeque::new(),
                    credit_bytes: bytes as i64,
                    credit_messages: i64::from(messages),
                });
            }
            LaneUp::Verdict(_) | LaneUp::Snapshot(_) => {
                return Err(Problem::internal("a judge answered before it was asked"));
            }
        }
    }
}
