//! Commands as people and workers send them, and what the log adds up to. It must not know a home.

use proptest::prelude::*;

use super::{bench::*, *};
use crate::{
    State,
    job::JobState,
    policy::{Mode, Policy, Rule},
    stage::Stage,
    trigger::TriggerKind,
};

#[test]
fn from_a_harmful_window_to_a_new_champion_with_a_warm_standby() {
    let mut room = Room::with_model("m", policy());
    let answer = room.trigger(TriggerKind::PerformanceDegradation, 500);
    assert_eq!(answer, Answer::Job { job: 1, state: JobState::Queued, known: false });
    let version = room.trained(1, "new");
    assert_eq!(room.job(1).state, JobState::Evaluating);
    room.judge(1, &version, true, true);
    assert_eq!(room.job(1).state, JobState::Succeeded);
    assert_eq!(room.model().champion.as_deref(), Some("v2"));
    assert_eq!(room.model().version("v0").unwrap().stage, Stage::Standby);
    // The next one within the cooldown is not worth another training; later it is.
    assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, 900)), JobState::Suppressed);
    assert_eq!(room.job(2).next_event_ms, Some(1_500));
    assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, 1_500)), JobState::Queued);
    // A champion is taken out only for one that is warm, in the same breath.
    let quarantine = Command::Quarantine { version: "v2".into(), why: "bad".into() };
    room.by("ops", "m", quarantine).unwrap();
    assert_eq!(room.model().champion.as_deref(), Some("v0"));
    let last = Command::Quarantine { version: "v0".into(), why: "bad".into() };
    assert_eq!(room.by("ops", "m", last).unwrap_err(), Refusal::NoStandby("v0".into()));
    let release = |intact| Command::Release { version: "v2".into(), intact };
    room.by("ann", "m", release(true)).unwrap();
    assert!(matches!(room.by("ann", "m", release(true)), Err(Refusal::SamePerson(_))));
    assert!(matches!(room.by("bob", "m", release(false)), Err(Refusal::WrongState(_))));
    room.by("bob", "m", release(true)).unwrap();
    assert_eq!(room.model().version("v2").unwrap().stage, Stage::Validated);
}

#[test]
fn evidence_gathers_and_the_same_evidence_counts_once() {
    let mut room = Room::with_model("m", policy());
    for event_ms in [10, 20, 20, 30] {
        assert_eq!(state_of(&room.trigger(TriggerKind::DriftDetected, event_ms)), JobState::Observed);
    }
    assert_eq!((room.job(1).triggers, room.job(1).evidence.len()), (3, 3));
    room.now_ms += 30_000;
    room.by("clock", "m", Command::Due).unwrap();
    assert_eq!(room.job(1).state, JobState::Queued);
    assert_eq!(
        room.trigger(TriggerKind::DriftDetected, 20),
        Answer::Job { job: 1, state: JobState::Queued, known: true }
    );
    // A graver one takes its place, a lesser one does not.
    assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, 40)), JobState::Queued);
    assert_eq!(room.job(1).state, JobState::Superseded);
    let by_hand = room.trigger(TriggerKind::Manual, 50);
    assert_eq!(state_of(&by_hand), JobState::Suppressed);
    assert!(room.job(3).why.starts_with("other_job: found job-2"));
}

#[test]
fn a_flood_of_triggers_is_a_few_events() {
    let mut room = Room::with_model("m", policy());
    let before = room.log.len();
    for event_ms in 0..10_000 {
        room.trigger(TriggerKind::PerformanceDegradation, event_ms);
        room.trigger(TriggerKind::Manual, event_ms);
    }
    assert!(room.log.len() - before < 10, "{} events", room.log.len() - before);
    assert_eq!(room.model().open_jobs().count(), 1);
}

#[test]
fn a_silent_worker_loses_the_job_and_can_do_no_harm_later() {
    let mut room = Room::with_model("m", policy());
    room.trigger(TriggerKind::PerformanceDegradation, 500);
    let first = room.lease(1);
    room.by("w", "m", Command::Start(first.clone())).unwrap();
    room.now_ms += LIMITS.lease_ms - 1;
    assert_eq!(room.by("w", "m", Command::Heartbeat(first.clone())), Ok(Answer::Done));
    room.now_ms += LIMITS.lease_ms;
    // A clock that jumps, or another machine's, takes no job from a worker that is heard.
    room.silent = false;
    room.by("clock", "m", Command::Due).unwrap();
    assert_eq!(room.job(1).state, JobState::Running);
    room.silent = true;
    let late = Command::TrainSucceeded { held: first.clone(), outcome: Box::new(trained("late")) };
    assert_eq!(room.by("w", "m", late.clone()), Ok(Answer::Stale(0)));
    assert_eq!((room.job(1).state, room.job(1).attempt), (JobState::Backoff, 1));
    room.now_ms += LIMITS.backoff_ms;
    room.by("clock", "m", Command::Due).unwrap();
    let second = room.lease(1);
    assert!(second.fence > first.fence);
    assert_eq!(room.by("w", "m", late), Ok(Answer::Stale(second.fence)));
    for _ in 0..100 {
        room.by("w", "m", Command::Heartbeat(first.clone())).unwrap();
    }
    assert_eq!(room.job(1).stale, crate::model::STALE_MAX, "refusals are written down, within a bound");
    assert_eq!(room.model().versions.len(), 1, "nothing was registered");
}

