//! From a trigger to the queue, and what time does to a job.

use super::{Answer, Refusal, draft::Draft};
use crate::{
    event::{Change, Guard, JobMoved, Observed},
    job::JobState,
    model::{Job, Lease},
    policy::{Mode, Policy},
    stage::{Stage, StageStep},
    trigger::{Class, JOINED_MAX, Trigger, dedupe_key},
};

/// A trigger that is suppressed for the same reason is written down again after this long.
const REPEAT_MS: i64 = 3_600_000;

impl Draft<'_> {
    pub(super) fn trigger(&mut self, trigger: Trigger) -> Result<Answer, Refusal> {
        let policy = self.policy()?;
        let rule = policy.rule(trigger.kind);
        if trigger.severity < rule.severity_min {
            return Ok(Answer::Ignored);
        }
        let dedupe_key = dedupe_key(self.model_id(), &trigger);
        let known = self.model.jobs.values().rev().find(|job| job.dedupe_keys.contains(&dedupe_key));
        if let Some(job) = known {
            return Ok(Answer::Job { job: job.number, state: job.state, known: true });
        }
        let joins = |job: &&std::sync::Arc<Job>| job.kind == trigger.kind && job.state == JobState::Observed;
        if let Some(job) = self.model.jobs.values().find(joins) {
            let number = job.number;
            if job.dedupe_keys.len() >= JOINED_MAX {
                return Ok(Answer::Job { job: number, state: JobState::Observed, known: true });
            }
            let (evidence, severity) = (trigger.evidence, trigger.severity);
            let event_time_ms = trigger.event_time_ms;
            let moved = JobMoved::Merge { dedupe_key, evidence, severity, event_time_ms };
            self.move_job(number, moved, Vec::new())?;
            return Ok(Answer::Job { job: number, state: JobState::Observed, known: true });
        }
        // What is only written down waits for nothing.
        let coalesce_ms = if rule.mode == Mode::Observe { 0 } else { rule.coalesce_ms };
        let observed = Observed {
            job: self.counts.jobs + 1,
            kind: trigger.kind,
            severity: trigger.severity,
            mode: rule.mode,
            dedupe_key,
            evidence: trigger.evidence,
            event_time_ms: trigger.event_time_ms,
            coalesce_until_ms: self.now_ms() + coalesce_ms,
            records: trigger.records,
            overrides: trigger.overrides,
        };
        if coalesce_ms == 0
            && let Some(job) = self.suppressed_alike(&observed, &policy)
        {
            return Ok(Answer::Job { job, state: JobState::Suppressed, known: true });
        }
        let job = observed.job;
        self.counts.jobs = job;
        self.push(Change::JobObserved(Box::new(observed)), Vec::new())?;
        if coalesce_ms == 0 {
            self.settle(job, &policy)?;
        }
        Ok(Answer::Job { job, state: self.job(job)?.state, known: false })
    }

    /// A job of the kind that was suppressed lately for the very reason that holds now: a flood writes it down once.
    fn suppressed_alike(&self, observed: &Observed, policy: &Policy) -> Option<u64> {
        let now_ms = self.now_ms();
        let alike = self.model.jobs.values().rev().find(|job| {
            job.kind == observed.kind
                && job.state == JobState::Suppressed
                && now_ms - job.stepped_at_ms < REPEAT_MS
        })?;
        let mut probe = (**alike).clone();
        probe.number = u64::MAX;
        (probe.event_time_ms, probe.severity) = (observed.event_time_ms, observed.severity);
        (probe.mode, probe.overrides, probe.records) = (observed.mode, observed.overrides, observed.records);
        let guards = self.guards(&probe, policy);
        let failed = guards.iter().find(|(guard, _)| !guard.holds)?;
        alike.why.starts_with(&format!("{}: ", failed.0.name)).then_some(alike.number)
    }

    /// Coalescing is over: into the queue, or not.
    pub(super) fn settle(&mut self, number: u64, policy: &Policy) -> Result<(), Refusal> {
        let job = self.job(number)?;
        let guards = self.guards(&job, policy);
        let failed = guards.iter().find(|(guard, _)| !guard.holds);
        let told: Vec<Guard> = guards.iter().map(|(guard, _)| guard.clone()).collect();
        if let Some((guard, next_event_ms)) = failed {
            let why = format!("{}: found {}, asked for {}", guard.name, guard.found, guard.bound);
            let moved = JobMoved::Suppress { why, next_event_ms: *next_event_ms };
            return self.move_job(number, moved, told);
        }
        let replaceable = |other: &&std::sync::Arc<Job>| other.number != number && is_waiting(other.state);
        let older: Vec<u64> = self.model.jobs.values().filter(replaceable).map(|job| job.number).collect();
        for older in older {
            self.end_of_version(older, "a graver job took its place")?;
            self.move_job(older, JobMoved::Supersede { by: number }, Vec::new())?;
        }
        let now_ms = self.now_ms();
        let moved =
            JobMoved::Queue { rank: self.rank(&job, now_ms), expires_at_ms: now_ms + self.limits.queue_ms };
        self.move_job(number, moved, told)
    }

    /// What has to hold before a job is queued, each with the event time from which it may.
    fn guards(&self, job: &Job, policy: &Policy) -> Vec<(Guard, Option<i64>)> {
        let mut guards = Vec::new();
        let mode = format!("{:?}", job.mode).to_lowercase();
        guards.push((Guard::new("mode", job.mode != Mode::Observe, mode, "auto or approve"), None));
        let stopped = self.stopped();
        let found = stopped.clone().unwrap_or_else(|| "on".to_owned());
        guards.push((Guard::new("enabled", stopped.is_none(), found, "on"), None));
        let rows_min = policy.training.rows_min;
        let found = job.records.map_or_else(|| "not counted".to_owned(), |records| records.to_string());
        let fine = job.records.is_none_or(|records| records >= rows_min);
        guards.push((Guard::new("records", fine, found, format!("at least {rows_min}")), None));
        let open_ms = self.model.circuit_until_ms.filter(|until_ms| *until_ms > self.now_ms());
        let found = open_ms.map_or_else(|| "closed".to_owned(), |until_ms| format!("open until {until_ms}"));
        guards.push((Guard::new("circuit", open_ms.is_none(), found, "closed"), None));
        let until_ms = self.model.cooldown_until_ms.get(&job.kind).copied();
        let exempt = job.overrides || job.kind.class() == Class::P0;
        let cool = exempt || until_ms.is_none_or(|until_ms| job.event_time_ms >= until_ms);
        let asked =
            until_ms.map_or_else(|| "no cooldown".to_owned(), |until_ms| format!("{until_ms} or later"));
        guards.push((Guard::new("cooldown", cool, job.event_time_ms, asked), until_ms));
        let unhelpful = self.model.unhelpful;
        let helps = job.overrides || unhelpful < policy.unhelpful_max;
        let asked = format!("fewer than {} in a row that did not help", policy.unhelpful_max);
        guards.push((Guard::new("helps", helps, unhelpful, asked), None));
        let since_ms = job.event_time_ms.saturating_sub(policy.budget.period_ms);
        let used = self.model.trainings_since(since_ms);
        let left = job.overrides || used < policy.budget.retrainings as usize;
        let again_ms = self.model.trainings.iter().find(|event_ms| **event_ms > since_ms);
        let again_ms = again_ms.map(|event_ms| event_ms.saturating_add(policy.budget.period_ms));
        let asked = format!("fewer than {} in {} ms", policy.budget.retrainings, policy.budget.period_ms);
        guards.push((Guard::new("budget", left, used, asked), again_ms.filter(|_| !left)));
        let others = self.model.jobs.values().filter(|other| other.number != job.number);
        let graver =
            others.filter(|other| is_waiting(other.state)).find(|other| other.urgency() >= job.urgency());
        let found = graver.map_or_else(
            || "none".to_owned(),
            |other| format!("job-{} is {}", other.number, other.state.as_str()),
        );
        guards.push((Guard::new("other_job", graver.is_none(), found, "none as urgent that waits"), None));
        guards
    }

    /// What wall time does, before anything else is decided.
    pub(super) fn due(&mut self) -> Result<(), Refusal> {
        let now_ms = self.now_ms();
        let is_due = |job: &&std::sync::Arc<Job>| job.due_at_ms.is_some_and(|due_ms| due_ms <= now_ms);
        let due: Vec<u64> = self.model.jobs.values().filter(is_due).map(|job| job.number).collect();
        for number in due {
            let job = self.job(number)?;
            match job.state {
                JobState::Observed => {
                    let policy = self.policy()?;
                    self.settle(number, &policy)?;
                }
                JobState::Queued => self.move_job(number, JobMoved::Expire, Vec::new())?,
                JobState::AwaitingApproval => {
                    self.end_of_version(number, "nobody agreed in time")?;
                    self.move_job(number, JobMoved::Expire, Vec::new())?;
                }
                JobState::Backoff => self.come_back(&job)?,
                // A wall clock that jumps, or another machine's, takes no job from a worker that is heard.
                state if state.is_running() && (took_too_long(&job, now_ms) || self.order.silent) => {
                    let why = late(&job, now_ms);
                    self.lose(number, true, &why, Vec::new())?;
                }
                _ => {}
            }
        }
        self.due_deployment()
    }

    fn come_back(&mut self, job: &Job) -> Result<(), Refusal> {
        let moved = JobMoved::Return {
            rank: self.rank(job, job.queued_at_ms),
            expires_at_ms: self.now_ms() + self.limits.queue_ms,
        };
        self.move_job(job.number, moved, Vec::new())
    }

    /// A job leaves its worker or its gates without a result.
    pub(super) fn lose(
        &mut self,
        number: u64,
        retryable: bool,
        why: &str,
        mut guards: Vec<Guard>,
    ) -> Result<(), Refusal> {
        let job = self.job(number)?;
        self.end_of_version(number, why)?;
        let attempt = job.attempt + 1;
        let limits = self.limits;
        let again = retryable && attempt < limits.attempts_max;
        guards.push(Guard::new("retryable", retryable, retryable, true));
        let asked = format!("fewer than {}", limits.attempts_max);
        guards.push(Guard::new("attempts", attempt < limits.attempts_max, attempt, asked));
        let why = why.to_owned();
        if again {
            let doubled = limits.backoff_ms.saturating_mul(1_i64 << attempt.min(30));
            let wait_ms = (doubled.min(limits.backoff_ms_max) as f64 * self.order.jitter) as i64;
            let moved = JobMoved::BackOff { attempt, until_ms: self.now_ms() + wait_ms, why };
            return self.move_job(number, moved, guards);
        }
        let failures = self.model.failures + 1;
        let opens = failures >= limits.circuit_failures;
        let circuit_until_ms = opens.then(|| self.now_ms() + limits.circuit_ms);
        guards.push(Guard::new(
            "circuit",
            !opens,
            failures,
            format!("fewer than {}", limits.circuit_failures),
        ));
        self.move_job(number, JobMoved::GiveUp { why, circuit_until_ms }, guards)
    }

    /// What a job has registered does not stay half judged.
    pub(super) fn end_of_version(&mut self, number: u64, why: &str) -> Result<(), Refusal> {
        let job = self.job(number)?;
        let Some(version) = job.version.as_deref() else { return Ok(()) };
        match self.model.version(version).map(|version| version.stage) {
            Some(Stage::Validating) => {
                self.move_version(version, StageStep::ValidationFailed, why, Vec::new())
            }
            _ => Ok(()),
        }
    }
}

fn is_waiting(state: JobState) -> bool {
    matches!(state, JobState::Queued | JobState::Backoff | JobState::AwaitingApproval)
}

/// Whether its worker, heard of or not, has had all the time that there is.
fn took_too_long(job: &Job, now_ms: i64) -> bool {
    let over = |lease: &Lease| lease.phase_until_ms <= now_ms && job.state != JobState::Leased;
    job.lease.as_ref().is_none_or(over)
}

/// Which of a worker's deadlines has passed.
fn late(job: &Job, now_ms: i64) -> String {
    match &job.lease {
        Some(_) if took_too_long(job, now_ms) => format!("{} took longer than it may", job.state.as_str()),
        Some(lease) => format!("worker {:?} was not heard of in time", lease.worker),
        None => "nobody has it".to_owned(),
    }
}
