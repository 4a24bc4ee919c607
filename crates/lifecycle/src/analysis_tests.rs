//! Whether healthy candidates are left alone and bad ones are found, by simulation beside a fixed threshold: the table in
//! docs/deployments.md.

use acgs_statistics::draws::Draws;

use super::{
    beside::{Beside, Drawn, Held},
    *,
};

/// What one simulated deployment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    TakenBack,
    Promoted,
    Undecided,
}

const WEIGHTS: [f64; 5] = [0.10, 0.20, 0.30, 0.40, 0.50];
const MINUTES: usize = 60;

/// Calls where so many are expected.
fn calls(draws: &mut Draws, expected: f64) -> u64 {
    // Binomial over tenths of the expectation is as good as Poisson here.
    let tries = (expected * 10.0).ceil();
    draws.hits(tries as u64, expected / tries)
}

fn held(tolerated: f64) -> Held {
    Held { tolerated, alone_max: 0.5, unknown: true }
}

/// A frequency that is cut every so many seconds.
#[derive(Default)]
struct Cut {
    beside: Beside,
    drawn: Drawn,
}

impl Cut {
    fn cut(&mut self, tolerated: f64) -> BesideFound {
        if self.beside.block(&self.drawn, held(tolerated), (0, 0)).paired {
            self.drawn = Drawn::default();
        }
        self.beside.found()
    }
}

/// Counts with what blocks find in them, second by second.
#[derive(Default)]
struct Watched {
    counts: Counts,
    second: u64,
    errors: Cut,
    p95: Cut,
    p99: Cut,
}

impl Watched {
    fn second(&mut self, candidate: Arm, baseline: Arm) {
        let add = |into: &mut Arm, arm: &Arm| {
            into.calls += arm.calls;
            into.errors += arm.errors;
            into.timed += arm.timed;
            into.over_p95 += arm.over_p95;
            into.over_p99 += arm.over_p99;
        };
        add(&mut self.counts.candidate, &candidate);
        add(&mut self.counts.baseline, &baseline);
        let draw = |cut: &mut Cut, pick: fn(&Arm) -> (u64, u64)| {
            let Drawn { candidate: own, baseline: base, .. } = &mut cut.drawn;
            for (into, (hits, draws)) in [(own, pick(&candidate)), (base, pick(&baseline))] {
                *into = (into.0 + hits, into.1 + draws);
            }
        };
        draw(&mut self.errors, |arm| (arm.errors, arm.calls));
        draw(&mut self.p95, |arm| (arm.over_p95, arm.timed));
        draw(&mut self.p99, |arm| (arm.over_p99, arm.timed));
        let analysis = Analysis::default();
        self.second += 1;
        self.counts.blocks.errors = self.errors.cut(analysis.errors.tolerated);
        if self.second.is_multiple_of(10) {
            self.counts.blocks.latency_p95 = self.p95.cut(analysis.tail_p95.tolerated);
            self.counts.blocks.latency_p99 = self.p99.cut(analysis.tail_p99.tolerated);
        }
    }
}

fn arm(calls: u64, errors: u64, over_p95: u64, over_p99: u64) -> Arm {
    Arm { calls, errors, timed: calls, over_p95, over_p99, ..Arm::default() }
}

