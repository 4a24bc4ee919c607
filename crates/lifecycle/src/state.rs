//! All models, and what is found across them: who is next, how many run, what is due. It must not know commands.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    deployment::Deployment,
    event::{Answered, Change, Event},
    job::JobState,
    model::{ANSWERS_KEPT, Broken, Job, Model},
};

/// Everything that the events add up to.
#[derive(Clone, Debug, Default)]
pub struct State {
    models: HashMap<Arc<str>, Arc<Model>>,
    counts: Counts,
    index: Index,
}

/// What concerns no single model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events so far.
    pub events: u64,
    /// Jobs so far.
    pub jobs: u64,
    /// Deployments so far.
    pub deployments: u64,
    /// Why nothing at all is queued or leased, when somebody said so.
    pub frozen: Option<String>,
    /// Requests about all models that were answered last, the newest last.
    pub answers: Arc<VecDeque<Answered>>,
}

impl Counts {
    /// Takes what concerns all.
    pub(crate) fn apply(&mut self, event: &Event) {
        match &event.change {
            Change::FreezeSet { frozen, why } => self.frozen = frozen.then(|| why.clone()),
            Change::Answered(answered) => {
                let answers = Arc::make_mut(&mut self.answers);
                answers.push_back((**answered).clone());
                if answers.len() > ANSWERS_KEPT {
                    answers.pop_front();
                }
            }
            _ => {}
        }
        self.events = event.number;
    }
}

/// What can be seen without looking at every model.
#[derive(Clone, Debug, Default, PartialEq)]
struct Index {
    summaries: HashMap<Arc<str>, Summary>,
    /// Waiting jobs of models that may run one: the last is next.
    queue: BTreeSet<(i64, std::cmp::Reverse<u64>, Arc<str>)>,
    due: BTreeSet<(i64, Arc<str>)>,
    /// Models that have a job that workers or gates have.
    running: BTreeSet<Arc<str>>,
    /// Where a job is.
    jobs: BTreeMap<u64, Arc<str>>,
    /// Where a deployment is.
    deployments: BTreeMap<u64, Arc<str>>,
    /// Models with a deployment that goes on.
    deploying: BTreeSet<Arc<str>>,
    /// Models whose requests go somewhere.
    routed: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Summary {
    queued: Option<(i64, u64)>,
    due_at_ms: Option<i64>,
    running: bool,
    jobs: Vec<u64>,
    deployments: Vec<u64>,
    deploying: bool,
    routed: bool,
}

impl Summary {
    fn of(model: &Model) -> Self {
        let running = model.running().is_some();
        let enabled = model.policy.as_ref().is_none_or(|policy| policy.enabled) && model.frozen.is_none();
        let queued = model.queued().filter(|_| enabled && !running).map(|job| (job.rank, job.number));
        let jobs = model.jobs.keys().copied().collect();
        Self {
            queued,
            due_at_ms: model.due_at_ms(),
            running,
            jobs,
            deployments: model.deployments.keys().copied().collect(),
            deploying: model.deployment().is_some(),
            routed: model.versions.values().any(|version| !version.endpoints.is_empty()),
        }
    }
}

impl Index {
    fn put(&mut self, model_id: &Arc<str>, summary: Summary) {
        let old = self.summaries.insert(Arc::clone(model_id), summary.clone()).unwrap_or_default();
        if old.queued != summary.queued {
            if let Some((rank, job)) = old.queued {
                self.queue.remove(&(rank, std::cmp::Reverse(job), Arc::clone(model_id)));
            }
            if let Some((rank, job)) = summary.queued {
                self.queue.insert((rank, std::cmp::Reverse(job), Arc::clone(model_id)));
            }
        }
        if old.due_at_ms != summary.due_at_ms {
            if let Some(due_ms) = old.due_at_ms {
                self.due.remove(&(due_ms, Arc::clone(model_id)));
            }
            if let Some(due_ms) = summary.due_at_ms {
                self.due.insert((due_ms, Arc::clone(model_id)));
            }
        }
        set(&mut self.running, model_id, summary.running);
        set(&mut self.deploying, model_id, summary.deploying);
        set(&mut self.routed, model_id, summary.routed);
        if old.deployments != summary.deployments {
            for deployment in &summary.deployments {
                self.deployments.insert(*deployment, Arc::clone(model_id));
            }
            for deployment in old.deployments.iter().filter(|known| !summary.deployments.contains(known)) {
                self.deployments.remove(deployment);
            }
        }
        if old.jobs != summary.jobs {
            for job in &old.jobs {
                self.jobs.remove(job);
            }
            for job in &summary.jobs {
                self.jobs.insert(*job, Arc::clone(model_id));
            }
        }
    }
}

fn set(of: &mut BTreeSet<Arc<str>>, model_id: &Arc<str>, is: bool) {
    match (is, of.contains(model_id)) {
        (true, false) => {
            of.insert(Arc::clone(model_id));
        }
        (false, true) => {
            of.remove(model_id);
        }
        _ => {}
    }
}

impl State {
    /// Takes an event of the log.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn apply(&mut self, event: &Event) -> Result<(), Broken> {
        if event.number != self.counts.events + 1 {
            let why = format!("it follows event {}", self.counts.events);
            return Err(Broken { number: event.number, why });
        }
        if event.model_id.is_empty() {
            self.counts.apply(event);
            return Ok(());
        }
        let mut model = self.models.remove(&event.model_id).unwrap_or_default();
        let applied = Arc::make_mut(&mut model).apply(event);
        let summary = Summary::of(&model);
        if !model.model_id.is_empty() {
            self.models.insert(Arc::clone(&event.model_id), model);
            self.index.put(&event.model_id, summary);
        }
        applied?;
        self.counts.events = event.number;
        if let Change::JobObserved(observed) = &event.change {
            self.counts.jobs = self.counts.jobs.max(observed.job);
        }
        if let Change::DeploymentStarted(new) = &event.change {
            self.counts.deployments = self.counts.deployments.max(new.deployment);
        }
        Ok(())
    }

