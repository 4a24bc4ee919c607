//! Whether healthy candidates are left alone and bad ones are found, by simulation beside a fixed threshold: the table in
//! docs/deployments.md.

use super::*;

/// SplitMix64.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many of so many: by inversion for few, by sums for the rest.
    fn hits(&mut self, draws: u64, share: f64) -> u64 {
        (0..draws).filter(|_| self.next() < share).count() as u64
    }
}

/// What one simulated deployment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    TakenBack,
    Promoted,
    Undecided,
}

const WEIGHTS: [f64; 5] = [0.10, 0.20, 0.30, 0.40, 0.50];
const MINUTES: usize = 60;

/// Calls of a minute at so many a second and this weight.
fn calls(draws: &mut Draws, per_second: f64, weight: f64) -> u64 {
    let expected = per_second * 60.0 * weight;
    // Binomial over tenths of the expectation is as good as Poisson here.
    draws.hits((expected * 10.0).ceil() as u64, 0.1)
}

fn ours(seed: u64, per_second: f64, base_rate: f64, rate: f64) -> Came {
    let analysis = Analysis::default();
    let mut draws = Draws(seed);
    let mut counts = Counts::default();
    let mut step = 0;
    for _ in 0..MINUTES {
        let weight = WEIGHTS[step];
        for (arm, share) in [(&mut counts.candidate, rate), (&mut counts.baseline, base_rate)] {
            let seen = calls(&mut draws, per_second, weight);
            arm.calls += seen;
            arm.errors += draws.hits(seen, share);
            arm.timed += seen;
            arm.over_p95 += draws.hits(seen, 0.05);
            arm.over_p99 += draws.hits(seen, 0.01);
        }
        let judged = judge(&counts, &analysis);
        if judged.bad.is_some() {
            return Came::TakenBack;
        }
        if judged.good {
            step += 1;
            if step == WEIGHTS.len() {
                return Came::Promoted;
            }
        }
    }
    Came::Undecided
}

/// Each minute: a share of errors above 1 % is a failed check, and so is a minute without calls.
fn fixed_threshold(seed: u64, per_second: f64, rate: f64, limit: usize) -> Came {
    let mut draws = Draws(seed);
    let mut failed = 0;
    for weight in WEIGHTS {
        let seen = calls(&mut draws, per_second, weight);
        let errors = draws.hits(seen, rate);
        if seen == 0 || errors as f64 > 0.01 * seen as f64 {
            failed += 1;
        }
        if failed >= limit {
            return Came::TakenBack;
        }
    }
    Came::Promoted
}

fn share(runs: u64, of: Came, run: impl Fn(u64) -> Came) -> f64 {
    (0..runs).filter(|seed| run(seed * 6_700_417) == of).count() as f64 / runs as f64
}

#[test]
fn healthy_candidates_are_left_alone_and_bad_ones_are_found() {
    let runs: u64 = std::env::var("ACGS_SIMULATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let mut table = Vec::new();
    for per_second in [0.5, 2.0, 10.0, 50.0] {
        for (base_rate, rate) in [(0.005, 0.005), (0.005, 0.03), (0.03, 0.03), (0.005, 0.10)] {
            // Fifty a second at full length is much to draw and decided early.
            let runs = if per_second > 20.0 { runs / 4 } else { runs };
            let back = share(runs, Came::TakenBack, |seed| ours(seed, per_second, base_rate, rate));
            let on = share(runs, Came::Promoted, |seed| ours(seed, per_second, base_rate, rate));
            let fixed = |limit| {
                share(runs, Came::TakenBack, |seed| fixed_threshold(seed, per_second, rate, limit)) * 100.0
            };
            table.push(format!(
                "| {per_second} | {:.1} % | {:.1} % | {:.1} / {:.1} / {:.1} | {:.1} | {:.1} |",
                base_rate * 100.0,
                rate * 100.0,
                back * 100.0,
                on * 100.0,
                (1.0 - back - on) * 100.0,
                fixed(1),
                fixed(5),
            ));
            // Three standard errors above the bound of 1 %, and of 5 %.
            let slack = |bound: f64| bound + 3.0 * (bound * (1.0 - bound) / runs as f64).sqrt();
            if rate <= base_rate {
                assert!(back <= slack(0.01), "{back} of the healthy are taken back at {per_second}/s");
            } else {
                assert!(on <= slack(0.05), "{on} of the bad pass at {per_second}/s");
            }
            if rate > base_rate && per_second >= 10.0 {
                assert!(back > 0.95, "{back} of the bad are found at {per_second}/s");
            }
        }
    }
    if let Ok(file) = std::env::var("ACGS_SIMULATION_TABLE") {
        std::fs::write(file, table.join("\n") + "\n").unwrap();
    }
}

#[test]
fn slow_tails_are_found_though_medians_are_the_same() {
    let analysis = Analysis::default();
    let arm = |calls: u64, p95: f64, p99: f64| Arm {
        calls,
        errors: 0,
        timed: calls,
        over_p95: (calls as f64 * p95) as u64,
        over_p99: (calls as f64 * p99) as u64,
    };
    let slow =
        Counts { candidate: arm(2_000, 0.05, 0.08), baseline: arm(2_000, 0.05, 0.01), ..Counts::default() };
    assert_eq!(judge(&slow, &analysis).bad.as_deref(), Some("latency_p99"));
    let same =
        Counts { candidate: arm(2_000, 0.05, 0.01), baseline: arm(2_000, 0.05, 0.01), ..Counts::default() };
    let judged = judge(&same, &analysis);
    assert!(judged.bad.is_none() && judged.good, "{judged:?}");
}

#[test]
fn nothing_seen_is_never_good_and_a_common_outage_is_nobodys_fault() {
    let analysis = Analysis::default();
    assert!(!judge(&Counts::default(), &analysis).good);
    let arm = Arm { calls: 5_000, errors: 1_500, timed: 5_000, over_p95: 250, over_p99: 50 };
    let outage = Counts { candidate: arm, baseline: arm, ..Counts::default() };
    assert!(judge(&outage, &analysis).bad.is_none());
    // Alone it is held against what the baseline was.
    let alone = Counts { alone: Arm { errors: 4_000, ..arm }, baseline: arm, ..Counts::default() };
    assert_eq!(judge(&alone, &analysis).bad.as_deref(), Some("errors"));
}

#[test]
fn a_baseline_that_fails_makes_nobody_slow() {
    let analysis = Analysis::default();
    // Both are as slow as each other, beyond what is tolerated; the baseline answers a fifth of its calls.
    let arm = |errors, timed: u64| Arm {
        calls: 1_000,
        errors,
        timed,
        over_p95: timed * 12 / 100,
        over_p99: timed * 12 / 100,
    };
    let counts = Counts { candidate: arm(0, 1_000), baseline: arm(800, 200), ..Counts::default() };
    let judged = judge(&counts, &analysis);
    assert!(judged.bad.is_none(), "{judged:?}");
    // One that is dead says nothing of slowness at all.
    let dead = Counts { candidate: arm(0, 1_000), baseline: arm(1_000, 0), ..Counts::default() };
    assert!(judge(&dead, &analysis).bad.is_none());
    // One that is fast does.
    let fast = Arm { over_p95: 0, over_p99: 0, ..arm(800, 200) };
    let beside = Counts { candidate: arm(0, 1_000), baseline: fast, ..Counts::default() };
    assert!(judge(&beside, &analysis).bad.is_some());
}
