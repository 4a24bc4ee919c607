//! The judge's machine, the same for every judge: panes, sequence, configs, snapshots, credit. What a pane holds and
//! what a window comes to, an [`Assessor`] says. It must not know time.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::sync::Arc;

use acgs_columns::RecordBatch;
use acgs_vocabulary::{Finding, Problem, VerdictStatus, Window, constitution::sha256, problem::Kind};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    judge::Judge,
    message::{ConfigDigest, LaneDown, LaneUp, Open, PaneId, State, Verdict},
};

/// Bytes of rows that may be on their way to a judge.
pub const CREDIT_BYTES: u64 = 8 << 20;
/// Row frames that may be on their way to a judge.
pub const CREDIT_MESSAGES: u32 = 256;
/// Most panes of one lane.
pub const PANES_MAX: usize = 1 << 20;
/// Most configs of one lane.
pub const CONFIGS_MAX: usize = 16;
/// Most bytes of all panes of one lane, as fresh panes count.
pub const PANE_BYTES_MAX: usize = 1 << 30;
/// Bytes of panes in one piece of a snapshot; one pane more may be in it.
const PIECE_BYTES: usize = 2 << 20;
/// What a frame counts towards the next snapshot, however small: small frames are kept for replay too.
const FRAME_BYTES_MIN: u64 = 1 << 10;
/// First byte of every pane state.
const STATE_VERSION: u8 = 1;

/// What a window came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// How it came out.
    pub status: VerdictStatus,
    /// Why it is not Ok.
    pub reason: String,
    /// The encoded report.
    pub report: Bytes,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Assessment {
    /// An answer that judges nothing.
    #[must_use]
    pub fn without(status: VerdictStatus, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), report: Bytes::new(), findings: Vec::new() }
    }
}

/// What makes a judge this one and not another. Panes merge; evaluating does not consume them.
pub trait Assessor: Send {
    /// What follows from the schema and the configs, once for a lane.
    type Plan: Send;
    /// What a pane holds.
    type Pane: Clone + Send + Serialize + DeserializeOwned;

    /// Reads the schema and the configs.
    ///
    /// # Errors
    /// When they make no sense; the lane is then over.
    fn plan(&self, open: &Open, configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem>;

    /// A pane without rows; with `labels_only` its rows were in another pane before.
    fn pane(&self, plan: &Self::Plan, labels_only: bool) -> Self::Pane;

    /// Bytes of a pane without rows, about: what bounds the panes of a lane.
    fn pane_bytes(&self, plan: &Self::Plan) -> usize;

    /// Whether a pane that came back from outside can be used under this plan.
    fn fits(&self, plan: &Self::Plan, pane: &Self::Pane) -> bool;

    /// Adds rows to a pane.
    fn push(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch);

    /// Rows were added that no judge of the lane had been given before: for what is counted beside the lane.
    fn noticed(&self, _plan: &Self::Plan, _pane: &Self::Pane, _rows: &RecordBatch) {}

    /// Adds another pane's rows.
    fn merge(&self, plan: &Self::Plan, pane: &mut Self::Pane, other: &Self::Pane);

    /// Judges the rows of a window.
    fn evaluate(&self, plan: &Self::Plan, pane: &Self::Pane, window: &Window) -> Assessment;
}

/// The machine.
#[derive(Debug)]
pub struct PaneJudge<A: Assessor> {
    assessor: A,
    stage: Stage<A::Plan>,
    panes: BTreeMap<PaneId, (Arc<str>, A::Pane)>,
    dirty: BTreeSet<PaneId>,
    through_seq: u64,
    bytes_since_snapshot: u64,
    last_snapshot_bytes: u64,
    restorable: bool,
    consumed_bytes: u64,
    consumed_messages: u32,
}

#[derive(Debug)]
enum Stage<P> {
    New,
    Waiting { open: Open, found: Vec<(ConfigDigest, Bytes)> },
    Ready { open: Open, plan: P },
}

fn broken(message: impl Into<String>) -> Problem {
    Problem::new(Kind::Precondition, "LANE_PROTOCOL", message)
}

impl<A: Assessor> PaneJudge<A> {
    /// A judge whose lane is not open yet.
    #[must_use]
    pub fn new(assessor: A) -> Self {
        Self {
            assessor,
            stage: Stage::New,
            panes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            through_seq: 0,
            bytes_since_snapshot: 0,
            last_snapshot_bytes: 0,
            restorable: true,
            consumed_bytes: 0,
            consumed_messages: 0,
        }
    }

    fn open(&mut self, open: Open) -> Result<Vec<LaneUp>, Problem> {
        if !matches!(self.stage, Stage::New) {
            return Err(broken("a lane is opened once"));
        }
        if open.slot != 0 {
            let message = format!("slot {} is not served: this version has slot 0 only", open.slot);
            return Err(Problem::new(Kind::Unimplemented, "SLOT", message));
        }
        if open.configs.len() > CONFIGS_MAX {
            return Err(Problem::field("open.configs", "TOO_MANY", format!("at most {CONFIGS_MAX}")));
        }
        let needs: BTreeSet<ConfigDigest> = open.configs.iter().map(|(_, digest)| *digest).collect();
        self.stage = Stage::Waiting { open, found: Vec::new() };
        if needs.is_empty() {
            self.ready()
        } else {
            Ok(needs.into_iter().map(|digest| LaneUp::Need { digest }).collect())
        }
    }

