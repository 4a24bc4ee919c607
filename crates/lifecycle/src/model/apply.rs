//! What each event does to a model. It must not decide anything: an event that does not fit is a broken log.

use std::sync::Arc;

use super::{ANSWERS_KEPT, JOBS_KEPT, Job, Kept, Lease, Model, Version};
use crate::{
    event::{Change, Event, JobMoved, NewVersion, Observed},
    job::{JobState, JobStep},
    stage::{Stage, StageStep},
    trigger::{EVIDENCE_MAX, TriggerKind},
};

/// Trainings that are remembered for budgets.
const TRAININGS_KEPT: usize = 1_000;

/// An event that cannot have happened after those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {number} does not fit: {why}")]
pub struct Broken {
    /// Its number.
    pub number: u64,
    /// Why not.
    pub why: String,
}

pub(super) fn broken(event: &Event, why: impl Into<String>) -> Broken {
    Broken { number: event.number, why: why.into() }
}

impl Model {
    /// Takes an event.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn apply(&mut self, event: &Event) -> Result<(), Broken> {
        match &event.change {
            Change::ModelRegistered { model_name, service_id } => {
                self.model_id = Arc::clone(&event.model_id);
                self.model_name.clone_from(model_name);
                self.service_id.clone_from(service_id);
                if self.registered_at_ms == 0 {
                    self.registered_at_ms = event.at_ms;
                }
            }
            Change::EvidenceSupplied { evidence } => {
                for piece in evidence {
                    self.evidence.retain(|known| known.principle != piece.principle);
                }
                self.evidence.extend(evidence.iter().cloned());
            }
            Change::PolicyPut { revision, policy } => {
                self.policy = Some(Arc::clone(policy));
                self.policy_revision = *revision;
            }
            Change::FreezeSet { frozen, why } => self.frozen = frozen.then(|| why.clone()),
            Change::LoopCleared => self.unhelpful = 0,
            Change::HelpNeeded { .. } => {}
            Change::Answered(answered) => {
                let kept = Kept {
                    answered: (**answered).clone(),
                    champion: self.champion.clone(),
                    newest_deployment: self.newest_deployment(),
                    at_ms: event.at_ms,
                };
                let answers = Arc::make_mut(&mut self.answers);
                answers.push_back(kept);
                if answers.len() > ANSWERS_KEPT {
                    answers.pop_front();
                }
            }
            Change::VersionRegistered(new) => self.register(event, new)?,
            Change::VersionMoved { version, step, .. } => self.move_version(event, version, *step)?,
            Change::ReleaseAsked { version } => {
                self.version_mut(event, version)?.release_asked_by = Some(event.actor.clone());
            }
            Change::GatesJudged { version, results } => {
                self.version_mut(event, version)?.gates.clone_from(results);
            }
            Change::EndpointsSet { version, endpoints } => {
                self.version_mut(event, version)?.endpoints.clone_from(endpoints);
            }
            Change::DeploymentStarted(new) => self.begin_deployment(event, new)?,
            Change::DeploymentMoved { deployment, moved } => {
                self.move_deployment(event, *deployment, moved)?;
            }
            Change::JobObserved(observed) => self.observe(event, observed),
            Change::JobMoved { job, moved } => self.move_job(event, *job, moved)?,
            Change::StaleRefused { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    Arc::make_mut(job).stale += 1;
                }
            }
        }
        self.reroute(event);
        Ok(())
    }

    fn version_mut(&mut self, event: &Event, name: &str) -> Result<&mut Version, Broken> {
        let found = self.versions.get_mut(name).map(Arc::make_mut);
        found.ok_or_else(|| broken(event, format!("there is no version {name:?}")))
    }

    fn register(&mut self, event: &Event, new: &NewVersion) -> Result<(), Broken> {
        if self.versions.contains_key(new.version.as_str()) {
            return Err(broken(event, format!("version {:?} is there twice", new.version)));
        }
        self.versions_made += 1;
        let version = Version {
            new: new.clone(),
            number: self.versions_made,
            stage: Stage::Registered,
            registered_at_ms: event.at_ms,
            staged_at_ms: event.at_ms,
            gates: Vec::new(),
            release_asked_by: None,
            endpoints: Vec::new(),
            taken_back: false,
        };
        self.versions.insert(new.version.as_str().into(), Arc::new(version));
        Ok(())
    }

    fn move_version(&mut self, event: &Event, name: &str, step: StageStep) -> Result<(), Broken> {
        let version = self.version_mut(event, name)?;
        let to = version.stage.after(step).ok_or_else(|| {
            broken(event, format!("{} of a {} version", step.as_str(), version.stage.as_str()))
        })?;
        let from = std::mem::replace(&mut version.stage, to);
        let of_job = version.new.job > 0;
        version.staged_at_ms = event.at_ms;
        version.release_asked_by = None;
        match step {
            StageStep::TakenBack => version.taken_back = true,
            StageStep::DeploymentStarted => version.taken_back = false,
            _ => {}
        }
        if from == Stage::Champion {
            self.champion = None;
        }
        if step == StageStep::DeploymentRolledBack && of_job {
            // A retraining that was taken back has not helped.
            self.unhelpful += 1;
        }
        if to == Stage::Champion {
            if let Some(other) = &self.champion {
                return Err(broken(event, format!("{name:?} beside champion {other:?}")));
            }
            self.champion = Some(name.into());
        }
        Ok(())
    }

    fn observe(&mut self, event: &Event, observed: &Observed) {
        self.event_time_ms = self.event_time_ms.max(observed.event_time_ms);
        if observed.kind == TriggerKind::Scheduled {
            self.scheduled_ms = self.scheduled_ms.max(Some(observed.event_time_ms));
        }
        let job = Job {
            number: observed.job,
            kind: observed.kind,
            severity: observed.severity,
            mode: observed.mode,
            dedupe_keys: vec![observed.dedupe_key.clone()],
            evidence: vec![observed.evidence.clone()],
            triggers: 1,
            event_time_ms: observed.event_time_ms,
            records: observed.records,
            overrides: observed.overrides,
            requester: event.actor.clone(),
            observed_at_ms: event.at_ms,
            state: JobState::Observed,
            stepped_at_ms: event.at_ms,
            due_at_ms: Some(observed.coalesce_until_ms),
            queued_at_ms: 0,
            rank: 0,
            attempt: 0,
            lease: None,
            plan: None,
            version: None,
            helped: false,
            why: String::new(),
            next_event_ms: None,
            stale: 0,
        };
        self.jobs.insert(observed.job, Arc::new(job));
    }

    fn move_job(&mut self, event: &Event, number: u64, moved: &JobMoved) -> Result<(), Broken> {
        let Some(job) = self.jobs.get_mut(&number) else {
            return Err(broken(event, format!("there is no job {number}")));
        };
        let job = Arc::make_mut(job);
        let step = moved.step();
        let Some(to) = job.state.after(step) else {
            return Err(broken(event, format!("{step:?} of a job that is {}", job.state.as_str())));
        };
        let first_training = job.attempt == 0 && job.lease.is_none();
        job.state = to;
        job.stepped_at_ms = event.at_ms;
        step_job(job, event, moved);
        let (kind, event_time_ms) = (job.kind, job.event_time_ms);
        match moved {
            JobMoved::Merge { event_time_ms, .. } => {
                self.event_time_ms = self.event_time_ms.max(*event_time_ms);
            }
            JobMoved::Lease { .. } if first_training => {
                self.trainings.push_back(event_time_ms);
                if self.trainings.len() > TRAININGS_KEPT {
                    self.trainings.pop_front();
                }
            }
            JobMoved::GiveUp { circuit_until_ms, .. } => {
                self.failures += 1;
                self.circuit_until_ms = *circuit_until_ms;
            }
            JobMoved::Succeed { cooldown_until_ms, helped } => {
                self.failures = 0;
                self.circuit_until_ms = None;
                self.rejections.remove(&kind);
                self.unhelpful = if *helped { 0 } else { self.unhelpful + 1 };
                self.cool_down(kind, *cooldown_until_ms);
            }
            JobMoved::Reject { cooldown_until_ms, by_person, .. } => {
                self.failures = 0;
                self.circuit_until_ms = None;
                *self.rejections.entry(kind).or_default() += 1;
                self.unhelpful += u32::from(!*by_person);
                self.cool_down(kind, *cooldown_until_ms);
            }
            _ => {}
        }
        if to.is_terminal() {
            self.forget();
        }
        Ok(())
    }

    /// A retraining answers its own class and those below it.
    fn cool_down(&mut self, kind: TriggerKind, until_ms: i64) {
        for other in TriggerKind::ALL {
            if other == kind || other.class() >= kind.class() {
                let held = self.cooldown_until_ms.entry(other).or_insert(i64::MIN);
                *held = (*held).max(until_ms);
            }
        }
    }

    fn forget(&mut self) {
        let over = self.jobs.values().filter(|job| job.state.is_terminal());
        let many = over.clone().count().saturating_sub(JOBS_KEPT);
        let oldest: Vec<u64> = over.take(many).map(|job| job.number).collect();
        for number in oldest {
            self.jobs.remove(&number);
        }
    }
}

