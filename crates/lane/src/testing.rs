//! A script for judges under test: the same rows through one judge, and through two with a snapshot between them.

use std::sync::Arc;

use acgs_columns::RecordBatch;
use acgs_vocabulary::{Window, constitution::sha256};
use bytes::Bytes;

use crate::{
    judge::Judge,
    message::{Close, LaneDown, LaneUp, Open, PaneId, State, Timing, Verdict},
    pieces,
};

/// Rows in frames and panes, and the windows to close over them.
#[derive(Clone, Debug)]
pub struct Script {
    /// What the judge is told by content.
    pub configs: Vec<(String, Bytes)>,
    /// Frames, each with the panes that its rows go to in equal parts.
    pub frames: Vec<(RecordBatch, Vec<PaneId>)>,
    /// Windows as lists of panes.
    pub windows: Vec<Vec<PaneId>>,
}

impl Script {
    fn open(&self, snapshot_every_bytes: u64) -> Open {
        Open {
            stream_id: "stream".into(),
            slot: 0,
            epoch: 0,
            schema: Arc::clone(self.frames[0].0.schema()),
            configs: self.configs.iter().map(|(kind, content)| (kind.clone(), sha256(content))).collect(),
            snapshot_every_bytes,
            model_id: "model".into(),
            service_id: "service".into(),
            pane_ms: 0,
            recent_ms: 0,
            once: false,
        }
    }

    /// Opens a lane and gives it its configs.
    pub fn start(&self, judge: &mut dyn Judge, snapshot_every_bytes: u64) {
        let mut answers = judge.apply(LaneDown::Open(self.open(snapshot_every_bytes))).expect("opens");
        for (_, content) in &self.configs {
            if answers.iter().any(|answer| matches!(answer, LaneUp::Need { .. })) {
                let config = LaneDown::Config { digest: sha256(content), content: content.clone() };
                answers.extend(judge.apply(config).expect("takes the config"));
            }
        }
        assert!(answers.iter().any(|answer| matches!(answer, LaneUp::Credit { .. })), "credit: {answers:?}");
    }

    fn send(&self, judge: &mut dyn Judge, frames: std::ops::Range<usize>) -> Vec<LaneUp> {
        let mut answers = Vec::new();
        for index in frames {
            let (batch, panes) = &self.frames[index];
            let mut runs = Vec::new();
            let share = (batch.rows() / panes.len()).max(1) as u32;
            let mut left = batch.rows() as u32;
            for (place, &pane) in panes.iter().enumerate() {
                judge
                    .apply(LaneDown::OpenPane { pane, key: "".into(), labels_only: false })
                    .expect("opens a pane");
                let length = if place + 1 == panes.len() { left } else { share.min(left) };
                left -= length;
                if length > 0 {
                    runs.push((pane, length));
                }
            }
            let rows = LaneDown::Rows {
                seq: index as u64 + 1,
                batch: batch.clone(),
                runs,
                again: false,
                partition: "".into(),
                retracts: false,
            };
            answers.extend(judge.apply(rows).expect("takes rows"));
        }
        answers
    }

    fn judge(&self, judge: &mut dyn Judge) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (index, panes) in self.windows.iter().enumerate() {
            let start_ms = index as i64 * 1_000;
            let window =
                Window { stream_id: "stream".into(), key: "".into(), start_ms, end_ms: start_ms + 1_000 };
            let close = Close {
                seq: (self.frames.len() + index) as u64 + 1,
                window,
                revision: 0,
                panes: panes.clone(),
                timing: Timing::OnTime,
                again: false,
                settled: true,
            };
            for answer in judge.apply(LaneDown::Close(close)).expect("judges") {
                if let LaneUp::Verdict(verdict) = answer {
                    verdicts.push(verdict);
                }
            }
        }
        verdicts
    }

    /// Verdicts of one judge that sees everything.
    pub fn straight(&self, judge: &mut dyn Judge) -> Vec<Verdict> {
        self.start(judge, 0);
        self.send(judge, 0..self.frames.len());
        self.judge(judge)
    }

    /// Verdicts of a second judge that begins from the first one's snapshots; the first dies after `died_after`
    /// frames, and the frames after the last snapshot are sent again.
    pub fn with_death(
        &self,
        first: &mut dyn Judge,
        second: &mut dyn Judge,
        died_after: usize,
        snapshot_every_bytes: u64,
    ) -> Vec<Verdict> {
        self.start(first, snapshot_every_bytes);
        let mut kept = State::default();
        let mut pieces = Vec::new();
        for answer in self.send(first, 0..died_after.min(self.frames.len())) {
            if let LaneUp::Snapshot(state) = answer {
                kept.through_seq = state.through_seq;
                pieces.push(State { panes: Vec::new(), ..state.clone() });
                if !state.more {
                    kept.carry = pieces::carry(&std::mem::take(&mut pieces));
                }
                for pane in state.panes {
                    kept.panes.retain(|(known, ..)| *known != pane.0);
                    kept.panes.push(pane);
                }
            }
        }
        self.start(second, snapshot_every_bytes);
        let resume = kept.through_seq as usize;
        second.apply(LaneDown::Restore(kept)).expect("restores");
        // Some frames that the snapshot holds come again, as after a lost acknowledgement.
        self.send(second, resume.saturating_sub(2)..self.frames.len());
        self.judge(second)
    }
}
