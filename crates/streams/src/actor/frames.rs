//! A frame is looked at, then kept in the record log where the stream is kept there, then taken. It must not know what a frame means.

use acgs_vocabulary::{Problem, ports::Chunk, problem::Kind};

use super::{
    Actor,
    messages::Frame,
    recording::{Done, Step},
};
use crate::core::{Action, Look, Origin, Receipt};

impl Actor {
    /// Looks at a frame: what cannot be taken is refused before anything of it is kept.
    pub(super) fn on_frame(&mut self, mut frame: Frame) -> Vec<Action> {
        let Some(origin) = self.origin_of(frame.client, frame.seq) else { return Vec::new() };
        let reserved = self.recording.reserved();
        match self.core.look(&origin, &frame.held, self.deps.clock.now_ms(), reserved) {
            Ok(Look::Stale) => Vec::new(),
            Ok(Look::Duplicate) => self.then(Step::Settle(frame), Vec::new()),
            Ok(Look::Fits(looked)) => {
                let chunks = std::mem::take(&mut frame.chunks);
                self.then(Step::Take(frame, origin, looked), chunks)
            }
            // There may be room when those before it are in: only what does not fit alone is refused.
            Err(problem) if problem.kind() == Kind::Exhausted && !self.recording.is_empty() => {
                self.parked = Some(frame);
                Vec::new()
            }
            Err(problem) => self.say_refused(frame.client, problem),
        }
    }

    /// Refuses a client at its turn; nothing more that it sends is looked at.
    pub(super) fn say_refused(&mut self, client: u64, problem: Problem) -> Vec<Action> {
        let Some(origin) = self.origin_of(client, 0) else { return Vec::new() };
        self.core.stop_looking(&origin);
        self.then(Step::Refuse(client, problem), Vec::new())
    }

    pub(super) fn say_end(&mut self, client: u64) -> Vec<Action> {
        let Some(origin) = self.origin_of(client, 0) else { return Vec::new() };
        self.core.say_end(&origin);
        self.then(Step::End(origin), Vec::new())
    }

    pub(super) fn origin_of(&self, client: u64, seq: u64) -> Option<Origin> {
        let client = self.clients.iter().find(|known| known.end.id == client)?;
        Some(Origin { partition: client.end.partition.clone(), join: client.join, seq })
    }

    /// Does a step at once when it needs nothing and nothing is before it.
    pub(super) fn then(&mut self, step: Step, chunks: Vec<Chunk>) -> Vec<Action> {
        if chunks.is_empty() && self.recording.is_empty() {
            return self.on_step((step, Ok(())));
        }
        self.recording.push(step, chunks, self.recorder.clone());
        Vec::new()
    }

    /// A step at its turn.
    pub(super) fn on_step(&mut self, (step, kept): Done) -> Vec<Action> {
        let now_us = self.now_us();
        match (step, kept) {
            (Step::Take(frame, origin, looked), Ok(())) => {
                let receipt = Receipt { received_us: frame.received_us, now_us };
                let (client, seq, bytes) = (frame.client, frame.seq, frame.bytes);
                // Else another client of the partition has come: it sends again what it was not told of, and the log goes by its join.
                let Some(actions) = self.core.take(&origin, frame.held, *looked, receipt) else {
                    return Vec::new();
                };
                self.settle_later(client, seq, bytes);
                actions
            }
            (Step::Take(frame, origin, _), Err(problem)) => {
                self.fail(frame.client, &origin, problem);
                Vec::new()
            }
            (Step::Settle(frame), _) => {
                self.settle_later(frame.client, frame.seq, frame.bytes);
                Vec::new()
            }
            (Step::End(origin), _) => self.core.end_partition(&origin, now_us),
            (Step::Refuse(client, problem), _) => {
                self.refuse(client, problem);
                Vec::new()
            }
            (Step::Leave(client), _) => {
                self.clients.retain(|known| known.end.id != client);
                Vec::new()
            }
        }
    }

    /// A frame that had to wait for room is looked at again.
    pub(super) fn unpark(&mut self) -> Vec<Action> {
        self.parked.take().map_or_else(Vec::new, |frame| self.on_frame(frame))
    }
}