/// What a step leaves in the job itself.
fn step_job(job: &mut Job, event: &Event, moved: &JobMoved) {
    match moved {
        JobMoved::Merge { dedupe_key, evidence, severity, event_time_ms } => {
            job.severity = job.severity.max(*severity);
            job.event_time_ms = job.event_time_ms.max(*event_time_ms);
            job.triggers += 1;
            job.dedupe_keys.push(dedupe_key.clone());
            if job.evidence.len() < EVIDENCE_MAX {
                job.evidence.push(evidence.clone());
            }
        }
        JobMoved::Queue { rank, expires_at_ms }
        | JobMoved::Return { rank, expires_at_ms }
        | JobMoved::Requeue { rank, expires_at_ms } => {
            if moved.step() != JobStep::Return {
                job.queued_at_ms = event.at_ms;
                job.attempt = 0;
            }
            (job.rank, job.due_at_ms, job.lease) = (*rank, Some(*expires_at_ms), None);
        }
        JobMoved::Lease { worker, deadline_ms, plan } => {
            job.lease = Some(Lease {
                worker: worker.clone(),
                fence: event.number,
                deadline_ms: *deadline_ms,
                phase_until_ms: *deadline_ms,
            });
            job.plan = Some(Arc::new((**plan).clone()));
            job.version = None;
            job.due_at_ms = Some(*deadline_ms);
        }
        JobMoved::Start { deadline_ms, phase_until_ms } => {
            renew(job, *deadline_ms, Some(*phase_until_ms));
        }
        JobMoved::Renew { deadline_ms } => renew(job, *deadline_ms, None),
        JobMoved::Evaluate { version, phase_until_ms, .. } => {
            job.version = Some(version.clone());
            renew(job, *phase_until_ms, Some(*phase_until_ms));
        }
        JobMoved::BackOff { attempt, until_ms, why } => {
            job.attempt = *attempt;
            let_go(job, Some(*until_ms), why);
        }
        JobMoved::Await { until_ms, helped } => {
            job.helped = *helped;
            let_go(job, Some(*until_ms), "");
        }
        JobMoved::Succeed { helped, cooldown_until_ms } => {
            job.helped = *helped;
            job.next_event_ms = Some(*cooldown_until_ms);
            let_go(job, None, "");
        }
        JobMoved::Reject { why, cooldown_until_ms, .. } => {
            job.next_event_ms = Some(*cooldown_until_ms);
            let_go(job, None, why);
        }
        JobMoved::Suppress { why, next_event_ms } => {
            job.next_event_ms = *next_event_ms;
            let_go(job, None, why);
        }
        JobMoved::Supersede { by } => let_go(job, None, &format!("job-{by} took its place")),
        JobMoved::GiveUp { why, .. } | JobMoved::Cancel { why } => let_go(job, None, why),
        JobMoved::Expire => let_go(job, None, "it was not taken, or not agreed to, in time"),
    }
}

fn renew(job: &mut Job, deadline_ms: i64, phase_until_ms: Option<i64>) {
    if let Some(lease) = &mut job.lease {
        lease.deadline_ms = deadline_ms;
        lease.phase_until_ms = phase_until_ms.unwrap_or(lease.phase_until_ms);
        job.due_at_ms = Some(lease.deadline_ms.min(lease.phase_until_ms));
    }
}

fn let_go(job: &mut Job, due_at_ms: Option<i64>, why: &str) {
    job.lease = None;
    job.due_at_ms = due_at_ms;
    why.clone_into(&mut job.why);
}
