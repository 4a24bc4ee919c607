//! A judge may be lost at any point, with messages on their way in both directions: every close gets its verdict once, and
//! it is the verdict of a judge that was never lost.

use acgs_vocabulary::VerdictStatus;
use proptest::prelude::*;

use super::*;
use crate::{
    judge::Judge,
    message::LaneUp,
    panes::PaneJudge,
    toy::{self, NOTHING, ON_TIME, SETTLED, Toy, judge, script, straight, verdicts},
};

/// An orchestrator's end and a judge's end, with what is on its way between them.
struct Wire<const FEED: u8> {
    log: ReplayLog,
    judge: PaneJudge<Toy<FEED>>,
    every_bytes: u64,
    down: VecDeque<LaneDown>,
    up: VecDeque<LaneUp>,
    got: Vec<toy::Said>,
}

impl<const FEED: u8> Wire<FEED> {
    fn new(every_bytes: u64) -> Self {
        Self {
            log: ReplayLog::new(true),
            judge: judge(every_bytes),
            every_bytes,
            down: VecDeque::new(),
            up: VecDeque::new(),
            got: Vec::new(),
        }
    }

    fn step(&mut self, kind: u8) -> bool {
        match kind {
            0 => self.log.next().map(|message| self.down.push_back(message)).is_some(),
            1 => match self.down.pop_front() {
                Some(message) => {
                    self.up.extend(self.judge.apply(message).unwrap());
                    true
                }
                None => false,
            },
            _ => match self.up.pop_front() {
                Some(LaneUp::Verdict(verdict)) => {
                    self.log.answered(&verdict.window, verdict.revision);
                    self.got.extend(verdicts([LaneUp::Verdict(verdict)]));
                    true
                }
                Some(LaneUp::Snapshot(state)) => {
                    self.log.snapshot(state);
                    true
                }
                Some(_) => true,
                None => false,
            },
        }
    }

    fn lose(&mut self, in_order: bool) {
        if in_order {
            // A judge that stops says its state last, and all of it arrives.
            self.up.extend(self.judge.hand_over());
            while self.step(2) {}
        }
        self.judge = judge(self.every_bytes);
        self.up.clear();
        self.down = self.log.replay().into();
    }
}

