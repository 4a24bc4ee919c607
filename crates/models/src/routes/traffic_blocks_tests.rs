//! Blocks on traffic of one second after the other.

use super::*;

const SECOND_US: u64 = 1_000_000;

fn ends(calls: u64, errors: u64, cancelled: u64) -> Ends {
    Ends { calls, errors, cancelled }
}

fn of(fast: u64, slow: u64, given_up: u64) -> Durations {
    let mut durations = Durations::default();
    durations.answered[bucket_of(1_000)] = fast;
    durations.answered[bucket_of(9_000)] = slow;
    durations.given_up[bucket_of(100_000)] = given_up;
    durations
}

#[test]
fn a_block_without_the_baseline_is_no_draw() {
    let analysis = Analysis::default();
    let mut blocks = TrafficBlocks::new(&Counts::default(), None);
    for second in 0..20 {
        let now = Sides { candidate: ends(second, second, 0), ..Sides::default() };
        blocks.cut_ends(second * SECOND_US, &now, &analysis);
    }
    let found = blocks.found();
    assert_eq!((found.errors.paired.blocks, found.cancelled.paired.blocks), (0, 0));
    assert!(found.baseline_failing <= 0.0);
}

#[test]
fn a_candidate_whose_callers_give_up_is_worse_in_every_block() {
    let analysis = Analysis::default();
    let mut blocks = TrafficBlocks::new(&Counts::default(), None);
    for second in 0..=20 {
        let (candidate, baseline) = (ends(10 * second, 0, 10 * second), ends(10 * second, 0, 0));
        let now = Sides { candidate, baseline, ..Sides::default() };
        blocks.cut_ends(second * SECOND_US, &now, &analysis);
    }
    let found = blocks.found();
    assert_eq!((found.cancelled.paired.blocks, found.cancelled.paired.worse), (20, 20));
    assert!(found.cancelled.paired.evidence().worse > 1_000_f64.ln());
    assert_eq!(found.errors.paired.blocks, 0, "of what was given up nobody knows whether it failed");
}

#[test]
fn a_baseline_that_fails_is_found_within_blocks() {
    let analysis = Analysis::default();
    let mut blocks = TrafficBlocks::new(&Counts::default(), None);
    let mut at = |second: u64, failed: u64| {
        let now = Sides {
            candidate: ends(10 * second, 0, 0),
            baseline: ends(10 * second, failed, 0),
            ..Sides::default()
        };
        blocks.cut_ends(second * SECOND_US, &now, &analysis);
        blocks.found().baseline_failing
    };
    for second in 0..100 {
        assert!(at(second, 0) <= 0.0);
    }
    assert!((100..104).map(|second| at(second, 10 * (second - 99))).last().unwrap() >= 100_f64.ln());
}

#[test]
fn what_is_given_up_late_is_slow_and_what_is_given_up_soon_says_nothing() {
    let tails = Tails { p95_us: 50_000, p99_us: 500_000, calls: 1_000 };
    let timed = of(90, 10, 7).since(&of(0, 0, 0), tails);
    assert_eq!((timed.p95(), timed.p99()), ((7, 107), (0, 100)));
    let tails = Tails { p95_us: 500_000, p99_us: 900_000, calls: 1_000 };
    let timed = of(90, 10, 7).since(&of(0, 0, 0), tails);
    assert_eq!((timed.p95(), timed.p99()), ((0, 100), (0, 100)));
}

#[test]
fn percentiles_go_along_with_the_baseline() {
    let analysis = Analysis::default();
    let mut blocks = TrafficBlocks::new(&Counts::default(), None);
    let mut now = Sides::<Durations>::default();
    blocks.cut_durations(0, now.clone(), &of(199, 0, 0).answered, &analysis);
    assert_eq!(blocks.tails(), None, "too few");
    blocks.cut_durations(0, now.clone(), &of(200, 0, 0).answered, &analysis);
    assert!(blocks.tails().unwrap().p95_us < 2_000);
    // The neighbour came: both are slow, and from the next block on that is known.
    (now.candidate, now.baseline) = (of(0, 100, 0), of(0, 100, 0));
    blocks.cut_durations(10 * SECOND_US, now, &of(200, 100, 0).answered, &analysis);
    assert!(blocks.tails().unwrap().p95_us > 9_000);
    let found = blocks.found().latency_p95.paired;
    assert_eq!((found.blocks, found.worse, found.better), (1, 0, 0));
}

#[test]
fn after_a_restart_blocks_go_on_from_what_was_found() {
    let analysis = Analysis::default();
    let found = GateBlocks { baseline_failing: 1.5, ..GateBlocks::default() };
    let mut base = Counts { blocks: found, ..Counts::default() };
    base.blocks.errors.paired.worse = 7;
    let mut blocks = TrafficBlocks::new(&base, None);
    let now = Sides { candidate: ends(50, 40, 0), baseline: ends(50, 0, 0), ..Sides::default() };
    blocks.cut_ends(0, &now, &analysis);
    assert_eq!(blocks.found().errors.paired.worse, 7, "what came before this process is in what was found");
    assert_eq!(blocks.found().baseline_failing, 1.5);
}
