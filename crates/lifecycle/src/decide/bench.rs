//! What the decision tests share: a room with models that commands are tried on, and things to try.

use std::sync::Arc;

use acgs_vocabulary::Severity;

use super::*;
use crate::{
    State,
    command::{Held, Trained},
    event::{Artifact, NewVersion, Plan},
    gates::{GateResult, Judged, Outcome},
    job::JobState,
    policy::Policy,
    trigger::{Evidence, Trigger, TriggerKind},
};

pub(super) const LIMITS: Limits = Limits {
    models_max: 100,
    running_max: 2,
    lease_ms: 60_000,
    train_ms: 3_600_000,
    validate_ms: 300_000,
    queue_ms: 86_400_000,
    attempts_max: 5,
    backoff_ms: 5_000,
    backoff_ms_max: 600_000,
    ageing_per_minute: 10,
    circuit_failures: 3,
    circuit_ms: 3_600_000,
    standby_ms: 3_600_000,
    standbys_kept: 2,
};

pub(super) const POLICY: &str = r#"
    unhelpful_max = 2
    [triggers.performance_degradation]
    mode = "auto"
    cooldown_ms = 1000
    [triggers.drift_detected]
    mode = "auto"
    coalesce_ms = 30000
    cooldown_ms = 1000
    [triggers.compliance_violation]
    mode = "approve"
    cooldown_ms = 0
    [triggers.manual]
    mode = "auto"
    [training]
    trainer = "logistic"
    window_ms = 6000000
    holdout_ms = 600000
    [gates]
    margin = 0.005
"#;

pub(super) fn policy() -> Policy {
    Policy::parse(POLICY).unwrap()
}

/// A state with its log, and a clock that the test moves.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) state: State,
    pub(super) log: Vec<Event>,
    pub(super) now_ms: i64,
    /// Workers are as silent as their leases say.
    pub(super) silent: bool,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { state: State::default(), log: Vec::new(), now_ms: 1_000_000, silent: true }
    }

    pub(super) fn with_model(model_id: &str, policy: Policy) -> Self {
        let mut room = Self::new();
        room.add(model_id, policy);
        room
    }

    pub(super) fn add(&mut self, model_id: &str, policy: Policy) {
        let register = Command::RegisterModel { model_name: "m".into(), service_id: String::new() };
        self.by("ops", model_id, register).unwrap();
        self.by("ops", model_id, Command::PutPolicy { policy: Arc::new(policy), expected: None }).unwrap();
        let new = NewVersion { version: "v0".into(), artifact: artifact("frozen"), ..NewVersion::default() };
        self.by("ops", model_id, Command::RegisterVersion { new, serving: true }).unwrap();
    }

    pub(super) fn by(&mut self, actor: &str, model_id: &str, command: Command) -> Result<Answer, Refusal> {
        self.asked(actor, "", model_id, command)
    }

    /// With the id of the request.
    pub(super) fn asked(
        &mut self,
        actor: &str,
        request_id: &str,
        model_id: &str,
        command: Command,
    ) -> Result<Answer, Refusal> {
        let (actor, request_id) = (actor.into(), request_id.into());
        let order = Order { now_ms: self.now_ms, actor, request_id, jitter: 0.5, silent: self.silent };
        let mut working = crate::Working::on(&self.state);
        let (events, answer) = working.decide(&self.state, &LIMITS, &order, model_id, command)?;
        working.commit(&mut self.state);
        self.log.extend(events);
        Ok(answer)
    }

    pub(super) fn trigger(&mut self, kind: TriggerKind, event_time_ms: i64) -> Answer {
        self.by("retrain-trigger", "m", Command::Trigger(trigger(kind, event_time_ms))).unwrap()
    }

    pub(super) fn model(&self) -> &Model {
        self.state.model("m").unwrap()
    }

    pub(super) fn job(&self, number: u64) -> &Job {
        self.state.job(number).unwrap().1
    }

    pub(super) fn lease(&mut self, job: u64) -> Held {
        let command = Command::Lease { job, worker: "w".into(), plan: Box::new(plan()) };
        match self.by("w", "m", command).unwrap() {
            Answer::Leased(fence) => Held { job, worker: "w".into(), fence },
            other => panic!("{other:?}"),
        }
    }

    /// A job that is leased, started and trained.
    pub(super) fn trained(&mut self, job: u64, digest: &str) -> String {
        let held = self.lease(job);
        self.by("w", "m", Command::Start(held.clone())).unwrap();
        let outcome = Box::new(trained(digest));
        self.by("w", "m", Command::TrainSucceeded { held, outcome }).unwrap();
        self.job(job).version.clone().unwrap()
    }

    pub(super) fn judge(&mut self, job: u64, version: &str, passed: bool, helped: bool) {
        let command = Command::GatesJudged { job, version: version.into(), judged: judged(passed, helped) };
        self.by("gates", "m", command).unwrap();
    }
}