#[test]
fn heartbeats_are_written_down_a_few_times_in_a_lease() {
    let mut room = Room::with_model("m", policy());
    room.trigger(TriggerKind::PerformanceDegradation, 500);
    let held = room.lease(1);
    room.by("w", "m", Command::Start(held.clone())).unwrap();
    let before = room.log.len();
    for _ in 0..10 * 600 {
        room.now_ms += LIMITS.lease_ms / 600;
        assert_eq!(room.by("w", "m", Command::Heartbeat(held.clone())), Ok(Answer::Done));
    }
    let written = room.log.len() - before;
    assert!((10..=41).contains(&written), "{written} entries in ten leases");
    assert_eq!(room.job(1).state, JobState::Running, "and it is never late");
}

#[test]
fn what_fails_again_and_again_is_given_up_and_opens_the_circuit() {
    let mut room = Room::with_model("m", policy());
    for round in 0..3 {
        let event_ms = 500 + round;
        assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, event_ms)), JobState::Queued);
        let job = room.state.counts().jobs;
        let held = room.lease(job);
        let failed = Command::TrainFailed { held, retryable: false, why: "no memory".into() };
        room.by("w", "m", failed).unwrap();
        assert_eq!(room.job(job).state, JobState::DeadLettered);
    }
    assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, 600)), JobState::Suppressed);
    assert!(room.job(4).why.starts_with("circuit: found open"));
    room.now_ms += LIMITS.circuit_ms;
    assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, 700)), JobState::Queued);
    room.by("ops", "m", Command::Requeue { job: 1 }).unwrap();
    assert_eq!((room.job(1).state, room.job(1).attempt), (JobState::Queued, 0));
}

#[test]
fn retrainings_that_do_not_help_raise_a_person() {
    let mut room = Room::with_model("m", policy());
    for (round, event_ms) in [500, 100_000_000].into_iter().enumerate() {
        assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, event_ms)), JobState::Queued);
        let job = room.state.counts().jobs;
        let version = room.trained(job, &format!("new {round}"));
        room.judge(job, &version, round == 0, false);
    }
    assert!(room.log.iter().any(|event| event.change == Change::HelpNeeded { in_a_row: 2 }));
    let far_ms = 900_000_000;
    assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, far_ms)), JobState::Suppressed);
    room.by("ann", "m", Command::ClearLoop).unwrap();
    assert_eq!(state_of(&room.trigger(TriggerKind::PerformanceDegradation, far_ms + 1)), JobState::Queued);
}

#[test]
fn a_person_other_than_who_asked_agrees() {
    let mut room = Room::with_model("m", policy());
    let call = Command::Trigger(trigger(TriggerKind::ComplianceViolation, 500));
    room.by("ann", "m", call).unwrap();
    let version = room.trained(1, "new");
    room.judge(1, &version, true, true);
    assert_eq!(room.job(1).state, JobState::AwaitingApproval);
    assert_eq!(room.model().champion.as_deref(), Some("v0"));
    let agree = |approved| Command::Decide { job: 1, approved, why: "looked at it".into() };
    assert!(matches!(room.by("ann", "m", agree(true)), Err(Refusal::SamePerson(_))));
    let mut denied = room.clone();
    denied.by("bob", "m", agree(false)).unwrap();
    assert_eq!(denied.model().version(&version).unwrap().stage, Stage::Rejected);
    assert_eq!(denied.model().unhelpful, 0);
    let mut late = room.clone();
    late.now_ms += policy().approval_ms;
    late.by("clock", "m", Command::Due).unwrap();
    assert_eq!(late.job(1).state, JobState::Expired);
    assert_eq!(late.model().version(&version).unwrap().stage, Stage::Rejected);
    room.by("bob", "m", agree(true)).unwrap();
    assert_eq!(room.model().champion.as_deref(), Some(version.as_str()));
    assert!(room.job(1).helped);
}

#[test]
fn who_waits_long_enough_goes_before_who_is_more_urgent() {
    let mut room = Room::new();
    for model in ["old", "new"] {
        room.add(model, policy());
    }
    room.by("ann", "old", Command::Trigger(trigger(TriggerKind::Manual, 1))).unwrap();
    room.now_ms += 99 * 60_000;
    let mut early = room.clone();
    let call = Command::Trigger(trigger(TriggerKind::DriftDetected, 1));
    for room in [&mut early, &mut room] {
        room.by("retrain-trigger", "new", call.clone()).unwrap();
        room.now_ms += 30_000;
        room.by("clock", "new", Command::Due).unwrap();
    }
    assert_eq!(early.state.next_job(&[]).unwrap().0.model_id.as_ref(), "new");
    let mut late = Room::new();
    for model in ["old", "new"] {
        late.add(model, policy());
    }
    late.by("ann", "old", Command::Trigger(trigger(TriggerKind::Manual, 1))).unwrap();
    late.now_ms += 101 * 60_000;
    late.by("retrain-trigger", "new", call).unwrap();
    late.now_ms += 30_000;
    late.by("clock", "new", Command::Due).unwrap();
    assert_eq!(late.state.next_job(&[]).unwrap().0.model_id.as_ref(), "old");
    assert!(late.state.next_job(&["forest".to_owned()]).is_none());
}

