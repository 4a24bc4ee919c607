//! How clients come to a stream, what follows from a frame for the one that sent it, and how it is refused. It must not know lanes.

use std::sync::atomic::Ordering;

use acgs_vocabulary::{Problem, ports::records::FramePlace, problem::Kind};

use tokio::sync::oneshot;

use super::{
    Actor,
    client::Client,
    messages::{ClientEnd, Joined},
};
use crate::{
    core::{LabelCounts, Origin, Place},
    spec::StreamSpec,
};

/// Who is told when what is being taken is done.
#[derive(Debug)]
pub(super) enum Settling {
    /// The client of a frame.
    Frame {
        /// The number that it was given when it joined.
        client: u64,
        /// Of the frame.
        seq: u64,
        /// Bytes that its credit counts.
        bytes: u64,
    },
    /// Who sent labels.
    Labels(oneshot::Sender<LabelCounts>),
}

impl Actor {
    /// A client is told when all of its frame is taken.
    pub(super) fn settle_later(&mut self, client: u64, seq: u64, bytes: u64) {
        self.settling = Some(Settling::Frame { client, seq, bytes });
    }

    /// Credit and acknowledgement, when all of a frame is taken.
    pub(super) fn settle_what_is_done(&mut self) {
        if self.core.is_busy() {
            return;
        }
        match self.settling.take() {
            Some(Settling::Frame { client, seq, bytes }) => {
                let Some(client) = self.clients.iter_mut().find(|known| known.end.id == client) else {
                    return;
                };
                client.accepted_through = client.accepted_through.max(seq);
                client.owed_bytes += bytes;
                client.owes_answer = true;
            }
            Some(Settling::Labels(reply)) => {
                let _caller_left = reply.send(self.core.label_counts());
            }
            None => {}
        }
    }

    /// Lets a client go, after it was told what was accepted before. Nothing of what is refused is in the record log.
    pub(super) fn refuse(&mut self, client: u64, problem: Problem) {
        let Some(place) = self.clients.iter().position(|known| known.end.id == client) else { return };
        let mut client = self.clients.remove(place);
        let (totals, now_us) = (self.core.totals(), self.now_us());
        let _client_listens = client.tell(&self.kept, totals, true, 0, now_us);
        let _first_word_stands = client.end.farewell.set(problem);
    }

    /// A frame could not be kept: it may be in the record log all the same, and so may those after it. They do not count; the log hears it
    /// from the next client, or from here when it can be reached again.
    pub(super) fn fail(&mut self, client: u64, origin: &Origin, problem: Problem) {
        self.refuse(client, problem);
        let Some(Place { accepted_through, join, .. }) = self.core.replace_if(origin) else { return };
        self.say_in_log(&origin.partition, join, accepted_through);
    }

    /// What was kept and is not taken any more does not count: its clients send it again, into another life of the stream.
    pub(super) fn void_rest(&mut self) {
        for origin in self.recording.give_up() {
            if let Some(Place { accepted_through, join, .. }) = self.core.replace_if(&origin) {
                self.say_in_log(&origin.partition, join, accepted_through);
            }
        }
    }

    /// What earlier clients of a partition sent after that does not count.
    fn say_in_log(&self, partition: &str, join: u64, joined_after: u64) {
        let Some(recorder) = self.recorder.clone() else { return };
        let partition = partition.to_owned();
        tokio::spawn(async move {
            let place = FramePlace { partition: &partition, join, joined_after, seq: 0 };
            if let Err(problem) = recorder.void(place).await {
                tracing::warn!(%problem, %partition, "the record log could not be told which frames do not count");
            }
        });
    }

    pub(super) fn join(
        &mut self,
        spec: &StreamSpec,
        resume_after: u64,
        end: ClientEnd,
        now_us: u64,
    ) -> Result<Joined, Problem> {
        if !self.core.spec().is_same_stream(spec) {
            let message = "the stream is open with another schema, window, model, comparison or judges";
            return Err(Problem::new(Kind::Precondition, "SCHEMA_CHANGED", message));
        }
        if resume_after > self.core.totals().reports {
            let message = "the stream has not made so many reports: it is another of the same name";
            return Err(Problem::new(Kind::Precondition, "RESUME_EXPIRED", message));
        }
        if resume_after < self.forgotten_through && resume_after > 0 {
            let message = format!("reports through {} are no longer kept", self.forgotten_through);
            return Err(Problem::new(Kind::Precondition, "RESUME_EXPIRED", message));
        }
        if !self.standing.say(None, self.core.is_new()) {
            let message = "the stream was given up a moment ago; open it again";
            return Err(Problem::new(Kind::Unavailable, "STREAM_ENDED", message));
        }
        let known = end.life.strip_prefix(&*self.life).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
        let Place { accepted_through, join, life } =
            self.core.join_partition(&end.partition, known, now_us)?;
        let life = format!("{}-{life}", self.life);
        // A client that comes back replaces its former self.
        for former in self.clients.extract_if(.., |known| known.end.partition == end.partition) {
            let message = "another client has opened this partition of the stream";
            let problem = Problem::new(Kind::Precondition, "REPLACED", message);
            let _first_word_stands = former.end.farewell.set(problem);
        }
        let partition = end.partition.clone();
        let acked = self.acked.entry(partition.clone()).or_default();
        *acked = (*acked).max(resume_after);
        let resumed = std::mem::replace(&mut self.had_clients, true);
        let told_through = resume_after.max(self.forgotten_through);
        end.handed.store(told_through, Ordering::Relaxed);
        self.clients.push(Client {
            end,
            join,
            told_through,
            accepted_through,
            owed_bytes: 0,
            owes_answer: false,
            lagging_since_us: None,
            due: told_through,
        });
        if join > 1 {
            // Also if this one sends nothing.
            self.say_in_log(&partition, join, accepted_through);
        }
        Ok(Joined { accepted_through, join, life, resumed })
    }
}
