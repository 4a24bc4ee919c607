//! Blocks against counts, and under noise that hangs together.

use super::*;
use crate::draws::Draws;

fn push(blocks: &mut Blocks, candidate: f64, baseline: f64) {
    blocks.push((candidate, baseline), (candidate, baseline), 0.10);
}

#[test]
fn a_call_a_block_is_a_count() {
    let mut blocks = Blocks::default();
    let hits = [1, 0, 0, 1, 1, 0, 0, 0, 0, 1];
    for hit in hits {
        blocks.push((f64::from(hit), 0.0), (f64::from(hit), 0.0), 0.1);
    }
    let found = blocks.found();
    assert!((found.ln_above - ln_above(4, 6, 0.1)).abs() < 1e-9);
    assert_eq!((found.worse, found.better, found.blocks), (4, 0, 10));
}

#[test]
fn what_hangs_together_is_no_evidence() {
    // Shares of both sides wander slowly, each for itself, about the same mean.
    let crossed = (0..1_000_u64).filter(|seed| {
        let (mut draws, mut blocks) = (Draws::new(seed * 6_700_417 + 1), Blocks::default());
        let mut state = [0.0_f64; 2];
        (0..180).any(|_| {
            let shares = state.each_mut().map(|state| {
                *state = 0.7 * *state + 0.1 * (draws.unit() - 0.5);
                (0.1 + *state).clamp(0.0, 1.0)
            });
            push(&mut blocks, shares[0], shares[1]);
            blocks.found().evidence().worse >= 100_f64.ln()
        })
    });
    let crossed = crossed.count();
    assert!(crossed <= 20, "{crossed} of 1,000 healthy ones, 10 are allowed");
}

#[test]
fn what_is_worse_all_the_time_is_found_soon() {
    let mut blocks = Blocks::default();
    let mut draws = Draws::new(7);
    let found = (1..100).find(|_| {
        let shares = (0.3 + 0.1 * draws.unit(), 0.05 + 0.02 * draws.unit());
        push(&mut blocks, shares.0, shares.1);
        blocks.found().evidence().worse >= 1_000_f64.ln()
    });
    assert!(found.is_some_and(|blocks| blocks <= 25), "{found:?}");
}

#[test]
fn a_restart_says_no_more_than_before() {
    let mut blocks = Blocks::default();
    (0..20).for_each(|block| push(&mut blocks, f64::from(block % 3) / 5.0, 0.1));
    let before = blocks.found();
    let mut after = Blocks::go_on(before);
    assert_eq!(after.found(), before);
    push(&mut after, 0.5, 0.1);
    push(&mut blocks, 0.5, 0.1);
    assert!(after.found().ln_above <= blocks.found().ln_above + 1e-9);
}

#[test]
fn what_turns_bad_after_an_hour_is_found_soon_and_one_outage_of_the_baseline_shields_nobody() {
    for began_at in [600, 615, 629, 3_600] {
        for (candidate, baseline) in [(1.0, 0.0), (0.0, 1.0)] {
            let (mut blocks, mut draws) = (Blocks::default(), Draws::new(began_at));
            let quiet = |draws: &mut Draws| 0.002 * draws.unit();
            (0..began_at).for_each(|_| push(&mut blocks, quiet(&mut draws), quiet(&mut draws)));
            assert!(blocks.found().evidence().worse < 3.0);
            let found = (1..200).find(|_| {
                push(&mut blocks, candidate, baseline);
                let evidence = blocks.found().evidence();
                evidence.worse.max(evidence.better) >= (100.0_f64 / 0.35).ln()
            });
            assert!(found.is_some_and(|blocks| blocks <= 40), "{found:?} blocks after {began_at}");
        }
    }
}
