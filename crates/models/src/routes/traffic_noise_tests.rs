//! Candidates whose calls hang together (bursts, pauses, neighbours, cold caches) by simulation: the second table in docs/deployments.md.

use acgs_lifecycle::analysis::judge;
use acgs_statistics::draws::Draws;

use super::*;

/// From the normal law.
fn normal(draws: &mut Draws) -> f64 {
    let radius = (-2.0 * draws.unit().max(1e-300).ln()).sqrt();
    radius * (std::f64::consts::TAU * draws.unit()).cos()
}

/// Time until something that comes every so many seconds.
fn gap(draws: &mut Draws, mean_s: f64) -> f64 {
    -mean_s * (1.0 - draws.unit()).ln()
}

/// What makes calls of one server hang together.
#[derive(Clone, Copy, Debug)]
enum Noise {
    /// Nothing.
    Independent,
    /// Load that is remembered for so many seconds: half of the variance.
    Load(f64),
    /// A neighbour that is there for so many seconds, and away for so many: three times slower.
    Neighbour(f64, f64),
    /// Pauses of 0.2 to 1 s, every five seconds.
    Pauses,
    /// The candidate's caches are cold for so many seconds: five times slower.
    Cold(f64),
    /// Everything fails for so many seconds, every so many.
    Bursts(f64, f64),
    /// The candidate is five times slower from this second on.
    Turns(f64),
}

/// One server, in steps of a tenth of a second.
struct Server {
    noise: Noise,
    factor: f64,
    is_candidate: bool,
    load: f64,
    on: bool,
    change_s: f64,
}

const STEP_S: f64 = 0.1;
const MEDIAN_US: f64 = 20_000.0;

impl Server {
    fn new(noise: Noise, factor: f64, is_candidate: bool, draws: &mut Draws) -> Self {
        Self { noise, factor, is_candidate, load: normal(draws), on: false, change_s: 0.0 }
    }

    fn step(&mut self, now_s: f64, draws: &mut Draws) {
        match self.noise {
            Noise::Load(tau_s) => {
                let kept = (-STEP_S / tau_s).exp();
                self.load = kept * self.load + (1.0 - kept * kept).sqrt() * normal(draws);
            }
            Noise::Neighbour(on_s, off_s) | Noise::Bursts(on_s, off_s) if now_s >= self.change_s => {
                self.on = !self.on && now_s > 0.0;
                self.change_s = now_s + gap(draws, if self.on { on_s } else { off_s });
            }
            Noise::Pauses if now_s >= self.change_s => {
                self.on = !self.on && now_s > 0.0;
                self.change_s = now_s + if self.on { 0.2 + 0.8 * draws.unit() } else { gap(draws, 5.0) };
            }
            _ => {}
        }
    }

    fn fails(&self, draws: &mut Draws) -> bool {
        match self.noise {
            Noise::Bursts(..) if self.on => true,
            _ => draws.unit() < 0.002,
        }
    }

