//! One stream as a pure machine: frames, labels, verdicts and ticks in; lane messages and reports out, in order.
//! It must not know clients, tasks or the wall clock: times are passed in.

mod frames;
mod label;
mod labels;
mod look;
mod memory;
mod partitions;
mod reports;
mod told;
mod totals;
mod work;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use acgs_columns::{OwnedCell, RecordId, schema::SchemaError};
use acgs_lane::{LaneDown, LaneId, message::Verdict};
use acgs_statistics::{
    harm::{Harm, Risk},
    kinds::{DriftKind, Moved, kinds},
};
use acgs_vocabulary::{
    Alert, AlertSubject, Finding, JudgeKind, VerdictStatus, Window,
    budget::{self, Reservation, Use},
    event::payload::{LossFound, PerformanceFound},
};
use acgs_windowing::{LabelJoin, WindowKey, Windows, windows::Limits};

pub(crate) use label::value_of_kind;
pub use label::{Label, LabelCounts, labels};
pub use look::{Held, Look, Looked};
use memory::{Answer, Memories, Memory};
use partitions::Partition;
pub use partitions::{Origin, Place};
use told::Told;
pub use totals::{Dropped, Totals};
pub use work::HEAVY;
use work::Unfinished;

use crate::{alert_tracker::AlertTracker, config::Config, projection::Projection, spec::StreamSpec};

/// Rows and labels that wait for each other.
type Join = LabelJoin<RecordId, label::Waiting, OwnedCell>;

/// When a frame was received, and when it is taken: waiting for the judges lies between.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    /// What a window's latency counts from.
    pub received_us: u64,
    /// What a judge's deadline counts from.
    pub now_us: u64,
}

/// What a stream does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A message to a judge.
    Down(LaneId, LaneDown),
    /// A window is reported.
    Report(Box<Report>),
}

/// One judge's part of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The judge.
    pub judge: JudgeKind,
    /// Its answer; `None` when it has not come in time.
    pub verdict: Option<Verdict>,
    /// Counts its answers on this window.
    pub revision: u32,
}

impl Part {
    /// How it came out.
    #[must_use]
    pub fn status(&self) -> VerdictStatus {
        self.verdict.as_ref().map_or(VerdictStatus::Unavailable, |verdict| verdict.status)
    }
}

/// A window, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Ascending in the stream.
    pub report_seq: u64,
    /// The window.
    pub window: Window,
    /// Counts the reports on it.
    pub revision: u32,
    /// One for each wanted judge.
    pub parts: Vec<Part>,
    /// Drift and loss together.
    pub harm: Harm,
    /// What kind of drift it is.
    pub drift_kinds: Vec<DriftKind>,
    /// What was found.
    pub findings: Vec<(JudgeKind, Finding)>,
    /// What changed with it.
    pub alerts: Vec<Alert>,
    /// From the closing frame to here; 0 for a revision.
    pub latency_us: u64,
    /// In a few numbers, for the log.
    pub summary: Summary,
}

impl Report {
    /// Bytes that it holds, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let said = |part: &Part| part.verdict.as_ref().map_or(0, memory::weight);
        let parts: usize = self.parts.iter().map(said).sum();
        size_of::<Self>() + parts + (self.findings.len() + self.alerts.len()) * memory::FOUND
    }
}

/// What the verdicts say, in a few numbers; `None` where a judge did not judge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Rows, as quality counted them.
    pub row_count: Option<u64>,
    /// In [0, 1].
    pub overall_score: Option<f64>,
    /// Whether anything drifted.
    pub drift_detected: Option<bool>,
    /// Whether the score itself did.
    pub score_drift: Option<bool>,
    /// What did, worst first.
    pub drifted_features: Vec<String>,
    /// Whether the reference has rows of this time of year, where that is known.
    pub season_known: Option<bool>,
    /// Brier score.
    pub brier: Option<f64>,
    /// The loss of what the model says.
    pub loss: Option<LossFound>,
    /// Why it is not known how the model keeps its promise.
    pub performance_reason: String,
    /// How the model keeps its promise.
    pub performance: Option<PerformanceFound>,
    /// Whether that is told from the labels of the window alone.
    pub by_itself: bool,
    /// Rows whose label can still come.
    pub labels_awaited: u64,
}

