//! Where in the ledger each model's events are, and whose each job is: for looking back. It must not know what they say.

use std::{collections::HashMap, sync::Arc};

use acgs_lifecycle::{Change, Event};

/// Places of events.
#[derive(Debug, Default)]
pub struct Places {
    /// Sequences of the entries that hold events of a model, ascending.
    entries: HashMap<Arc<str>, Vec<u64>>,
    /// The model of job n at n - 1.
    jobs: Vec<Arc<str>>,
    /// The model of deployment n at n - 1.
    deployments: Vec<Arc<str>>,
}

impl Places {
    /// Notes the events of an entry.
    pub fn note(&mut self, sequence: u64, events: &[Event]) {
        for event in events {
            if event.model_id.is_empty() {
                continue;
            }
            let places = match self.entries.get_mut(&event.model_id) {
                Some(places) => places,
                None => self.entries.entry(Arc::clone(&event.model_id)).or_default(),
            };
            if places.last() != Some(&sequence) {
                places.push(sequence);
            }
            if let Change::JobObserved(observed) = &event.change
                && observed.job == self.jobs.len() as u64 + 1
            {
                self.jobs.push(Arc::clone(&event.model_id));
            }
            if let Change::DeploymentStarted(new) = &event.change
                && new.deployment == self.deployments.len() as u64 + 1
            {
                self.deployments.push(Arc::clone(&event.model_id));
            }
        }
    }

    /// Where a model's events are.
    #[must_use]
    pub fn of_model(&self, model_id: &str) -> Vec<u64> {
        self.entries.get(model_id).cloned().unwrap_or_default()
    }

    /// Whose a deployment is, also one that is long over.
    #[must_use]
    pub fn model_of_deployment(&self, deployment: u64) -> Option<Arc<str>> {
        let place = usize::try_from(deployment).ok()?.checked_sub(1)?;
        self.deployments.get(place).cloned()
    }

    /// Whose a job is, also one that is long over.
    #[must_use]
    pub fn model_of_job(&self, job: u64) -> Option<Arc<str>> {
        let place = usize::try_from(job).ok()?.checked_sub(1)?;
        self.jobs.get(place).cloned()
    }
}
