//! Blocks against counts, and under noise that hangs together.

use super::*;

/// SplitMix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn a_call_a_block_is_a_count() {
    let mut blocks = Blocks::default();
    let hits = [1, 0, 0, 1, 1, 0, 0, 0, 0, 1];
    for hit in hits {
        blocks.push(f64::from(hit), 0.0, 0.1);
    }
    let found = blocks.found();
    assert!((found.ln_above - ln_above(4, 6, 0.1)).abs() < 1e-9);
    assert_eq!((found.worse, found.better, found.blocks), (4, 0, 10));
}

#[test]
fn what_hangs_together_is_no_evidence() {
    // Shares of both sides wander slowly, each for itself, about the same mean.
    let crossed = (0..1_000_u64).filter(|seed| {
        let (mut draws, mut blocks) = (Draws(seed * 6_700_417 + 1), Blocks::default());
        let mut state = [0.0_f64; 2];
        (0..180).any(|_| {
            let shares = state.each_mut().map(|state| {
                *state = 0.7 * *state + 0.1 * (draws.next() - 0.5);
                (0.1 + *state).clamp(0.0, 1.0)
            });
            blocks.push(shares[0], shares[1], 0.10);
            blocks.found().ln_worse() >= 100_f64.ln()
        })
    });
    let crossed = crossed.count();
    assert!(crossed <= 20, "{crossed} of 1,000 healthy ones, 10 are allowed");
}

#[test]
fn what_is_worse_all_the_time_is_found_soon() {
    let mut blocks = Blocks::default();
    let mut draws = Draws(7);
    let found = (1..100).find(|_| {
        blocks.push(0.3 + 0.1 * draws.next(), 0.05 + 0.02 * draws.next(), 0.10);
        blocks.found().ln_worse() >= 1_000_f64.ln()
    });
    assert!(found.is_some_and(|blocks| blocks <= 25), "{found:?}");
}

#[test]
fn a_restart_says_no_more_than_before() {
    let mut blocks = Blocks::default();
    (0..20).for_each(|block| blocks.push(f64::from(block % 3) / 5.0, 0.1, 0.1));
    let before = blocks.found();
    let mut after = Blocks::go_on(before);
    assert_eq!(after.found(), before);
    after.push(0.5, 0.1, 0.1);
    blocks.push(0.5, 0.1, 0.1);
    assert!(after.found().ln_above <= blocks.found().ln_above + 1e-9);
    assert!(after.found().together >= before.together);
}