/// Loses the judge at will, and compares with one that was never lost.
fn check<const FEED: u8>(steps: &[u8], every_bytes: u64) -> Result<(), TestCaseError> {
    let script = script(12);
    let expected = straight::<FEED>(&script);
    let mut wire = Wire::<FEED>::new(every_bytes);
    let mut messages = script.into_iter();
    for step in steps {
        match step {
            0 => wire.lose(false),
            1 => wire.lose(true),
            2..14 => messages.next().into_iter().for_each(|message| wire.log.push(message)),
            other => {
                wire.step(other % 3);
            }
        }
    }
    messages.for_each(|message| wire.log.push(message));
    while (0..3).any(|kind| wire.step(kind)) {}
    prop_assert_eq!(wire.got, expected);
    let (messages, bytes, frames) = wire.log.unsent();
    prop_assert_eq!((messages, bytes, frames), (0, 0, 0));
    if every_bytes == 1 {
        prop_assert!(wire.log.kept() <= 4, "what a state holds is not kept: {}", wire.log.kept());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_lost_judge_is_not_noticed(
        steps in prop::collection::vec(0_u8..40, 0..400),
        every_bytes in prop::sample::select(vec![1_u64, 3_000, 1_000_000]),
        feed in NOTHING..=SETTLED,
    ) {
        match feed {
            NOTHING => check::<NOTHING>(&steps, every_bytes)?,
            ON_TIME => check::<ON_TIME>(&steps, every_bytes)?,
            _ => check::<SETTLED>(&steps, every_bytes)?,
        }
    }
}

/// Kills the judge after every message, with what it said heard or not, in order or not.
fn kill_everywhere<const FEED: u8>() {
    let script = script(12);
    let expected = straight::<FEED>(&script);
    for every_bytes in [1, 3_000, 1_000_000] {
        for point in 0..=script.len() {
            for (heard, in_order) in [(false, false), (true, false), (true, true)] {
                let mut wire = Wire::<FEED>::new(every_bytes);
                script.iter().for_each(|message| wire.log.push(message.clone()));
                for _ in 0..point {
                    wire.step(0);
                    wire.step(1);
                    while heard && wire.step(2) {}
                }
                wire.lose(in_order);
                while (0..3).any(|kind| wire.step(kind)) {}
                assert_eq!(wire.got, expected, "killed after message {point}, heard {heard}");
            }
        }
    }
}

#[test]
fn carry_outlives_a_kill_at_every_point() {
    kill_everywhere::<ON_TIME>();
    kill_everywhere::<SETTLED>();
}

#[test]
fn a_state_that_cannot_be_is_not_believed() {
    let mut log = ReplayLog::new(true);
    let script = script(6);
    script.iter().for_each(|message| log.push(message.clone()));
    for _ in 0..6 {
        log.next();
    }
    let kept = log.kept();
    let state = |through_seq, pane| State {
        through_seq,
        panes: vec![(pane, "".into(), Bytes::from_static(b"x"))],
        ..State::default()
    };
    log.snapshot(state(1 << 60, 1));
    assert_eq!((log.kept(), log.state_bytes()), (kept, 0), "nobody knows what was not given");
    log.snapshot(state(1, 1_000));
    assert!(log.kept() < kept);
    assert_eq!(log.state_bytes(), 0, "a pane that was never opened is none");
    log.snapshot(state(0, 1));
    assert_eq!(log.state_bytes(), 0, "less than is known");
}

#[test]
fn a_restore_has_the_bounds_of_a_lane() {
    let restore = |state: State| {
        let mut judge = judge::<ON_TIME>(0);
        judge.apply(LaneDown::Restore(state)).map(|_| ()).map_err(|problem| problem.reason().to_owned())
    };
    assert_eq!(restore(State { through_seq: 3, ..State::default() }), Err("BAD_STATE".into()), "no carry");
    let carry = Bytes::from(vec![0; (64 << 20) + 1]);
    assert_eq!(restore(State { carry, ..State::default() }), Err("TOO_LARGE".into()));
    let carry = Bytes::from_static(b"\x01\xff\xff\xff");
    assert_eq!(restore(State { through_seq: 3, carry, ..State::default() }), Err("BAD_STATE".into()));
    let mut judge = judge::<NOTHING>(0);
    judge.apply(LaneDown::Restore(State { through_seq: 3, more: true, ..State::default() })).unwrap();
    let other = State { through_seq: 4, ..State::default() };
    assert_eq!(judge.apply(LaneDown::Restore(other)).unwrap_err().reason(), "BAD_STATE", "pieces of two");
    let mut judge = toy::judge::<NOTHING>(0);
    judge.apply(LaneDown::Restore(State { through_seq: 3, more: true, ..State::default() })).unwrap();
    let rows = script(1).remove(1);
    assert_eq!(judge.apply(rows).unwrap_err().reason(), "LANE_PROTOCOL");
}

#[test]
fn each_feed_gives_what_it_says() {
    let script = script(12);
    let last = |said: Vec<toy::Said>| said.last().map(|(.., reason)| reason.clone()).unwrap_or_default();
    let (on_time, settled) = (last(straight::<ON_TIME>(&script)), last(straight::<SETTLED>(&script)));
    for number in 1..=12 {
        let key = if number % 2 == 0 { "k" } else { "" };
        let named = format!("\"{key}{number}=");
        assert_eq!(on_time.matches(&named).count(), 1, "pane {number} once: {on_time}");
        assert!(settled.matches(&named).count() <= 1, "pane {number} at most once: {settled}");
    }
    assert!(!on_time.contains("=20"), "no late pane is given: {on_time}");
    assert!(
        on_time.contains("fed_panes: 12, late_panes: 2"),
        "two late panes are released by then: {on_time}"
    );
    assert!(settled.contains("late_panes: 0"), "{settled}");
    assert!((3..10).contains(&settled.matches('=').count()), "those that bear labels: {settled}");
    assert_eq!(on_time.matches("\"t").count(), 12, "every tick: {on_time}");
}

#[test]
fn a_judge_that_was_given_up_sees_new_panes_only() {
    let mut log = ReplayLog::new(true);
    let script = script(6);
    let opens_fourth = |message: &LaneDown| matches!(message, LaneDown::OpenPane { pane: 4, .. });
    let (before, after) = script.split_at(script.iter().position(opens_fourth).unwrap() + 1);
    before.iter().for_each(|message| log.push(message.clone()));
    assert!(log.has_unsent());
    log.abandon();
    assert!(!log.has_unsent() && log.is_absent());
    assert!(log.revive());
    let mut fresh = judge::<NOTHING>(0);
    let mut got = Vec::new();
    for message in after {
        log.push(message.clone());
        while let Some(message) = log.next() {
            // Rows of lost panes would end the lane.
            got.extend(fresh.apply(message).unwrap());
        }
    }
    let of = |status| {
        got.iter().filter(|up| matches!(up, LaneUp::Verdict(verdict) if verdict.status == status)).count()
    };
    assert_eq!(of(VerdictStatus::Unavailable), 3, "all that is said of the two windows over lost panes");
    assert_eq!(of(VerdictStatus::Ok), 1, "the one after them is judged");
}

#[test]
fn a_lane_that_cannot_be_lost_keeps_nothing() {
    let mut log = ReplayLog::new(false);
    script(5).into_iter().for_each(|message| log.push(message));
    while log.next().is_some() {}
    assert_eq!((log.kept(), log.unsent()), (0, (0, 0, 0)));
}
