//! The core against judges that only count, in every order of frames and verdicts: no window is lost, none is told
//! twice, and the counts are those of an oracle.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_lane::{
    Assessment, Assessor, Carried, Fed, Feed, Judge, LaneUp, PaneJudge, message::Open as LaneOpen,
};
use acgs_vocabulary::{Problem, problem};
use acgs_windowing::{WindowKind, WindowSpec, windows::Room};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::AlertConfig;

const CONFIG: Config = Config {
    streams_max: 1,
    partitions_max: 4,
    panes_max: 10_000,
    windows_max: 10_000,
    waiting_labels_max: 1_000,
    reports_kept: 100,
    credit_bytes: 1 << 20,
    verdict_deadline_ms: 10,
    snapshot_every_bytes: 0,
    lane_age_ms_max: 0,
    detached_keep_ms: 1_000,
    stalled_client_ms: 1_000,
    future_ms_max: i64::MAX / 4,
    late_rate_max: 0.01,
    alerts: AlertConfig { resolve_after: 1, cooldown_ms: 0, alerts_max: 10 },
};

/// Counts rows and labels; its detector counts labels for all lanes together.
struct Count(Arc<AtomicU64>);

impl Assessor for Count {
    type Plan = Option<usize>;
    type Pane = (bool, u64, u64);
    type Carry = ();

    const FEED: Feed = Feed::Settled;

