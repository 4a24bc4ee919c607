//! Deployments from beginning to end, and a bounded explorer of them: every sequence of what people, routers, counts and time
//! can do, up to a depth, with the promises about traffic checked in every state.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    bench::{Room, artifact, policy},
    counted::{beside, evidence},
    *,
};
use crate::{
    command::{EndpointChange, Held, Start},
    deployment::{Cause, PauseReason, Phase},
    event::NewVersion,
    model::Model,
    rollout::Inconclusive,
    rollout::Rollout,
    rollout::RolloutPlan,
    stage::Stage,
};

/// Commands in a row. Set by `ACGS_EXPLORER_DEPTH` for a deeper search.
const DEPTH: usize = 7;

pub(super) fn plan() -> RolloutPlan {
    let text = "rollout = \"canary\"\n[training]\ntrainer = \"t\"\nwindow_ms = 600000\nholdout_ms = 60000\n[gates]\nmargin = 0.1\n\
                [deployment]\nsteps = [10, 50, 100]\nstep_ms = 1000\nstep_limit_ms = 60000\nsamples_min = 10\n\
                bake_ms = 5000\nextensions = 1\nno_data_ms = 15000\n";
    crate::Policy::parse(text).unwrap().deployment
}

/// A model that serves `v0` and knows `a` and `b`, all with endpoints.
pub(super) fn room(plan: RolloutPlan) -> Room {
    let mut wanted = policy();
    wanted.deployment = plan;
    wanted.rollout = Rollout::Canary;
    let mut room = Room::with_model("m", wanted);
    for (version, endpoint) in [("a", "127.0.0.1:2"), ("b", "127.0.0.1:3")] {
        let new =
            NewVersion { version: version.into(), artifact: artifact(version), ..NewVersion::default() };
        room.by("ops", "m", Command::RegisterVersion { new, serving: false }).unwrap();
        endpoints(&mut room, version, &[endpoint]);
    }
    endpoints(&mut room, "v0", &["127.0.0.1:1"]);
    room
}

fn endpoints(room: &mut Room, version: &str, endpoints: &[&str]) {
    let endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
    room.by(
        "ops",
        "m",
        Command::SetEndpoints { version: version.into(), endpoints, change: EndpointChange::Set },
    )
    .unwrap();
}

pub(super) fn start(version: &str) -> Command {
    Command::StartDeployment(Box::new(Start {
        version: version.into(),
        strategy: None,
        plan: None,
        unjudged: true,
        why: "try it".into(),
    }))
}

pub(super) fn applied(room: &Room) -> Command {
    let open = room.model().deployment().map_or(1, |open| open.number);
    let epoch = room.model().route_epoch;
    Command::RouteApplied { deployment: open, epoch, confirmed: vec!["g1".into()], fenced: Vec::new() }
}

pub(super) fn phase(room: &Room) -> Phase {
    room.model().deployments.values().next_back().unwrap().phase
}

pub(super) fn shares(room: &Room) -> Vec<(String, u32)> {
    room.model().routes.shares.iter().map(|(version, weight)| (version.to_string(), *weight)).collect()
}

pub(super) fn go(room: &mut Room, command: Command) {
    room.by("deployment-controller", "m", command).unwrap();
}

pub(super) fn prepared(deployment: u64) -> Command {
    Command::Prepared { deployment, found: vec![crate::Guard::new("well", true, 1, 1)] }
}