/// What the verdicts say together.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Whether there is drift; `None` when it was not judged.
    pub drifted: Option<bool>,
    /// How the loss stands.
    pub risk: Risk,
    /// What has moved, where drift was judged.
    pub moved: Option<Moved>,
    /// A few numbers.
    pub summary: Summary,
}

impl Evidence {
    /// Takes how many labels can still come: those that come early may be unlike them, so that what they alone say is not known yet.
    pub(crate) fn await_labels(&mut self, labels_awaited: u64) {
        let summary = &mut self.summary;
        summary.labels_awaited = labels_awaited;
        if labels_awaited == 0 {
            return;
        }
        if summary.by_itself {
            self.risk = Risk::Unclear;
            if summary.performance == Some(PerformanceFound::Decayed) {
                summary.performance = Some(PerformanceFound::Unknown);
                summary.performance_reason = format!("worse so far, {labels_awaited} labels can still come");
            }
        }
        // How frequent a yes is, the window's own labels say; where its base rate may have moved, a worse loss may be no more than that.
        if let Some(moved) = &mut self.moved {
            moved.prior = None;
            moved.risk = Risk::Unclear;
        }
    }

    /// What kind of drift it is.
    pub(crate) fn kinds(&self) -> Vec<DriftKind> {
        self.moved.map_or_else(Vec::new, kinds)
    }
}

/// Reads the judges' encoded reports, whose messages the services know; an error names a judge whose report cannot be read.
pub type ReadEvidence = fn(&[Part]) -> Result<Evidence, JudgeKind>;

/// Reads what the judges said. A report that cannot be read is no judgement of that judge: its part says so, and so does the log.
pub(crate) fn evidence(read: ReadEvidence, parts: &mut [Part]) -> Evidence {
    loop {
        match read(parts) {
            Ok(evidence) => return evidence,
            Err(judge) => {
                tracing::error!(judge = judge.as_str(), "the report of a judge cannot be read");
                let Some(part) = parts.iter_mut().find(|part| part.judge == judge) else {
                    return Evidence {
                        drifted: None,
                        risk: Risk::Unclear,
                        moved: None,
                        summary: Summary::default(),
                    };
                };
                if let Some(verdict) = &mut part.verdict {
                    verdict.status = VerdictStatus::Unavailable;
                    verdict.reason =
                        "the judge's report cannot be read: is it of another version?".to_owned();
                    verdict.report.clear();
                    verdict.findings.clear();
                }
            }
        }
    }
}

#[derive(Debug)]
struct Pending {
    window: WindowKey,
    revision: u32,
    awaited: Vec<(LaneId, u32)>,
    deadline_us: u64,
    closed_at_us: Option<u64>,
}

/// The machine.
#[derive(Debug)]
pub struct Core {
    spec: StreamSpec,
    config: Config,
    read_evidence: ReadEvidence,
    projections: BTreeMap<JudgeKind, Projection>,
    windows: Windows,
    join: Option<Join>,
    /// What it holds.
    join_room: Reservation,
    partitions: HashMap<String, Partition>,
    lanes: BTreeMap<LaneId, Told>,
    memory: Memories,
    pending: VecDeque<Pending>,
    awaited: HashSet<(WindowKey, LaneId, u32)>,
    report_seq: u64,
    totals: Totals,
    tracker: AlertTracker,
    /// Lanes whose judges are given up, for now or for good.
    lost: HashSet<LaneId>,
    /// When the frame that is being taken was received.
    receipt_us: Option<u64>,
    /// What is being taken, and the work of a first step.
    unfinished: Option<Unfinished>,
    light: usize,
    /// Reports that could be made are left for the next step.
    owes_reports: bool,
    /// What became of the labels that were taken last.
    label_counts: LabelCounts,
    /// Late rows, and rows that were in time, when their share was looked at last.
    late_looked: (u64, u64),
    /// What was found then.
    late_found: Option<Finding>,
}

