//! The same for windows that are compared with those before them. It must not know any test.

use acgs_statistics::draws::Draws;

use crate::{
    changes::Change,
    data::{Law, Source},
    lane::{Lane, WINDOW_MS, config, reference},
};

/// Rows of the reference.
const REFERENCE_ROWS: usize = 10_000;

struct Case {
    law: Law,
    features: usize,
    rows: usize,
    windows: usize,
    windows_before: i64,
}

/// Prints the table; says whether level and budget hold.
pub(crate) fn table(streams: Option<u64>, only: Option<&str>) -> bool {
    println!("\n## Windows beside those before them");
    println!(
        "| values | features | rows a window | compared with windows | windows | streams | drift_detected, % of windows | alerts a stream | \
         bound T/N | | +1 sd found in its first window, % |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let laws = [
        Law::Normal,
        Law::Lognormal,
        Law::Rounded,
        Law::Counts,
        Law::ZeroInflated,
        Law::Sparse,
        Law::Dependent,
        Law::Uniform(100),
        Law::Zipf(500),
    ];
    let mut sound = true;
    let windows = if streams.is_some() { 720 } else { 60 };
    for law in laws.into_iter().filter(|law| only.is_none_or(|only| format!("{law:?}") == only)) {
        for (features, rows) in [(2, 200), (10, 1_000)] {
            for windows_before in [1, 24] {
                let case = Case { law, features, rows, windows, windows_before };
                sound &= row(&case, streams.unwrap_or(6));
            }
        }
    }
    sound
}

fn row(case: &Case, streams: u64) -> bool {
    let Case { law, features, rows, windows, windows_before } = *case;
    let (mut judged, mut detected, mut alerts, mut found) = (0_u32, 0_u32, 0_u32, 0_u32);
    for stream in 0..streams {
        let seed = (stream + 1) * 1_000_003 + rows as u64 * 11 + features as u64;
        let mut source = Source::new(law, features, rows as u64, seed);
        let frozen = reference(&source.rows(REFERENCE_ROWS), WINDOW_MS as i64);
        let mut lane = Lane::open(source.schema(), &frozen, WINDOW_MS, windows_before);
        for _ in 0..windows {
            let said = lane.window(source.rows(rows));
            judged += u32::from(said.judged);
            detected += u32::from(said.report.drift_detected);
            alerts += u32::from(said.alert);
        }
        if !matches!(law, Law::Uniform(_) | Law::Zipf(_)) {
            let mut draws = Draws::new(seed ^ 0x5eed);
            let moved = Change::Shift(1.0).apply(&source.rows(rows), &mut draws);
            found += u32::from(lane.window(moved).alert);
        }
    }
    let settings = config();
    let level = f64::from(detected) / f64::from(judged.max(1));
    let count = streams as f64;
    let (alerts, bound) = (f64::from(alerts) / count, windows as f64 / (settings.false_alarm_days * 24.0));
    let error = 3.0 * (settings.alpha * (1.0 - settings.alpha) / count).sqrt();
    let holds = level <= settings.alpha + error && alerts <= bound + 3.0 * (bound / count).sqrt();
    println!(
        "| {law:?} | {features} | {rows} | {windows_before} | {windows} | {streams} | {:.2} | {alerts:.3} | {bound:.3} | {} | {} |",
        100.0 * level,
        if holds { "holds" } else { "DOES NOT HOLD" },
        match law {
            Law::Uniform(_) | Law::Zipf(_) => String::new(),
            _ => format!("{:.0}", 100.0 * f64::from(found) / count),
        },
    );
    holds
}
