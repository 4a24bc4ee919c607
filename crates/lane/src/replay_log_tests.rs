//! A judge may be lost at any point, with messages on their way in both directions: every close gets its verdict once, and
//! it is the verdict of a judge that was never lost.

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_vocabulary::{Problem, VerdictStatus};
use proptest::prelude::*;

use super::*;
use crate::{
    judge::Judge,
    message::{LaneUp, Open},
    panes::{Assessment, Assessor, PaneJudge},
};

/// Remembers every value that it saw.
#[derive(Debug)]
struct Remember;

impl Assessor for Remember {
    type Plan = ();
    type Pane = Vec<i64>;

    fn plan(&self, _open: &Open, _configs: &[(String, Bytes)]) -> Result<(), Problem> {
        Ok(())
    }

    fn pane(&self, (): &(), _labels_only: bool) -> Vec<i64> {
        Vec::new()
    }

    fn pane_bytes(&self, (): &()) -> usize {
        8
    }

    fn fits(&self, (): &(), _pane: &Vec<i64>) -> bool {
        true
    }

    fn push(&self, (): &(), pane: &mut Vec<i64>, rows: &RecordBatch) {
        pane.extend((0..rows.rows()).filter_map(|row| rows.columns()[0].integer(row)));
    }

    fn merge(&self, (): &(), pane: &mut Vec<i64>, other: &Vec<i64>) {
        pane.extend(other);
    }

    fn evaluate(&self, (): &(), pane: &Vec<i64>, _window: &Window) -> Assessment {
        Assessment::without(VerdictStatus::Ok, format!("{pane:?}"))
    }
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("n", Kind::Int64, Role::Feature)]).unwrap())
}

fn judge(every_bytes: u64) -> PaneJudge<Remember> {
    let mut judge = PaneJudge::new(Remember);
    let open = Open {
        stream_id: "s".into(),
        slot: 0,
        schema: schema(),
        configs: Vec::new(),
        snapshot_every_bytes: every_bytes,
        model_id: String::new(),
        service_id: String::new(),
    };
    judge.apply(LaneDown::Open(open)).unwrap();
    judge
}

fn rows(seq: u64, runs: Vec<(PaneId, u32)>) -> LaneDown {
    let mut builder = BatchBuilder::new(schema());
    let length: u32 = runs.iter().map(|(_, length)| length).sum();
    for row in 0..length {
        builder.push(&[Cell::Integer(seq as i64 * 100 + i64::from(row))]).unwrap();
    }
    LaneDown::Rows { seq, batch: builder.finish().unwrap(), runs, again: false }
}

fn window(number: i64) -> Window {
    Window { stream_id: "s".into(), key: "".into(), start_ms: number, end_ms: number + 1 }
}

/// Panes of two or three frames each; a pane is closed with the one before it, which is then released.
fn script(length: u64) -> Vec<LaneDown> {
    let mut messages = Vec::new();
    let mut seq = 0;
    for pane in 1..=length {
        messages.push(LaneDown::OpenPane { pane, key: "".into(), labels_only: false });
        for part in 0..2 + pane % 2 {
            seq += 1;
            let runs = if part == 1 && pane > 1 { vec![(pane - 1, 2), (pane, 3)] } else { vec![(pane, 4)] };
            messages.push(rows(seq, runs));
        }
        if pane > 1 {
            let close =
                LaneDown::Close { window: window(pane as i64), revision: 0, panes: vec![pane - 1, pane] };
            messages.push(close);
        }
        if pane > 2 {
            messages.push(LaneDown::Release { panes: vec![pane - 2] });
        }
    }
    messages
}

fn verdicts(ups: impl IntoIterator<Item = LaneUp>) -> Vec<(i64, String)> {
    let of = |up| match up {
        LaneUp::Verdict(verdict) => Some((verdict.window.start_ms, verdict.reason)),
        _ => None,
    };
    ups.into_iter().filter_map(of).collect()
}

