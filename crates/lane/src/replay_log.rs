//! The orchestrator's log of one lane: what the judge has said of its state, and what was sent after it, so that another
//! judge can go on where the first one was lost. Pure; it must not know how a lane is carried or who lost it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use acgs_vocabulary::{
    Window,
    budget::{Reservation, Share},
};
use bytes::Bytes;

use crate::{
    message::{Close, LaneDown, PaneId, State, Timing},
    pieces,
};

/// A message that was pushed, and whether it is still needed.
#[derive(Debug)]
struct Entry {
    message: LaneDown,
    /// A close that has its verdict is sent again for what it feeds only.
    answered: bool,
}

impl Entry {
    /// What a judge that begins from an earlier state needs of it.
    fn message(&self) -> Option<LaneDown> {
        match &self.message {
            LaneDown::Close(close) if self.answered => (close.timing == Timing::OnTime || close.settled)
                .then(|| LaneDown::Close(Close { again: true, ..close.clone() })),
            message => Some(message.clone()),
        }
    }
}

fn bytes_of(piece: &State) -> usize {
    piece.panes.iter().map(|(.., bytes)| bytes.len()).sum::<usize>() + piece.carry.len()
}

/// The log.
#[derive(Debug, Default)]
pub struct ReplayLog {
    keeps: bool,
    panes: BTreeMap<PaneId, (Arc<str>, Bytes)>,
    carry: Bytes,
    through_seq: u64,
    /// Pieces of a snapshot that is not whole yet.
    pieces: Vec<State>,
    log: VecDeque<Entry>,
    /// Entries that the log has lost at its front: a place in it less this is its index.
    trimmed: u64,
    /// Closes without a verdict, by their place.
    asked: HashMap<(Window, u32), u64>,
    /// Entries of the log that this lane was given.
    given: usize,
    /// Entries of the log that an earlier lane was given.
    given_before: usize,
    unsent_bytes: i64,
    unsent_frames: i64,
    newest_pane: PaneId,
    /// Panes up to here were lost with a judge that was given up.
    blind_through: PaneId,
    absent: bool,
    /// What the judge's state holds here; frames have a room of their own.
    room: Option<Reservation>,
}

impl ReplayLog {
    /// An empty log. One that does not keep forgets what it has given out: its lane cannot be lost.
    #[must_use]
    pub fn new(keeps: bool) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// Counts the judge's state in this share.
    #[must_use]
    pub fn within(mut self, share: &Share) -> Self {
        self.room = Some(share.nothing());
        self
    }

    fn account(&mut self) {
        let waiting: usize = self.pieces.iter().map(bytes_of).sum();
        let bytes = self.state_bytes() + self.carry.len() + waiting;
        if let Some(room) = &mut self.room {
            // It stands for frames that need not be kept any more: what is refused for it are new ones.
            room.force(bytes);
        }
    }

    /// Adds a message to what is to be sent. While the judge is given up, it goes nowhere.
    pub fn push(&mut self, message: LaneDown) {
        if let LaneDown::OpenPane { pane, .. } = &message {
            self.newest_pane = self.newest_pane.max(*pane);
        }
        if self.absent {
            return;
        }
        let Some(message) = self.sighted(message) else { return };
        self.count(&message, 1);
        if let LaneDown::Close(close) = &message
            && self.keeps
        {
            let place = self.trimmed + self.log.len() as u64;
            self.asked.insert((close.window.clone(), close.revision), place);
        }
        self.log.push_back(Entry { message, answered: false });
    }

    /// What is left of a message when panes are lost.
    fn sighted(&self, message: LaneDown) -> Option<LaneDown> {
        match message {
            LaneDown::Rows { seq, batch, runs, again, partition, retracts }
                if runs.iter().any(|(pane, _)| *pane <= self.blind_through) =>
            {
                let mut rows = Vec::with_capacity(batch.rows());
                let mut start = 0;
                for (pane, length) in &runs {
                    if *pane > self.blind_through {
                        rows.extend(start..start + length);
                    }
                    start += length;
                }
                let runs: Vec<_> = runs.into_iter().filter(|(pane, _)| *pane > self.blind_through).collect();
                (!rows.is_empty()).then(|| LaneDown::Rows {
                    seq,
                    batch: batch.take(&rows),
                    runs,
                    again,
                    partition,
                    retracts,
                })
            }
            other => Some(other),
        }
    }

    fn count(&mut self, message: &LaneDown, sign: i64) {
        if let LaneDown::Rows { batch, .. } = message {
            self.unsent_bytes += sign * batch.size_bytes() as i64;
            self.unsent_frames += sign;
        }
    }

    /// The next message for the lane.
    #[expect(clippy::should_implement_trait, reason = "what comes later is next too: it has no end")]
    pub fn next(&mut self) -> Option<LaneDown> {
        if !self.keeps {
            let message = self.log.pop_front()?.message;
            self.count(&message, -1);
            return Some(message);
        }
        loop {
            let entry = self.log.get(self.given)?;
            self.given += 1;
            let Some(mut message) = entry.message() else { continue };
            if let LaneDown::Rows { again, .. } = &mut message {
                *again = self.given <= self.given_before;
            }
            self.count(&message, -1);
            return Some(message);
        }
    }

