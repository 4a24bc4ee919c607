//! The loss of a candidate beside that of its baseline, from the records of both with their labels: each pair of calls (`pairs`) is a
//! bet on the difference. Read from the record log, so that it can be read again. It must not know what follows from it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use acgs_columns::{Kind, RecordBatch, RecordId, Role};
use acgs_lifecycle::{
    analysis::LossFound,
    deployment::{Deployment, Phase},
    loss::loss,
    policy::Loss,
    rollout::LossTolerance,
};
use acgs_statistics::evidence::MeanBets;
use acgs_vocabulary::{
    CALL_FIELD, Problem,
    ports::records::{FrameRows, KeptPlace, ModelRecords, RecordFrame},
};

use crate::truth::{Seen, Truth};

use super::pairs::{BASELINE, CANDIDATE, Outcome, Pairs, Side, Spoken};

/// Lives of streams whose frames are told apart from those that are sent again.
const STREAMS_MAX: usize = 4_096;
/// Chunks of one life that are told apart: more than can be on their way into the log at once.
const RECENT_MAX: usize = 1_024;
/// Pairs of ones alone that wait for a label that says what those mean; with more, a one is a yes.
const UNSETTLED_MAX: usize = 10_000;

/// Losses of the deployments that are open.
#[derive(Debug)]
pub struct Losses {
    records: Arc<dyn ModelRecords>,
    readings: HashMap<u64, Reading>,
}

/// How far the log was read for one deployment, and what was found.
#[derive(Debug, Default)]
struct Reading {
    after: u64,
    /// The candidate has a record: from here on the baseline's count too.
    begun: bool,
    /// The newest chunks of each life of a stream's partition: what comes again has been seen.
    recent: HashMap<(String, String), BTreeSet<KeptPlace>>,
    pairs: Pairs,
    /// What labels have shown of how they are meant, and pairs that came before.
    seen: Seen,
    unsettled: VecDeque<[Outcome; 2]>,
    bets: MeanBets,
}

/// What is being looked for.
#[derive(Clone, Debug)]
struct Wanted {
    candidate: Arc<str>,
    baseline: String,
    loss: Loss,
    tolerance: LossTolerance,
}

impl Losses {
    /// Found in these records.
    #[must_use]
    pub fn new(records: Arc<dyn ModelRecords>) -> Self {
        Self { records, readings: HashMap::new() }
    }

    /// Forgets deployments that are over.
    pub fn keep(&mut self, open: impl Fn(u64) -> bool) {
        self.readings.retain(|number, _| open(*number));
    }

    /// What is known of a deployment's losses now; `None` when its plan does not ask.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn found(
        &mut self,
        model_id: &str,
        deployment: &Deployment,
        loss: Loss,
    ) -> Result<Option<LossFound>, Problem> {
        let Some(tolerance) = deployment.plan.analysis.loss else { return Ok(None) };
        let mut reading = match self.readings.remove(&deployment.number) {
            Some(reading) => reading,
            // Before it has traffic there is nothing of it to find; otherwise this process has just begun, and reads all.
            None if matches!(deployment.phase, Phase::Pending | Phase::Preparing) => {
                Reading { after: self.records.last_sequence(model_id).await?, ..Reading::default() }
            }
            None => Reading::default(),
        };
        let wanted = Wanted {
            candidate: Arc::clone(&deployment.version),
            baseline: deployment.baseline.clone(),
            loss,
            tolerance,
        };
        while self.records.last_sequence(model_id).await? > reading.after {
            let page = self.records.frames(model_id, reading.after).await?;
            let Some(through) = page.through_sequence else { break };
            for frame in &page.frames {
                reading.take(frame, &wanted);
            }
            reading.after = through;
        }
        let bets = &reading.bets;
        let found = LossFound {
            pairs: bets.draws,
            difference: bets.mean() * tolerance.range,
            ln_bad: bets.ln_above(),
            ln_good: bets.ln_below(),
        };
        self.readings.insert(deployment.number, reading);
        Ok(Some(found))
    }
}