#[test]
fn a_good_candidate_takes_all_traffic_step_by_step() {
    let mut room = room(plan());
    go(&mut room, start("a"));
    assert_eq!(phase(&room), Phase::Preparing);
    assert_eq!(shares(&room), [("v0".to_owned(), 100)]);
    go(&mut room, prepared(1));
    assert_eq!(shares(&room), [("v0".to_owned(), 90), ("a".to_owned(), 10)]);
    let late =
        Command::RouteApplied { deployment: 1, epoch: 1, confirmed: vec!["g1".into()], fenced: vec![] };
    go(&mut room, late);
    assert_eq!(phase(&room), Phase::Shifting, "an older epoch says nothing");
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::Analyzing);
    for weight in [50, 100] {
        let command = evidence(&room, 2_000, 0.0025);
        go(&mut room, command.clone());
        assert_eq!(phase(&room), Phase::Analyzing, "not before its time");
        room.now_ms += 1_000;
        go(&mut room, command);
        assert_eq!(shares(&room).last().unwrap(), &("a".to_owned(), weight));
        let command = applied(&room);
        go(&mut room, command);
    }
    assert_eq!(phase(&room), Phase::Baking);
    room.now_ms += 5_000;
    let command = evidence(&room, 2_000, 0.0025);
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Paused, "calls before the bake are not calls while it bakes");
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::Baking, "it bakes again when calls come");
    room.now_ms += 5_000;
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Completed);
    assert_eq!(room.model().champion.as_deref(), Some("a"));
    assert_eq!(room.model().version("v0").unwrap().stage, Stage::Standby);
    // A person takes it back: the one before is still warm.
    go(&mut room, Command::Rollback { expected: None, why: "customers".into() });
    assert_eq!(shares(&room), [("v0".to_owned(), 100)]);
}

#[test]
fn a_bad_candidate_is_quarantined_and_an_operators_abort_leaves_it_valid() {
    let mut room = room(plan());
    go(&mut room, start("a"));
    go(&mut room, prepared(1));
    let command = applied(&room);
    go(&mut room, command);
    let command = evidence(&room, 400, 0.2);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::Aborting);
    assert_eq!(shares(&room), [("v0".to_owned(), 100)], "in the same breath");
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::RolledBack);
    assert_eq!(room.model().version("a").unwrap().stage, Stage::Quarantined);
    assert!(room.by("ops", "m", start("a")).is_err(), "it must not come back");
    go(&mut room, start("b"));
    go(&mut room, prepared(2));
    go(&mut room, Command::AbortDeployment { deployment: 2, why: "not today".into() });
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(room.model().version("b").unwrap().stage, Stage::Validated);
}

#[test]
fn silence_is_not_success_and_time_does_not_decide() {
    let mut room = room(plan());
    go(&mut room, start("a"));
    go(&mut room, prepared(1));
    let command = applied(&room);
    go(&mut room, command);
    room.now_ms += 20_000;
    let command = evidence(&room, 0, 0.0);
    go(&mut room, command);
    let open = room.model().deployment().unwrap().clone();
    assert_eq!((open.phase, open.pause, open.weight()), (Phase::Paused, Some(PauseReason::NoData), 10));
    let command = evidence(&room, 100, 0.0);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::Analyzing, "it goes on by itself when calls come");
    for _ in 0..2 {
        assert_eq!(phase(&room), Phase::Analyzing);
        let command = evidence(&room, 10, 0.0);
        room.now_ms += 14_000;
        go(&mut room, command);
        room.now_ms += 120_000;
        go(&mut room, Command::Due);
    }
    let open = room.model().deployment().unwrap().clone();
    assert_eq!((open.phase, open.pause), (Phase::Paused, Some(PauseReason::Inconclusive)));
    // Nobody decides: in the end it goes back.
    room.now_ms = open.progress_due_ms;
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Aborting);
    room.now_ms += 30_000;
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Failed, "routers never said so");
    assert_eq!(room.model().version("a").unwrap().stage, Stage::Validated);
}