    fn plan(&self, open: &LaneOpen, _configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem> {
        Ok(open.schema.index_of_role(Role::Label))
    }

    fn pane(&self, _plan: &Self::Plan, labels_only: bool) -> Self::Pane {
        (labels_only, 0, 0)
    }

    fn heap_bytes(&self, _pane: &Self::Pane) -> usize {
        0
    }

    fn fits(&self, _plan: &Self::Plan, _pane: &Self::Pane) -> bool {
        true
    }

    fn push(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch, _partition: &str) {
        pane.1 += if pane.0 { 0 } else { rows.rows() as u64 };
        pane.2 += plan.map_or(0, |label| (rows.rows() - rows.columns()[label].null_count()) as u64);
    }

    fn merge(&self, _plan: &Self::Plan, pane: &mut Self::Pane, other: &Self::Pane) {
        *pane = (pane.0, pane.1 + other.1, pane.2 + other.2);
    }

    fn bears_labels(&self, _plan: &Self::Plan, pane: &Self::Pane) -> bool {
        pane.2 > 0
    }

    fn feed(&self, _plan: &Self::Plan, (): &mut (), fed: Fed<'_, Self::Pane>) {
        self.0.fetch_add(fed.held.2, Ordering::Relaxed);
    }

    fn evaluate(
        &self,
        _plan: &Self::Plan,
        pane: &Self::Pane,
        _carried: &Carried<()>,
        _window: &Window,
    ) -> Assessment {
        Assessment {
            status: VerdictStatus::Ok,
            reason: String::new(),
            report: [pane.1.to_le_bytes(), pane.2.to_le_bytes()].concat().into(),
            findings: Vec::new(),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the form of a reader")]
fn evidence(_parts: &[Part]) -> Result<Evidence, JudgeKind> {
    Ok(Evidence { drifted: None, risk: Risk::Unclear, moved: None, summary: Summary::default() })
}

fn spec(size_ms: i64, slide_ms: i64, lateness_ms: i64) -> StreamSpec {
    let kind = WindowKind::Sliding { size_ms, slide_ms };
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("id", Kind::Int64, Role::Id),
        Field::new("p", Kind::Double, Role::Score),
    ];
    StreamSpec {
        stream_id: "s".into(),
        judges: JudgeKind::ALL.to_vec(),
        schema: Arc::new(Schema::new(fields).unwrap()),
        late_label: Some(Field::new("y", Kind::Double, Role::Label)),
        window: WindowSpec::new(kind, 0, lateness_ms, Some(500)).unwrap(),
        out_of_orderness_ms: 0,
        idle_timeout_ms: 60_000,
        idle_advance_ms: 0,
        service_id: String::new(),
        model_id: String::new(),
        model_version: String::new(),
        reference: None,
        recent_ms: 0,
        recorded: false,
    }
}

/// The core and its judges, each with a queue that moves when it is told to.
struct Bench {
    core: Core,
    judges: BTreeMap<LaneId, (PaneJudge<Count>, VecDeque<LaneDown>)>,
    fed_labels: Arc<AtomicU64>,
    reports: Vec<Report>,
}

impl Bench {
    fn new(spec: StreamSpec) -> Self {
        let mut core = Core::new(spec, CONFIG, evidence).unwrap();
        core.join_partition("p", None, 0).unwrap();
        let mut judges = BTreeMap::new();
        let fed_labels = Arc::<AtomicU64>::default();
        for (lane, open, _) in core.opens() {
            let mut machine = PaneJudge::new(Count(Arc::clone(&fed_labels)));
            machine.apply(LaneDown::Open(open)).unwrap();
            judges.insert(lane, (machine, VecDeque::new()));
        }
        Self { core, judges, fed_labels, reports: Vec::new() }
    }

    fn take(&mut self, actions: Vec<Action>) {
        self.perform(actions);
        while self.core.is_busy() {
            let actions = self.core.go_on(0, self.core.light);
            self.perform(actions);
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Action::Down(lane, LaneDown::Rows { partition, .. }) = &action {
                let only_labels_are_new = lane.judge == JudgeKind::Performance && partition.is_empty();
                assert!(&**partition == "p" || only_labels_are_new, "{lane}: {partition:?}");
            }
            match action {
                Action::Down(lane, message) => self.judges.get_mut(&lane).unwrap().1.push_back(message),
                Action::Report(report) => self.reports.push(*report),
            }
        }
    }

    /// Lets a judge take its next message; false when it has none.
    fn step(&mut self, judge: JudgeKind, now_us: u64) -> bool {
        let lane = LaneId::whole(judge);
        let (machine, queue) = self.judges.get_mut(&lane).unwrap();
        let Some(message) = queue.pop_front() else { return false };
        for up in machine.apply(message).unwrap() {
            if let LaneUp::Verdict(verdict) = up {
                let actions = self.core.verdict(lane, verdict, now_us);
                self.take(actions);
            }
        }
        true
    }

    fn settle(&mut self, now_us: u64) {
        while JudgeKind::ALL.into_iter().any(|judge| self.step(judge, now_us)) {}
    }

    fn rows(&mut self, seq: u64, rows: &[(i64, i64)], now_us: u64) {
        let mut builder = BatchBuilder::new(Arc::clone(&self.core.spec().schema));
        for (time_ms, id) in rows {
            builder.push(&[Cell::Integer(*time_ms), Cell::Integer(*id), Cell::Number(0.5)]).unwrap();
        }
        let frame = Held::Rows(builder.finish().unwrap());
        let origin = self.origin(seq);
        let look = self.core.look(&origin, &frame, 0, Room::default()).unwrap();
        let Look::Fits(looked) = look else { panic!("{look:?}") };
        let receipt = Receipt { received_us: now_us, now_us };
        let actions = self.core.take(&origin, frame, *looked, receipt).unwrap();
        self.take(actions);
    }

    /// Its one client opens the stream when it sends for the first time.
    fn origin(&mut self, seq: u64) -> Origin {
        if self.core.partitions.is_empty() {
            self.core.join_partition("p", None, 0).unwrap();
        }
        Origin { partition: "p".into(), join: 1, seq }
    }

    fn end(&mut self) {
        let origin = self.origin(0);
        self.core.say_end(&origin);
        let actions = self.core.end_partition(&origin, 0);
        self.take(actions);
    }

    fn label(&mut self, id: i64) {
        let label = Label { id: Some(RecordId::Integer(id)), value: OwnedCell::Number(1.0) };
        let actions = self.core.label(vec![label], 0);
        self.take(actions);
    }
}

fn counts(report: &Report, judge: JudgeKind) -> (u64, u64) {
    let part = report.parts.iter().find(|part| part.judge == judge).unwrap();
    let bytes = &part.verdict.as_ref().unwrap().report;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    (number(0), number(8))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn every_window_is_told_and_counted(
        size_ms in 1..40_i64, slide in 1..40_i64, lateness_ms in 0..30_i64,
        frames in prop::collection::vec(prop::collection::vec(-8..20_i64, 1..12), 1..12),
        schedule in prop::collection::vec((0..3_usize, any::<bool>()), 0..120),
        labelled in prop::collection::vec(any::<bool>(), 150), light in prop_oneof![1..100_usize, Just(work::LIGHT)],
    ) {
        let spec = spec(size_ms, slide.min(size_ms), lateness_ms);
        let window_spec = spec.window;
        let mut bench = Bench::new(spec);
        bench.core.light = light;
        let mut schedule = schedule.into_iter();
        let (mut now_ms, mut id) = (0, 0);
        let mut expected: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        let mut watermark = i64::MIN;
        for (index, frame) in frames.iter().enumerate() {
            let rows: Vec<(i64, i64)> = frame.iter().map(|step| { now_ms += step; id += 1; (now_ms, id) }).collect();
            for &(time_ms, id) in &rows {
                for start_ms in window_spec.starts(time_ms) {
                    if start_ms + size_ms + lateness_ms > watermark {
                        expected.entry(start_ms).or_default().insert(id);
                    }
                }
                watermark = watermark.max(time_ms);
            }
            bench.rows(index as u64 + 1, &rows, 0);
            for &(_, id) in rows.iter().filter(|(_, id)| labelled[*id as usize % 150]) {
                bench.label(id);
            }
            for (judge, run) in schedule.by_ref().take(8) {
                if run {
                    bench.step(JudgeKind::ALL[judge], 0);
                }
            }
        }
        bench.end();
        bench.settle(0);
        prop_assert!(bench.core.is_over() && bench.core.memory.is_empty() && bench.core.awaited.is_empty());
        let seqs: Vec<u64> = bench.reports.iter().map(|report| report.report_seq).collect();
        prop_assert_eq!(seqs, (1..=bench.reports.len() as u64).collect::<Vec<_>>());
        let mut last: BTreeMap<i64, &Report> = BTreeMap::new();
        for report in &bench.reports {
            let before = last.insert(report.window.start_ms, report);
            prop_assert_eq!(report.revision, before.map_or(0, |before| before.revision + 1));
        }
        prop_assert_eq!(last.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (start_ms, ids) in &expected {
            let rows = ids.len() as u64;
            let labels = ids.iter().filter(|id| labelled[**id as usize % 150]).count() as u64;
            prop_assert_eq!(counts(last[start_ms], JudgeKind::Quality), (rows, 0));
            prop_assert_eq!(counts(last[start_ms], JudgeKind::Performance), (rows, labels));
        }
        let known: BTreeSet<i64> = expected.into_values().flatten().collect();
        let settled = known.iter().filter(|id| labelled[**id as usize % 150]).count() as u64;
        prop_assert_eq!(bench.fed_labels.load(Ordering::Relaxed), settled, "each label is given once");
    }
}

#[test]
fn a_judge_that_is_late_does_not_hold_the_window_and_revises_it() {
    let mut bench = Bench::new(spec(10, 10, 0));
    bench.rows(1, &[(1, 1), (2, 2)], 0);
    bench.rows(2, &[(15, 3)], 100);
    while bench.step(JudgeKind::Quality, 200) || bench.step(JudgeKind::Performance, 200) {}
    assert!(bench.reports.is_empty(), "drift has not answered");
    let actions = bench.core.tick(100 + 9_999, 0, |_| false);
    bench.take(actions);
    assert!(bench.reports.is_empty(), "its time is not up");
    let actions = bench.core.tick(100 + 10_000, 0, |_| false);
    bench.take(actions);
    let status = |report: &Report, judge: JudgeKind| {
        report.parts.iter().find(|part| part.judge == judge).unwrap().status()
    };
    assert_eq!(status(&bench.reports[0], JudgeKind::Drift), VerdictStatus::Unavailable);
    assert_eq!(status(&bench.reports[0], JudgeKind::Quality), VerdictStatus::Ok);
    while bench.step(JudgeKind::Drift, 20_000) {}
    assert_eq!(bench.reports.len(), 2);
    assert_eq!(
        (bench.reports[1].revision, status(&bench.reports[1], JudgeKind::Drift)),
        (1, VerdictStatus::Ok)
    );
}

#[test]
fn a_late_verdict_revises_even_a_window_that_takes_nothing_more() {
    let mut spec = spec(10, 10, 0);
    spec.window = WindowSpec::new(WindowKind::Tumbling { size_ms: 10 }, 0, 0, None).unwrap();
    spec.late_label = None;
    let mut bench = Bench::new(spec);
    bench.rows(1, &[(1, 1), (15, 2)], 0);
    while bench.step(JudgeKind::Quality, 0) || bench.step(JudgeKind::Performance, 0) {}
    let actions = bench.core.tick(20_000, 0, |_| false);
    bench.take(actions);
    assert_eq!(bench.reports.len(), 1);
    while bench.step(JudgeKind::Drift, 30_000) {}
    assert_eq!((bench.reports.len(), bench.reports[1].revision), (2, 1));
    assert!(bench.core.memory.is_empty());
}

#[test]
fn labels_may_come_before_all_rows() {
    let mut bench = Bench::new(spec(1_000, 1_000, 0));
    (1..=3).for_each(|id| bench.label(id));
    bench.rows(1, &[(1_700_000_000_000, 1)], 0);
    bench.rows(2, &[(1_700_000_000_001, 2), (1_700_000_000_002, 3)], 0);
    bench.end();
    bench.settle(0);
    assert_eq!(counts(bench.reports.last().unwrap(), JudgeKind::Performance), (3, 3));
}

#[test]
fn a_lost_judge_does_not_stop_the_others() {
    let mut bench = Bench::new(spec(10, 10, 0));
    bench.rows(1, &[(1, 1), (15, 2)], 0);
    let actions = bench.core.lane_lost(LaneId::whole(JudgeKind::Drift), 0);
    bench.take(actions);
    while bench.step(JudgeKind::Quality, 0) || bench.step(JudgeKind::Performance, 0) {}
    assert_eq!(bench.reports.len(), 1);
    bench.rows(2, &[(25, 3)], 0);
    while bench.step(JudgeKind::Quality, 0) || bench.step(JudgeKind::Performance, 0) {}
    assert_eq!(bench.reports.len(), 2, "later windows do not wait for it");
}

#[path = "look_tests.rs"]
mod look;
