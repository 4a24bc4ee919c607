//! Frames that are not accepted: their numbers, their credit, and what has to be sent, first or again. It must not know a
//! connection.

use std::collections::VecDeque;

use acgs_contracts::orchestrator::v1::stream_windows_request::Message as Say;

/// What a server that opens a stream again knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Everything that it said it had.
    Same,
    /// Less, or what was never sent: its state is another's.
    New,
}

/// A frame, numbered.
#[derive(Debug)]
struct Frame {
    bytes: u64,
    /// What it counts for, as its sender says: rows, unless it says something else.
    weight: u64,
    /// `None` when it was sent and is never sent again.
    message: Option<Say>,
}

/// The account.
#[derive(Debug)]
pub(super) struct Unaccepted {
    keeps: bool,
    accepted_through: u64,
    credit_bytes: i64,
    /// The first has the number after the last accepted.
    frames: VecDeque<Frame>,
    /// Of these, so many were given to the connection that there is.
    sent: usize,
    /// And so many to this one or one before: the server may have them.
    sent_ever: usize,
    /// Whether the numbers are the server's yet.
    is_numbered: bool,
    /// What was accepted counts for.
    accepted_weight: u64,
    /// What the server called the partition's life when it was opened last; empty for servers that do not.
    life: String,
}

fn numbered(mut message: Say, seq: u64) -> Say {
    match &mut message {
        Say::Rows(rows) => rows.seq = seq,
        Say::Labels(labels) => labels.seq = seq,
        Say::Open(_) | Say::Ack(_) | Say::End(_) => {}
    }
    message
}

impl Unaccepted {
    /// Of a stream whose frames are kept until they are accepted, or not.
    pub(super) fn new(keeps: bool) -> Self {
        Self {
            keeps,
            accepted_through: 0,
            credit_bytes: 0,
            frames: VecDeque::new(),
            sent: 0,
            sent_ever: 0,
            is_numbered: false,
            accepted_weight: 0,
            life: String::new(),
        }
    }

    /// Bytes that the server takes now.
    pub(super) fn credit_bytes(&self) -> i64 {
        self.credit_bytes
    }

    /// The last frame that was accepted.
    pub(super) fn accepted_through(&self) -> u64 {
        self.accepted_through
    }

    /// Frames that are not accepted.
    pub(super) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// What is not accepted counts for.
    pub(super) fn weight(&self) -> u64 {
        self.frames.iter().map(|frame| frame.weight).sum()
    }

    /// What was accepted counts for, ever.
    pub(super) fn accepted_weight(&self) -> u64 {
        self.accepted_weight
    }

    /// Takes a frame that is to be sent.
    pub(super) fn add(&mut self, message: Say, bytes: usize, weight: u64) {
        self.credit_bytes -= bytes as i64;
        self.frames.push_back(Frame { bytes: bytes as u64, weight, message: Some(message) });
    }

    /// Whether a frame is to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.frames.len()
    }

    /// The next frame to be sent, with its number; it counts as sent.
    pub(super) fn next(&mut self) -> Option<Say> {
        let frame = self.frames.get_mut(self.sent)?;
        let message = if self.keeps { frame.message.clone() } else { frame.message.take() }?;
        self.sent += 1;
        self.sent_ever = self.sent_ever.max(self.sent);
        Some(numbered(message, self.accepted_through + self.sent as u64))
    }

    /// The server has everything through this number, and takes so many bytes more.
    pub(super) fn accept(&mut self, through_seq: u64, credit_bytes: u64) {
        self.credit_bytes += credit_bytes as i64;
        while self.accepted_through < through_seq
            && let Some(frame) = self.frames.pop_front()
        {
            self.accepted_weight += frame.weight;
            self.accepted_through += 1;
            self.sent = self.sent.saturating_sub(1);
            self.sent_ever = self.sent_ever.saturating_sub(1);
        }
    }

    /// Puts these, with their bytes and what they count for, in the place of the frame that is to be accepted next; what is given up with it.
    /// Nothing behind it was accepted, so that numbers still follow each other.
    pub(super) fn replace_first(&mut self, with: impl FnOnce(Say) -> Vec<(Say, usize, u64)>) -> u64 {
        let Some(frame) = self.frames.pop_front() else { return 0 };
        self.sent = self.sent.saturating_sub(1);
        self.sent_ever = self.sent_ever.saturating_sub(1);
        let parts = frame.message.map(with).unwrap_or_default();
        let kept: u64 = parts.iter().map(|(_, _, weight)| weight).sum();
        for (message, bytes, weight) in parts.into_iter().rev() {
            self.frames.push_front(Frame { bytes: bytes as u64, weight, message: Some(message) });
        }
        frame.weight.saturating_sub(kept)
    }

    /// What the server that opened the stream now knows of it. Another life is somebody else's, who has had this partition meanwhile, and so
    /// is more than was ever sent.
    pub(super) fn life(&self, accepted_through: u64, life: &str) -> Life {
        let known = self.accepted_through..=self.accepted_through + self.sent_ever as u64;
        // Where nothing was accepted, before and now, nothing can be mistaken.
        let nothing = (accepted_through, self.accepted_through) == (0, 0);
        let another = !nothing && !self.life.is_empty() && !life.is_empty() && *life != self.life;
        if !self.is_numbered || (known.contains(&accepted_through) && !another) {
            Life::Same
        } else {
            Life::New
        }
    }

    /// The stream is open (again): all that the server does not have is to be sent. In a new life frames get new numbers; in
    /// the same one those whose acceptance was not heard are not sent again.
    pub(super) fn reopen(&mut self, accepted_through: u64, credit_bytes: u64, life: &str) {
        if self.is_numbered && self.life(accepted_through, life) == Life::Same {
            self.accept(accepted_through, 0);
        }
        self.is_numbered = true;
        life.clone_into(&mut self.life);
        self.accepted_through = accepted_through;
        self.sent = 0;
        let owed: u64 = self.frames.iter().map(|frame| frame.bytes).sum();
        self.credit_bytes = credit_bytes as i64 - owed as i64;
    }

    /// Whether all frames can be sent again, if they have to be.
    pub(super) fn is_whole(&self) -> bool {
        self.frames.iter().all(|frame| frame.message.is_some())
    }
}

#[cfg(test)]
#[path = "unaccepted_tests.rs"]
mod tests;