    fn config(&mut self, digest: ConfigDigest, content: Bytes) -> Result<Vec<LaneUp>, Problem> {
        let Stage::Waiting { open, found } = &mut self.stage else {
            return Err(broken("a config comes between open and credit"));
        };
        if sha256(&content) != digest {
            return Err(Problem::field("config.digest", "BAD_DIGEST", "is not the SHA-256 of the content"));
        }
        if !open.configs.iter().any(|(_, wanted)| *wanted == digest) {
            return Err(Problem::field("config.digest", "BAD_DIGEST", "was not asked for"));
        }
        if !found.iter().any(|(known, _)| *known == digest) {
            found.push((digest, content));
        }
        let complete =
            open.configs.iter().all(|(_, wanted)| found.iter().any(|(digest, _)| digest == wanted));
        if complete { self.ready() } else { Ok(Vec::new()) }
    }

    fn ready(&mut self) -> Result<Vec<LaneUp>, Problem> {
        let Stage::Waiting { open, found } = std::mem::replace(&mut self.stage, Stage::New) else {
            return Err(broken("not open"));
        };
        let of = |(kind, digest): &(String, ConfigDigest)| {
            let content = found.iter().find(|(known, _)| known == digest).map(|(_, content)| content.clone());
            (kind.clone(), content.unwrap_or_default())
        };
        let configs: Vec<(String, Bytes)> = open.configs.iter().map(of).collect();
        let plan = self.assessor.plan(&open, &configs)?;
        self.stage = Stage::Ready { open, plan };
        Ok(vec![LaneUp::Credit { bytes: CREDIT_BYTES, messages: CREDIT_MESSAGES }])
    }

    fn restore(&mut self, state: State) -> Result<Vec<LaneUp>, Problem> {
        let early = "a restore comes after the first credit and before all panes and rows";
        let Stage::Ready { plan, .. } = &self.stage else { return Err(broken(early)) };
        if !self.restorable {
            return Err(broken(early));
        }
        for (pane, key, bytes) in state.panes {
            let held = match bytes.split_first() {
                Some((&STATE_VERSION, rest)) => postcard::from_bytes(rest).ok(),
                _ => None,
            };
            let held = held.filter(|held| self.assessor.fits(plan, held)).ok_or_else(|| {
                Problem::field(
                    "restore.panes",
                    "BAD_STATE",
                    format!("pane {pane} was not written by this version"),
                )
            })?;
            self.panes.insert(pane, (key, held));
        }
        self.through_seq = state.through_seq;
        Ok(Vec::new())
    }

    fn open_pane(&mut self, pane: PaneId, key: Arc<str>, labels_only: bool) -> Result<Vec<LaneUp>, Problem> {
        let Stage::Ready { plan, .. } = &self.stage else { return Err(broken("the lane is not ready")) };
        let bytes = (self.panes.len() + 1).saturating_mul(self.assessor.pane_bytes(plan));
        if self.panes.len() >= PANES_MAX || bytes > PANE_BYTES_MAX {
            let message = format!("a lane holds at most {PANES_MAX} panes in {PANE_BYTES_MAX} bytes");
            return Err(Problem::exhausted("LANE_PANES", message, 1_000));
        }
        // After a restore the frames since the snapshot come again, and with them panes that it holds.
        if let Entry::Vacant(vacant) = self.panes.entry(pane) {
            vacant.insert((key, self.assessor.pane(plan, labels_only)));
            // Also a pane without rows must be known after a restore.
            self.dirty.insert(pane);
        }
        Ok(Vec::new())
    }

    fn rows(
        &mut self,
        seq: u64,
        batch: &RecordBatch,
        runs: &[(PaneId, u32)],
        again: bool,
    ) -> Result<Vec<LaneUp>, Problem> {
        let Stage::Ready { open, plan } = &self.stage else { return Err(broken("the lane is not ready")) };
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
        if let Some((pane, _)) = runs.iter().find(|(pane, _)| !self.panes.contains_key(pane)) {
            return Err(Problem::field("rows.runs", "UNKNOWN_PANE", format!("pane {pane} was not opened")));
        }
        let bytes = batch.size_bytes() as u64;
        let fresh = seq > self.through_seq;
        if fresh {
            let mut start = 0;
            for (pane, length) in runs {
                let rows = batch.slice(start, *length as usize);
                start += *length as usize;
                if let Some((_, held)) = self.panes.get_mut(pane) {
                    self.assessor.push(plan, held, &rows);
                    if !again {
                        self.assessor.noticed(plan, held, &rows);
                    }
                    self.dirty.insert(*pane);
                }
            }
            self.through_seq = seq;
            self.bytes_since_snapshot += bytes.max(FRAME_BYTES_MIN);
        }
        self.consumed_bytes += bytes;
        self.consumed_messages += 1;
        let every_bytes = open.snapshot_every_bytes;
        let mut answers = Vec::new();
        // Not more often than their own size allows: state travels no more than rows do.
        if every_bytes > 0 && self.bytes_since_snapshot >= every_bytes.max(self.last_snapshot_bytes) {
            answers.extend(self.snapshot()?);
        }
        answers.extend(self.credit());
        Ok(answers)
    }

