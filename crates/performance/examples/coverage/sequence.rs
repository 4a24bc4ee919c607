//! How often the monitor of the loss alarms where nothing changes, and how soon where something does. It must not know how it is computed.

use acgs_performance::{
    Config,
    pane::PerformancePane,
    roles::Roles,
    sequential::{Expected, Monitor},
};
use acgs_reference::{freeze, said::SaidLosses};

use crate::stream::{HOUR_MS, Law, Now, Source, YEAR_MS};

/// Windows before a change, and after it.
const BEFORE: usize = 10;
const AFTER: usize = 40;

struct Case {
    law: Law,
    now: Now,
    reference_rows: usize,
    rows: usize,
    windows: usize,
}

/// What a reference of so many rows leads to expect, and what came of what the model said.
pub(crate) fn reference(source: &mut Source, count: usize, span_ms: i64) -> (Expected, Option<SaidLosses>) {
    let rows = source.rows(count, span_ms, Now::Still);
    let reference = freeze(rows.schema(), std::slice::from_ref(&rows), 0);
    let baseline = reference.baseline.expect("labels");
    let expected = Expected { baseline, phases: reference.loss_phases, declared: None, slices: Vec::new() };
    (expected, reference.said_losses)
}

struct Watched {
    source: Source,
    roles: Roles,
    expected: Expected,
    monitor: Monitor,
}

impl Watched {
    fn new(case: &Case, seed: u64) -> Self {
        let mut source = Source::new(case.law, seed);
        let span_ms = match case.law {
            Law::Yearly => 3 * YEAR_MS,
            Law::Daily => 28 * 24 * HOUR_MS,
            _ => HOUR_MS * case.reference_rows as i64 / case.rows as i64,
        };
        let (expected, _) = reference(&mut source, case.reference_rows, span_ms);
        let roles = Roles::new(source.schema()).in_season(expected.phases.season);
        Self { source, roles, expected, monitor: Monitor::default() }
    }

    /// Alarms so far, after a window of so many rows.
    fn window(&mut self, config: &Config, case: &Case, now: Now) -> u64 {
        let window_ms = case.law.window_ms();
        let budget = config.budget(window_ms as u64).expect("a budget");
        let mut pane = PerformancePane::default();
        pane.push(&self.roles, &self.source.rows(case.rows, window_ms, now));
        self.monitor.wait(&pane);
        self.monitor.look_when_enough(config, &self.expected, None, budget);
        self.monitor.state(config, &self.expected, budget, true).alarms
    }
}

/// Prints both tables; says whether the budget holds.
pub(crate) fn tables(config: &Config, long: bool) -> bool {
    let sound = still(config, long);
    moved(config, long);
    sound
}

fn still(config: &Config, long: bool) -> bool {
    println!("\n## Does the budget of false alarms hold");
    println!(
        "| values | reference rows | rows a window | windows | streams | alarms a stream | bound T/N | |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let streams = if long { 1_000 } else { 40 };
    let laws = [
        Law::Binary(0.005),
        Law::Binary(0.01),
        Law::Binary(0.05),
        Law::Binary(0.5),
        Law::Dependent,
        Law::Classes,
        Law::Numbers,
        Law::Daily,
        Law::Yearly,
    ];
    let mut sound = true;
    for law in laws {
        for (reference_rows, rows, windows) in
            [(500, 50, 50), (500, 1_000, 50), (10_000, 200, 50), (10_000, 1_000, 50), (10_000, 200, 720)]
        {
            let few = reference_rows == 500 && matches!(law, Law::Binary(rate) if rate < 0.05);
            let seasonal = matches!(law, Law::Daily | Law::Yearly) && reference_rows == 500;
            if few || seasonal || (windows == 720 && !long) {
                continue;
            }
            let case = Case { law, now: Now::Still, reference_rows, rows, windows };
            sound &= still_row(config, &case, streams);
        }
    }
    sound
}

fn still_row(config: &Config, case: &Case, streams: u64) -> bool {
    let alarms: u64 = (0..streams)
        .map(|stream| {
            let mut watched = Watched::new(case, 17 + stream * 1_000_003 + case.rows as u64);
            (0..case.windows).map(|_| watched.window(config, case, Now::Still)).last().unwrap_or(0)
        })
        .sum();
    let looks = config.budget(case.law.window_ms() as u64).expect("a budget").looks;
    let (count, bound) = (streams as f64, case.windows as f64 / looks);
    let each = alarms as f64 / count;
    let holds = each <= bound + 3.0 * (bound / count).sqrt();
    println!(
        "| {:?} | {} | {} | {} | {streams} | {each:.3} | {bound:.3} | {} |",
        case.law,
        case.reference_rows,
        case.rows,
        case.windows,
        if holds { "holds" } else { "DOES NOT HOLD" }
    );
    holds
}

fn moved(config: &Config, long: bool) {
    println!("\n## How soon is decay told");
    println!(
        "| values | what | reference rows | rows a window | streams | median window of the first alarm | within 2, % | within 10, % | within {AFTER}, % |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let streams = if long { 200 } else { 20 };
    for (law, now) in [
        (Law::Binary(0.01), Now::Useless),
        (Law::Binary(0.01), Now::Doubled),
        (Law::Binary(0.05), Now::Useless),
        (Law::Binary(0.05), Now::HalfUseless),
        (Law::Binary(0.05), Now::Doubled),
        (Law::Binary(0.5), Now::Useless),
        (Law::Binary(0.5), Now::HalfUseless),
        (Law::Dependent, Now::Useless),
        (Law::Classes, Now::Larger(1.2)),
        (Law::Classes, Now::Larger(2.0)),
        (Law::Numbers, Now::Larger(1.5)),
        (Law::Numbers, Now::Larger(3.0)),
        (Law::Daily, Now::Larger(1.5)),
        (Law::Yearly, Now::Larger(1.5)),
    ] {
        for (reference_rows, rows) in [(10_000, 1_000), (1_000, 200)] {
            if rows < 1_000 && matches!(law, Law::Binary(rate) if rate < 0.05)
                || reference_rows < 10_000 && matches!(law, Law::Yearly)
            {
                continue;
            }
            moved_row(config, &Case { law, now, reference_rows, rows, windows: AFTER }, streams);
        }
    }
}

fn moved_row(config: &Config, case: &Case, streams: u64) {
    let mut first: Vec<usize> = (0..streams)
        .map(|stream| {
            let mut watched = Watched::new(case, 29 + stream * 1_000_003);
            let before = (0..BEFORE).map(|_| watched.window(config, case, Now::Still)).last().unwrap_or(0);
            let found = (1..=AFTER).find(|_| watched.window(config, case, case.now) > before);
            found.unwrap_or(usize::MAX)
        })
        .collect();
    first.sort_unstable();
    let within = |windows: usize| {
        100.0 * first.iter().filter(|first| **first <= windows).count() as f64 / streams as f64
    };
    let median = first[first.len() / 2];
    println!(
        "| {:?} | {:?} | {} | {} | {streams} | {} | {:.0} | {:.0} | {:.0} |",
        case.law,
        case.now,
        case.reference_rows,
        case.rows,
        if median == usize::MAX { format!("none in {AFTER}") } else { median.to_string() },
        within(2),
        within(10),
        within(AFTER)
    );
}