use crate::model::{Job, Model};

pub(super) fn trigger(kind: TriggerKind, event_time_ms: i64) -> Trigger {
    let evidence = Evidence {
        source: format!("window {event_time_ms}"),
        description: "the loss is worse".into(),
        event_id: String::new(),
    };
    Trigger {
        kind,
        severity: Severity::High,
        event_time_ms,
        evidence,
        reference_version: 1,
        records: Some(10_000),
        overrides: false,
    }
}

pub(super) fn artifact(name: &str) -> Artifact {
    let digest = acgs_vocabulary::constitution::sha256_hex(name.as_bytes());
    Artifact { digest, size_bytes: 10, format: "test".into(), uri: String::new() }
}

pub(super) fn plan() -> Plan {
    let window = |digest: &str| crate::event::DataWindow { digest: digest.into(), ..Default::default() };
    Plan { train: window("train"), holdout: window("holdout"), trainer: "logistic".into(), ..Plan::default() }
}

pub(super) fn trained(name: &str) -> Trained {
    Trained { artifact: artifact(name), data_digest: "train".into(), ..Trained::default() }
}

pub(super) fn judged(passed: bool, helped: bool) -> Judged {
    let outcome = if passed { Outcome::Passed } else { Outcome::Failed };
    let result = GateResult {
        gate: "champion".into(),
        outcome,
        measured: vec![("upper".into(), 0.001)],
        bound: Some(0.005),
        description: String::new(),
    };
    Judged { results: vec![result], passed, helped }
}

pub(super) fn state_of(answer: &Answer) -> JobState {
    match answer {
        Answer::Job { state, .. } => *state,
        other => panic!("{other:?}"),
    }
}

pub(super) fn command(kind: u8, job: u64, flag: bool, room: &Room, model: &str) -> Command {
    let held = |stale: bool| {
        let lease = room.state.job(job).and_then(|(_, job)| job.lease.clone());
        let fence = lease.as_ref().map_or(0, |lease| lease.fence) + u64::from(stale);
        Held { job, worker: lease.map_or_else(String::new, |lease| lease.worker), fence }
    };
    let version = |place: u64| {
        let model = room.state.model(model).map(|model| model.versions.keys().cloned().collect::<Vec<_>>());
        let names = model.unwrap_or_default();
        names.get(place as usize % names.len().max(1)).map(ToString::to_string).unwrap_or_default()
    };
    let event_ms = room.now_ms + job as i64;
    match kind {
        0 => Command::Trigger(trigger(TriggerKind::PerformanceDegradation, event_ms)),
        1 => Command::Trigger(trigger(TriggerKind::DriftDetected, event_ms)),
        2 => Command::Trigger(trigger(TriggerKind::ComplianceViolation, event_ms)),
        3 => Command::Lease { job, worker: "w".into(), plan: Box::new(plan()) },
        4 => Command::Start(held(flag && job == 5)),
        5 => Command::Heartbeat(held(flag)),
        6 => Command::TrainFailed { held: held(false), retryable: flag, why: "failed".into() },
        7 => {
            let outcome = Box::new(trained(&format!("artifact {}", room.log.len())));
            Command::TrainSucceeded { held: held(false), outcome }
        }
        8 => {
            let version = room.state.job(job).and_then(|(_, job)| job.version.clone()).unwrap_or_default();
            Command::GatesJudged { job, version, judged: judged(flag, flag) }
        }
        9 => Command::Decide { job, approved: flag, why: String::new() },
        10 => Command::Cancel { job, why: "ended".into() },
        11 => Command::Requeue { job },
        12 => Command::Quarantine { version: version(job), why: "bad".into() },
        13 => Command::Release { version: version(job), intact: true },
        14 => Command::Archive { version: version(job) },
        _ => Command::Due,
    }
}