    /// Gives back what was used, in pieces that are worth a message.
    fn credit(&mut self) -> Option<LaneUp> {
        let worth = self.consumed_bytes >= CREDIT_BYTES / 4 || self.consumed_messages >= CREDIT_MESSAGES / 4;
        worth.then(|| LaneUp::Credit {
            bytes: std::mem::take(&mut self.consumed_bytes),
            messages: std::mem::take(&mut self.consumed_messages),
        })
    }

    /// Panes that changed since the last one, in pieces; the last piece says that it is the last.
    fn snapshot(&mut self) -> Result<Vec<LaneUp>, Problem> {
        let piece = |through_seq| State { through_seq, panes: Vec::new(), carry: Bytes::new(), more: false };
        let mut pieces = vec![piece(self.through_seq)];
        let (mut piece_bytes, mut all_bytes) = (0, 0);
        for pane in std::mem::take(&mut self.dirty) {
            let Some((key, held)) = self.panes.get(&pane) else { continue };
            let bytes = postcard::to_extend(held, vec![STATE_VERSION])
                .map_err(|error| Problem::internal(format!("pane {pane} could not be written: {error}")))?;
            all_bytes += bytes.len() as u64;
            if piece_bytes >= PIECE_BYTES {
                if let Some(last) = pieces.last_mut() {
                    last.more = true;
                }
                pieces.push(piece(self.through_seq));
                piece_bytes = 0;
            }
            piece_bytes += bytes.len();
            if let Some(last) = pieces.last_mut() {
                last.panes.push((pane, Arc::clone(key), bytes.into()));
            }
        }
        self.bytes_since_snapshot = 0;
        self.last_snapshot_bytes = all_bytes;
        Ok(pieces.into_iter().map(LaneUp::Snapshot).collect())
    }

    fn close(&self, window: Window, revision: u32, panes: &[PaneId]) -> Result<Vec<LaneUp>, Problem> {
        let Stage::Ready { plan, .. } = &self.stage else { return Err(broken("the lane is not ready")) };
        let held: Vec<&A::Pane> =
            panes.iter().filter_map(|pane| self.panes.get(pane).map(|(_, held)| held)).collect();
        let assessment = if held.len() < panes.len() {
            Assessment::without(VerdictStatus::Unavailable, "a pane of the window is not here")
        } else {
            match held.split_first() {
                // Most windows are one pane: no copy then.
                Some((only, [])) => self.assessor.evaluate(plan, only, &window),
                Some((first, rest)) => {
                    let mut whole = (*first).clone();
                    rest.iter().for_each(|pane| self.assessor.merge(plan, &mut whole, pane));
                    self.assessor.evaluate(plan, &whole, &window)
                }
                None => Assessment::without(VerdictStatus::Insufficient, "no rows"),
            }
        };
        let Assessment { status, reason, report, findings } = assessment;
        Ok(vec![LaneUp::Verdict(Verdict { window, revision, status, reason, report, findings })])
    }
}

impl<A: Assessor> Judge for PaneJudge<A> {
    fn apply(&mut self, message: LaneDown) -> Result<Vec<LaneUp>, Problem> {
        if matches!(message, LaneDown::OpenPane { .. } | LaneDown::Rows { .. } | LaneDown::Close { .. }) {
            self.restorable = false;
        }
        match message {
            LaneDown::Open(open) => self.open(open),
            LaneDown::Config { digest, content } => self.config(digest, content),
            LaneDown::Restore(state) => self.restore(state),
            LaneDown::OpenPane { pane, key, labels_only } => self.open_pane(pane, key, labels_only),
            LaneDown::Rows { seq, batch, runs, again } => self.rows(seq, &batch, &runs, again),
            LaneDown::Close { window, revision, panes } => self.close(window, revision, &panes),
            // No detector lives in a lane's carry yet; event time is of no use to panes.
            LaneDown::Tick { .. } => Ok(Vec::new()),
            LaneDown::Release { panes } => {
                for pane in panes {
                    self.panes.remove(&pane);
                    self.dirty.remove(&pane);
                }
                Ok(Vec::new())
            }
        }
    }

    fn hand_over(&mut self) -> Vec<LaneUp> {
        let Stage::Ready { open, .. } = &self.stage else { return Vec::new() };
        if open.snapshot_every_bytes == 0 {
            return Vec::new();
        }
        self.snapshot().unwrap_or_else(|problem| {
            // The one that goes on then begins from the snapshot before.
            tracing::error!(%problem, "a lane could not be handed over");
            Vec::new()
        })
    }
}
