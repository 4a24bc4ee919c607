//! The state of a lane, written and read: snapshots and restores. It must not know when a judge is lost.

use std::sync::Arc;

use acgs_vocabulary::Problem;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Held, PaneJudge, Restoring, Stage, broken, not_ready, weight};
use crate::{
    assessor::{Assessor, Feed},
    carry::Carried,
    message::{LaneDown, LaneUp, State},
    pieces,
};

/// Most bytes of a carry that is restored.
const CARRY_BYTES_MAX: usize = 64 << 20;
/// First byte of every pane state and carry.
const STATE_VERSION: u8 = 3;

fn encode<T: Serialize>(state: &T) -> Result<Bytes, Problem> {
    postcard::to_extend(state, vec![STATE_VERSION])
        .map(Bytes::from)
        .map_err(|error| Problem::internal(format!("the state of a lane could not be written: {error}")))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&STATE_VERSION, rest)) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

impl<A: Assessor> PaneJudge<A> {
    /// Whether there is anything that belongs to no pane.
    const CARRIES: bool = size_of::<A::Carry>() > 0 || !matches!(A::FEED, Feed::Nothing);

    /// Takes a piece of a state.
    pub(super) fn restore(&mut self, state: State) -> Result<Vec<LaneUp>, Problem> {
        let early = "a restore comes after the first credit and before all panes and rows";
        if !matches!(self.stage, Stage::Ready { .. }) {
            return Err(broken(early));
        }
        let mut carry = match std::mem::replace(&mut self.restoring, Restoring::Over) {
            Restoring::Possible => Vec::new(),
            Restoring::Begun(carry) => carry,
            Restoring::Over => return Err(broken(early)),
        };
        let unreadable = |field: &str, what: String| {
            Problem::field(field, "BAD_STATE", format!("{what} was not written by this version"))
        };
        if self.through_seq > 0 && self.through_seq != state.through_seq {
            return Err(Problem::field(
                "restore.through_seq",
                "BAD_STATE",
                "is another than that of the piece before",
            ));
        }
        for (pane, key, bytes) in state.panes {
            let Stage::Ready { plan, .. } = &self.stage else { return Err(broken(early)) };
            let held = decode(&bytes).filter(|held| self.assessor.fits(plan, held));
            let held = held.ok_or_else(|| unreadable("restore.panes", format!("pane {pane}")))?;
            let bytes = weight::<A::Pane>(&key, self.assessor.heap_bytes(&held));
            let former = self.panes.insert(pane, Held { key, pane: held, bytes });
            self.account(former.map_or(0, |former| former.bytes), bytes)?;
        }
        let Stage::Ready { plan, .. } = &self.stage else { return Err(broken(early)) };
        carry.extend_from_slice(&state.carry);
        if carry.len() > CARRY_BYTES_MAX {
            let message = format!("is more than {CARRY_BYTES_MAX} bytes");
            return Err(Problem::field("restore.carry", "TOO_LARGE", message));
        }
        self.through_seq = state.through_seq;
        if state.more {
            self.restoring = Restoring::Begun(carry);
        } else if !carry.is_empty() || (Self::CARRIES && state.through_seq > 0) {
            let carried = decode::<Carried<A::Carry>>(&carry);
            let carried = carried.filter(|carried| self.assessor.carries(plan, &carried.carry));
            self.carried = carried.ok_or_else(|| unreadable("restore.carry", "it".to_owned()))?;
        }
        Ok(Vec::new())
    }

    /// What a message costs by the panes that it has merged or written: bytes are read and written at about eight a cell.
    pub(super) fn cells_of(&self, message: &LaneDown) -> usize {
        let bytes_of = |pane| self.panes.get(pane).map_or(0, |held| held.bytes);
        let (merged, sent) = match message {
            LaneDown::Close(close) => (close.panes.iter().map(bytes_of).sum(), 0),
            LaneDown::Rows { batch, .. } => (0, batch.size_bytes() as u64),
            _ => (0, 0),
        };
        let written = if self.is_due(sent) { self.dirty.iter().map(bytes_of).sum() } else { 0 };
        (merged + written) / 8
    }

    /// Whether a snapshot is due after so many bytes more. Not more often than their own size allows: state travels no more than rows do.
    fn is_due(&self, bytes: u64) -> bool {
        let Stage::Ready { open, .. } = &self.stage else { return false };
        let every_bytes = open.snapshot_every_bytes;
        every_bytes > 0 && self.bytes_since_snapshot + bytes >= every_bytes.max(self.last_snapshot_bytes)
    }

    pub(super) fn snapshot_when_due(&mut self) -> Result<Vec<LaneUp>, Problem> {
        if !matches!(self.stage, Stage::Ready { .. }) {
            return Err(not_ready());
        }
        if self.is_due(0) { self.snapshot() } else { Ok(Vec::new()) }
    }

    /// Panes that changed since the last one, and the carry.
    pub(super) fn snapshot(&mut self) -> Result<Vec<LaneUp>, Problem> {
        let mut panes = Vec::with_capacity(self.dirty.len());
        for pane in std::mem::take(&mut self.dirty) {
            let Some(held) = self.panes.get(&pane) else { continue };
            panes.push((pane, Arc::clone(&held.key), encode(&held.pane)?));
        }
        let carry = if Self::CARRIES { encode(&self.carried)? } else { Bytes::new() };
        if carry.len() > CARRY_BYTES_MAX {
            return Err(Problem::internal(format!("a carry of {} bytes could not be restored", carry.len())));
        }
        let bytes = panes.iter().map(|(.., state)| state.len()).sum::<usize>() + carry.len();
        self.bytes_since_snapshot = 0;
        self.last_snapshot_bytes = bytes as u64;
        let pieces = pieces::cut(self.through_seq, panes, carry);
        Ok(pieces.into_iter().map(LaneUp::Snapshot).collect())
    }
}
