//! The files that a job is trained and judged on: records before a time and after it, with and without their labels. It must not
//! know where files are kept or who trains.

use std::sync::Arc;

use acgs_columns::{Field, RecordBatch, Role, Schema};
use acgs_interchange::to_parquet;
use acgs_lifecycle::{event::DataWindow, model::Job};
use acgs_vocabulary::{
    Problem,
    constitution::sha256_hex,
    ports::records::{Dataset, Selection},
};

/// What keys of data sets begin with.
pub const DATASETS: &str = "datasets/";
/// What keys of scores begin with.
pub const SCORES: &str = "scores/";

/// The key of a job's data in the blob home.
#[must_use]
pub fn dataset_key(digest: &str) -> String {
    format!("{DATASETS}{digest}")
}

/// The key of the scores that a worker brought, which it cannot bring a second time.
#[must_use]
pub fn scores_key(job: u64, fence: u64) -> String {
    format!("{SCORES}{job}-{fence}")
}

/// The job whose scores a key names.
#[must_use]
pub fn job_of_scores(key: &str) -> Option<u64> {
    key.strip_prefix(SCORES)?.split_once('-')?.0.parse().ok()
}

/// The files of a job.
pub(crate) fn digests(job: &Job) -> Vec<String> {
    let Some(plan) = &job.plan else { return Vec::new() };
    let all = [&plan.train.digest, &plan.holdout.digest, &plan.truth_digest];
    all.into_iter().chain(plan.refit.as_ref().map(|refit| &refit.digest)).cloned().collect()
}

/// A job's files, each with what it holds.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) train: (Vec<u8>, DataWindow),
    pub(crate) holdout: (Vec<u8>, DataWindow),
    pub(crate) truth: (Vec<u8>, DataWindow),
    /// Both together, when the policy asks for it.
    pub(crate) refit: Option<(Vec<u8>, DataWindow)>,
}

impl Files {
    pub(crate) fn of(
        all: &Dataset,
        selection: Selection,
        split_ms: i64,
        refit: bool,
    ) -> Result<Self, Problem> {
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
