//! The judge's machine, the same for every judge: panes, sequence, carry, snapshots, credit. What a pane holds and what a
//! window comes to, an [`Assessor`] says. It must not know time.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use acgs_columns::RecordBatch;
use acgs_vocabulary::{
    Problem, VerdictStatus,
    budget::{Reservation, Share},
    convert::batch::TEXT_BYTES_MAX,
    problem::Kind,
};
use bytes::Bytes;

use crate::{
    assessor::{Assessment, Assessor},
    carry::Carried,
    epochs::{Epochs, Tenure},
    judge::Judge,
    message::{Close, ConfigDigest, LaneDown, LaneUp, Open, PaneId, Verdict},
    opening::Opening,
};

mod feeding;
mod held;
mod state;

use held::{Given, Held, control_bytes, weight};

/// Bytes of rows that may be on their way to a judge.
pub const CREDIT_BYTES: u64 = 8 << 20;
/// Row frames that may be on their way to a judge.
pub const CREDIT_MESSAGES: u32 = 256;
/// Most panes of one lane.
pub const PANES_MAX: usize = 1 << 20;
/// Most bytes of all panes of one lane.
pub const PANE_BYTES_MAX: usize = 1 << 30;
/// What a frame counts towards the next snapshot, however small: small frames are kept for replay too.
const FRAME_BYTES_MIN: u64 = 1 << 10;

/// The machine.
#[derive(Debug)]
pub struct PaneJudge<A: Assessor> {
    assessor: A,
    epochs: Epochs,
    stage: Stage<A::Plan>,
    panes: BTreeMap<PaneId, Held<A::Pane>>,
    /// What they take of the process's memory.
    room: Reservation,
    carried: Carried<A::Carry>,
    dirty: BTreeSet<PaneId>,
    through_seq: u64,
    bytes_since_snapshot: u64,
    last_snapshot_bytes: u64,
    restoring: Restoring,
    consumed_bytes: u64,
    consumed_messages: u32,
}

#[derive(Debug)]
enum Stage<P> {
    New,
    Waiting(Opening),
    Ready { open: Open, plan: P, tenure: Tenure },
}

/// How far a restore has come.
#[derive(Debug)]
enum Restoring {
    /// It may come.
    Possible,
    /// A piece has said that another follows; its carry so far.
    Begun(Vec<u8>),
    /// It is whole, or would come too late.
    Over,
}

fn broken(message: impl Into<String>) -> Problem {
    Problem::new(Kind::Precondition, "LANE_PROTOCOL", message)
}

fn not_ready() -> Problem {
    broken("the lane is not ready")
}

impl<A: Assessor> PaneJudge<A> {
    /// A judge whose lane is not open yet.
    #[must_use]
    pub fn new(assessor: A) -> Self {
        Self {
            assessor,
            epochs: Epochs::default(),
            stage: Stage::New,
            panes: BTreeMap::new(),
            room: Share::unbounded().nothing(),
            carried: Carried::default(),
            dirty: BTreeSet::new(),
            through_seq: 0,
            bytes_since_snapshot: 0,
            last_snapshot_bytes: 0,
            restoring: Restoring::Possible,
            consumed_bytes: 0,
            consumed_messages: 0,
        }
    }

    /// Takes what its panes hold from this share.
    #[must_use]
    pub fn within(mut self, share: &Share) -> Self {
        self.room = share.nothing();
        self
    }

    /// Refuses lanes of epochs older than those of other lanes that share this.
    #[must_use]
    pub fn fenced(mut self, epochs: Epochs) -> Self {
        self.epochs = epochs;
        self
    }

    fn open(&mut self, open: Open) -> Result<Vec<LaneUp>, Problem> {
        if !matches!(self.stage, Stage::New) {
            return Err(broken("a lane is opened once"));
        }
        let opening = Opening::begin(open)?;
        let needs = opening.needs();
        if needs.is_empty() {
            return self.ready(opening);
        }
        self.stage = Stage::Waiting(opening);
        Ok(needs.into_iter().map(|digest| LaneUp::Need { digest }).collect())
    }

