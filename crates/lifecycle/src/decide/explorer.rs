//! A bounded explorer: every sequence of commands up to a depth, from a model with a champion and a warm standby, with the
//! promises checked in every state that is reached.

use std::collections::{BTreeMap, HashSet};

use super::{
    bench::{LIMITS, Room, artifact, command, judged, plan, policy, trained, trigger},
    *,
};
use crate::{command::Held, stage::Stage, trigger::TriggerKind};

/// Commands in a row. Set by `ACGS_EXPLORER_DEPTH` for a deeper search.
const DEPTH: usize = 8;

/// What a state is, as far as the promises can tell: ids, fences and times are left out.
type Shape = (Vec<Stage>, Vec<(JobState, TriggerKind, bool, u32)>, Option<usize>, u32, u32);

fn shape(model: &Model) -> Shape {
    let mut versions: Vec<_> = model.versions.values().collect();
    versions.sort_by_key(|version| version.number);
    let champion = model
        .champion
        .as_ref()
        .and_then(|champion| versions.iter().position(|version| version.new.version.as_str() == &**champion));
    let jobs = model.jobs.values().filter(|job| !job.state.is_terminal());
    let jobs = jobs.map(|job| (job.state, job.kind, job.lease.is_some(), job.attempt.min(2))).collect();
    let stages = versions.iter().map(|version| version.stage).collect();
    (stages, jobs, champion, model.unhelpful, model.failures.min(3))
}

/// A model with two good versions behind it.
fn start() -> Room {
    let mut wanted = policy();
    wanted.unhelpful_max = 100;
    for rule in wanted.triggers.values_mut() {
        rule.cooldown_ms = 0;
    }
    let mut room = Room::with_model("m", wanted);
    let call = Command::Trigger(trigger(TriggerKind::PerformanceDegradation, 1));
    room.by("retrain-trigger", "m", call).unwrap();
    let lease = Command::Lease { job: 1, worker: "w".into(), plan: Box::new(plan()) };
    let Answer::Leased(fence) = room.by("w", "m", lease).unwrap() else { panic!("leased") };
    let held = Held { job: 1, worker: "w".into(), fence };
    room.by("w", "m", Command::Start(held.clone())).unwrap();
    let outcome = Box::new(trained("second"));
    room.by("w", "m", Command::TrainSucceeded { held, outcome }).unwrap();
    let version = room.job(1).version.clone().unwrap();
    room.by("gates", "m", Command::GatesJudged { job: 1, version, judged: judged(true, true) }).unwrap();
    assert_eq!(artifact("second").digest.len(), 64);
    room
}

/// A wish that comes again is answered alike and does nothing.
pub(super) fn repeat(room: &Room, id: &str, command: Command, answer: &Answer) {
    if command.moves().is_none() {
        return;
    }
    let mut again = room.clone();
    let begun = again.log.len();
    let alike = again.asked("another hand", id, "m", command.clone()).unwrap();
    assert_eq!(again.log.len(), begun, "{command:?} twice: {:#?}", &again.log[begun..]);
    let number = |answer: &Answer| if let Answer::Deployment(number) = answer { *number } else { 0 };
    assert_eq!(number(&alike), number(answer), "{command:?}");
}

fn check(before: &Model, after: &Model, log: &[Event]) {
    let running = after.jobs.values().filter(|job| job.state.is_running()).count();
    assert!(running <= 1, "two jobs of one model run: {log:#?}");
    let champions = after.versions.values().filter(|version| version.stage == Stage::Champion).count();
    assert_eq!(champions, 1, "one champion: {log:#?}");
    let leased = |job: &&std::sync::Arc<Job>| job.lease.is_some() != job.state.is_running();
    assert!(!after.jobs.values().any(|job| leased(&job)), "a lease without work, or work without: {log:#?}");
    for (name, version) in &after.versions {
        let was = before.versions.get(name).map(|version| version.stage);
        let bad = matches!(was, Some(Stage::Rejected | Stage::Quarantined));
        assert!(!(bad && version.stage == Stage::Champion), "{name} serves out of {was:?}: {log:#?}");
        // What is being judged has somebody who judges it.
        if version.stage == Stage::Validating {
            let judged = |job: &std::sync::Arc<Job>| {
                let open = matches!(job.state, JobState::Evaluating | JobState::AwaitingApproval);
                open && job.version.as_deref() == Some(&**name)
            };
            assert!(after.jobs.values().any(judged), "{name} is half judged: {log:#?}");
        }
    }
}

use crate::model::{Job, Model};

#[test]
fn every_sequence_of_commands_keeps_the_promises() {
    let depth = std::env::var("ACGS_EXPLORER_DEPTH").ok().and_then(|text| text.parse().ok()).unwrap_or(DEPTH);
    let mut seen: HashSet<Shape> = HashSet::new();
    let mut level = vec![start()];
    let mut reached: BTreeMap<JobState, usize> = BTreeMap::new();
    for _ in 0..depth {
        let mut next = Vec::new();
        for room in level {
            for (kind, job, flag, wait_ms) in moves(&room) {
                let mut after = room.clone();
                after.now_ms += wait_ms;
                let begun = after.log.len();
                let actor = if flag { "ann" } else { "bob" };
                let command = command(kind, job, flag, &after, "m");
                let id = format!("r{begun}");
                match after.asked(actor, &id, "m", command.clone()) {
                    Err(Refusal::Broken(broken)) => panic!("{broken}"),
                    Err(_) => continue,
                    Ok(answer) => repeat(&after, &id, command, &answer),
                }
                check(room.model(), after.model(), &after.log[begun..]);
                for job in after.model().jobs.values() {
                    *reached.entry(job.state).or_default() += 1;
                }
                if seen.insert(shape(after.model())) {
                    next.push(after);
                }
            }
        }
        level = next;
    }
    assert_eq!(reached.len(), JobState::ALL.len(), "{reached:?}");
    assert!(seen.len() > 500, "{} states", seen.len());
}

/// What may come next: each kind of command on each job or version, and time.
fn moves(room: &Room) -> Vec<(u8, u64, bool, i64)> {
    let jobs: Vec<u64> = room.model().open_jobs().map(|job| job.number).collect();
    let dead = room.model().jobs.values().filter(|job| job.state == JobState::DeadLettered);
    let jobs: Vec<u64> = jobs.into_iter().chain(dead.map(|job| job.number)).collect();
    let mut all = Vec::new();
    for kind in [0, 1, 2] {
        all.push((kind, room.log.len() as u64, false, 0));
    }
    for job in jobs {
        for kind in 3..=11 {
            all.push((kind, job, false, 0));
            all.push((kind, job, true, 0));
        }
    }
    for version in 0..room.model().versions.len() as u64 {
        for kind in 12..=14 {
            all.push((kind, version, false, 0));
            all.push((kind, version, true, 0));
        }
    }
    for wait_ms in [30_000, LIMITS.backoff_ms, LIMITS.lease_ms, LIMITS.queue_ms, 3 * LIMITS.queue_ms] {
        all.push((15, 0, false, wait_ms));
    }
    all
}
