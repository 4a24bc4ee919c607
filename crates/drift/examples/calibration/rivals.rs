//! The monitor beside a conformal test martingale, at equal budgets of false alarms. It must not know any test of the monitor.
//!
//! The rival ranks each row among a fixed reference (Vovk et al. 2021), bets on the ranks by a Dirichlet law of ten bins, and adds up over all
//! starts (Shiryaev and Roberts): it alarms at as many rows as the budget has. With a reference of its own for each rank it would keep that; with one
//! that all rows share, ranks are not independent, which a conditional form has to pay for by giving up what the reference cannot tell.

use acgs_columns::{RecordBatch, Values};
use acgs_statistics::draws::Draws;

use crate::{
    changes::Change,
    data::{Law, Source},
    lane::{Lane, WINDOW_MS, reference},
};

/// Bins of ranks, and rows that each is given at first.
const BINS: usize = 10;
const PRIOR: f64 = 10.0;
/// Windows of the budget: 30 days of hours.
const BUDGET: f64 = 720.0;
/// Windows without change, and after a change.
const STILL: usize = 500;
const AFTER: usize = 40;

struct Conformal {
    reference: Vec<f64>,
    counts: [f64; BINS],
    /// Share of the reference below the end of each bin: what a rank may be off by is given up.
    slack: f64,
    ln_sum: f64,
    ln_bound: f64,
    draws: Draws,
}

impl Conformal {
    fn new(rows: &RecordBatch, rows_a_window: usize, conditional: bool) -> Self {
        let mut reference = numbers(rows);
        reference.sort_unstable_by(f64::total_cmp);
        // Dvoretzky, Kiefer and Wolfowitz: the reference's own error, 95 %.
        let slack = if conditional { (40.0_f64.ln() / (2.0 * reference.len() as f64)).sqrt() } else { 0.0 };
        let ln_bound = (BUDGET * rows_a_window as f64).ln();
        Self {
            reference,
            counts: [PRIOR; BINS],
            slack,
            ln_sum: f64::NEG_INFINITY,
            ln_bound,
            draws: Draws::new(3),
        }
    }

    /// Whether it alarms in these rows; it begins anew then.
    fn window(&mut self, rows: &RecordBatch) -> bool {
        let mut alarm = false;
        for value in numbers(rows) {
            let below = self.reference.partition_point(|known| *known < value) as f64;
            let rank = (below + self.draws.unit()) / (self.reference.len() + 1) as f64;
            let bin = ((rank * BINS as f64) as usize).min(BINS - 1);
            let density = BINS as f64 * self.counts[bin] / self.counts.iter().sum::<f64>();
            // A bin may be as much larger than a tenth as the reference cannot tell.
            let bet = density / (1.0 + BINS as f64 * self.slack);
            self.counts[bin] += 1.0;
            self.ln_sum = self.ln_sum.max(0.0) + (-self.ln_sum.abs()).exp().ln_1p() + bet.ln();
            if self.ln_sum >= self.ln_bound {
                alarm = true;
                (self.counts, self.ln_sum) = ([PRIOR; BINS], f64::NEG_INFINITY);
            }
        }
        alarm
    }
}

fn numbers(rows: &RecordBatch) -> Vec<f64> {
    match &rows.columns()[1].values {
        Values::Double(values) => values.to_vec(),
        _ => Vec::new(),
    }
}

/// One who watches a stream.
enum Watcher {
    Monitor(Box<Lane>),
    Rival(Box<Conformal>),
}

impl Watcher {
    fn all(source: &mut Source, reference_rows: usize, rows: usize) -> [Self; 3] {
        let reference_rows = source.rows(reference_rows);
        let frozen = reference(&reference_rows, WINDOW_MS as i64);
        let rival = |conditional| Self::Rival(Box::new(Conformal::new(&reference_rows, rows, conditional)));
        [
            Self::Monitor(Box::new(Lane::open(source.schema(), &frozen, WINDOW_MS, 0))),
            rival(false),
            rival(true),
        ]
    }

    fn alarms(&mut self, rows: &RecordBatch) -> bool {
        match self {
            Self::Monitor(lane) => {
                let monitor = lane.window(rows.clone()).report.monitor;
                monitor.is_some_and(|monitor| monitor.alarm)
            }
            Self::Rival(rival) => rival.window(rows),
        }
    }
}

/// Prints the table.
pub(crate) fn table(long: bool) {
    println!("\n## Beside a conformal test martingale");
    println!(
        "| what changes | reference rows | rows a window | streams | monitor | conformal | conformal, conditional |"
    );
    println!("|---|---|---|---|---|---|---|");
    let streams = if long { 100 } else { 10 };
    for (reference_rows, rows) in [(500, 200), (10_000, 200), (10_000, 1_000)] {
        let mut alarms = [0_u32; 3];
        for stream in 0..streams {
            let mut source = Source::new(Law::Normal, 1, rows as u64, 17 + stream * 1_000_003);
            let mut watchers = Watcher::all(&mut source, reference_rows, rows);
            for _ in 0..STILL {
                let rows = source.rows(rows);
                for (alarms, watcher) in alarms.iter_mut().zip(&mut watchers) {
                    *alarms += u32::from(watcher.alarms(&rows));
                }
            }
        }
        let shown = alarms.map(|count| format!("{:.2}", f64::from(count) / streams as f64));
        println!(
            "| nothing: alarms in {STILL} windows, at most {:.2} | {reference_rows} | {rows} | {streams} | {} |",
            STILL as f64 / BUDGET,
            shown.join(" | ")
        );
        for change in [Change::Shift(0.1), Change::Shift(0.15), Change::Shift(0.3), Change::Scale(1.2)] {
            let mut first: [Vec<usize>; 3] = Default::default();
            for stream in 0..streams {
                let seed = 23 + stream * 1_000_003;
                let mut source = Source::new(Law::Normal, 1, rows as u64, seed);
                let mut watchers = Watcher::all(&mut source, reference_rows, rows);
                let mut draws = Draws::new(seed);
                let mut found = [usize::MAX; 3];
                for window in 1..=AFTER {
                    let rows = change.apply(&source.rows(rows), &mut draws);
                    for (found, watcher) in found.iter_mut().zip(&mut watchers) {
                        if watcher.alarms(&rows) {
                            *found = (*found).min(window);
                        }
                    }
                }
                first.iter_mut().zip(found).for_each(|(first, found)| first.push(found));
            }
            let shown = first.map(|mut first| {
                first.sort_unstable();
                let median = first[first.len() / 2];
                if median == usize::MAX { format!("none in {AFTER}") } else { median.to_string() }
            });
            println!(
                "| {change:?}: median window of the first alarm | {reference_rows} | {rows} | {streams} | {} |",
                shown.join(" | ")
            );
        }
    }
}