#[test]
fn the_kill_switch_and_the_limit_hold_everything() {
    let mut room = Room::new();
    for model in ["a", "b", "c", "d"] {
        room.add(model, policy());
        let call = Command::Trigger(trigger(TriggerKind::PerformanceDegradation, 1));
        room.by("retrain-trigger", model, call).unwrap();
    }
    let freeze = |frozen| Command::SetFreeze { frozen, why: "incident".into() };
    room.by("ann", "", freeze(true)).unwrap();
    assert!(room.state.next_job(&[]).is_none());
    let lease = |job| Command::Lease { job, worker: "w".into(), plan: Box::new(plan()) };
    assert!(matches!(room.by("w", "a", lease(1)), Err(Refusal::NotNow(_))));
    room.by("ann", "", freeze(false)).unwrap();
    room.by("ann", "a", freeze(true)).unwrap();
    assert_eq!(room.state.next_job(&[]).unwrap().0.model_id.as_ref(), "b");
    for (model, job) in [("b", 2), ("c", 3)] {
        room.by("w", model, lease(job)).unwrap();
    }
    let refused = room.by("w", "d", lease(4)).unwrap_err();
    assert_eq!(refused, Refusal::NotNow("running: found 2, asked for fewer than 2".into()));
}

#[test]
fn policies_that_contradict_themselves_are_refused_by_name() {
    let wrong = |line: &str, field: &str| {
        let error = Policy::parse(&format!("{POLICY}\n{line}")).unwrap_err().to_string();
        assert!(error.contains(field), "{line}: {error}");
    };
    wrong("[triggers.scheduled]\nmode = \"auto\"", "triggers.scheduled.cron");
    wrong("[triggers.scheduled]\nmode = \"auto\"\ncron = \"every day\"", "triggers.scheduled.cron");
    wrong("[triggers.quality_degradation]\nmode = \"auto\"\ncron = \"0 0 1 * *\"", "cron");
    wrong("[budget]\nretrainings = 0\nperiod_ms = 86400000", "budget.retrainings");
    wrong(
        "[budget]\nretrainings = 1\nperiod_ms = 60000\n[triggers.scheduled]\nmode = \"auto\"\ncron = \"0 0 1 * *\"\ncooldown_ms = 120000",
        "cooldown_ms",
    );
    wrong("[gates.compliance]\nrequired = true\nprinciples = []", "gates.compliance.required");
    wrong("[[gates.compliance.principles]]\nname = \"a\"\nweight = 0.5\nminimum = 0.5", "required");
    wrong("[surprise]\nx = 1", "surprise");
    let twice = POLICY.replace("holdout_ms = 600000", "holdout_ms = 6000000");
    assert!(Policy::parse(&twice).unwrap_err().to_string().contains("training.holdout_ms"));
    let blocks = POLICY.replace("margin = 0.005", "margin = 0.005\nblock_ms = 500000");
    assert!(Policy::parse(&blocks).unwrap_err().to_string().contains("gates.block_ms"));
    let mut rule = policy();
    rule.triggers
        .insert(TriggerKind::Manual, Rule { cooldown_ms: -1, ..Rule::new(TriggerKind::Manual, Mode::Auto) });
    assert!(rule.check().is_err());
}

/// Commands at random, by whoever, on two models.
fn any_command() -> impl Strategy<Value = (u8, u8, u64, bool, i64)> {
    (any::<u8>(), 0..16_u8, 1..6_u64, any::<bool>(), 0..3_i64)
}

proptest! {
    #[test]
    fn replaying_the_log_gives_the_same_state(commands in prop::collection::vec(any_command(), 1..80)) {
        let mut room = Room::with_model("m", policy());
        room.add("n", policy());
        for (who, kind, job, flag, minutes) in commands {
            room.now_ms += minutes * 40_000;
            let model = if who % 2 == 0 { "m" } else { "n" };
            let actor = if who % 3 == 0 { "ann" } else { "bob" };
            let command = command(kind, job, flag, &room, model);
            if let Err(refused) = room.by(actor, model, command) {
                prop_assert!(!matches!(refused, Refusal::Broken(_)), "{}", refused);
            }
        }
        let mut replayed = State::default();
        for event in &room.log {
            let kept: Event = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
            prop_assert_eq!(&kept, event);
            replayed.apply(&kept).unwrap();
        }
        prop_assert!(replayed == room.state);
        prop_assert!(replayed.is_consistent() && room.state.is_consistent());
    }
}
