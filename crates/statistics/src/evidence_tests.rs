//! Promises of evidence: its mean is at most 1 where there is nothing to find, under every stopping rule that is tried.

use proptest::prelude::*;

use super::*;
use crate::draws::Draws;

/// How often evidence of 100 is ever reached in 4,000 looks.
fn crossed(truth: f64, ln_evidence: impl Fn(u64, u64) -> f64, runs: u64) -> f64 {
    let mut crossed = 0;
    for run in 0..runs {
        let mut draws = Draws::new(run * 1_000_003);
        let (mut hits, mut misses) = (0, 0);
        for _ in 0..4_000 {
            if draws.unit() < truth {
                hits += 1
            } else {
                misses += 1
            }
            if ln_evidence(hits, misses) >= 100_f64.ln() {
                crossed += 1;
                break;
            }
        }
    }
    crossed as f64 / runs as f64
}

#[test]
fn looking_after_every_draw_costs_nothing() {
    // Of 1,000 runs at most 1 % in the mean: 2 % is three standard errors above.
    for null in [0.01, 0.1, 0.5] {
        assert!(crossed(null, |hits, misses| ln_above(hits, misses, null), 1_000) < 0.02, "above {null}");
        assert!(crossed(null, |hits, misses| ln_below(hits, misses, null), 1_000) < 0.02, "below {null}");
        let better = null * 0.5;
        assert!(crossed(better, |hits, misses| ln_above(hits, misses, null), 200) < 0.005);
    }
}

#[test]
fn what_is_there_is_found() {
    assert!(crossed(0.03, |hits, misses| ln_above(hits, misses, 0.01), 200) > 0.99);
    assert!(crossed(0.005, |hits, misses| ln_below(hits, misses, 0.02), 200) > 0.99);
    assert!(crossed(0.7, |hits, misses| ln_above(hits, misses, 0.5), 200) > 0.99);
    // Without a single failure, so many have to be seen before 2 % is out of the question with evidence of 20.
    let needed = (0..).find(|seen| ln_below(0, *seen, 0.02) >= 20_f64.ln()).unwrap();
    assert!((150..300).contains(&needed), "{needed}");
}

#[test]
fn bets_on_means_keep_their_promise_and_find_what_is_there() {
    let run = |shift: f64, seed: u64| {
        let mut draws = Draws::new(seed);
        let mut bets = MeanBets::default();
        let (mut above, mut below) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        for _ in 0..4_000 {
            let difference = (draws.unit() - draws.unit()) * 0.5 + shift;
            bets.push(difference, 0.0, 0.05);
            above = above.max(bets.ln_above());
            below = below.max(bets.ln_below());
        }
        (above >= 100_f64.ln(), below >= 100_f64.ln())
    };
    let share = |shift: f64, pick: fn((bool, bool)) -> bool| {
        (0..500).filter(|seed| pick(run(shift, seed * 7_919))).count() as f64 / 500.0
    };
    assert!(share(0.0, |found| found.0) < 0.03, "nothing is there");
    assert!(share(0.05, |found| found.1) < 0.03, "it is as bad as may be");
    assert!(share(0.05, |found| found.0) > 0.95);
    assert!(share(0.0, |found| found.1) > 0.95);
}

#[test]
fn bounds_of_frequencies_are_exact() {
    // Of 0 in n the bound is 1 - (1 - confidence)^(1/n).
    assert!((frequency_upper(0, 100, 0.95) - (1.0 - 0.05_f64.powf(0.01))).abs() < 1e-6);
    assert!((frequency_upper(0, 0, 0.95) - 1.0).abs() < 1e-12);
    // R: binom.test(5, 100, alternative = "less")$conf.int[2]
    assert!((frequency_upper(5, 100, 0.95) - 0.102_253_4).abs() < 1e-4);
}

proptest! {
    #[test]
    fn evidence_is_finite_and_of_nothing_is_one(hits in 0_u64..1_000_000, misses in 0_u64..1_000_000, null in 0.001_f64..0.999) {
        prop_assert!(ln_above(hits, misses, null).is_finite());
        prop_assert!(ln_below(hits, misses, null).is_finite());
        prop_assert!(ln_above(0, 0, null).abs() < 1e-12);
        prop_assert!(ln_above(hits + 1, misses, null) > ln_above(hits, misses, null));
        prop_assert!(ln_below(hits, misses + 1, null) > ln_below(hits, misses, null));
    }
}
