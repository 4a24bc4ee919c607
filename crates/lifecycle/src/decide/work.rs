//! What workers and gates do with a job.

use super::{Answer, Refusal, draft::Draft};
use crate::{
    command::{Held, Trained},
    event::{Change, Guard, JobMoved, NewVersion, Plan},
    gates::Judged,
    job::JobState,
    model::{Job, STALE_MAX, VERSIONS_MAX},
    policy::Mode,
    stage::{Stage, StageStep},
};

const DAY_MS: i64 = 86_400_000;

impl Draft<'_> {
    pub(super) fn lease(&mut self, number: u64, worker: String, plan: Box<Plan>) -> Result<Answer, Refusal> {
        let job = self.job(number)?;
        let running = self.running_elsewhere;
        let here = usize::from(self.model.running().is_some());
        let (most, stopped) = (self.limits.running_max, self.stopped());
        let guards = vec![
            Guard::new("state", job.state == JobState::Queued, job.state.as_str(), "queued"),
            Guard::new("model_running", here == 0, here, 0),
            Guard::new("running", running < most, running, format!("fewer than {most}")),
            Guard::new("enabled", stopped.is_none(), stopped.unwrap_or_else(|| "on".to_owned()), "on"),
        ];
        if let Some(guard) = guards.iter().find(|guard| !guard.holds) {
            let message = format!("{}: found {}, asked for {}", guard.name, guard.found, guard.bound);
            return Err(Refusal::NotNow(message));
        }
        let fence = self.next_number();
        let deadline_ms = self.now_ms() + self.limits.lease_ms;
        self.move_job(number, JobMoved::Lease { worker, deadline_ms, plan }, guards)?;
        Ok(Answer::Leased(fence))
    }

    /// The job of a worker that holds it; otherwise what was sent is refused and written down.
    fn held(&mut self, held: &Held, what: &str) -> Result<Result<std::sync::Arc<Job>, Answer>, Refusal> {
        let job = self.job(held.job)?;
        let current = job.lease.as_ref().map_or(0, |lease| lease.fence);
        let fits = job.lease.as_ref().is_some_and(|lease| {
            lease.fence == held.fence && lease.worker == held.worker && job.state.is_running()
        });
        if fits {
            return Ok(Ok(job));
        }
        if job.stale < STALE_MAX {
            let change = Change::StaleRefused {
                job: held.job,
                worker: held.worker.clone(),
                fence: held.fence,
                what: what.to_owned(),
            };
            let guards = vec![Guard::new("fence", false, held.fence, current)];
            self.push(change, guards)?;
        }
        Ok(Err(Answer::Stale(current)))
    }

    pub(super) fn start(&mut self, held: &Held) -> Result<Answer, Refusal> {
        let job = match self.held(held, "start")? {
            Ok(job) => job,
            Err(stale) => return Ok(stale),
        };
        if job.state != JobState::Leased {
            // Said twice: the answer to the first was lost.
            return Ok(Answer::Done);
        }
        let deadline_ms = self.now_ms() + self.limits.lease_ms;
        let phase_until_ms = self.now_ms() + self.limits.train_ms;
        let guards = vec![Guard::new("fence", true, held.fence, held.fence)];
        self.move_job(held.job, JobMoved::Start { deadline_ms, phase_until_ms }, guards)?;
        Ok(Answer::Done)
    }

    pub(super) fn heartbeat(&mut self, held: &Held) -> Result<Answer, Refusal> {
        let job = match self.held(held, "heartbeat")? {
            Ok(job) => job,
            Err(stale) => return Ok(stale),
        };
        // An entry of the ledger is for ever: one for each quarter of a lease, however often a worker says that it is there.
        let left_ms = job.lease.as_ref().map_or(0, |lease| lease.deadline_ms - self.now_ms());
        // A deadline of another machine's clock may lie further ahead.
        let is_fresh = left_ms <= self.limits.lease_ms && left_ms * 4 > self.limits.lease_ms * 3;
        if job.state != JobState::Evaluating && !is_fresh {
            let deadline_ms = self.now_ms() + self.limits.lease_ms;
            self.move_job(held.job, JobMoved::Renew { deadline_ms }, Vec::new())?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn train_failed(
        &mut self,
        held: &Held,
        retryable: bool,
        why: &str,
    ) -> Result<Answer, Refusal> {
        if let Err(stale) = self.held(held, "failure")? {
            return Ok(stale);
        }
        self.lose(held.job, retryable, why, vec![Guard::new("fence", true, held.fence, held.fence)])?;
        Ok(Answer::Done)
    }

    pub(super) fn train_succeeded(&mut self, held: &Held, outcome: Trained) -> Result<Answer, Refusal> {
        let job = match self.held(held, "result")? {
            Ok(job) => job,
            Err(stale) => return Ok(stale),
        };
        match job.state {
            JobState::Running => {}
            JobState::Evaluating => return Ok(Answer::Done),
            state => return Err(Refusal::WrongState(format!("job-{} is {}", held.job, state.as_str()))),
        }
        let plan = job.plan.clone().unwrap_or_default();
        let made_of = plan.refit.as_ref().unwrap_or(&plan.train);
        let same = self
            .model
            .versions
            .values()
            .find(|version| version.new.artifact.digest == outcome.artifact.digest)
            .map(|version| version.new.version.clone());
        let fits = outcome.data_digest == made_of.digest;
        let room = self.model.versions.len() < VERSIONS_MAX;
        let guards = vec![
            Guard::new("fence", true, held.fence, held.fence),
            Guard::new("data_digest", fits, &outcome.data_digest, &made_of.digest),
            Guard::new("artifact_new", same.is_none(), same.as_deref().unwrap_or("new"), "new"),
            Guard::new("versions", room, self.model.versions.len(), format!("fewer than {VERSIONS_MAX}")),
        ];
        if let Some(guard) = guards.iter().find(|guard| !guard.holds) {
            let why = format!("{}: found {}, asked for {}", guard.name, guard.found, guard.bound);
            // Trained on other records it may do better; the same artifact again, or no room, it will not.
            let retryable = guard.name == "data_digest";
            self.lose(held.job, retryable, &why, guards)?;
            return Ok(Answer::Done);
        }
        let mut version = format!("v{}", self.model.versions_made + 1);
        while self.model.version(&version).is_some() {
            version.push_str("-retrained");
        }
        let moved = JobMoved::Evaluate {
            version: version.clone(),
            scores_digest: outcome.scores_digest,
            phase_until_ms: self.now_ms() + self.limits.validate_ms,
        };
        let mut evidence = self.model.evidence.clone();
        evidence.extend(outcome.evidence);
        let new = NewVersion {
            version: version.clone(),
            artifact: outcome.artifact,
            data: Some(made_of.clone()),
            parent: plan.parent.clone(),
            metrics: outcome.metrics,
            evidence,
            job: held.job,
            constitutional_hash: outcome.constitutional_hash,
        };
        self.move_job(held.job, moved, guards)?;
        self.push(Change::VersionRegistered(Box::new(new)), Vec::new())?;
        self.move_version(&version, StageStep::ValidationStarted, "", Vec::new())?;
        Ok(Answer::Done)
    }

    /// Its data cannot be had: nobody can train on them.
    pub(super) fn unready(&mut self, number: u64, why: &str) -> Result<Answer, Refusal> {
        let job = self.job(number)?;
        if job.state != JobState::Queued {
            return Ok(Answer::Done);
        }
        self.move_job(number, JobMoved::Cancel { why: why.to_owned() }, Vec::new())?;
        Ok(Answer::Done)
    }

    pub(super) fn gates_judged(
        &mut self,
        number: u64,
        version: &str,
        judged: Judged,
    ) -> Result<Answer, Refusal> {
        let job = self.job(number)?;
        let stage = self.version(version)?.stage;
        if job.state != JobState::Evaluating || job.version.as_deref() != Some(version) {
            return Ok(Answer::Done);
        }
        let policy = self.policy()?;
        let failed: Vec<&str> = judged
            .results
            .iter()
            .filter(|result| result.outcome == crate::gates::Outcome::Failed)
            .map(|result| result.gate.as_str())
            .collect();
        let mut why = format!("gates failed: {}", failed.join(", "));
        let mut passed = judged.passed;
        if stage != Stage::Validating {
            // Somebody took it out meanwhile.
            (passed, why) = (false, format!("the version is {}", stage.as_str()));
        }
        let guards = vec![
            Guard::new("gates", judged.passed, failed.len(), "0 failed"),
            Guard::new("version", stage == Stage::Validating, stage.as_str(), "validating"),
        ];
        let (results, helped) = (judged.results, judged.helped);
        self.push(Change::GatesJudged { version: version.to_owned(), results }, guards.clone())?;
        if !passed {
            self.reject(&job, &why, guards, false)?;
        } else if job.mode == Mode::Approve {
            let until_ms = self.now_ms() + policy.approval_ms;
            self.move_job(number, JobMoved::Await { until_ms, helped }, guards)?;
        } else {
            self.succeed(&job, helped, guards)?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn reject(
        &mut self,
        job: &Job,
        why: &str,
        guards: Vec<Guard>,
        by_person: bool,
    ) -> Result<(), Refusal> {
        self.end_of_version(job.number, why)?;
        let cooldown_ms = self.policy()?.rule(job.kind).cooldown_ms;
        let again = self.model.rejections.get(&job.kind).copied().unwrap_or(0) + 1;
        let doubled = cooldown_ms.saturating_mul(1_i64 << again.min(16));
        let cooldown_until_ms = job.event_time_ms + doubled.min(DAY_MS.max(cooldown_ms));
        let moved = JobMoved::Reject { why: why.to_owned(), cooldown_until_ms, by_person };
        self.move_job(job.number, moved, guards)?;
        self.ask_for_help()
    }

    /// A validated version came of it; by the policy it goes into service at once.
    pub(super) fn succeed(&mut self, job: &Job, helped: bool, guards: Vec<Guard>) -> Result<(), Refusal> {
        let policy = self.policy()?;
        let version = self.job(job.number)?.version.clone().unwrap_or_default();
        self.move_version(&version, StageStep::ValidationPassed, "", Vec::new())?;
        let cooldown_until_ms = job.event_time_ms + policy.rule(job.kind).cooldown_ms;
        self.move_job(job.number, JobMoved::Succeed { cooldown_until_ms, helped }, guards)?;
        let answered = |other: &&std::sync::Arc<Job>| {
            matches!(other.state, JobState::Queued | JobState::Backoff)
                && other.kind.class() >= job.kind.class()
                && other.event_time_ms < cooldown_until_ms
                && !other.overrides
        };
        let answered: Vec<u64> = self.model.jobs.values().filter(answered).map(|job| job.number).collect();
        for other in answered {
            self.move_job(other, JobMoved::Supersede { by: job.number }, Vec::new())?;
        }
        self.deploy_by_policy(&version, &format!("job-{} succeeded", job.number))?;
        self.ask_for_help()
    }

    pub(super) fn ask_for_help(&mut self) -> Result<(), Refusal> {
        let (in_a_row, most) = (self.model.unhelpful, self.policy()?.unhelpful_max);
        if in_a_row == most {
            let guards = vec![Guard::new("helps", false, in_a_row, format!("fewer than {most}"))];
            self.push(Change::HelpNeeded { in_a_row }, guards)?;
        }
        Ok(())
    }
}
