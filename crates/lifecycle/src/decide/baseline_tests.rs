//! A baseline that fails while the candidate serves: nothing returns to it by itself.

use super::{
    bench::Room,
    counted::beside,
    deploy_tests::{applied, go, phase, plan, prepared, room, start},
    *,
};
use crate::{
    deployment::{PauseReason, Phase},
    rollout::{BaselineFailing, RolloutPlan},
};

/// Evidence, as a logarithm, that it fails now.
const FAILS: f64 = 9.0;

fn analyzing(plan: RolloutPlan) -> Room {
    let mut room = room(plan);
    go(&mut room, start("a"));
    go(&mut room, prepared(1));
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::Analyzing);
    room
}

fn pause(room: &Room) -> Option<PauseReason> {
    room.model().deployment().and_then(|open| open.pause)
}

#[test]
fn nothing_returns_to_a_baseline_that_fails_and_no_deadline_does() {
    let mut room = analyzing(plan());
    let dead = beside(&room, 400, 0.0, 1.0, FAILS);
    go(&mut room, dead);
    assert_eq!((phase(&room), pause(&room)), (Phase::Paused, Some(PauseReason::BaselineFailing)));
    room.now_ms += 90_000_000;
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Paused);
    assert_eq!(room.model().deployment().unwrap().weight(), 10, "weights are held");
    // It answers again.
    let well = beside(&room, 400, 0.0, 0.4, 0.0);
    go(&mut room, well);
    assert_eq!((phase(&room), pause(&room)), (Phase::Analyzing, None));
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Analyzing, "the time that it was held is not its own");
    let dead = beside(&room, 400, 0.0, 1.0, FAILS);
    go(&mut room, dead);
    assert_eq!(pause(&room), Some(PauseReason::BaselineFailing), "again");
}

#[test]
fn a_person_lets_it_go_on_beside_what_fails() {
    let mut room = analyzing(plan());
    let dead = beside(&room, 400, 0.0, 1.0, FAILS);
    go(&mut room, dead.clone());
    room.by("bob", "m", Command::ResumeDeployment { deployment: 1 }).unwrap();
    go(&mut room, dead);
    assert_eq!(phase(&room), Phase::Analyzing, "it was accepted");
    // It is well, but nobody knows enough to go on.
    let well = beside(&room, 20, 0.009, 0.009, 0.0);
    room.now_ms += 5_000;
    go(&mut room, well);
    let dead = beside(&room, 400, 0.0, 1.0, FAILS);
    go(&mut room, dead);
    assert_eq!(pause(&room), Some(PauseReason::BaselineFailing), "that was another time");
}

#[test]
fn a_policy_may_have_the_candidate_take_over() {
    let mut room = analyzing(RolloutPlan { baseline_failing: BaselineFailing::Promote, ..plan() });
    let dead = beside(&room, 2_000, 0.0, 1.0, FAILS);
    go(&mut room, dead);
    assert_eq!(phase(&room), Phase::Promoting);
}

#[test]
fn a_candidate_that_fails_as_much_is_not_spared() {
    // The baseline fails more than it may; the candidate fails always.
    let mut room = analyzing(plan());
    let both = beside(&room, 400, 1.0, 0.3, FAILS);
    go(&mut room, both);
    assert_eq!(phase(&room), Phase::Aborting);
}

#[test]
fn a_person_who_decides_late_is_not_overruled_by_a_deadline() {
    let mut room = analyzing(plan());
    let dead = beside(&room, 400, 0.0, 1.0, FAILS);
    go(&mut room, dead);
    room.now_ms += 90_000_000;
    room.by("bob", "m", Command::PromoteDeployment { deployment: 1, why: "it is well".into() }).unwrap();
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Promoting);
}

#[test]
fn held_for_want_of_data_it_does_not_return_to_what_fails() {
    let mut room = analyzing(plan());
    let some = beside(&room, 20, 0.009, 0.009, 0.0);
    go(&mut room, some);
    room.now_ms += 16_000;
    let silence = beside(&room, 0, 0.009, 0.009, 0.0);
    go(&mut room, silence);
    assert_eq!(pause(&room), Some(PauseReason::NoData));
    let dead = beside(&room, 400, 0.0, 1.0, FAILS);
    go(&mut room, dead);
    assert_eq!(pause(&room), Some(PauseReason::BaselineFailing));
    room.now_ms += 90_000_000;
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Paused);
}

#[test]
fn a_deadline_looks_before_it_returns_to_what_fails() {
    let mut room = analyzing(plan());
    let dead = beside(&room, 400, 0.0, 1.0, FAILS);
    go(&mut room, dead.clone());
    room.by("bob", "m", Command::ResumeDeployment { deployment: 1 }).unwrap();
    go(&mut room, dead);
    assert_eq!(phase(&room), Phase::Analyzing);
    room.now_ms += 200_000_000;
    go(&mut room, Command::Due);
    assert_eq!(pause(&room), Some(PauseReason::BaselineFailing), "a person decides again");
    // Whatever has run out meanwhile: what a person says is done.
    let mut resumed = room.clone();
    resumed.by("bob", "m", Command::ResumeDeployment { deployment: 1 }).unwrap();
    go(&mut resumed, Command::Due);
    assert_eq!(phase(&resumed), Phase::Analyzing);
    room.now_ms += 3_600_000;
    room.by("bob", "m", Command::PromoteDeployment { deployment: 1, why: "it is well".into() }).unwrap();
    go(&mut room, Command::Due);
    assert_eq!(phase(&room), Phase::Promoting);
}

#[test]
fn a_deadline_while_traffic_shifts_holds_it_too() {
    let mut room = analyzing(plan());
    let dead = beside(&room, 2_000, 0.0, 1.0, FAILS);
    go(&mut room, dead.clone());
    room.by("bob", "m", Command::ResumeDeployment { deployment: 1 }).unwrap();
    room.now_ms += 5_000;
    let more = beside(&room, 2_000, 0.0, 1.0, FAILS);
    go(&mut room, more);
    assert_eq!(phase(&room), Phase::Shifting);
    room.now_ms += 200_000_000;
    go(&mut room, Command::Due);
    assert_eq!(pause(&room), Some(PauseReason::BaselineFailing));
    room.by("bob", "m", Command::AbortDeployment { deployment: 1, why: "enough".into() }).unwrap();
    assert_eq!(phase(&room), Phase::Aborting);
}

#[test]
fn in_the_bake_it_is_judged_whatever_the_baseline_was() {
    let mut room = analyzing(plan());
    let dead = beside(&room, 400, 0.0, 1.0, FAILS);
    go(&mut room, dead);
    room.by("bob", "m", Command::PromoteDeployment { deployment: 1, why: "it is well".into() }).unwrap();
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::Baking);
    room.now_ms += 16_000;
    let silence = beside(&room, 0, 0.0, 1.0, FAILS);
    go(&mut room, silence);
    assert_eq!(pause(&room), Some(PauseReason::NoData));
    let again = beside(&room, 5, 0.0, 1.0, FAILS);
    go(&mut room, again);
    assert_eq!(phase(&room), Phase::Baking, "calls again");
}
