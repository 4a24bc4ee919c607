//! Wishes that come twice: at once, later, by another hand, with an id and without.

use super::{
    bench::Room,
    counted::evidence,
    deploy_tests::{applied, go, phase, plan, prepared, room, shares, start},
    *,
};
use crate::{deployment::Phase, stage::Stage};

fn roll_back(expected: Option<&str>) -> Command {
    Command::Rollback { expected: expected.map(str::to_owned), why: "customers".into() }
}

/// Version `name` has taken all traffic.
fn deploy(room: &mut Room, number: u64, name: &str) {
    go(room, start(name));
    go(room, prepared(number));
    go(room, Command::PromoteDeployment { deployment: number, why: "sure".into() });
    let command = applied(room);
    go(room, command);
    let again = Command::PromoteDeployment { deployment: number, why: "sure".into() };
    room.asked("ops", &format!("no bake {number}"), "m", again).unwrap();
    assert_eq!((phase(room), room.model().champion.as_deref()), (Phase::Completed, Some(name)));
}

/// Version `name` has its first share of traffic.
fn open(room: &mut Room, number: u64, name: &str) {
    go(room, start(name));
    go(room, prepared(number));
    let command = applied(room);
    go(room, command);
}

fn serves(room: &Room, name: &str) {
    assert_eq!(room.model().champion.as_deref(), Some(name));
    assert_eq!(shares(room), [(name.to_owned(), 100)]);
}

#[test]
fn a_rollback_that_comes_twice_is_one() {
    for ids in [["", ""], ["one", "one"], ["one", "other"], ["", "other"]] {
        let mut room = room(plan());
        deploy(&mut room, 1, "a");
        deploy(&mut room, 2, "b");
        room.asked("ann", ids[0], "m", roll_back(None)).unwrap();
        serves(&room, "a");
        room.now_ms += 60_000;
        room.asked("bob", ids[1], "m", roll_back(None)).unwrap();
        serves(&room, "a");
        // An hour later it is another wish; the id of the first still is not.
        let mut later = room.clone();
        later.now_ms += 3_600_000;
        if !ids[0].is_empty() {
            later.asked("ann", ids[0], "m", roll_back(None)).unwrap();
            serves(&later, "a");
        }
        later.asked("ann", "later", "m", roll_back(None)).unwrap();
        serves(&later, "v0");
        // To go further back one says from where; that is done once too.
        for _ in 0..2 {
            room.by("ann", "m", roll_back(Some("a"))).unwrap();
            serves(&room, "v0");
        }
        let other = room.by("ann", "m", roll_back(Some("unknown"))).unwrap_err();
        assert_eq!(other, Refusal::Champion { expected: "unknown".into(), found: "v0".into() });
        // Both that were taken back are warm, and nothing to go back to.
        assert!(matches!(room.by("ann", "m", roll_back(Some("v0"))), Err(Refusal::NoStandby(_))));
        serves(&room, "v0");
        // Until somebody deploys one again, and takes it back again.
        deploy(&mut room, 3, "b");
        room.asked("ann", "", "m", roll_back(None)).unwrap();
        serves(&room, "v0");
    }
}

#[test]
fn a_rollback_that_took_a_deployment_back_does_not_take_the_champion_back_too() {
    let mut room = room(plan());
    deploy(&mut room, 1, "a");
    open(&mut room, 2, "b");
    for _ in 0..2 {
        go(&mut room, roll_back(None));
        assert_eq!(phase(&room), Phase::Aborting);
    }
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::RolledBack);
    go(&mut room, roll_back(None));
    serves(&room, "a");
}

#[test]
fn a_promotion_that_comes_twice_still_bakes() {
    let mut room = room(plan());
    go(&mut room, start("a"));
    go(&mut room, prepared(1));
    let promote = Command::PromoteDeployment { deployment: 1, why: "sure".into() };
    go(&mut room, promote.clone());
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::Baking);
    go(&mut room, promote.clone());
    assert_eq!(phase(&room), Phase::Baking, "the same wish again");
    let command = evidence(&room, 2_000, 0.0);
    go(&mut room, command);
    room.asked("ops", "another", "m", promote).unwrap();
    assert_eq!(phase(&room), Phase::Completed);
}

#[test]
fn an_id_stands_for_one_wish_for_good() {
    let mut room = room(plan());
    let quarantine = || Command::Quarantine { version: "a".into(), why: "a doubt".into() };
    room.asked("ann", "q", "m", quarantine()).unwrap();
    for person in ["ann", "bob"] {
        room.by(person, "m", Command::Release { version: "a".into(), intact: true }).unwrap();
    }
    room.asked("ann", "q", "m", quarantine()).unwrap();
    assert_eq!(room.model().version("a").unwrap().stage, Stage::Validated, "it was done long ago");
    let reused = room.asked("ann", "q", "m", start("a")).unwrap_err();
    assert_eq!(reused, Refusal::RequestReused { id: "q".into(), was: "quarantine_version a".into() });
    // What was refused may be asked again under its id.
    assert!(room.asked("ann", "s", "m", start("unknown")).is_err());
    let Answer::Deployment(number) = room.asked("ann", "s", "m", start("a")).unwrap() else { panic!() };
    let events = room.log.len();
    assert_eq!(room.asked("bob", "s", "m", start("a")).unwrap(), Answer::Deployment(number));
    assert_eq!(room.log.len(), events);
}

#[test]
fn who_says_from_where_takes_back_one_thing() {
    let mut room = room(plan());
    deploy(&mut room, 1, "a");
    open(&mut room, 2, "b");
    go(&mut room, roll_back(Some("a")));
    let command = applied(&room);
    go(&mut room, command);
    assert_eq!(phase(&room), Phase::RolledBack);
    go(&mut room, roll_back(Some("a")));
    serves(&room, "a");
}

#[test]
fn a_rollback_is_never_a_repetition_while_a_candidate_has_traffic() {
    let mut room = room(plan());
    // One that is withdrawn before it had traffic makes room for another.
    go(&mut room, start("a"));
    go(&mut room, roll_back(None));
    open(&mut room, 2, "b");
    go(&mut room, roll_back(None));
    assert_eq!(phase(&room), Phase::Aborting);
}

#[test]
fn a_thaw_of_everything_that_comes_late_lifts_no_newer_freeze() {
    let mut room = room(plan());
    let set = |frozen, why: &str| Command::SetFreeze { frozen, why: why.into() };
    for (id, command) in [("f1", set(true, "one")), ("t1", set(false, "")), ("f2", set(true, "two"))] {
        room.asked("ann", id, "", command).unwrap();
    }
    let events = room.log.len();
    room.asked("ann", "t1", "", set(false, "")).unwrap();
    assert_eq!((room.log.len(), room.state.counts().frozen.as_deref()), (events, Some("two")));
    assert!(matches!(room.asked("ann", "t1", "", set(true, "x")), Err(Refusal::RequestReused { .. })));
}
