//! What lies between a queued job and a judged one: the data that it is trained and judged on, and the judging. It must not know
//! how models are trained, or who trains them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use acgs_columns::{Field, Kind as FieldKind, RecordBatch, Role, Schema};
use acgs_interchange::{from_parquet, to_parquet};
use acgs_lifecycle::{
    Command, Policy,
    event::{DataWindow, NewVersion, Plan},
    gates::{self, Candidate, Holdout},
    job::JobState,
    model::Job,
};
use acgs_vocabulary::{
    Constitution, Problem,
    constitution::sha256_hex,
    ports::{Blobs, RecordLog},
    problem::Kind,
};
use tokio_util::sync::CancellationToken;

use super::{Registrar, topic};
use crate::records::{Dataset, Selection, dataset};

/// Between attempts while the home cannot be reached, and between two looks for what was left over.
const RETRY: Duration = Duration::from_millis(500);

/// Jobs whose data are known to be gone.
const CLEARED_MAX: usize = 256;

/// The key of a job's data in the blob home.
#[must_use]
pub fn dataset_key(digest: &str) -> String {
    format!("datasets/{digest}")
}

/// The key of the scores that a worker brought, which it cannot bring a second time.
#[must_use]
pub fn scores_key(job: u64, fence: u64) -> String {
    format!("scores/{job}-{fence}")
}

/// What it works with. Clones share it.
#[derive(Clone, Debug)]
pub struct Foreman {
    registrar: Registrar,
    blobs: Arc<dyn Blobs>,
    records: Arc<dyn RecordLog>,
    constitution: Constitution,
    /// Jobs that somebody in this process prepares or judges.
    busy: Arc<Mutex<HashSet<u64>>>,
}

/// Lets a job go again.
#[derive(Debug)]
pub struct Hold {
    job: u64,
    busy: Arc<Mutex<HashSet<u64>>>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
    }
}

impl Foreman {
    /// Over what is kept.
    #[must_use]
    pub fn new(
        registrar: Registrar,
        blobs: Arc<dyn Blobs>,
        records: Arc<dyn RecordLog>,
        constitution: Constitution,
    ) -> Self {
        Self { registrar, blobs, records, constitution, busy: Arc::default() }
    }

    /// Takes a job so that nobody else in this process does the same work; `None` when somebody has it.
    #[must_use]
    pub fn hold(&self, job: u64) -> Option<Hold> {
        let taken = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
        taken.then(|| Hold { job, busy: Arc::clone(&self.busy) })
    }

    /// Writes down what a job is trained and judged on.
    ///
    /// # Errors
    /// `NO_RECORDS` when the records are not there, or the home's trouble.
    pub async fn plan(
        &self,
        model_id: &str,
        policy: &Policy,
        job: &Job,
        parent: &str,
    ) -> Result<Plan, Problem> {
        let training = &policy.training;
        let until_ms = job.event_time_ms;
        let split_ms = until_ms.saturating_sub(training.holdout_ms);
        let selection = Selection {
            from_ms: until_ms.saturating_sub(training.window_ms),
            until_ms,
            labelled: true,
            rows_max: usize::try_from(training.rows_max).unwrap_or(usize::MAX),
        };
        let all = dataset::read(&*self.records, &topic(model_id), selection).await?;
        let refit = training.refit;
        let files = tokio::task::spawn_blocking(move || Files::of(&all, selection, split_ms, refit))
            .await
            .map_err(|error| Problem::internal(error.to_string()))??;
        let few = |what: &str, found: u64, asked: u64| {
            let message = format!("{found} labelled records {what}, the policy asks for {asked}");
            Problem::new(Kind::Precondition, "NO_RECORDS", message)
        };
        if files.train.1.rows < training.rows_min {
            return Err(few("to train on", files.train.1.rows, training.rows_min));
        }
        if files.truth.1.rows < policy.gates.rows_min {
            return Err(few("to judge by", files.truth.1.rows, policy.gates.rows_min));
        }
        let made = [&files.train, &files.holdout, &files.truth];
        for (bytes, window) in made.into_iter().chain(&files.refit) {
            self.blobs.put(&dataset_key(&window.digest), bytes.clone()).await?;
        }
        Ok(Plan {
            train: files.train.1,
            holdout: files.holdout.1,
            truth_digest: files.truth.1.digest,
            refit: files.refit.map(|(_, window)| window),
            parent: parent.to_owned(),
            trainer: training.trainer.clone(),
            hyperparameters: training.hyperparameters.clone(),
        })
    }