fn ours(seed: u64, per_second: f64, base_rate: f64, rate: f64) -> Came {
    let analysis = Analysis::default();
    let mut draws = Draws::new(seed);
    let mut watched = Watched::default();
    let mut step = 0;
    for _ in 0..MINUTES {
        for _ in 0..60 {
            let [candidate, baseline] = [rate, base_rate].map(|share| {
                let seen = calls(&mut draws, per_second * WEIGHTS[step]);
                arm(seen, draws.hits(seen, share), draws.hits(seen, 0.05), draws.hits(seen, 0.01))
            });
            watched.second(candidate, baseline);
        }
        let judged = judge(&watched.counts, &analysis);
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
    let mut draws = Draws::new(seed);
    let mut failed = 0;
    for weight in WEIGHTS {
        let seen = calls(&mut draws, per_second * 60.0 * weight);
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

/// The same seconds, again and again.
fn steady(seconds: u64, candidate: Arm, baseline: Arm) -> Judgement {
    let mut watched = Watched::default();
    for _ in 0..seconds {
        watched.second(candidate, baseline);
    }
    judge(&watched.counts, &Analysis::default())
}

#[test]
fn slow_tails_are_found_though_medians_are_the_same() {
    let judged = steady(200, arm(100, 0, 5, 8), arm(100, 0, 5, 1));
    assert_eq!(judged.bad.as_deref(), Some("latency_p99"));
    let judged = steady(200, arm(100, 0, 5, 1), arm(100, 0, 5, 1));
    assert!(judged.bad.is_none() && judged.good, "{judged:?}");
}

#[test]
fn one_burst_is_one_draw() {
    let mut watched = Watched::default();
    for second in 0..300 {
        // Two seconds of one's own in which half of it fails and is slow.
        let burst = (100..102).contains(&second);
        let own = if burst { arm(500, 250, 250, 250) } else { arm(500, 2, 25, 5) };
        watched.second(own, arm(500, 2, 25, 5));
    }
    let judged = judge(&watched.counts, &Analysis::default());
    assert!(judged.bad.is_none(), "{judged:?}");
}

#[test]
fn nothing_seen_is_never_good_and_a_common_outage_is_nobodys_fault() {
    assert!(!judge(&Counts::default(), &Analysis::default()).good);
    let outage = arm(50, 15, 2, 0);
    assert!(steady(100, outage, outage).bad.is_none());
}

#[test]
fn alone_it_is_held_against_what_the_baseline_was() {
    let analysis = Analysis::default();
    let found = |share: f64| {
        let mut beside = Beside::default();
        for _ in 0..100 {
            let alone = ((share * 50.0) as u64, 50);
            let drawn = Drawn { alone, ..Drawn::default() };
            beside.block(&drawn, held(analysis.errors.tolerated), (1_500, 5_000));
        }
        let mut counts = Counts { baseline: arm(5_000, 1_500, 250, 50), ..Counts::default() };
        counts.alone = arm(5_000, (share * 5_000.0) as u64, 250, 50);
        counts.blocks.errors = beside.found();
        judge(&counts, &analysis).bad
    };
    assert_eq!(found(0.8).as_deref(), Some("errors"));
    assert_eq!(found(0.3), None);
}

#[test]
fn a_baseline_that_fails_makes_nobody_slow_and_is_nothing_to_return_to() {
    // Both are as slow as each other, beyond what is tolerated; the baseline answers a fifth of its calls.
    let baseline = Arm { timed: 2, over_p95: 0, over_p99: 0, ..arm(10, 8, 0, 0) };
    let slow = Arm { over_p95: 1, over_p99: 1, ..baseline };
    let judged = steady(200, arm(10, 0, 5, 5), slow);
    assert!(judged.bad.is_none(), "{judged:?}");
    // One that is dead says nothing of slowness at all.
    let dead = Arm { timed: 0, ..arm(10, 10, 0, 0) };
    let mut watched = Watched::default();
    for _ in 0..200 {
        watched.second(arm(10, 0, 5, 5), dead);
    }
    let analysis = Analysis::default();
    assert!(judge(&watched.counts, &analysis).bad.is_none());
    assert!(!judge(&watched.counts, &analysis).baseline_fails, "only when it fails now");
    watched.counts.blocks.baseline_failing = 100_f64.ln();
    assert!(judge(&watched.counts, &analysis).baseline_fails);
    // One that is fast does.
    assert!(steady(200, arm(10, 0, 5, 5), arm(10, 8, 0, 0)).bad.is_some());
}
