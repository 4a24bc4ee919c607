//! Whether labels come to what was estimated without them, and whether estimates are doubted where they do not. It must not know how they are made.

use crate::{
    sequence::reference,
    stream::{HOUR_MS, Law, Now, Source},
};
use acgs_performance::{
    Config,
    estimated::{Estimated, Trust},
    pane::PerformancePane,
    roles::Roles,
    sequential::Monitor,
};

/// Windows whose labels are settled before anything changes, and after it.
const BEFORE: usize = 16;
const AFTER: usize = 16;

struct Case {
    law: Law,
    now: Now,
    reference_rows: usize,
    rows: usize,
}

/// What became of the windows of some streams.
#[derive(Default)]
struct Told {
    windows: u32,
    held: u32,
    areas: u32,
    areas_held: u32,
    trusted: u32,
    /// Of the last windows of streams, those that are not to be trusted.
    untrusted: u32,
    ever_untrusted: u32,
}

fn stream(config: &Config, case: &Case, seed: u64, told: &mut Told) {
    let mut source = Source::new(case.law, seed);
    let span_ms = HOUR_MS * case.reference_rows as i64 / case.rows as i64;
    let (expected, said) = reference(&mut source, case.reference_rows, span_ms);
    let roles = Roles::new(source.schema()).with_said(expected.baseline.kind, said);
    let said = roles.said().expect("labels").clone();
    let budget = config.budget(HOUR_MS as u64).expect("a budget");
    let mut monitor = Monitor::default();
    let mut ever_untrusted = false;
    for window in 0..BEFORE + AFTER {
        let now = if window < BEFORE { Now::Still } else { case.now };
        let mut pane = PerformancePane::default();
        pane.push(&roles, &source.rows(case.rows, HOUR_MS, now));
        let until_ms = pane.labelled.times_ms.map_or(0, |(_, last)| last);
        let effect = expected.design_effect(case.rows as u64, (until_ms - HOUR_MS, until_ms));
        let estimated = |monitor: &Monitor| {
            let record = monitor.record(config, &expected, &said);
            Estimated::of(config, &said, &pane.said, (expected.baseline, effect), record)
        };
        // Its own labels are not known when it is estimated.
        let found = estimated(&monitor).expect("answers");
        let report = acgs_performance::report::report(config, &roles, &pane, Some(expected.baseline), 0);
        let loss = report.loss.expect("labels").value;
        if window < BEFORE {
            told.windows += 1;
            told.held += u32::from(found.loss.lower <= loss && loss <= found.loss.upper);
            if let Some((found, known)) = found.auc.zip(report.auc) {
                told.areas += 1;
                told.areas_held += u32::from(found.lower <= known.value && known.value <= found.upper);
            }
        }
        monitor.wait(&pane);
        monitor.look_when_enough(config, &expected, Some(&said), budget);
        let trust = estimated(&monitor).expect("answers").trust;
        if window + 1 == BEFORE {
            told.trusted += u32::from(trust == Trust::Trusted);
        }
        if window < BEFORE {
            ever_untrusted |= trust == Trust::Untrusted;
        }
        if window + 1 == BEFORE + AFTER {
            told.untrusted += u32::from(trust == Trust::Untrusted);
        }
    }
    told.ever_untrusted += u32::from(ever_untrusted);
}

/// Prints the table; says whether intervals hold what labels come to.
pub(crate) fn table(config: &Config, long: bool) -> bool {
    println!("\n## Do labels come to what was estimated without them");
    println!(
        "| values | reference rows | rows a window | streams | losses in the interval, % | areas, % | trusted after {BEFORE} looks, % | ever doubted, % | now | doubted after {AFTER} more, % | |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let streams = if long { 400 } else { 40 };
    let laws = [
        (Law::Binary(0.01), Now::Useless),
        (Law::Binary(0.05), Now::HalfUseless),
        (Law::Binary(0.5), Now::HalfUseless),
        (Law::Dependent, Now::Useless),
        (Law::Classes, Now::Larger(2.0)),
        (Law::Numbers, Now::Larger(2.0)),
    ];
    let mut sound = true;
    for (law, now) in laws {
        for (reference_rows, rows) in [(500, 200), (10_000, 200), (10_000, 1_000)] {
            let case = Case { law, now, reference_rows, rows };
            let mut told = Told::default();
            (0..streams).for_each(|seed| stream(config, &case, 7_000 + u64::from(seed), &mut told));
            let share = |count: u32, of: u32| 100.0 * f64::from(count) / f64::from(of.max(1));
            let held = share(told.held, told.windows);
            let doubted = share(told.ever_untrusted, streams);
            // Windows of one stream share a reference: their number is that of streams.
            let slack = 300.0 * (0.05 * 0.95 / f64::from(streams)).sqrt();
            let holds = held >= 95.0 - slack - 1.0 && doubted <= 5.0 + slack;
            // Of few positives nobody is told that the estimate can be trusted, or that it cannot.
            let has_positives = match law {
                Law::Binary(rate) => rate * rows as f64 >= config.positives_min as f64,
                _ => true,
            };
            let is_quoted = reference_rows >= 1_000 && has_positives;
            sound &= holds || !is_quoted;
            let areas = if told.areas > 0 {
                format!("{:.1}", share(told.areas_held, told.areas))
            } else {
                "-".into()
            };
            println!(
                "| {law:?} | {reference_rows} | {rows} | {streams} | {held:.1} | {areas} | {:.0} | {doubted:.1} | {now:?} | {:.0} | {} |",
                share(told.trusted, streams),
                share(told.untrusted, streams),
                match (is_quoted, holds) {
                    (false, _) => "",
                    (true, true) => "holds",
                    (true, false) => "DOES NOT HOLD",
                }
            );
        }
    }
    sound
}