impl Core {
    /// A stream without partitions.
    ///
    /// # Errors
    /// When the label's name is another field's.
    pub fn new(spec: StreamSpec, config: Config, read_evidence: ReadEvidence) -> Result<Self, SchemaError> {
        let mut projections = BTreeMap::new();
        for &judge in &spec.judges {
            projections.insert(judge, Projection::new(judge, &spec.schema, spec.late_label.as_ref())?);
        }
        let limits = Limits { panes_max: config.panes_max, windows_max: config.windows_max };
        let joins = spec.late_label.is_some() && spec.judges.contains(&JudgeKind::Performance);
        Ok(Self {
            windows: Windows::new(spec.window, spec.out_of_orderness_ms, limits),
            join: joins.then(|| {
                LabelJoin::new(config.waiting_labels_max, RecordId::heap_bytes)
                    .holding(label::Waiting::heap_bytes(&spec.schema))
            }),
            join_room: budget::process().of(Use::Labels).nothing(),
            partitions: HashMap::new(),
            lanes: spec.judges.iter().map(|judge| (LaneId::whole(*judge), Told::default())).collect(),
            memory: Memories::new(budget::process().of(Use::Reports).nothing()),
            pending: VecDeque::new(),
            awaited: HashSet::new(),
            report_seq: 0,
            totals: Totals::default(),
            tracker: AlertTracker::new(config.alerts),
            lost: HashSet::new(),
            receipt_us: None,
            unfinished: None,
            light: work::LIGHT,
            owes_reports: false,
            label_counts: LabelCounts::default(),
            late_looked: (0, 0),
            late_found: None,
            projections,
            read_evidence,
            spec,
            config,
        })
    }

    /// What the stream is.
    #[must_use]
    pub fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    /// What became of it so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Lets time do what it does: silence of partitions that do not wait, and judges that do not answer.
    ///
    /// Nobody was listened to for `unheard_us` of the time since the last one.
    pub fn tick(&mut self, now_us: u64, unheard_us: u64, waits: impl Fn(&str) -> bool) -> Vec<Action> {
        if self.is_busy() {
            // Time that passes while something is taken makes nobody silent.
            return self.give_up(now_us);
        }
        let (timeout_ms, advance_ms) = (self.spec.idle_timeout_ms, self.spec.idle_advance_ms);
        let (now_ms, unheard_ms) = (monotonic_ms(now_us), monotonic_ms(unheard_us));
        self.windows.watermarks.tick(now_ms, timeout_ms, advance_ms, unheard_ms, waits);
        let mut actions = self.move_on(now_us);
        self.tell_time(&mut actions);
        actions.extend(self.give_up(now_us));
        actions
    }

    /// Whether every partition has ended and every window is reported.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.partitions.is_empty()
            && self.partitions.values().all(|partition| partition.ended)
            && self.is_quiet()
    }

    /// Whether an alert stands.
    #[must_use]
    pub fn stands(&self, subject: &AlertSubject) -> bool {
        self.tracker.stands(subject)
    }

    /// Nobody looks any more: what stood is closed.
    pub fn end(&mut self) -> Vec<Alert> {
        self.tracker.end()
    }

    /// Whether nothing was ever accepted.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.partitions.values().all(|partition| partition.accepted_through == 0)
    }

    /// Whether all that was taken is done, and every closed window is reported.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty() && !self.is_busy()
    }

    /// The watermark may have moved.
    fn move_on(&mut self, now_us: u64) -> Vec<Action> {
        self.begin(Unfinished::default(), now_us)
    }
}

/// Of silence: it is measured by the clock that never goes back.
fn monotonic_ms(now_us: u64) -> i64 {
    i64::try_from(now_us / 1_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "core/tests.rs"]
mod tests;
