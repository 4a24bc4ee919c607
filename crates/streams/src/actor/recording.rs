//! What a stream has looked at and not done yet, in the order in which it came: a frame waits until it is in the record log, and what comes
//! after a frame waits behind it. It must not take frames itself, or know what the log is.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc};

use acgs_vocabulary::{
    Problem,
    ports::{Chunk, records::FrameRecorder},
};
use acgs_windowing::windows::Room;
use futures_util::{StreamExt, stream::FuturesOrdered};

use super::messages::Frame;
use crate::core::{Looked, Origin};

/// Steps that wait, of all clients of a stream.
const STEPS_MAX: usize = 64;

/// What is done at its turn.
#[derive(Debug)]
pub(super) enum Step {
    /// A frame that has room is taken.
    Take(Frame, Origin, Box<Looked>),
    /// A frame that was taken before is answered.
    Settle(Frame),
    /// A client's partition ends.
    End(Origin),
    /// A client is refused.
    Refuse(u64, Problem),
    /// A client is gone.
    Leave(u64),
}

impl Step {
    fn room(&self) -> Room {
        match self {
            Self::Take(_, _, looked) => looked.room,
            _ => Room::default(),
        }
    }
}

/// A step at its turn, and whether what it needs is in the log.
pub(super) type Done = (Step, Result<(), Problem>);

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Recording {
    steps: FuturesOrdered<Waiting>,
    /// Promised to frames that wait.
    reserved: Room,
    /// Of the frames that wait.
    origins: VecDeque<Origin>,
}

struct Waiting(Pin<Box<dyn Future<Output = Done> + Send>>);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Waiting")
    }
}

impl Future for Waiting {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl Recording {
    /// Puts a step at the end; what it needs in the log goes there now.
    pub(super) fn push(&mut self, step: Step, chunks: Vec<Chunk>, recorder: Option<Arc<dyn FrameRecorder>>) {
        self.reserved = self.reserved + step.room();
        if let Step::Take(_, origin, _) = &step {
            self.origins.push_back(origin.clone());
        }
        self.steps.push_back(Waiting(Box::pin(async move {
            let kept = match recorder {
                Some(recorder) if !chunks.is_empty() => recorder.keep(chunks).await,
                _ => Ok(()),
            };
            (step, kept)
        })));
    }

    /// The first step, when it may be done. Waits for ever while there is none; may be dropped and asked again.
    pub(super) async fn next(&mut self) -> Done {
        match self.steps.next().await {
            Some((step, kept)) => {
                self.reserved = self.reserved - step.room();
                if let Step::Take(..) = &step {
                    self.origins.pop_front();
                }
                (step, kept)
            }
            None => std::future::pending().await,
        }
    }

    /// A frame that was at its turn is not taken either.
    pub(super) fn put_back(&mut self, origin: Origin) {
        self.origins.push_front(origin);
    }

    /// Where frames come from that may be in the log and will not be taken.
    pub(super) fn give_up(&mut self) -> VecDeque<Origin> {
        self.steps = FuturesOrdered::new();
        std::mem::take(&mut self.origins)
    }

    pub(super) fn reserved(&self) -> Room {
        self.reserved
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.steps.len() >= STEPS_MAX
    }
}
