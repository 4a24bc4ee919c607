//! Models and jobs as they were, read from the ledger again. It must not decide anything.

use std::sync::Arc;

use acgs_lifecycle::{
    Change, Event,
    deployment::Deployment,
    model::{Job, Model},
};
use acgs_vocabulary::Problem;

use crate::{entry::Entry, ledger_writer::LedgerWriter};

/// Entries read at once.
const PAGE: usize = 4_096;

impl LedgerWriter {
    /// The events of a model, from the ledger.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn events_of(&self, model_id: &str) -> Result<Vec<Event>, Problem> {
        let places = self.known().places.of_model(model_id);
        let mut events = Vec::new();
        let mut places = places.into_iter().peekable();
        while let Some(first) = places.next() {
            // Entries that follow each other are read together.
            let mut count = 1;
            while places.next_if_eq(&(first + count as u64)).is_some() {
                count += 1;
            }
            let last = first + count as u64 - 1;
            let mut after = first - 1;
            while after < last {
                let wanted = usize::try_from(last - after).unwrap_or(PAGE).min(PAGE);
                let page = self.ledger.entries(after, wanted).await?;
                let Some((reached, _)) = page.last() else {
                    return Err(Problem::internal(format!("entry {} is not there", after + 1)));
                };
                after = *reached;
                for (sequence, bytes) in page {
                    let entry: Entry = serde_json::from_slice(&bytes)
                        .map_err(|error| Problem::internal(format!("entry {sequence}: {error}")))?;
                    events.extend(entry.events.into_iter().filter(|event| *event.model_id == *model_id));
                }
            }
        }
        Ok(events)
    }

    /// A model as it was, with the number of the last event that had happened; `None` before it was known.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn as_of(&self, model_id: &str, time_ms: i64) -> Result<Option<(Model, u64)>, Problem> {
        let mut model = Model::default();
        let mut last = 0;
        for event in self.events_of(model_id).await?.iter().take_while(|event| event.at_ms <= time_ms) {
            model.apply(event).map_err(|broken| Problem::internal(broken.to_string()))?;
            last = event.number;
        }
        Ok((last > 0).then_some((model, last)))
    }

    /// A job, also one that is long over, with its model's id.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn job(&self, number: u64) -> Result<Option<(Arc<str>, Arc<Job>)>, Problem> {
        let here = self.look(|state| {
            state.job(number).map(|(model, job)| (Arc::clone(&model.model_id), Arc::clone(job)))
        });
        if here.is_some() {
            return Ok(here);
        }
        let Some(model_id) = self.known().places.model_of_job(number) else { return Ok(None) };
        let last = self.last_seen(&model_id, |model| model.jobs.get(&number).cloned()).await?;
        Ok(last.map(|job| (model_id, job)))
    }

    /// What happened to a job, in order.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn events_of_job(&self, number: u64) -> Result<Vec<Event>, Problem> {
        let Some(model_id) = self.known().places.model_of_job(number) else { return Ok(Vec::new()) };
        let mut version = None;
        let mut events = self.events_of(&model_id).await?;
        events.retain(|event| match &event.change {
            Change::JobObserved(observed) => observed.job == number,
            Change::JobMoved { job, .. } | Change::StaleRefused { job, .. } => *job == number,
            Change::VersionRegistered(new) if new.job == number => {
                version = Some(new.version.clone());
                true
            }
            Change::VersionMoved { version: moved, .. } | Change::GatesJudged { version: moved, .. } => {
                version.as_ref() == Some(moved)
            }
            _ => false,
        });
        Ok(events)
    }

    /// A deployment, also one that is long over, with its model's id.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn deployment(&self, number: u64) -> Result<Option<(Arc<str>, Arc<Deployment>)>, Problem> {
        let here = self.look(|state| {
            state.deployment(number).map(|(model, known)| (Arc::clone(&model.model_id), Arc::clone(known)))
        });
        if here.is_some() {
            return Ok(here);
        }
        let Some(model_id) = self.known().places.model_of_deployment(number) else { return Ok(None) };
        let last = self.last_seen(&model_id, |model| model.deployments.get(&number).cloned()).await?;
        Ok(last.map(|deployment| (model_id, deployment)))
    }

    /// What happened to a deployment and its version, in order.
    ///
    /// # Errors
    /// The home's trouble.
    pub async fn events_of_deployment(&self, number: u64) -> Result<Vec<Event>, Problem> {
        let Some(model_id) = self.known().places.model_of_deployment(number) else { return Ok(Vec::new()) };
        let mut version = None;
        let mut over = false;
        let mut events = self.events_of(&model_id).await?;
        events.retain(|event| match &event.change {
            Change::DeploymentStarted(new) if new.deployment == number => {
                version = Some(new.version.clone());
                true
            }
            Change::DeploymentStarted(_) => {
                over |= version.is_some();
                false
            }
            Change::DeploymentMoved { deployment, .. } => *deployment == number,
            Change::VersionMoved { version: moved, .. } => !over && version.as_ref() == Some(moved),
            _ => false,
        });
        Ok(events)
    }

    /// What was seen last in a model while its events are taken again.
    async fn last_seen<T>(
        &self,
        model_id: &str,
        find: impl Fn(&Model) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let mut model = Model::default();
        let mut last = None;
        for event in self.events_of(model_id).await? {
            model.apply(&event).map_err(|broken| Problem::internal(broken.to_string()))?;
            last = find(&model).or(last);
        }
        Ok(last)
    }
}
