//! A judge for the lane's own tests: it remembers every value in order, and its detector everything that it was given. It
//! must not judge.

use std::sync::Arc;

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_vocabulary::{Problem, VerdictStatus, Window};
use bytes::Bytes;

use crate::{
    Assessment, Assessor, Carried, Fed, Feed, Judge, LaneDown, LaneUp, PaneJudge,
    message::{Close, Open, PaneId, Timing},
};

/// Has no detector.
pub(crate) const NOTHING: u8 = 0;
/// Its detector has an on-time feed.
pub(crate) const ON_TIME: u8 = 1;
/// Its detector has a settled feed.
pub(crate) const SETTLED: u8 = 2;

/// What detectors remember: in order, so that one that is given the same in another order differs.
pub(crate) type Memory = Vec<String>;

#[derive(Debug)]
pub(crate) struct Toy<const FEED: u8>;

impl<const FEED: u8> Assessor for Toy<FEED> {
    type Plan = ();
    type Pane = Vec<i64>;
    type Carry = Memory;

    const FEED: Feed = match FEED {
        NOTHING => Feed::Nothing,
        ON_TIME => Feed::OnTime,
        _ => Feed::Settled,
    };

    fn plan(&self, _open: &Open, _configs: &[(String, Bytes)]) -> Result<(), Problem> {
        Ok(())
    }

    fn pane(&self, (): &(), _labels_only: bool) -> Vec<i64> {
        Vec::new()
    }

    fn heap_bytes(&self, pane: &Vec<i64>) -> usize {
        pane.capacity() * 8
    }

    fn fits(&self, (): &(), _pane: &Vec<i64>) -> bool {
        true
    }

    fn push(&self, (): &(), pane: &mut Vec<i64>, rows: &RecordBatch, _partition: &str) {
        pane.extend((0..rows.rows()).filter_map(|row| rows.columns()[0].integer(row)));
    }

    fn merge(&self, (): &(), pane: &mut Vec<i64>, other: &Vec<i64>) {
        pane.extend(other);
    }

    fn bears_labels(&self, (): &(), pane: &Vec<i64>) -> bool {
        pane.iter().sum::<i64>() % 3 != 0
    }

    fn feed(&self, (): &(), carry: &mut Memory, fed: Fed<'_, Vec<i64>>) {
        carry.push(format!("{}{}={}", fed.key, fed.pane, fed.held.iter().sum::<i64>()));
    }

    fn tick(&self, (): &(), carry: &mut Memory, watermark_ms: i64) {
        carry.push(format!("t{watermark_ms}"));
    }

    fn evaluate(&self, (): &(), pane: &Vec<i64>, carried: &Carried<Memory>, _window: &Window) -> Assessment {
        Assessment::without(VerdictStatus::Ok, format!("{pane:?} {carried:?}"))
    }
}

pub(crate) fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("n", Kind::Int64, Role::Feature)]).unwrap())
}

pub(crate) fn open(snapshot_every_bytes: u64) -> Open {
    Open {
        stream_id: "s".into(),
        slot: 0,
        epoch: 0,
        schema: schema(),
        configs: Vec::new(),
        snapshot_every_bytes,
        model_id: String::new(),
        service_id: String::new(),
        pane_ms: 0,
        recent_ms: 0,
        once: false,
    }
}

/// A judge whose lane is open.
pub(crate) fn judge<const FEED: u8>(every_bytes: u64) -> PaneJudge<Toy<FEED>> {
    let mut judge = PaneJudge::new(Toy::<FEED>);
    judge.apply(LaneDown::Open(open(every_bytes))).unwrap();
    judge
}

fn batch(seq: u64, length: u32) -> RecordBatch {
    let mut builder = BatchBuilder::new(schema());
    for row in 0..length {
        builder.push(&[Cell::Integer(seq as i64 * 100 + i64::from(row))]).unwrap();
    }
    builder.finish().unwrap()
}

/// Messages with their numbers.
#[derive(Default)]
struct Messages {
    seq: u64,
    all: Vec<LaneDown>,
}

impl Messages {
    fn next(&mut self, make: impl FnOnce(u64) -> LaneDown) {
        self.seq += 1;
        self.all.push(make(self.seq));
    }

    fn open(&mut self, pane: PaneId) {
        let key = if pane.is_multiple_of(2) { "k" } else { "" };
        self.all.push(LaneDown::OpenPane { pane, key: key.into(), labels_only: false });
    }

    fn rows(&mut self, runs: Vec<(PaneId, u32)>) {
        let length = runs.iter().map(|(_, length)| length).sum();
        self.next(|seq| LaneDown::Rows {
            seq,
            batch: batch(seq, length),
            runs,
            again: false,
            partition: "".into(),
            retracts: false,
        });
    }

    fn close(&mut self, number: u64, revision: u32, panes: Vec<PaneId>, timing: Timing) {
        let start_ms = number as i64;
        let window = Window { stream_id: "s".into(), key: "".into(), start_ms, end_ms: start_ms + 1 };
        self.next(|seq| {
            LaneDown::Close(Close { seq, window, revision, panes, timing, again: false, settled: false })
        });
    }
}

/// Panes of two or three frames; a window is a pane with the one before it, which is then released. Some windows are
/// judged early, some again for a late pane, and event time ticks.
pub(crate) fn script(length: u64) -> Vec<LaneDown> {
    let mut messages = Messages::default();
    for pane in 1..=length {
        messages.open(pane);
        for part in 0..2 + pane % 2 {
            let before = part == 1 && pane > 1;
            messages.rows(if before { vec![(pane - 1, 2), (pane, 3)] } else { vec![(pane, 4)] });
        }
        let (mut revision, before) = (0, pane.saturating_sub(1).max(1));
        if pane % 3 == 2 {
            messages.close(pane, 0, vec![before, pane], Timing::Early);
            revision = 1;
        }
        messages.next(|seq| LaneDown::Tick { seq, watermark_ms: pane as i64 * 10 });
        if pane > 1 {
            messages.close(pane, revision, vec![before, pane], Timing::OnTime);
        }
        let late = 100 + pane;
        if pane % 4 == 3 {
            messages.open(late);
            messages.rows(vec![(late, 2)]);
            messages.close(pane, revision + 1, vec![before, pane, late], Timing::Late);
        }
        if pane > 2 {
            messages.next(|seq| LaneDown::Release { seq, panes: vec![pane - 2, late - 2] });
        }
    }
    messages.all
}

/// Window, revision and what the judge said of it.
pub(crate) type Said = (i64, u32, String);

/// The verdicts among what a judge says.
pub(crate) fn verdicts(ups: impl IntoIterator<Item = LaneUp>) -> Vec<Said> {
    let of = |up| match up {
        LaneUp::Verdict(verdict) => Some((verdict.window.start_ms, verdict.revision, verdict.reason)),
        _ => None,
    };
    ups.into_iter().filter_map(of).collect()
}

/// What a judge that is never lost says of a script.
pub(crate) fn straight<const FEED: u8>(script: &[LaneDown]) -> Vec<Said> {
    let mut judge = judge::<FEED>(0);
    verdicts(script.iter().cloned().flat_map(|message| judge.apply(message).unwrap()))
}