#[test]
fn what_passes_goes_by_the_policy_and_what_is_taken_back_counts_against_retraining() {
    let mut room = room(plan());
    let versions = room.model().versions.len();
    let call =
        Command::Trigger(super::bench::trigger(crate::trigger::TriggerKind::PerformanceDegradation, 1));
    room.by("retrain-trigger", "m", call).unwrap();
    let lease = Command::Lease { job: 1, worker: "w".into(), plan: Box::new(super::bench::plan()) };
    let Answer::Leased(fence) = room.by("w", "m", lease).unwrap() else { panic!("leased") };
    let held = Held { job: 1, worker: "w".into(), fence };
    room.by("w", "m", Command::Start(held.clone())).unwrap();
    let outcome = Box::new(super::bench::trained("new"));
    room.by("w", "m", Command::TrainSucceeded { held, outcome }).unwrap();
    let version = room.job(1).version.clone().unwrap();
    let judged = super::bench::judged(true, true);
    room.by("gates", "m", Command::GatesJudged { job: 1, version: version.clone(), judged }).unwrap();
    assert_eq!(room.model().versions.len(), versions + 1);
    assert_eq!(room.model().champion.as_deref(), Some("v0"), "not at once");
    assert_eq!(phase(&room), Phase::Pending, "it has no endpoints yet");
    endpoints(&mut room, &version, &["127.0.0.1:9"]);
    assert_eq!(phase(&room), Phase::Preparing);
    go(&mut room, prepared(1));
    let command = applied(&room);
    go(&mut room, command);
    let command = evidence(&room, 400, 0.2);
    go(&mut room, command);
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(room.model().unhelpful, 1);
    assert_eq!(room.model().deployments[&1].cause, Some(Cause::Analysis));
}

#[test]
fn the_log_adds_up_to_the_same_routes() {
    let mut room = room(plan());
    go(&mut room, start("a"));
    go(&mut room, prepared(1));
    let command = applied(&room);
    go(&mut room, command);
    let mut again = crate::State::default();
    for event in &room.log {
        let text = serde_json::to_string(event).unwrap();
        again.apply(&serde_json::from_str(&text).unwrap()).unwrap();
    }
    assert_eq!(again.model("m"), room.state.model("m"));
    assert!(again.is_consistent() && room.state.is_consistent());
}

/// What a state is, as far as the promises can tell.
type Shape =
    (Vec<(Stage, bool)>, Option<String>, Vec<(Phase, usize, Option<Phase>, Option<PauseReason>, u32, bool)>);

fn shape(model: &Model) -> Shape {
    let stages =
        model.versions.values().map(|version| (version.stage, version.endpoints.is_empty())).collect();
    let last = model.deployments.values().next_back();
    let last = last.map(|open| {
        (open.phase, open.step, open.before, open.pause, open.extensions, open.counts.calls() > 0)
    });
    (stages, model.champion.as_deref().map(str::to_owned), last.into_iter().collect())
}

fn check(before: &Model, after: &Model, log: &[Event]) {
    let champions = after.versions.values().filter(|version| version.stage == Stage::Champion).count();
    assert_eq!(champions, 1, "one champion: {log:#?}");
    let sum: u32 = after.routes.shares.iter().map(|(_, weight)| weight).sum();
    assert_eq!(sum, 100, "weights: {:?} {log:#?}", after.routes);
    for (version, weight) in &after.routes.shares {
        let stage = after.versions[version].stage;
        let may = matches!(stage, Stage::Champion | Stage::Candidate);
        assert!(may && *weight > 0, "{version}, {stage:?}, has {weight} %: {log:#?}");
    }
    let open = after.deployments.values().filter(|deployment| deployment.phase.is_open()).count();
    assert!(open <= 1, "two are open: {log:#?}");
    let candidates: BTreeSet<_> = after
        .versions
        .iter()
        .filter(|(_, version)| version.stage == Stage::Candidate)
        .map(|(name, _)| name.clone())
        .collect();
    let deployed: BTreeSet<_> = after.deployment().map(|open| open.version.clone()).into_iter().collect();
    assert!(candidates.is_subset(&deployed), "a candidate without a deployment: {log:#?}");
    if let Some(open) = after.deployment() {
        // Or for a person.
        let held = matches!(open.pause, Some(PauseReason::Manual | PauseReason::BaselineFailing));
        let ends = open.next_due_ms().is_some() || held;
        assert!(ends, "{:?} waits for ever: {log:#?}", open.phase);
    }
    if before.routes != after.routes {
        assert!(after.route_epoch > before.route_epoch, "{log:#?}");
    }
}