impl Reading {
    fn take(&mut self, frame: &RecordFrame, wanted: &Wanted) {
        match &frame.rows {
            FrameRows::Labels(batches) if self.begun => {
                for batch in batches {
                    self.take_labels(batch, wanted);
                }
            }
            FrameRows::Labels(_) => {}
            FrameRows::Records(batches) => {
                let of_candidate = *frame.model_version == *wanted.candidate;
                let of_baseline = frame.model_version == wanted.baseline && self.begun;
                if (of_candidate || of_baseline) && self.is_new(frame) {
                    let side = if of_candidate { CANDIDATE } else { BASELINE };
                    for batch in batches {
                        self.take_records(batch, side, wanted);
                    }
                }
            }
        }
    }

    fn take_labels(&mut self, batch: &RecordBatch, wanted: &Wanted) {
        let column = |role| {
            let place = batch.schema().index_of_role(role)?;
            Some((&batch.schema().fields()[place], &batch.columns()[place]))
        };
        let (Some((_, ids)), Some(labels)) = (column(Role::Id), column(Role::Label)) else { return };
        for row in 0..batch.rows() {
            let label = Truth::of(labels.0, labels.1, row);
            if let (Some(id), Some(label)) = (RecordId::of(ids, row), label)
                && let Some(complete) = self.pairs.label(id, label)
            {
                self.bet(complete, wanted);
            }
        }
    }

    fn take_records(&mut self, batch: &RecordBatch, side: Side, wanted: &Wanted) {
        let schema = batch.schema();
        let column = |role| schema.index_of_role(role).map(|place| &batch.columns()[place]);
        let (Some(ids), Some(scores)) = (column(Role::Id), column(Role::Score)) else { return };
        let label_field = schema.index_of_role(Role::Label).map(|place| &schema.fields()[place]);
        let (labels, times) = (label_field.zip(column(Role::Label)), column(Role::Timestamp));
        let calls = schema.index_of(CALL_FIELD).filter(|place| schema.fields()[*place].kind == Kind::Int64);
        let calls = calls.map(|place| &batch.columns()[place]);
        for row in 0..batch.rows() {
            let finite = |value: &f64| value.is_finite();
            let score = scores.number(row).filter(finite);
            let (Some(id), Some(score)) = (RecordId::of(ids, row), score) else { continue };
            self.begun |= side == CANDIDATE;
            let call = calls.and_then(|calls| calls.integer(row));
            let time_ms = times.and_then(|times| times.integer(row)).unwrap_or(0);
            let label = labels.and_then(|(field, labels)| Truth::of(field, labels, row));
            if let Some(complete) = self.pairs.record(Spoken { side, call, time_ms, id, score, label }) {
                self.bet(complete, wanted);
            }
        }
    }

    /// Whether a chunk was not seen before. Those of one life come nearly in the order of their places: written at the same time, they
    /// pass one another. What was kept and never taken may count here: its records come again with the ids that they had.
    fn is_new(&mut self, frame: &RecordFrame) -> bool {
        if self.recent.len() >= STREAMS_MAX && !self.recent.contains_key(&frame.life) {
            return true;
        }
        let recent = self.recent.entry(frame.life.clone()).or_default();
        let join = |place: &KeptPlace| (place.epoch, place.join);
        if recent.last().is_some_and(|newest| join(&frame.place) < join(newest)) {
            // A later client has begun: what was accepted of an earlier one was in the log before.
            return false;
        }
        if recent.len() >= RECENT_MAX {
            if recent.first().is_some_and(|oldest| frame.place < *oldest) {
                return false;
            }
            recent.pop_first();
        }
        recent.insert(frame.place)
    }

    /// Bets on a pair, when it is known what a one means: the first ones wait until then.
    fn bet(&mut self, pair: [Outcome; 2], wanted: &Wanted) {
        pair.iter().for_each(|outcome| self.seen.look(outcome.label));
        self.unsettled.push_back(pair);
        if !self.seen.is_settled() {
            if self.unsettled.len() <= UNSETTLED_MAX {
                return;
            }
            self.seen.settle();
        }
        let LossTolerance { tolerated, unacceptable, range, .. } = wanted.tolerance;
        while let Some([candidate, baseline]) = self.unsettled.pop_front() {
            let share = |Outcome { score, label }: Outcome| {
                Some((loss(wanted.loss, score, self.seen.number(label)?) / range).min(1.0))
            };
            if let (Some(candidate), Some(baseline)) = (share(candidate), share(baseline)) {
                self.bets.push(candidate - baseline, tolerated / range, unacceptable / range);
            }
        }
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;
