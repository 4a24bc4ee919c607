//! Judges what workers bring by the gates of the policy. It must not know how models are trained.

use std::{sync::Arc, time::Duration};

use acgs_columns::{Kind as FieldKind, RecordBatch, Role, Schema};
use acgs_interchange::from_parquet;
use acgs_lifecycle::{
    Command, Policy,
    event::NewVersion,
    gates::{self, Candidate, Holdout},
    job::JobState,
    model::Job,
};
use acgs_vocabulary::{Constitution, Problem, ports::Blobs};
use tokio_util::sync::CancellationToken;

use crate::{
    job_files::{dataset_key, scores_key},
    job_holds::JobHolds,
    ledger_writer::LedgerWriter,
    truth::{Seen, Truth},
};

/// Between attempts while the home cannot be reached.
const RETRY: Duration = Duration::from_millis(500);

/// What it works with. Clones share it.
#[derive(Clone, Debug)]
pub struct GateRunner {
    /// Who decides.
    pub writer: LedgerWriter,
    /// Data of jobs, and the scores that workers bring.
    pub blobs: Arc<dyn Blobs>,
    /// What versions may have been trained under.
    pub constitution: Constitution,
    /// Jobs that somebody in this process works on.
    pub holds: JobHolds,
}

impl GateRunner {
    /// Judges until everything ends.
    pub async fn run(self, stop: CancellationToken) {
        let mut changed = self.writer.changed();
        loop {
            changed.borrow_and_update();
            for (model_id, job) in self.evaluating() {
                let Some(hold) = self.holds.take(job.number) else { continue };
                let runner = self.clone();
                tokio::spawn(async move {
                    runner.judge(&model_id, &job).await;
                    drop(hold);
                });
            }
            tokio::select! {
                ended = changed.changed() => if ended.is_err() {
                    return;
                },
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn evaluating(&self) -> Vec<(Arc<str>, Arc<Job>)> {
        self.writer.look(|state| {
            let jobs = state.jobs_in_work();
            let judged = jobs.filter(|(_, job)| job.state == JobState::Evaluating);
            judged.map(|(model, job)| (Arc::clone(&model.model_id), Arc::clone(job))).collect()
        })
    }

    async fn judge(&self, model_id: &str, job: &Job) {
        let Some(version) = job.version.clone() else { return };
        let command = match self.judged(model_id, job, &version).await {
            Ok(judged) => Command::GatesJudged { job: job.number, version, judged },
            // Until the home is back or the time for judging is over.
            Err(problem) => {
                tracing::warn!(%problem, job = job.number, "a version could not be judged yet");
                tokio::time::sleep(RETRY).await;
                return;
            }
        };
        if let Err(problem) = self.writer.submit("gates", model_id, command).await {
            tracing::warn!(%problem, job = job.number, "a judgement could not be written yet");
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn judged(&self, model_id: &str, job: &Job, version: &str) -> Result<gates::Judged, Problem> {
        let missing = |what: &str| Problem::internal(format!("{what} of job-{} is not there", job.number));
        let plan = job.plan.as_ref().ok_or_else(|| missing("the plan"))?;
        let fence = job.lease.as_ref().map_or(0, |lease| lease.fence);
        let truth = self.blobs.get(&dataset_key(&plan.truth_digest)).await?;
        let truth = truth.ok_or_else(|| missing("the truth"))?;
        let scores = self.blobs.get(&scores_key(job.number, fence)).await?.unwrap_or_default();
        let (policy, new) = self
            .writer
            .look(|state| {
                let model = state.model(model_id)?;
                Some((model.policy.clone()?, model.version(version)?.new.clone()))
            })
            .ok_or_else(|| missing("the policy or the version"))?;
        let constitutions = self.constitution.accepted().to_vec();
        let evaluation = move || evaluate(&policy, constitutions, new, truth, &scores);
        tokio::task::spawn_blocking(evaluation).await.map_err(|error| Problem::internal(error.to_string()))?
    }
}

/// Judges scores (doubles, little-endian) of held-out records against the records with their labels, as a Parquet file.
///
/// # Errors
/// When the file cannot be read.
pub fn evaluate(
    policy: &Policy,
    constitutions: Vec<String>,
    new: NewVersion,
    truth: Vec<u8>,
    scores: &[u8],
) -> Result<gates::Judged, Problem> {
    let read = from_parquet(truth.into());
    let (schema, batches) = read.map_err(|error| Problem::internal(error.to_string()))?;
    let (chunks, _) = scores.as_chunks::<8>();
    let scores: Vec<f64> = chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    let holdout = holdout(&schema, &batches, &scores);
    let candidate = Candidate {
        scores: scores.len(),
        expected_scores: batches.iter().map(RecordBatch::rows).sum(),
        constitutional_hash: new.constitutional_hash,
        constitutions,
        evidence: new.evidence,
    };
    Ok(gates::judge(&policy.gates, &holdout, &candidate))
}

/// The held-out records as the gates see them.
fn holdout(schema: &Schema, batches: &[RecordBatch], scores: &[f64]) -> Holdout {
    let place = |role| schema.index_of_role(role);
    let served = place(Role::Score).or_else(|| place(Role::Prediction));
    let texts: Vec<usize> = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.kind == FieldKind::Text && field.role != Role::Id)
        .map(|(place, _)| place)
        .collect();
    let mut holdout = Holdout {
        slices: texts.iter().map(|place| (schema.fields()[*place].name.clone(), Vec::new())).collect(),
        ..Holdout::default()
    };
    let mut scores = scores.iter().copied();
    let (mut seen, mut truths) = (Seen::default(), Vec::new());
    for batch in batches {
        let number =
            |place: Option<usize>, row: usize| place.and_then(|place| batch.columns()[place].number(row));
        for row in 0..batch.rows() {
            let time = place(Role::Timestamp).and_then(|place| batch.columns()[place].integer(row));
            holdout.times_ms.push(time.unwrap_or(0));
            let truth = place(Role::Label)
                .and_then(|place| Truth::of(&schema.fields()[place], &batch.columns()[place], row));
            truth.iter().for_each(|truth| seen.look(*truth));
            truths.push(truth);
            holdout.challenger.push(scores.next().unwrap_or(f64::NAN));
            holdout.served.push(number(served, row));
            for (slice, place) in holdout.slices.iter_mut().zip(&texts) {
                slice.1.push(batch.columns()[*place].text(row).map(ToString::to_string));
            }
        }
    }
    // A row whose label says nothing that a loss could be taken of is no held-out record.
    let labels: Vec<Option<f64>> =
        truths.into_iter().map(|truth| truth.and_then(|truth| seen.number(truth))).collect();
    let keep = |row: &usize| labels[*row].is_some();
    let rows: Vec<usize> = (0..labels.len()).filter(keep).collect();
    holdout.times_ms = rows.iter().map(|row| holdout.times_ms[*row]).collect();
    holdout.challenger = rows.iter().map(|row| holdout.challenger[*row]).collect();
    holdout.served = rows.iter().map(|row| holdout.served[*row]).collect();
    for (_, values) in &mut holdout.slices {
        *values = rows.iter().map(|row| values[*row].take()).collect();
    }
    holdout.labels = labels.into_iter().flatten().collect();
    holdout
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acgs_columns::{Cell, Field, builder::BatchBuilder};

    use super::*;

    fn held_out(kind: FieldKind, labels: &[Cell<'_>]) -> Holdout {
        let fields = vec![
            Field::new("ts", FieldKind::Timestamp, Role::Timestamp),
            Field::new("p", FieldKind::Double, Role::Score),
            Field::new("city", FieldKind::Text, Role::Feature),
            Field::new("y", kind, Role::Label),
        ];
        let mut builder = BatchBuilder::new(Arc::new(Schema::new(fields).unwrap()));
        for (row, label) in labels.iter().enumerate() {
            let city = if row % 2 == 0 { "a" } else { "b" };
            let cells =
                [Cell::Integer(row as i64), Cell::Number(row as f64 / 10.0), Cell::Text(city), *label];
            builder.push(&cells).unwrap();
        }
        let batch = builder.finish().unwrap();
        let scores: Vec<f64> = (0..labels.len()).map(|row| row as f64).collect();
        holdout(batch.schema(), std::slice::from_ref(&batch), &scores)
    }

    #[test]
    fn a_row_whose_label_says_nothing_is_left_out_with_all_that_is_of_it() {
        let labels = [0.0, 1.0, 2.0, 1.0, f64::NAN].map(Cell::Number);
        let found = held_out(FieldKind::Double, &labels);
        assert_eq!((&found.labels[..], &found.times_ms[..]), (&[0.0, 1.0, 1.0][..], &[0, 1, 3][..]));
        assert_eq!(found.challenger, [0.0, 1.0, 3.0]);
        assert_eq!(found.served, [Some(0.0), Some(0.1), Some(0.3)]);
        assert_eq!(found.slices[0].1, [Some("a"), Some("b"), Some("b")].map(|it| it.map(str::to_owned)));
        let words = held_out(FieldKind::Text, &["yes", "no", "maybe"].map(Cell::Text));
        assert_eq!(words.labels, [1.0, 0.0]);
    }
}
