//! The loss of a candidate beside that of its baseline, from the records of both with their labels. A call is what was drawn to a
//! version, so a call is what counts once: each of the candidate has the nearest of the baseline in event time as its partner, and of
//! both the record whose label comes first is a bet on the difference. Read from the record log, so that it can be read again. It must
//! not know what follows from it.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Kind, Role};
use acgs_interchange::from_arrow_tagged;
use acgs_lifecycle::{
    analysis::LossFound,
    deployment::{Deployment, Phase},
    policy::Loss,
    rollout::LossTolerance,
};
use acgs_statistics::evidence::MeanBets;
use acgs_vocabulary::{
    Problem,
    ports::{Chunk, RecordLog},
};

use crate::{core::RecordId, lifecycle::topic, records::tag};

/// The column that says which records came in one call, as gateways write it: neighbours with the same value did.
const CALL: &str = "acgs_call";
/// Chunks read at once.
const PAGE: usize = 64;
/// Records and labels of one deployment that wait for each other.
const WAITING_MAX: usize = 1_000_000;
/// Calls of one side that wait for a partner: the newest are kept, since the older ones were of other times.
const SINGLES_MAX: usize = 256;

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
    /// Records without a label: of which pair, on which side, and the score.
    rows: HashMap<RecordId, (u64, Side, f64)>,
    labels: HashMap<RecordId, f64>,
    /// Losses of pairs that are not complete. A pair that is not here is over, or never became one.
    pairs: HashMap<u64, [Option<f64>; 2]>,
    /// Pairs with one call so far, and its event time; the oldest first.
    singles: [Vec<(u64, i64)>; 2],
    /// The last call of each side, and its pair.
    last: [Option<(i64, u64)>; 2],
    /// Pairs that were begun.
    begun_pairs: u64,
    bets: MeanBets,
}

/// The candidate's, or the baseline's.
type Side = usize;
const CANDIDATE: Side = 0;
const BASELINE: Side = 1;

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
        let (scores, times) = (column(Role::Score), column(Role::Timestamp));
        let calls = schema.index_of(CALL).filter(|place| schema.fields()[*place].kind == Kind::Int64);
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
                if holds_labels {
                    self.label(id, number(labels), wanted);
                } else if let Some(score) = number(scores) {
                    self.begun |= of_candidate;
                    let pair = self.pair(side, integer(calls), integer(times).unwrap_or(0));
                    self.row(id, (pair, side, score), number(labels), wanted);
                }
            }
        }
    }

    /// The pair of a record: that of the record before when both are of one call; else the nearest call of the other side that is
    /// alone, or a new one.
    fn pair(&mut self, side: Side, call: Option<i64>, time_ms: i64) -> u64 {
        if let (Some(call), Some((last, pair))) = (call, self.last[side])
            && call == last
        {
            return pair;
        }
        let others = &mut self.singles[1 - side];
        let nearest = (0..others.len()).min_by_key(|place| others[*place].1.abs_diff(time_ms));
        let pair = match nearest {
            Some(place) => others.remove(place).0,
            None => {
                self.begun_pairs += 1;
                let singles = &mut self.singles[side];
                if singles.len() >= SINGLES_MAX {
                    self.pairs.remove(&singles.remove(0).0);
                }
                singles.push((self.begun_pairs, time_ms));
                if self.pairs.len() < WAITING_MAX {
                    self.pairs.insert(self.begun_pairs, [None; 2]);
                }
                self.begun_pairs
            }
        };
        self.last[side] = call.map(|call| (call, pair));
        pair
    }

    fn row(&mut self, id: RecordId, of: (u64, Side, f64), label: Option<f64>, wanted: &Wanted) {
        match label.or_else(|| self.labels.remove(&id)) {
            Some(label) => self.lost(of, label, wanted),
            None if self.rows.len() < WAITING_MAX => {
                self.rows.entry(id).or_insert(of);
            }
            None => {}
        }
    }

    fn label(&mut self, id: RecordId, label: Option<f64>, wanted: &Wanted) {
        let Some(label) = label else { return };
        match self.rows.remove(&id) {
            Some(of) => self.lost(of, label, wanted),
            None if self.begun && self.labels.len() < WAITING_MAX => {
                self.labels.entry(id).or_insert(label);
            }
            None => {}
        }
    }

    /// One more loss; when both sides of its pair have one, it is bet on.
    fn lost(&mut self, (pair, side, score): (u64, Side, f64), label: f64, wanted: &Wanted) {
        let Some(losses) = self.pairs.get_mut(&pair).filter(|losses| losses[side].is_none()) else { return };
        let loss = match wanted.loss {
            Loss::Squared => (score - label) * (score - label),
            Loss::Absolute => (score - label).abs(),
            Loss::Log => {
                let likely = if label > 0.5 { score } else { 1.0 - score };
                -likely.max(f64::MIN_POSITIVE).ln()
            }
        };
        let LossTolerance { tolerated, unacceptable, range, .. } = wanted.tolerance;
        losses[side] = Some((loss / range).min(1.0));
        if let [Some(candidate), Some(baseline)] = *losses {
            self.pairs.remove(&pair);
            self.bets.push(candidate - baseline, tolerated / range, unacceptable / range);
        }
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;
