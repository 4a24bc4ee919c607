//! What a stream has looked at and not done yet, in the order in which it came: a frame waits until it is in the record log, and what comes
//! after a frame waits behind it. It must not take frames itself, or know what the log is.

use std::{collections::VecDeque, sync::Arc};

use acgs_vocabulary::{
    Problem,
    ports::{Chunk, records::FrameRecorder},
};
use acgs_windowing::windows::Room;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};

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
    steps: VecDeque<Step>,
    /// Of each step: done when what it needs is in the log.
    kept: FuturesOrdered<BoxFuture<'static, Result<(), Problem>>>,
}

impl Recording {
    /// Puts a step at the end; what it needs in the log goes there now.
    pub(super) fn push(&mut self, step: Step, chunks: Vec<Chunk>, recorder: Option<Arc<dyn FrameRecorder>>) {
        self.steps.push_back(step);
        self.kept.push_back(Box::pin(async move {
            match recorder {
                Some(recorder) if !chunks.is_empty() => recorder.keep(chunks).await,
                _ => Ok(()),
            }
        }));
    }

    /// The first step, when it may be done. Waits for ever while there is none; may be dropped and asked again.
    pub(super) async fn next(&mut self) -> Done {
        if let Some(kept) = self.kept.next().await
            && let Some(step) = self.steps.pop_front()
        {
            return (step, kept);
        }
        std::future::pending().await
    }

    /// A step that was at its turn is not done either.
    pub(super) fn put_back(&mut self, step: Step) {
        self.steps.push_front(step);
    }

    /// Where frames come from that may be in the log and will not be taken.
    pub(super) fn give_up(&mut self) -> Vec<Origin> {
        self.kept = FuturesOrdered::new();
        let origin = |step: Step| match step {
            Step::Take(_, origin, _) => Some(origin),
            _ => None,
        };
        self.steps.drain(..).filter_map(origin).collect()
    }

    /// What is promised to frames that wait.
    pub(super) fn reserved(&self) -> Room {
        self.steps.iter().map(Step::room).fold(Room::default(), |sum, room| sum + room)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.steps.len() >= STEPS_MAX
    }
}