    /// Judges what workers bring, and clears away the data of jobs that are over, until everything ends.
    pub async fn run(self, stop: CancellationToken) {
        let mut changed = self.registrar.changed();
        let mut over: HashSet<u64> = HashSet::new();
        let mut quiet = false;
        loop {
            changed.borrow_and_update();
            for (model_id, job) in self.evaluating() {
                let Some(hold) = self.hold(job.number) else { continue };
                let foreman = self.clone();
                tokio::spawn(async move {
                    foreman.judge(&model_id, &job).await;
                    drop(hold);
                });
            }
            if quiet {
                self.clear(&mut over).await;
            }
            tokio::select! {
                ended = changed.changed() => {
                    quiet = false;
                    if ended.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(RETRY) => quiet = true,
                () = stop.cancelled() => return,
            }
        }
    }

    fn evaluating(&self) -> Vec<(Arc<str>, Arc<Job>)> {
        self.registrar.look(|state| {
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
        if let Err(problem) = self.registrar.submit("gates", model_id, command).await {
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
            .registrar
            .look(|state| {
                let model = state.model(model_id)?;
                Some((model.policy.clone()?, model.version(version)?.new.clone()))
            })
            .ok_or_else(|| missing("the policy or the version"))?;
        let constitutions = self.constitution.accepted().to_vec();
        let evaluation = move || evaluate(&policy, constitutions, new, truth, &scores);
        tokio::task::spawn_blocking(evaluation).await.map_err(|error| Problem::internal(error.to_string()))?
    }

    /// The data of a job that is over are given up: the record log makes them again, byte for byte, while it has the records.
    async fn clear(&self, over: &mut HashSet<u64>) {
        if over.len() > CLEARED_MAX {
            over.clear();
        }
        let (ended, used): (Vec<Arc<Job>>, HashSet<String>) = self.registrar.look(|state| {
            let jobs = state.jobs_before(0).take(CLEARED_MAX / 2).map(|(_, job)| job);
            let (open, ended): (Vec<_>, Vec<_>) =
                jobs.filter(|job| job.plan.is_some()).partition(|job| job.state.is_open());
            let ended = ended.into_iter().filter(|job| !over.contains(&job.number)).cloned().collect();
            (ended, open.into_iter().flat_map(|job| digests(job)).collect())
        });
        for job in ended {
            for digest in digests(&job).into_iter().filter(|digest| !used.contains(digest)) {
                let _a_later_look_does_it = self.blobs.delete(&dataset_key(&digest)).await;
            }
            over.insert(job.number);
        }
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

/// The files of a job.
fn digests(job: &Job) -> Vec<String> {
    let Some(plan) = &job.plan else { return Vec::new() };
    let all = [&plan.train.digest, &plan.holdout.digest, &plan.truth_digest];
    all.into_iter().chain(plan.refit.as_ref().map(|refit| &refit.digest)).cloned().collect()
}

/// A job's files, each with what it holds.
struct Files {
    train: (Vec<u8>, DataWindow),
    holdout: (Vec<u8>, DataWindow),
    truth: (Vec<u8>, DataWindow),
    /// Both together, when the policy asks for it.
    refit: Option<(Vec<u8>, DataWindow)>,
}

impl Files {
    fn of(all: &Dataset, selection: Selection, split_ms: i64, refit: bool) -> Result<Self, Problem> {
        let (before, after) = split(all, split_ms);
        let Selection { from_ms, until_ms, .. } = selection;
        let (unlabelled, fields) = without_labels(&all.schema, &after)?;
        Ok(Self {
            train: file(&all.schema, &before, from_ms, split_ms)?,
            holdout: file(&fields, &unlabelled, split_ms, until_ms)?,
            truth: file(&all.schema, &after, split_ms, until_ms)?,
            refit: refit.then(|| file(&all.schema, &all.batches, from_ms, until_ms)).transpose()?,
        })
    }
}

fn file(
    schema: &Schema,
    batches: &[RecordBatch],
    from_ms: i64,
    until_ms: i64,
) -> Result<(Vec<u8>, DataWindow), Problem> {
    let bytes = to_parquet(schema, batches).map_err(|error| Problem::internal(error.to_string()))?;
    let rows = batches.iter().map(RecordBatch::rows).sum::<usize>() as u64;
    let digest = sha256_hex(&bytes);
    Ok((bytes, DataWindow { from_ms, until_ms, rows, digest }))
}

/// Records before a time, and those from it on.
fn split(all: &Dataset, split_ms: i64) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    let times = all.schema.index_of_role(Role::Timestamp);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for batch in &all.batches {
        let early = times.map_or(0, |place| {
            let column = &batch.columns()[place];
            (0..batch.rows()).take_while(|row| column.integer(*row).is_some_and(|at| at < split_ms)).count()
        });
        if early > 0 {
            before.push(batch.slice(0, early));
        }
        if early < batch.rows() {
            after.push(batch.slice(early, batch.rows() - early));
        }
    }
    (before, after)
}

fn without_labels(
    schema: &Schema,
    batches: &[RecordBatch],
) -> Result<(Vec<RecordBatch>, Arc<Schema>), Problem> {
    let kept: Vec<usize> =
        (0..schema.fields().len()).filter(|place| schema.fields()[*place].role != Role::Label).collect();
    let fields: Vec<Field> = kept.iter().map(|place| schema.fields()[*place].clone()).collect();
    let fields = Schema::new(fields).map(Arc::new).map_err(|error| Problem::internal(error.to_string()))?;
    let narrow = |batch: &RecordBatch| {
        let columns = kept.iter().map(|place| batch.columns()[*place].clone()).collect();
        RecordBatch::new(Arc::clone(&fields), batch.rows(), columns)
    };
    let narrowed = batches.iter().map(narrow).collect::<Result<_, _>>();
    Ok((narrowed.map_err(|error| Problem::internal(error.to_string()))?, fields))
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
    for batch in batches {
        let number =
            |place: Option<usize>, row: usize| place.and_then(|place| batch.columns()[place].number(row));
        for row in 0..batch.rows() {
            let time = place(Role::Timestamp).and_then(|place| batch.columns()[place].integer(row));
            holdout.times_ms.push(time.unwrap_or(0));
            holdout.labels.push(number(place(Role::Label), row).unwrap_or(f64::NAN));
            holdout.challenger.push(scores.next().unwrap_or(f64::NAN));
            holdout.served.push(number(served, row));
            for (slice, place) in holdout.slices.iter_mut().zip(&texts) {
                slice.1.push(batch.columns()[*place].text(row).map(ToString::to_string));
            }
        }
    }
    holdout
}
