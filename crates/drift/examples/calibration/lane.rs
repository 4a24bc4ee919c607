//! A drift judge behind the lane protocol, as an orchestrator talks to it. It must not know what rows are about.

use std::{fs, path::Path, sync::Arc};

use acgs_columns::{RecordBatch, Schema};
use acgs_contracts::drift::v1::DriftReport;
use acgs_drift::{Config, judge, service::judge::DriftAssessor};
use acgs_lane::{
    Judge, LaneDown, LaneUp, PaneJudge,
    message::{Close, Open, Timing},
};
use acgs_reference::{freeze, message};
use acgs_vocabulary::{Severity, VerdictStatus, Window, constitution::sha256};
use bytes::Bytes;
use prost::Message;

/// Length of windows, in milliseconds.
pub(crate) const WINDOW_MS: u64 = 3_600_000;

/// The default settings.
pub(crate) fn config() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/acgs.toml");
    let text = fs::read_to_string(path).expect("deploy/acgs.toml");
    let all: toml::Table = text.parse().expect("sound settings");
    all["drift"].clone().try_into().expect("sound settings of drift")
}

/// A frozen reference, as it is sent to judges.
pub(crate) fn reference(rows: &RecordBatch, window_ms: i64) -> Bytes {
    let mut reference = freeze(rows.schema(), std::slice::from_ref(rows), window_ms);
    reference.name = "r".into();
    message::to_proto(&reference).encode_to_vec().into()
}

/// What was said of a window.
#[derive(Debug)]
pub(crate) struct Said {
    /// The report; empty when the judge did not judge.
    pub(crate) report: DriftReport,
    /// Whether it judged.
    pub(crate) judged: bool,
    /// Whether it would open an alert.
    pub(crate) alert: bool,
}

/// A stream of windows.
#[derive(Debug)]
pub(crate) struct Lane {
    judge: PaneJudge<DriftAssessor>,
    seq: u64,
    pane: u64,
}

impl Lane {
    /// Opens a lane against a reference, or so many windows before each.
    pub(crate) fn open(schema: &Arc<Schema>, reference: &Bytes, pane_ms: u64, windows_before: i64) -> Self {
        let mut judge = judge(config());
        let digest = sha256(reference);
        let open = Open {
            stream_id: "s".into(),
            slot: 0,
            epoch: 0,
            schema: Arc::clone(schema),
            configs: vec![("reference".into(), digest)],
            snapshot_every_bytes: 0,
            model_id: String::new(),
            service_id: String::new(),
            pane_ms,
            recent_ms: windows_before * WINDOW_MS as i64,
            once: false,
        };
        judge.apply(LaneDown::Open(open)).expect("opens");
        judge.apply(LaneDown::Config { digest, content: reference.clone() }).expect("takes its reference");
        Self { judge, seq: 0, pane: 0 }
    }

    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// A window of these rows.
    pub(crate) fn window(&mut self, rows: RecordBatch) -> Said {
        self.pane += 1;
        let pane = self.pane;
        let count = rows.rows() as u32;
        self.judge.apply(LaneDown::OpenPane { pane, key: "".into(), labels_only: false }).expect("a pane");
        let seq = self.next();
        let rows = LaneDown::Rows {
            seq,
            batch: rows,
            runs: vec![(pane, count)],
            again: false,
            partition: "".into(),
            retracts: false,
        };
        self.judge.apply(rows).expect("rows");
        let start_ms = (pane * WINDOW_MS) as i64;
        let window =
            Window { stream_id: "s".into(), key: "".into(), start_ms, end_ms: start_ms + WINDOW_MS as i64 };
        let seq = self.next();
        let close = Close {
            seq,
            window,
            revision: 0,
            panes: vec![pane],
            timing: Timing::OnTime,
            again: false,
            settled: true,
        };
        let answers = self.judge.apply(LaneDown::Close(close)).expect("a verdict");
        let seq = self.next();
        self.judge.apply(LaneDown::Release { seq, panes: vec![pane] }).expect("a release");
        let verdict = answers
            .into_iter()
            .find_map(|answer| match answer {
                LaneUp::Verdict(verdict) => Some(verdict),
                _ => None,
            })
            .expect("a verdict");
        Said {
            report: DriftReport::decode(verdict.report).expect("a report"),
            judged: verdict.status == VerdictStatus::Ok,
            alert: verdict.findings.iter().any(|finding| finding.severity > Severity::Low),
        }
    }
}