    fn took_us(&self, now_s: f64, draws: &mut Draws) -> u64 {
        let own = normal(draws);
        let spread = match self.noise {
            Noise::Load(_) => 0.5 * (0.5_f64.sqrt() * self.load + 0.5_f64.sqrt() * own),
            _ => 0.5 * own,
        };
        let mut took_us = MEDIAN_US * self.factor * spread.exp();
        match self.noise {
            Noise::Neighbour(..) if self.on => took_us *= 3.0,
            Noise::Pauses if self.on => took_us += (self.change_s - now_s).max(0.0) * 1e6,
            Noise::Turns(after_s) if self.is_candidate && now_s >= after_s => took_us *= 5.0,
            Noise::Cold(cold_s) if self.is_candidate && now_s < cold_s => took_us *= 5.0,
            _ => {}
        }
        took_us as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    TakenBack,
    Promoted,
    Undecided,
}

const WEIGHTS: [f64; 5] = [0.1, 0.2, 0.3, 0.4, 0.5];
const STEP_MIN_S: u64 = 120;
const LIMIT_S: u64 = 1_800;

/// Looked at every five seconds; with when it was decided.
fn run(seed: u64, per_second: f64, noise: Noise, factor: f64) -> (Came, u64) {
    let analysis = Analysis::default();
    let mut draws = Draws::new(seed);
    let mut servers = [(factor, true), (1.0, false)]
        .map(|(factor, is_candidate)| Server::new(noise, factor, is_candidate, &mut draws));
    let mut blocks = TrafficBlocks::new(&Counts::default(), None);
    let mut ends = Sides::<Ends>::default();
    let mut durations = Sides::<Durations>::default();
    // What the baseline answers beside the comparison.
    let mut other = vec![0; BUCKETS];
    let (mut at, mut since_s) = (0, 0);
    for second in 0..LIMIT_S {
        for step in 0..10 {
            let now_s = second as f64 + f64::from(step) * STEP_S;
            let sides = [
                (&mut ends.candidate, &mut durations.candidate),
                (&mut ends.baseline, &mut durations.baseline),
            ];
            for (server, (ends, durations)) in servers.iter_mut().zip(sides) {
                server.step(now_s, &mut draws);
                let expected = per_second * WEIGHTS[at] * STEP_S;
                let tries = (expected * 10.0).ceil();
                let calls = draws.hits(tries as u64, expected / tries);
                for _ in 0..calls {
                    ends.calls += 1;
                    if server.fails(&mut draws) {
                        ends.errors += 1;
                    } else {
                        durations.answered[bucket_of(server.took_us(now_s, &mut draws))] += 1;
                    }
                }
            }
            let rest = per_second * (1.0 - 2.0 * WEIGHTS[at]) * STEP_S;
            if draws.unit() < rest.min(1.0) && !matches!(noise, Noise::Bursts(..)) {
                other[bucket_of(servers[1].took_us(now_s, &mut draws))] += 1;
            }
        }
        let now_us = (second + 1) * 1_000_000;
        blocks.cut_ends(now_us, &ends, &analysis);
        if blocks.wants_durations(now_us, &analysis) {
            let all: Vec<u64> =
                other.iter().zip(&durations.baseline.answered).map(|(one, more)| one + more).collect();
            blocks.cut_durations(now_us, durations.clone(), &all, &analysis);
        }
        if second % 5 == 4 {
            let arm = |ends: &Ends, timed: &Arm| Arm { calls: ends.calls, errors: ends.errors, ..*timed };
            let counts = Counts {
                candidate: arm(&ends.candidate, &blocks.timed().candidate),
                baseline: arm(&ends.baseline, &blocks.timed().baseline),
                blocks: blocks.found(),
                ..Counts::default()
            };
            let judged = judge(&counts, &analysis);
            if judged.bad.is_some() {
                return (Came::TakenBack, second + 1);
            }
            if judged.good && second - since_s >= STEP_MIN_S {
                (at, since_s) = (at + 1, second);
                if at == WEIGHTS.len() {
                    return (Came::Promoted, second + 1);
                }
            }
        }
    }
    (Came::Undecided, LIMIT_S)
}

/// Shares of taken back, promoted and undecided, and the median time to being taken back, in seconds.
fn came(runs: u64, per_second: f64, noise: Noise, factor: f64) -> ([f64; 3], Option<u64>) {
    let all: Vec<_> = (0..runs).map(|seed| run(seed * 6_700_417 + 1, per_second, noise, factor)).collect();
    let share = |of: Came| all.iter().filter(|(came, _)| *came == of).count() as f64 / runs as f64;
    let mut times: Vec<u64> =
        all.iter().filter(|(came, _)| *came == Came::TakenBack).map(|(_, after_s)| *after_s).collect();
    times.sort_unstable();
    ([Came::TakenBack, Came::Promoted, Came::Undecided].map(share), times.get(times.len() / 2).copied())
}

#[test]
fn noise_that_hangs_together_takes_nobody_back() {
    let runs: u64 = std::env::var("ACGS_SIMULATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let mut table = Vec::new();
    let mut row = |name: &str, noise: Noise, per_second: f64, factor: f64| {
        let ([back, on, undecided], median_s) = came(runs, per_second, noise, factor);
        let median = median_s.map(|after_s| format!("{after_s} s")).unwrap_or_default();
        let figures = [back, on, undecided].map(|share| format!("{:.1}", share * 100.0)).join(" / ");
        table.push(format!("| {name} | {per_second} | {factor} | {figures} | {median} |"));
        (back, on)
    };
    let slack = |bound: f64| bound + 3.0 * (bound * (1.0 - bound) / runs as f64).sqrt();
    // What is remembered for six blocks and more, or lasts for thirteen, is beyond what blocks promise.
    let healthy = [
        ("nothing", Noise::Independent, 0.01),
        ("load, remembered for 5 s", Noise::Load(5.0), 0.01),
        ("load, 20 s", Noise::Load(20.0), 0.01),
        ("load, 60 s", Noise::Load(60.0), 0.03),
        ("a neighbour, 10 s of 70 s", Noise::Neighbour(10.0, 60.0), 0.01),
        ("a neighbour, 30 s of 210 s", Noise::Neighbour(30.0, 180.0), 0.01),
        ("pauses every 5 s", Noise::Pauses, 0.01),
        ("a cold start of 40 s", Noise::Cold(40.0), 0.01),
        ("2 s of failure every 5 min", Noise::Bursts(2.0, 300.0), 0.01),
        ("10 s of failure every 20 min", Noise::Bursts(10.0, 1_200.0), 0.03),
    ];
    for (name, noise, bound) in healthy {
        let (back, _) = row(name, noise, 20.0, 1.0);
        assert!(back <= slack(bound), "{back} of the healthy are taken back by {name}");
    }
    for (name, noise, factor, least) in [
        ("nothing", Noise::Independent, 2.0, 0.95),
        ("load, remembered for 5 s", Noise::Load(5.0), 2.0, 0.95),
        ("a neighbour, 10 s of 70 s", Noise::Neighbour(10.0, 60.0), 2.0, 0.5),
        ("nothing", Noise::Independent, 5.0, 0.95),
        ("five times slower from 5 min on", Noise::Turns(300.0), 1.0, 0.9),
    ] {
        let (back, _) = row(name, noise, 20.0, factor);
        assert!(back >= least, "{back} of those {factor} times slower are found by {name}");
    }
    if let Ok(file) = std::env::var("ACGS_SIMULATION_TABLE") {
        std::fs::write(file, table.join("\n") + "\n").unwrap();
    }
}
