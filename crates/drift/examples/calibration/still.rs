//! How often drift is called where nothing changes. It must not know any test.

use std::time::Instant;

use crate::{
    data::{Law, Source},
    lane::{Lane, WINDOW_MS, config, reference},
};

/// One kind of streams.
struct Case {
    law: Law,
    features: usize,
    reference_rows: usize,
    rows: usize,
    windows: usize,
    /// Of the reference, in milliseconds; windows are of an hour.
    window_ms: i64,
}

/// What was seen of it.
#[derive(Default)]
struct Seen {
    streams: u32,
    windows: u32,
    detected: u32,
    alarmed: u32,
    alarms: u64,
    assumes: bool,
    looks_per_false_alarm: f64,
}

fn measure(case: &Case, streams: u64) -> Seen {
    let mut seen = Seen::default();
    for stream in 0..streams {
        let seed = (stream + 1) * 1_000_003 + case.rows as u64 * 7 + case.features as u64;
        let mut source = Source::new(case.law, case.features, case.rows as u64, seed);
        let thinned = if case.law == Law::Thinned { 10.0 } else { 1.0 };
        source.every(thinned);
        let frozen = reference(&source.rows(case.reference_rows), case.window_ms);
        source.every(1.0 / thinned);
        let mut lane = Lane::open(source.schema(), &frozen, WINDOW_MS, 0);
        let mut alarms = 0;
        for _ in 0..case.windows {
            let said = lane.window(source.rows(case.rows));
            if !said.judged {
                continue;
            }
            seen.windows += 1;
            seen.detected += u32::from(said.report.drift_detected);
            seen.assumes |= !said.report.assumption.is_empty();
            if let Some(monitor) = said.report.monitor {
                alarms = monitor.alarms;
                seen.looks_per_false_alarm = monitor.looks_per_false_alarm;
            }
        }
        seen.streams += 1;
        seen.alarmed += u32::from(alarms > 0);
        seen.alarms += alarms;
    }
    seen
}

/// Three standard errors of a share of so many.
fn error(share: f64, of: f64) -> f64 {
    3.0 * (share * (1.0 - share) / of.max(1.0)).sqrt()
}

/// Every law with few and many features, small and large references and windows; `streams` of each, or a short form without.
fn cases(streams: Option<u64>) -> Vec<(Case, u64)> {
    let laws = [
        Law::Normal,
        Law::Lognormal,
        Law::HeavyTails,
        Law::Rounded,
        Law::ZeroInflated,
        Law::Counts,
        Law::Dependent,
        Law::Slow,
        Law::Daily,
        Law::Gaps,
        Law::Sparse,
        Law::Thinned,
        Law::Weekly,
        Law::Uniform(50),
        Law::Uniform(100),
        Law::Uniform(300),
        Law::Uniform(1_000),
        Law::Uniform(5_000),
        Law::Zipf(500),
    ];
    let mut cases = Vec::new();
    let mut add = |law, features, reference_rows, rows, windows, window_ms, streams| {
        cases.push((Case { law, features, reference_rows, rows, windows, window_ms }, streams));
    };
    let hour = WINDOW_MS as i64;
    for law in laws {
        let Some(streams) = streams else {
            add(law, 2, 10_000, 200, 50, hour, 40);
            add(law, 5, 500, 50, 50, hour, 40);
            if law == Law::Daily {
                add(law, 10, 10_000, 200, 50, hour, 40);
            }
            continue;
        };
        if matches!(law, Law::Uniform(_) | Law::Zipf(_) | Law::Counts) {
            // Small references, in which categories are missing.
            add(law, 5, 200, 100, 50, hour, streams);
        }
        for features in [1, 5, 10, 20, 50] {
            for (reference_rows, rows) in [(500, 50), (500, 1_000), (10_000, 200), (10_000, 1_000)] {
                if features * rows <= 10_000 {
                    add(law, features, reference_rows, rows, 50, hour, streams);
                }
            }
        }
        add(law, 2, 10_000, 200, 1_000, hour, streams);
        if matches!(law, Law::Daily | Law::Gaps | Law::Weekly | Law::Slow) {
            // References of two and three weeks.
            add(law, 2, 64_800, 200, 1_000, hour, streams.min(200));
            add(law, 2, 30_000, 50, 1_000, hour, streams);
        }
    }
    // Spans that are not the windows.
    let streams = streams.unwrap_or(20);
    for window_ms in [0, hour / 2, 24 * hour] {
        add(Law::Daily, 2, 10_000, 200, 50, window_ms, streams);
        add(Law::Dependent, 2, 10_000, 200, 50, window_ms, streams);
    }
    cases
}

/// Prints the table, or the rows of one law; says whether every bound holds.
pub(crate) fn table(streams: Option<u64>, only: Option<&str>) -> bool {
    println!("## Nothing changes");
    println!(
        "| values | features | reference rows | rows a window | windows | reference window_ms | streams | drift_detected, % of windows | \
         streams with an alarm, % | alarms a stream | bound T/N | | CPU s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let alpha = config().alpha;
    let mut sound = true;
    for (case, streams) in cases(streams) {
        if only.is_some_and(|only| format!("{:?}", case.law) != only) {
            continue;
        }
        let since = Instant::now();
        let seen = measure(&case, streams);
        let (count, windows) = (f64::from(seen.streams), f64::from(seen.windows));
        let (detected, alarmed) =
            (f64::from(seen.detected) / windows.max(1.0), f64::from(seen.alarmed) / count);
        let alarms = seen.alarms as f64 / count;
        let bound = case.windows as f64 / seen.looks_per_false_alarm.max(1.0);
        let within = alarms <= bound + 3.0 * (bound / count).sqrt()
            && alarmed <= bound.min(1.0) + error(bound.min(1.0), count);
        // Windows of one stream share a reference: their number is that of streams.
        let level = detected <= alpha + error(alpha, count);
        let verdict = match (within && level, seen.assumes) {
            (true, true) => "holds; with an assumption",
            (true, false) => "holds",
            (false, true) => "not shown by the reference, and said",
            (false, false) => {
                sound = false;
                "DOES NOT HOLD"
            }
        };
        println!(
            "| {:?} | {} | {} | {} | {} | {} | {} | {:.2} | {:.1} | {:.3} | {:.3} | {verdict} | {:.1} |",
            case.law,
            case.features,
            case.reference_rows,
            case.rows,
            case.windows,
            case.window_ms,
            seen.streams,
            100.0 * detected,
            100.0 * alarmed,
            alarms,
            bound,
            since.elapsed().as_secs_f64(),
        );
    }
    sound
}
