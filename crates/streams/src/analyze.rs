//! One set of rows before all judges: the lane protocol, for one window. It must not know protobuf.

use std::{future::poll_fn, sync::Arc};

use acgs_columns::{RecordBatch, Role, Schema};
use acgs_lane::{
    Connector, LaneDown, LaneId, LaneUp, ReplayLog,
    message::{Close, Open, Timing, Verdict},
};
use acgs_statistics::{
    harm::{Harm, harm},
    kinds::DriftKind,
};
use acgs_vocabulary::{
    Constitution, JudgeKind, Problem, Window,
    ports::{Clock, ReferenceSource, StoredReference},
    problem::Kind,
    text,
};

use crate::{
    core::{Part, ReadEvidence, evidence},
    lanes::link::{Link, Said},
    projection::Projection,
    spec::configs_for,
};

/// How often one judge is asked, when it is lost before it answers: the question has no state.
const ATTEMPTS: usize = 3;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Asked all at once.
    pub judges: Vec<JudgeKind>,
    /// Of the rows.
    pub schema: Arc<Schema>,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// What the rows are compared with; drift is not applicable without one.
    pub reference: Option<ReferenceName>,
}

/// Which reference.
#[derive(Clone, Debug)]
pub struct ReferenceName {
    /// Empty for the newest of the model.
    pub name: String,
    /// 0 for the newest of the name.
    pub version: u64,
    /// Empty for none.
    pub model_id: String,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Analyzed {
    /// Unique.
    pub analysis_id: String,
    /// One for each judge.
    pub parts: Vec<Part>,
    /// Drift and loss together.
    pub harm: Harm,
    /// What kind of drift there is.
    pub drift_kinds: Vec<DriftKind>,
    /// When it was asked, in milliseconds since the epoch.
    pub now_ms: i64,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
}

/// Judges rows outside a stream. Clones share what it works with.
#[derive(Clone, Debug)]
pub struct Analyzer {
    /// Where judges are.
    pub connector: Arc<dyn Connector>,
    /// Where references are.
    pub references: Arc<dyn ReferenceSource>,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// What answers carry.
    pub constitution: Constitution,
    /// Reads the judges' encoded reports.
    pub read_evidence: ReadEvidence,
}

impl Analyzer {
    /// Judges rows as one window, by all judges at once.
    ///
    /// # Errors
    /// `UNKNOWN_REFERENCE`; when a judge refuses the rows, or none can be found.
    pub async fn analyze(&self, question: Question) -> Result<Analyzed, Problem> {
        let (now_ms, started_us) = (self.clock.now_ms(), self.clock.monotonic_us());
        let Question { judges, schema, batches, reference } = question;
        let reference = match reference {
            Some(reference) => {
                Some(self.references.find(&reference.name, reference.version, &reference.model_id).await?)
            }
            None => None,
        };
        let analysis_id = text::unique_id("analysis-", now_ms);
        let window = window(&analysis_id, &schema, &batches, now_ms);
        let asked = judges
            .iter()
            .map(|&judge| ask(&self.connector, judge, &schema, &batches, &window, reference.as_ref()));
        let mut parts = futures_util::future::try_join_all(asked).await?;
        let evidence = evidence(self.read_evidence, &mut parts);
        let harm = harm(evidence.drifted, evidence.risk);
        let elapsed_us = self.clock.monotonic_us().saturating_sub(started_us);
        let drift_kinds = evidence.kinds();
        Ok(Analyzed { analysis_id, parts, harm, drift_kinds, now_ms, elapsed_us })
    }
}

/// From the first event time to one past the last; without any, an empty window now.
fn window(analysis_id: &str, schema: &Schema, batches: &[RecordBatch], now_ms: i64) -> Window {
    let times = schema.index_of_role(Role::Timestamp).into_iter().flat_map(|index| {
        batches.iter().flat_map(move |batch| {
            (0..batch.rows()).filter_map(move |row| batch.columns()[index].integer(row))
        })
    });
    let (start_ms, end_ms) =
        times.fold((i64::MAX, i64::MIN), |(start, end), time_ms| (start.min(time_ms), end.max(time_ms)));
    let (start_ms, end_ms) =
        if start_ms <= end_ms { (start_ms, end_ms.saturating_add(1)) } else { (now_ms, now_ms) };
    Window { stream_id: analysis_id.into(), key: "".into(), start_ms, end_ms }
}

async fn ask(
    connector: &Arc<dyn Connector>,
    judge: JudgeKind,
    schema: &Arc<Schema>,
    batches: &[RecordBatch],
    window: &Window,
    reference: Option<&StoredReference>,
) -> Result<Part, Problem> {
    let projection = Projection::new(judge, schema, None)
        .map_err(|error| Problem::field("schema", "BAD_SCHEMA", error))?;
    let configs = configs_for(reference);
    let open = Open {
        stream_id: Arc::clone(&window.stream_id),
        slot: 0,
        epoch: 0,
        schema: Arc::clone(&projection.schema),
        configs: configs.references(),
        snapshot_every_bytes: 0,
        model_id: String::new(),
        service_id: String::new(),
        pane_ms: 0,
        recent_ms: 0,
        once: true,
    };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let mut link =
            Link::new(Arc::clone(connector), LaneId::whole(judge), open.clone(), configs.clone(), 0);
        let mut replay_log = ReplayLog::new(false);
        replay_log.push(LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false });
        for (index, batch) in batches.iter().enumerate() {
            let Some(batch) = projection.apply(batch) else { continue };
            let runs = vec![(1, batch.rows() as u32)];
            replay_log.push(LaneDown::Rows {
                seq: index as u64 + 1,
                batch,
                runs,
                again: false,
                partition: "".into(),
                retracts: false,
            });
        }
        replay_log.push(LaneDown::Close(Close {
            seq: batches.len() as u64 + 1,
            window: window.clone(),
            revision: 0,
            panes: vec![1],
            timing: Timing::OnTime,
            again: false,
            settled: true,
        }));
        match verdict(&mut link, &mut replay_log).await {
            Ok(verdict) => return Ok(Part { judge, verdict: Some(verdict), revision: 0 }),
            Err(problem) if problem.kind() == Kind::Unavailable => last = Some(problem),
            Err(problem) => return Err(problem),
        }
    }
    Err(last.unwrap_or_else(|| Problem::internal("a judge was not asked")))
}

async fn verdict(link: &mut Link, replay_log: &mut ReplayLog) -> Result<Verdict, Problem> {
    loop {
        match poll_fn(|context| link.poll(context, replay_log)).await {
            Said::Up(LaneUp::Verdict(verdict)) => return Ok(verdict),
            Said::Up(_) | Said::Opened | Said::Aged => {}
            Said::Lost(problem) | Said::Refused(problem) => return Err(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use acgs_columns::{Cell, Field, Kind as FieldKind, builder::BatchBuilder};

    use super::*;

    #[test]
    fn a_window_holds_all_rows_and_is_empty_without_times() {
        let fields = vec![Field::new("ts", FieldKind::Timestamp, Role::Timestamp)];
        let schema = Arc::new(Schema::new(fields).unwrap());
        let mut builder = BatchBuilder::new(Arc::clone(&schema));
        for cell in [Cell::Integer(30), Cell::Null, Cell::Integer(10), Cell::Integer(20)] {
            builder.push(&[cell]).unwrap();
        }
        let batches = [builder.finish().unwrap()];
        let found = window("a", &schema, &batches, 99);
        assert_eq!((found.start_ms, found.end_ms), (10, 31));
        let found = window("a", &schema, &[], 99);
        assert_eq!((found.start_ms, found.end_ms), (99, 99));
    }
}