    /// Whether there is something to give.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.given < self.log.len()
    }

    /// Messages, bytes of rows and frames that are not given out yet.
    #[must_use]
    pub fn unsent(&self) -> (usize, i64, i64) {
        (self.log.len() - self.given.min(self.log.len()), self.unsent_bytes, self.unsent_frames)
    }

    /// Bytes of panes that would be restored.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        self.panes.values().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Messages kept to be sent again.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.log.len()
    }

    /// A close has its verdict.
    pub fn answered(&mut self, window: &Window, revision: u32) {
        let Some(place) = self.asked.remove(&(window.clone(), revision)) else { return };
        let index = place.checked_sub(self.trimmed).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.log.get_mut(index)) {
            entry.answered = true;
        }
    }

    /// The judge has said its state, or a piece of it. With the last piece, what is in it need not be sent again.
    pub fn snapshot(&mut self, piece: State) {
        // One that stops before it was restored says less than is known; nobody can know what was not given.
        let known = self.through_seq..=self.given_through();
        if !self.keeps || !known.contains(&piece.through_seq) {
            return;
        }
        if self.pieces.last().is_some_and(|last| last.through_seq != piece.through_seq) {
            self.pieces.clear();
        }
        let whole = !piece.more;
        let through_seq = piece.through_seq;
        self.pieces.push(piece);
        if !whole {
            let bytes = self.pieces.last().map_or(0, bytes_of);
            if let Some(room) = &mut self.room {
                room.force(room.bytes() + bytes);
            }
            return;
        }
        let pieces = std::mem::take(&mut self.pieces);
        self.carry = pieces::carry(&pieces);
        for piece in pieces {
            let opened = piece.panes.into_iter().filter(|(pane, ..)| *pane <= self.newest_pane);
            for (pane, key, bytes) in opened {
                self.panes.insert(pane, (key, bytes));
            }
        }
        self.through_seq = through_seq;
        self.trim(through_seq);
        self.account();
    }

    /// The newest sequence number that the judge was given.
    fn given_through(&self) -> u64 {
        let given = self.log.iter().take(self.given).rev().find_map(|entry| entry.message.seq());
        given.unwrap_or(0).max(self.through_seq)
    }

    /// Drops what a state through this frame holds; what is released by then is not in it any more.
    fn trim(&mut self, through_seq: u64) {
        let is_in = |entry: &Entry| entry.message.seq().is_some_and(|seq| seq <= through_seq);
        let Some(last) = self.log.iter().take(self.given).rposition(is_in) else { return };
        let mut open = Vec::new();
        for entry in self.log.drain(..=last) {
            match entry.message {
                LaneDown::Release { panes, .. } => panes.iter().for_each(|pane| {
                    self.panes.remove(pane);
                }),
                // Its verdict comes before the snapshot; were it not so, it would have to be asked again.
                LaneDown::Close(_) if !entry.answered => open.push(entry),
                _ => {}
            }
        }
        self.trimmed += (last + 1 - open.len()) as u64;
        self.given = self.given - (last + 1) + open.len();
        self.given_before = self.given_before.saturating_sub(last + 1) + open.len();
        for (index, entry) in open.iter().enumerate() {
            if let LaneDown::Close(close) = &entry.message {
                let question = (close.window.clone(), close.revision);
                self.asked.insert(question, self.trimmed + index as u64);
            }
        }
        open.into_iter().rev().for_each(|entry| self.log.push_front(entry));
    }

    /// The lane was lost: everything since the last state is to be given again. Returns what restores that state.
    pub fn replay(&mut self) -> Vec<LaneDown> {
        self.pieces.clear();
        self.given_before = self.given_before.max(self.given);
        self.given = 0;
        (self.unsent_bytes, self.unsent_frames) = (0, 0);
        for entry in &self.log {
            if let LaneDown::Rows { batch, .. } = &entry.message {
                self.unsent_bytes += batch.size_bytes() as i64;
                self.unsent_frames += 1;
            }
        }
        if self.through_seq == 0 && self.panes.is_empty() {
            return Vec::new();
        }
        let panes = self.panes.iter().map(|(pane, (key, state))| (*pane, Arc::clone(key), state.clone()));
        let pieces = pieces::cut(self.through_seq, panes, self.carry.clone());
        pieces.into_iter().map(LaneDown::Restore).collect()
    }

    /// No judge was found for too long: what was kept is let go, and with it the panes there are and what detectors had
    /// come to.
    pub fn abandon(&mut self) {
        let (newest_pane, room) = (self.newest_pane, self.room.take());
        *self = Self { keeps: self.keeps, newest_pane, absent: true, room, ..Self::default() };
        self.account();
    }

    /// A judge was found after all: it sees panes that are opened from now on. True when the log had been given up.
    pub fn revive(&mut self) -> bool {
        self.blind_through = self.blind_through.max(if self.absent { self.newest_pane } else { 0 });
        std::mem::take(&mut self.absent)
    }

    /// Whether the judge was given up.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.absent
    }
}

#[cfg(test)]
#[path = "replay_log_tests.rs"]
mod tests;
