//! The loss of a candidate beside that of its baseline, from the records of both with their labels: each pair of calls (`pairs`) is a
//! bet on the difference. Read from the record log, so that it can be read again. It must not know what follows from it.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Kind, Role};
use acgs_interchange::{Tags, from_arrow_tagged};
use acgs_lifecycle::{
    analysis::LossFound,
    deployment::{Deployment, Phase},
    policy::Loss,
    rollout::LossTolerance,
};
use acgs_statistics::evidence::MeanBets;
use acgs_vocabulary::{
    CALL_FIELD, Problem,
    ports::{Chunk, RecordLog},
};

use super::pairs::{BASELINE, CANDIDATE, Outcome, Pairs, Spoken};
use crate::{core::RecordId, lifecycle::topic, records::tag};

/// Chunks read at once.
const PAGE: usize = 64;
/// Lives of streams whose frames are told apart from those that are sent again.
const STREAMS_MAX: usize = 4_096;

/// Losses of the deployments that are open.
#[derive(Debug)]
pub struct Losses {
    log: Arc<dyn RecordLog>,
    readings: HashMap<u64, Reading>,
}

/// How far the log was read for one deployment, and what was found.
#[derive(Debug, Default)]
struct Reading {
    after: u64,
    /// The candidate has a record: from here on the baseline's count too.
    begun: bool,
    /// The last frame, and part of it, of each life of a stream's partition: what comes again has been seen.
    last: HashMap<(String, String), (u64, u32)>,
    pairs: Pairs,
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
    /// In this log.
    #[must_use]
    pub fn new(log: Arc<dyn RecordLog>) -> Self {
        Self { log, readings: HashMap::new() }
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
        let topic = topic(model_id);
        let mut reading = match self.readings.remove(&deployment.number) {
            Some(reading) => reading,
            // Before it has traffic there is nothing of it to find; otherwise this process has just begun, and reads all.
            None if matches!(deployment.phase, Phase::Pending | Phase::Preparing) => {
                Reading { after: self.log.last_chunk(&topic).await?, ..Reading::default() }
            }
            None => Reading::default(),
        };
        let wanted = Wanted {
            candidate: Arc::clone(&deployment.version),
            baseline: deployment.baseline.clone(),
            loss,
            tolerance,
        };
        while self.log.last_chunk(&topic).await? > reading.after {
            let page = self.log.chunks(&topic, reading.after, PAGE).await?;
            if page.is_empty() {
                break;
            }
            let wanted = wanted.clone();
            // Decoding is work: other tasks go on meanwhile.
            let read = tokio::task::spawn_blocking(move || {
                for chunk in &page {
                    reading.take(chunk, &wanted);
                    reading.after = chunk.sequence;
                }
                reading
            });
            reading = read.await.map_err(|error| Problem::internal(error.to_string()))?;
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
    fn take(&mut self, chunk: &Chunk, wanted: &Wanted) {
        // A chunk that cannot be read was never a record of this deployment.
        let Ok(((schema, batches), tags)) = from_arrow_tagged(&chunk.content) else { return };
        let column = |role| schema.index_of_role(role);
        let (ids, labels) = (column(Role::Id), column(Role::Label));
        let Some(ids) = ids else { return };
        let holds_labels = tags.get(tag::HOLDS).map(String::as_str) == Some(tag::LABELS);
        let version = tags.get(tag::VERSION).map_or("", String::as_str);
        let of_candidate = version == &*wanted.candidate;
        if !holds_labels && (!of_candidate && (version != wanted.baseline || !self.begun)) {
            return;
        }
        if !holds_labels && !self.is_new(&tags) {
            return;
        }
        let (scores, times) = (column(Role::Score), column(Role::Timestamp));
        let calls = schema.index_of(CALL_FIELD).filter(|place| schema.fields()[*place].kind == Kind::Int64);
        let side = if of_candidate { CANDIDATE } else { BASELINE };
        for batch in &batches {
            for row in 0..batch.rows() {
                let Some(id) = RecordId::of(&batch.columns()[ids], row) else { continue };
                let integer =
                    |place: Option<usize>| place.and_then(|place| batch.columns()[place].integer(row));
                let number = |place: Option<usize>| {
                    place
                        .and_then(|place| batch.columns()[place].number(row))
                        .filter(|value| value.is_finite())
                };
                let (label, score) = (number(labels), number(scores));
                let complete = match (holds_labels, label, score) {
                    (true, Some(label), _) if self.begun => self.pairs.label(id, label),
                    (false, label, Some(score)) => {
                        self.begun |= of_candidate;
                        let (call, time_ms) = (integer(calls), integer(times).unwrap_or(0));
                        self.pairs.record(Spoken { side, call, time_ms, id, score, label })
                    }
                    _ => None,
                };
                if let Some(complete) = complete {
                    self.bet(complete, wanted);
                }
            }
        }
    }

    /// Whether a frame was not seen before: those of one life of a partition have rising numbers.
    fn is_new(&mut self, tags: &Tags) -> bool {
        let (instance, partition, seq, part) = tag::place(tags);
        let (life, frame) = ((instance, partition), (seq, part));
        let is_new = self.last.get(&life).is_none_or(|last| *last < frame);
        if is_new && (self.last.len() < STREAMS_MAX || self.last.contains_key(&life)) {
            self.last.insert(life, frame);
        }
        is_new
    }

    fn bet(&mut self, [candidate, baseline]: [Outcome; 2], wanted: &Wanted) {
        let LossTolerance { tolerated, unacceptable, range, .. } = wanted.tolerance;
        let loss = |Outcome { score, label }: Outcome| {
            let loss = match wanted.loss {
                Loss::Squared => (score - label) * (score - label),
                Loss::Absolute => (score - label).abs(),
                Loss::Log => {
                    let likely = if label > 0.5 { score } else { 1.0 - score };
                    -likely.max(f64::MIN_POSITIVE).ln()
                }
            };
            (loss / range).min(1.0)
        };
        self.bets.push(loss(candidate) - loss(baseline), tolerated / range, unacceptable / range);
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;
