//! What lanes are told, and in which sequence: how they open, messages with their numbers, event time. It must not know
//! what follows from it.

use std::sync::Arc;

use acgs_lane::{LaneConfigs, LaneDown, LaneId, message::Open};
use acgs_vocabulary::JudgeKind;
use acgs_windowing::watermark::BEGINNING;

use super::{Action, Core};

/// What a lane was told.
#[derive(Debug)]
pub(super) struct Told {
    /// The newest sequence number.
    pub(super) seq: u64,
    /// The newest watermark, in milliseconds.
    pub(super) ticked_ms: i64,
}

impl Default for Told {
    fn default() -> Self {
        Self { seq: 0, ticked_ms: BEGINNING }
    }
}

impl Core {
    /// The first message of each lane, and what its judge may ask for.
    #[must_use]
    pub fn opens(&self) -> Vec<(LaneId, Open, LaneConfigs)> {
        let open = |lane: &LaneId| {
            let configs = self.spec.configs();
            let open = Open {
                stream_id: Arc::clone(&self.spec.stream_id),
                slot: lane.slot,
                epoch: 0,
                pane_ms: self.spec.window.pane_ms(),
                recent_ms: self.spec.recent_ms,
                once: false,
                schema: self.projections.get(&lane.judge).map(|it| Arc::clone(&it.schema))?,
                configs: configs.references(),
                snapshot_every_bytes: 0,
                model_id: self.spec.model_id.clone(),
                service_id: self.spec.service_id.clone(),
            };
            Some((*lane, open, configs))
        };
        self.lanes.keys().filter_map(open).collect()
    }

    /// The lane that holds the panes of a key.
    pub(super) fn lane_of(judge: JudgeKind, _key: &str) -> LaneId {
        LaneId::whole(judge)
    }

    /// A message with the lane's next sequence number.
    pub(super) fn down(&mut self, lane: LaneId, message: impl FnOnce(u64) -> LaneDown) -> Action {
        let told = self.lanes.entry(lane).or_default();
        told.seq += 1;
        Action::Down(lane, message(told.seq))
    }

    /// Tells every lane how far event time has come, if it has moved.
    pub(super) fn tell_time(&mut self, actions: &mut Vec<Action>) {
        let watermark_ms = self.windows.watermarks.current();
        for (lane, told) in self.lanes.iter_mut().filter(|(lane, _)| !self.lost.contains(lane)) {
            if watermark_ms > told.ticked_ms {
                told.ticked_ms = watermark_ms;
                told.seq += 1;
                actions.push(Action::Down(*lane, LaneDown::Tick { seq: told.seq, watermark_ms }));
            }
        }
    }
}