    fn config(&mut self, digest: ConfigDigest, content: Bytes) -> Result<Vec<LaneUp>, Problem> {
        let Stage::Waiting(opening) = &mut self.stage else {
            return Err(broken("a config comes between open and credit"));
        };
        opening.config(digest, content)?;
        if !opening.is_complete() {
            return Ok(Vec::new());
        }
        match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::Waiting(opening) => self.ready(opening),
            Stage::New | Stage::Ready { .. } => Err(not_ready()),
        }
    }

    fn ready(&mut self, opening: Opening) -> Result<Vec<LaneUp>, Problem> {
        let (open, configs) = opening.finish();
        let plan = self.assessor.plan(&open, &configs)?;
        let tenure = self.epochs.begin(&open.stream_id, open.epoch)?;
        self.stage = Stage::Ready { open, plan, tenure };
        Ok(vec![LaneUp::Credit { bytes: CREDIT_BYTES, messages: CREDIT_MESSAGES }])
    }

    /// Panes hold so much more, or less.
    fn account(&mut self, before: usize, after: usize) -> Result<(), Problem> {
        let bytes = self.room.bytes().saturating_sub(before) + after;
        if bytes <= PANE_BYTES_MAX && self.panes.len() <= PANES_MAX {
            if self.room.resize(bytes).is_ok() {
                return Ok(());
            }
            // Who holds little does not lose it because others hold much.
            if bytes <= self.room.share().least() {
                self.room.force(bytes);
                return Ok(());
            }
        }
        let message = format!(
            "{} panes of a lane hold {bytes} bytes, and the judge has no room for more",
            self.panes.len()
        );
        Err(Problem::exhausted("LANE_PANES", message, 1_000))
    }

    fn open_pane(&mut self, pane: PaneId, key: Arc<str>, labels_only: bool) -> Result<Vec<LaneUp>, Problem> {
        let Stage::Ready { plan, .. } = &self.stage else { return Err(not_ready()) };
        if key.len() > TEXT_BYTES_MAX {
            return Err(Problem::field(
                "open_pane.key",
                "TOO_LONG",
                format!("is longer than {TEXT_BYTES_MAX} bytes"),
            ));
        }
        // After a restore the frames since the snapshot come again, and with them panes that it holds.
        if let Entry::Vacant(vacant) = self.panes.entry(pane) {
            let held = self.assessor.pane(plan, labels_only);
            let bytes = weight::<A::Pane>(&key, self.assessor.heap_bytes(&held));
            vacant.insert(Held { key, pane: held, bytes });
            // Also a pane without rows must be known after a restore.
            self.dirty.insert(pane);
            self.account(0, bytes)?;
        }
        Ok(Vec::new())
    }

    /// Whether a message is not in the state yet; it is from now on.
    fn is_fresh(&mut self, seq: u64) -> bool {
        let fresh = seq > self.through_seq;
        self.through_seq = self.through_seq.max(seq);
        fresh
    }

    fn rows(
        &mut self,
        seq: u64,
        batch: &RecordBatch,
        runs: &[(PaneId, u32)],
        given: &Given,
    ) -> Result<Vec<LaneUp>, Problem> {
        self.check_rows(batch, runs)?;
        let bytes = batch.size_bytes() as u64;
        if self.is_fresh(seq) {
            let Stage::Ready { plan, .. } = &self.stage else { return Err(not_ready()) };
            let (mut start, mut before, mut after) = (0, 0, 0);
            for (pane, length) in runs {
                let rows = batch.slice(start, *length as usize);
                start += *length as usize;
                if let Some(held) = self.panes.get_mut(pane) {
                    if given.retracts {
                        self.assessor.retract(plan, &mut held.pane, &rows);
                    } else {
                        self.assessor.push(plan, &mut held.pane, &rows, &given.partition);
                        if !given.again {
                            self.assessor.noticed(plan, &held.pane, &rows);
                        }
                    }
                    before += held.bytes;
                    held.bytes = weight::<A::Pane>(&held.key, self.assessor.heap_bytes(&held.pane));
                    after += held.bytes;
                    self.dirty.insert(*pane);
                }
            }
            self.account(before, after)?;
            self.bytes_since_snapshot += bytes.max(FRAME_BYTES_MIN);
        }
        self.consumed_bytes += bytes;
        self.consumed_messages += 1;
        let mut answers = self.snapshot_when_due()?;
        answers.extend(self.credit());
        Ok(answers)
    }

    fn check_rows(&self, batch: &RecordBatch, runs: &[(PaneId, u32)]) -> Result<(), Problem> {
        let Stage::Ready { open, .. } = &self.stage else { return Err(not_ready()) };
        if **batch.schema() != *open.schema {
            return Err(Problem::field(
                "rows.batch",
                "SCHEMA_CHANGED",
                "does not have the columns that the lane was opened with",
            ));
        }
        let covered: u64 = runs.iter().map(|(_, length)| u64::from(*length)).sum();
        if covered != batch.rows() as u64 || runs.iter().any(|(_, length)| *length == 0) {
            let message = format!("runs cover {covered} of {} rows", batch.rows());
            return Err(Problem::field("rows.runs", "BAD_RUNS", message));
        }
        match runs.iter().find(|(pane, _)| !self.panes.contains_key(pane)) {
            Some((pane, _)) => {
                Err(Problem::field("rows.runs", "UNKNOWN_PANE", format!("pane {pane} was not opened")))
            }
            None => Ok(()),
        }
    }

    /// Gives back what was used, in pieces that are worth a message.
    fn credit(&mut self) -> Option<LaneUp> {
        let worth = self.consumed_bytes >= CREDIT_BYTES / 4 || self.consumed_messages >= CREDIT_MESSAGES / 4;
        worth.then(|| LaneUp::Credit {
            bytes: std::mem::take(&mut self.consumed_bytes),
            messages: std::mem::take(&mut self.consumed_messages),
        })
    }

    fn tick(&mut self, seq: u64, watermark_ms: i64) -> Result<Vec<LaneUp>, Problem> {
        let fresh = self.is_fresh(seq);
        let Stage::Ready { plan, .. } = &self.stage else { return Err(not_ready()) };
        if fresh {
            self.assessor.tick(plan, &mut self.carried.carry, watermark_ms);
            self.bytes_since_snapshot += control_bytes(&[]);
        }
        self.snapshot_when_due()
    }

    fn close(&mut self, close: Close) -> Result<Vec<LaneUp>, Problem> {
        let fresh = self.is_fresh(close.seq);
        let Stage::Ready { plan, .. } = &self.stage else { return Err(not_ready()) };
        if fresh {
            feeding::at_close(&self.assessor, plan, &mut self.carried, &self.panes, &close);
        }
        self.bytes_since_snapshot += if fresh { control_bytes(&close.panes) } else { 0 };
        let mut answers = Vec::new();
        if !close.again {
            let Assessment { status, reason, report, findings } = self.assess(plan, &close);
            let Close { window, revision, .. } = close;
            answers.push(LaneUp::Verdict(Verdict { window, revision, status, reason, report, findings }));
        }
        answers.extend(self.snapshot_when_due()?);
        Ok(answers)
    }

    fn assess(&self, plan: &A::Plan, close: &Close) -> Assessment {
        if close.panes.len() > self.panes.len() {
            return Assessment::without(VerdictStatus::Unavailable, "a pane of the window is not here");
        }
        let held: Vec<&A::Pane> =
            close.panes.iter().filter_map(|pane| self.panes.get(pane).map(|held| &held.pane)).collect();
        if held.len() < close.panes.len() {
            return Assessment::without(VerdictStatus::Unavailable, "a pane of the window is not here");
        }
        match held.split_first() {
            // Most windows are one pane: no copy then.
            Some((only, [])) => self.assessor.evaluate(plan, only, &self.carried, &close.window),
            Some((first, rest)) => {
                let mut whole = (*first).clone();
                rest.iter().for_each(|pane| self.assessor.merge(plan, &mut whole, pane));
                self.assessor.evaluate(plan, &whole, &self.carried, &close.window)
            }
            None => Assessment::without(VerdictStatus::Insufficient, "no rows"),
        }
    }

    fn release(&mut self, seq: u64, panes: &[PaneId]) -> Result<Vec<LaneUp>, Problem> {
        let fresh = self.is_fresh(seq);
        let Stage::Ready { plan, .. } = &self.stage else { return Err(not_ready()) };
        let mut freed = 0;
        for &pane in panes {
            self.dirty.remove(&pane);
            let Some(Held { key, pane: held, bytes }) = self.panes.remove(&pane) else { continue };
            freed += bytes;
            if fresh {
                feeding::at_release(&self.assessor, plan, &mut self.carried, pane, (&key, &held));
            }
        }
        self.account(freed, 0)?;
        self.bytes_since_snapshot += if fresh { control_bytes(panes) } else { 0 };
        self.snapshot_when_due()
    }

    /// A newer owner of the stream ends the lane; a restore is whole before anything else comes.
    fn check_order(&mut self, message: &LaneDown) -> Result<(), Problem> {
        if let Stage::Ready { tenure, .. } = &self.stage {
            tenure.check()?;
        }
        match (message, &self.restoring) {
            (LaneDown::Open(_) | LaneDown::Config { .. } | LaneDown::Restore(_), _) => Ok(()),
            (_, Restoring::Begun(_)) => Err(broken("a restore is not whole: its last piece is missing")),
            (_, Restoring::Possible | Restoring::Over) => {
                self.restoring = Restoring::Over;
                Ok(())
            }
        }
    }
}