/// An orchestrator's end and a judge's end, with what is on its way between them.
struct Wire {
    log: ReplayLog,
    judge: PaneJudge<Remember>,
    every_bytes: u64,
    down: VecDeque<LaneDown>,
    up: VecDeque<LaneUp>,
    got: Vec<(i64, String)>,
}

impl Wire {
    fn step(&mut self, kind: u8) -> bool {
        match kind {
            0 => self.log.next().map(|message| self.down.push_back(message)).is_some(),
            1 => match self.down.pop_front() {
                Some(message) => {
                    self.up.extend(self.judge.apply(message).unwrap());
                    true
                }
                None => false,
            },
            _ => match self.up.pop_front() {
                Some(LaneUp::Verdict(verdict)) => {
                    self.log.answered(&verdict.window, verdict.revision);
                    self.got.extend(verdicts([LaneUp::Verdict(verdict)]));
                    true
                }
                Some(LaneUp::Snapshot(state)) => {
                    self.log.snapshot(state);
                    true
                }
                Some(_) => true,
                None => false,
            },
        }
    }

    fn lose(&mut self, in_order: bool) {
        if in_order {
            // A judge that stops says its state last, and all of it arrives.
            self.up.extend(self.judge.hand_over());
            while self.step(2) {}
        }
        self.judge = judge(self.every_bytes);
        self.up.clear();
        self.down = self.log.replay().into();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_lost_judge_is_not_noticed(
        steps in prop::collection::vec(0_u8..40, 0..400),
        every_bytes in prop::sample::select(vec![1_u64, 3_000, 1_000_000]),
    ) {
        let script = script(12);
        let mut straight = judge(0);
        let expected =
            verdicts(script.iter().cloned().flat_map(|message| straight.apply(message).unwrap()));
        let mut wire = Wire {
            log: ReplayLog::new(true),
            judge: judge(every_bytes),
            every_bytes,
            down: VecDeque::new(),
            up: VecDeque::new(),
            got: Vec::new(),
        };
        let mut messages = script.into_iter();
        for step in steps {
            match step {
                0 => wire.lose(false),
                1 => wire.lose(true),
                2..14 => messages.next().into_iter().for_each(|message| wire.log.push(message)),
                other => {
                    wire.step(other % 3);
                }
            }
        }
        messages.for_each(|message| wire.log.push(message));
        while (0..3).any(|kind| wire.step(kind)) {}
        prop_assert_eq!(wire.got, expected);
        let (messages, bytes, frames) = wire.log.unsent();
        prop_assert_eq!((messages, bytes, frames), (0, 0, 0));
        if every_bytes == 1 {
            prop_assert!(wire.log.kept() <= 4, "what a state holds is not kept: {}", wire.log.kept());
        }
    }
}

#[test]
fn a_judge_that_was_given_up_sees_new_panes_only() {
    let mut log = ReplayLog::new(true);
    let script = script(6);
    let (before, after) = script.split_at(script.len() / 2);
    before.iter().for_each(|message| log.push(message.clone()));
    assert!(log.has_unsent());
    log.abandon();
    assert!(!log.has_unsent() && log.is_absent());
    assert!(log.revive());
    let mut fresh = judge(0);
    let mut got = Vec::new();
    for message in after {
        log.push(message.clone());
        while let Some(message) = log.next() {
            // Rows of lost panes would end the lane.
            got.extend(fresh.apply(message).unwrap());
        }
    }
    let of = |status| {
        got.iter().filter(|up| matches!(up, LaneUp::Verdict(verdict) if verdict.status == status)).count()
    };
    assert_eq!(of(VerdictStatus::Unavailable), 2, "both windows over the lost pane say so");
    assert_eq!(of(VerdictStatus::Ok), 1, "the one after them is judged");
}

#[test]
fn a_lane_that_cannot_be_lost_keeps_nothing() {
    let mut log = ReplayLog::new(false);
    script(5).into_iter().for_each(|message| log.push(message));
    while log.next().is_some() {}
    assert_eq!((log.kept(), log.unsent()), (0, (0, 0, 0)));
}
