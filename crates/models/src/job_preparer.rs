//! What lies between a queued job and a trained one: the data that it is trained and judged on. It must not know how models are
//! trained, or who trains them.

use std::sync::Arc;

use acgs_lifecycle::{Policy, event::Plan, model::Job};
use acgs_vocabulary::{
    Problem,
    ports::{
        Blobs,
        records::{ModelRecords, Selection},
    },
    problem::Kind,
};

use crate::job_files::{Files, dataset_key};

/// What it works with. Clones share it.
#[derive(Clone, Debug)]
pub struct JobPreparer {
    blobs: Arc<dyn Blobs>,
    records: Arc<dyn ModelRecords>,
}

impl JobPreparer {
    /// Over what is kept.
    #[must_use]
    pub fn new(blobs: Arc<dyn Blobs>, records: Arc<dyn ModelRecords>) -> Self {
        Self { blobs, records }
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
        let all = self.records.dataset(model_id, selection).await?;
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
}