impl<A: Assessor> Judge for PaneJudge<A> {
    fn apply(&mut self, message: LaneDown) -> Result<Vec<LaneUp>, Problem> {
        self.check_order(&message)?;
        match message {
            LaneDown::Open(open) => self.open(open),
            LaneDown::Config { digest, content } => self.config(digest, content),
            LaneDown::Restore(state) => self.restore(state),
            LaneDown::OpenPane { pane, key, labels_only } => self.open_pane(pane, key, labels_only),
            LaneDown::Rows { seq, batch, runs, again, partition, retracts } => {
                self.rows(seq, &batch, &runs, &Given { again, retracts, partition })
            }
            LaneDown::Tick { seq, watermark_ms } => self.tick(seq, watermark_ms),
            LaneDown::Close(close) => self.close(close),
            LaneDown::Release { seq, panes } => self.release(seq, &panes),
        }
    }

    fn cells(&self, message: &LaneDown) -> usize {
        self.cells_of(message)
    }

    fn hand_over(&mut self) -> Vec<LaneUp> {
        let Stage::Ready { open, .. } = &self.stage else { return Vec::new() };
        if open.snapshot_every_bytes == 0 || matches!(self.restoring, Restoring::Begun(_)) {
            return Vec::new();
        }
        self.snapshot().unwrap_or_else(|problem| {
            // The one that goes on then begins from the snapshot before.
            tracing::error!(%problem, "a lane could not be handed over");
            Vec::new()
        })
    }
}