fn moves(room: &Room) -> Vec<(&'static str, i64, Command)> {
    let open = room.model().deployment();
    let number = open.map_or(1, |open| open.number);
    let why = || "w".to_owned();
    let mut all = vec![
        ("bob", 0, start("a")),
        ("bob", 0, start("b")),
        ("bob", 0, start("v0")),
        ("deployment-controller", 0, prepared(number)),
        ("deployment-controller", 0, applied(room)),
        ("deployment-controller", 1_000, evidence(room, 1_000, 0.0025)),
        ("deployment-controller", 0, evidence(room, 400, 0.3)),
        ("deployment-controller", 16_000, evidence(room, 0, 0.0)),
        ("deployment-controller", 0, beside(room, 400, 0.0, 1.0, 9.0)),
        ("bob", 0, Command::PauseDeployment { deployment: number, why: why() }),
        ("bob", 0, Command::ResumeDeployment { deployment: number }),
        ("bob", 0, Command::AbortDeployment { deployment: number, why: why() }),
        ("bob", 0, Command::PromoteDeployment { deployment: number, why: why() }),
        ("bob", 0, Command::Rollback { expected: None, why: why() }),
        ("clock", 5_000, Command::Due),
        ("clock", 200_000, Command::Due),
        ("clock", 90_000_000, Command::Due),
    ];
    let versions = ["v0", "a", "b"].map(str::to_owned);
    for version in versions {
        all.push(("bob", 0, Command::Quarantine { version: version.clone(), why: why() }));
        all.push(("bob", 0, Command::Release { version: version.clone(), intact: true }));
        all.push(("ann", 0, Command::Release { version, intact: true }));
    }
    all.push((
        "bob",
        0,
        Command::SetEndpoints { version: "a".into(), endpoints: Vec::new(), change: EndpointChange::Set },
    ));
    all.push((
        "bob",
        0,
        Command::SetEndpoints {
            version: "a".into(),
            endpoints: vec!["127.0.0.1:2".into()],
            change: EndpointChange::Add,
        },
    ));
    all
}

#[test]
fn every_sequence_keeps_the_promises_about_traffic() {
    let depth = std::env::var("ACGS_EXPLORER_DEPTH").ok().and_then(|text| text.parse().ok()).unwrap_or(DEPTH);
    let shadowing =
        RolloutPlan { shadow_percent: 50, shadow_samples: 0, inconclusive: Inconclusive::Abort, ..plan() };
    let mut phases: BTreeMap<Phase, usize> = BTreeMap::new();
    let mut states = 0;
    for plan in [plan(), shadowing] {
        let mut seen: HashSet<Shape> = HashSet::new();
        let mut level = vec![room(plan)];
        for _ in 0..depth {
            let mut next = Vec::new();
            for room in level {
                for (actor, wait_ms, command) in moves(&room) {
                    let mut after = room.clone();
                    after.now_ms += wait_ms;
                    let begun = after.log.len();
                    let id = format!("r{begun}");
                    match after.asked(actor, &id, "m", command.clone()) {
                        Err(Refusal::Broken(broken)) => panic!("{broken}"),
                        Err(_) => continue,
                        Ok(answer) => super::explorer::repeat(&after, &id, command, &answer),
                    }
                    check(room.model(), after.model(), &after.log[begun..]);
                    for deployment in after.model().deployments.values() {
                        *phases.entry(deployment.phase).or_default() += 1;
                    }
                    if seen.insert(shape(after.model())) {
                        next.push(after);
                    }
                }
            }
            level = next;
        }
        states += seen.len();
    }
    // Pending is reached only without endpoints, Completed only after all steps.
    assert_eq!(phases.len(), Phase::ALL.len(), "{phases:?}");
    assert!(states > 500, "{states} states");
}