    /// Takes over what was decided, once it is written.
    pub fn commit(&mut self, models: impl IntoIterator<Item = (Arc<str>, Arc<Model>)>, counts: Counts) {
        for (model_id, model) in models {
            self.index.put(&model_id, Summary::of(&model));
            self.models.insert(model_id, model);
        }
        self.counts = counts;
    }

    /// What concerns no single model.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A model.
    #[must_use]
    pub fn model(&self, model_id: &str) -> Option<&Arc<Model>> {
        self.models.get(model_id)
    }

    /// How many models there are.
    #[must_use]
    pub fn models_count(&self) -> usize {
        self.models.len()
    }

    /// All models, in no order.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// A job that is still known here, with its model.
    #[must_use]
    pub fn job(&self, number: u64) -> Option<(&Arc<Model>, &Arc<Job>)> {
        let model = self.models.get(self.index.jobs.get(&number)?)?;
        Some((model, model.jobs.get(&number)?))
    }

    /// Jobs with a lower number than `before` (0 = all), the newest first.
    pub fn jobs_before(&self, before: u64) -> impl Iterator<Item = (&Arc<Model>, &Arc<Job>)> {
        let until = if before == 0 { u64::MAX } else { before };
        self.index.jobs.range(..until).rev().filter_map(|(number, _)| self.job(*number))
    }

    /// A deployment that is still known here, with its model.
    #[must_use]
    pub fn deployment(&self, number: u64) -> Option<(&Arc<Model>, &Arc<Deployment>)> {
        let model = self.models.get(self.index.deployments.get(&number)?)?;
        Some((model, model.deployments.get(&number)?))
    }

    /// Deployments with a lower number than `before` (0 = all), the newest first.
    pub fn deployments_before(&self, before: u64) -> impl Iterator<Item = (&Arc<Model>, &Arc<Deployment>)> {
        let until = if before == 0 { u64::MAX } else { before };
        self.index.deployments.range(..until).rev().filter_map(|(number, _)| self.deployment(*number))
    }

    /// Models with a deployment that goes on.
    pub fn deploying(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.index.deploying.iter().filter_map(|model_id| self.models.get(model_id))
    }

    /// Models of which a version has endpoints.
    pub fn routed(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.index.routed.iter().filter_map(|model_id| self.models.get(model_id))
    }

    /// Jobs that workers or gates have.
    #[must_use]
    pub fn running(&self) -> usize {
        self.index.running.len()
    }

    /// Those jobs, with their models.
    pub fn jobs_in_work(&self) -> impl Iterator<Item = (&Arc<Model>, &Arc<Job>)> {
        let models = self.index.running.iter().filter_map(|model_id| self.models.get(model_id));
        models.filter_map(|model| model.running().map(|job| (model, job)))
    }

    /// How many wait for a worker and may have one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.index.queue.len()
    }

    /// The next job that somebody who can do these may have; all trainers when the list is empty.
    #[must_use]
    pub fn next_job(&self, trainers: &[String]) -> Option<(&Arc<Model>, &Arc<Job>)> {
        if self.counts.frozen.is_some() {
            return None;
        }
        let fits = |model: &&Arc<Model>| {
            let wanted = model.policy.as_ref().map(|policy| &policy.training.trainer);
            trainers.is_empty() || wanted.is_some_and(|wanted| trainers.contains(wanted))
        };
        self.index.queue.iter().rev().find_map(|(_, job, model_id)| {
            let model = self.models.get(model_id).filter(fits)?;
            model.jobs.get(&job.0).filter(|job| job.state == JobState::Queued).map(|job| (model, job))
        })
    }

    /// Models in which something is due, the longest first.
    pub fn due(&self, now_ms: i64) -> impl Iterator<Item = &Arc<str>> {
        self.index.due.iter().take_while(move |(due_ms, _)| *due_ms <= now_ms).map(|(_, model_id)| model_id)
    }

    /// When something is due next.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        self.index.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Whether the index is what the models say: for tests.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let mut index = Index::default();
        for (model_id, model) in &self.models {
            index.put(model_id, Summary::of(model));
        }
        index == self.index
    }
}

impl PartialEq for State {
    /// The same models and counts; the index follows from them.
    fn eq(&self, other: &Self) -> bool {
        self.models == other.models && self.counts == other.counts
    }
}
