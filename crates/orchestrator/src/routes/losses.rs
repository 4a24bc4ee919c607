//! The loss of a candidate beside that of its baseline, from the records of both with their labels: pairs of labelled records in the
//! order in which labels came, each a bet on the difference. Read from the record log, so that it can be read again. It must not
//! know what follows from it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use acgs_columns::Role;
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

/// Chunks read at once.
const PAGE: usize = 64;
/// Records and labels of one deployment that wait for each other, and losses that wait for a partner.
const WAITING_MAX: usize = 1_000_000;

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
    rows: HashMap<RecordId, (bool, f64)>,
    labels: HashMap<RecordId, f64>,
    /// Of the candidate, and of the baseline.
    losses: [VecDeque<f64>; 2],
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
        let scores = column(Role::Score);
        for batch in &batches {
            for row in 0..batch.rows() {
                let Some(id) = RecordId::of(&batch.columns()[ids], row) else { continue };
                let number = |place: Option<usize>| {
                    place
                        .and_then(|place| batch.columns()[place].number(row))
                        .filter(|value| value.is_finite())
                };
                if holds_labels {
                    self.label(id, number(labels), wanted);
                } else if let Some(score) = number(scores) {
                    self.begun |= of_candidate;
                    self.row(id, of_candidate, score, number(labels), wanted);
                }
            }
        }
    }

    fn row(&mut self, id: RecordId, of_candidate: bool, score: f64, label: Option<f64>, wanted: &Wanted) {
        match label.or_else(|| self.labels.remove(&id)) {
            Some(label) => self.lost(of_candidate, score, label, wanted),
            None if self.rows.len() < WAITING_MAX => {
                self.rows.entry(id).or_insert((of_candidate, score));
            }
            None => {}
        }
    }

    fn label(&mut self, id: RecordId, label: Option<f64>, wanted: &Wanted) {
        let Some(label) = label else { return };
        match self.rows.remove(&id) {
            Some((of_candidate, score)) => self.lost(of_candidate, score, label, wanted),
            None if self.begun && self.labels.len() < WAITING_MAX => {
                self.labels.entry(id).or_insert(label);
            }
            None => {}
        }
    }

    /// One more loss; with a partner of the other side it is bet on.
    fn lost(&mut self, of_candidate: bool, score: f64, label: f64, wanted: &Wanted) {
        let loss = match wanted.loss {
            Loss::Squared => (score - label) * (score - label),
            Loss::Absolute => (score - label).abs(),
            Loss::Log => {
                let likely = if label > 0.5 { score } else { 1.0 - score };
                -likely.max(f64::MIN_POSITIVE).ln()
            }
        };
        let LossTolerance { tolerated, unacceptable, range, .. } = wanted.tolerance;
        let side = &mut self.losses[usize::from(!of_candidate)];
        if side.len() >= WAITING_MAX {
            side.pop_front();
        }
        side.push_back((loss / range).min(1.0));
        let [candidate, baseline] = &mut self.losses;
        while !candidate.is_empty() && !baseline.is_empty() {
            if let (Some(one), Some(other)) = (candidate.pop_front(), baseline.pop_front()) {
                self.bets.push(one - other, tolerated / range, unacceptable / range);
            }
        }
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;
