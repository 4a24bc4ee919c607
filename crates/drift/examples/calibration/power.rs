//! How soon a change of one feature is told of. It must not know any test.

use acgs_statistics::draws::Draws;

use crate::{
    changes::Change,
    data::Source,
    lane::{Lane, WINDOW_MS, reference},
};

/// Windows before a change, and after it.
const BEFORE: usize = 10;
const AFTER: usize = 30;

const CHANGES: [Change; 23] = [
    Change::Correlated(0.375),
    Change::Correlated(0.75),
    Change::Correlated(0.95),
    Change::Shift(0.1),
    Change::Shift(0.15),
    Change::Shift(0.3),
    Change::Shift(1.0),
    Change::Scale(1.2),
    Change::Scale(1.5),
    Change::Scale(0.1),
    Change::Scale(1_000.0),
    Change::Stuck,
    Change::Nulls(5),
    Change::Nulls(50),
    Change::Nulls(100),
    Change::Gone,
    Change::Doubled(5),
    Change::Doubled(10),
    Change::Doubled(20),
    Change::Come(5),
    Change::Come(20),
    Change::Renamed(40),
    Change::Renamed(60),
];

/// The first window after the change with an alert, from 1.
fn first_alert(
    change: Change,
    features: usize,
    reference_rows: usize,
    rows: usize,
    seed: u64,
) -> Option<usize> {
    let mut source = Source::new(change.law(), features, rows as u64, seed);
    let frozen = reference(&source.rows(reference_rows), WINDOW_MS as i64);
    let mut draws = Draws::new(seed ^ 0x5eed);
    if change == Change::Gone {
        let first = change.apply(&source.rows(rows), &mut draws);
        let mut lane = Lane::open(first.schema(), &frozen, WINDOW_MS, 0);
        return lane.window(first).alert.then_some(1);
    }
    let mut lane = Lane::open(source.schema(), &frozen, WINDOW_MS, 0);
    for _ in 0..BEFORE {
        lane.window(source.rows(rows));
    }
    (1..=AFTER).find(|_| lane.window(change.apply(&source.rows(rows), &mut draws)).alert)
}

/// Prints the table; says whether what is promised holds.
pub(crate) fn table(long: bool, streams: Option<u64>, only: Option<&str>) -> bool {
    println!("\n## One feature changes");
    println!(
        "| change | in tolerances | features | reference rows | rows a window | streams | median window of the first alert | \
         within 2, % | within 10, % | promised |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let streams = streams.unwrap_or(if long { 200 } else { 20 });
    let features: &[usize] = if long { &[2, 10, 50] } else { &[2, 50] };
    let shapes: &[(usize, usize)] =
        if long { &[(10_000, 1_000), (10_000, 200), (500, 200)] } else { &[(10_000, 1_000)] };
    let mut sound = true;
    for &(reference_rows, rows) in shapes {
        for change in
            CHANGES.into_iter().filter(|change| only.is_none_or(|only| format!("{change:?}") == only))
        {
            for &features in features {
                sound &= row(change, features, reference_rows, rows, streams);
            }
        }
    }
    sound
}

fn row(change: Change, features: usize, reference_rows: usize, rows: usize, streams: u64) -> bool {
    let mut first: Vec<usize> = (0..streams)
        .map(|stream| {
            first_alert(change, features, reference_rows, rows, 77 + stream * 1_000_003).unwrap_or(usize::MAX)
        })
        .collect();
    first.sort_unstable();
    let within =
        |windows: usize| first.iter().filter(|first| **first <= windows).count() as f64 / streams as f64;
    let (soon, later) = (within(2), within(10));
    let size = change.in_tolerances();
    let promised = match size {
        _ if reference_rows < 10_000 || rows < 1_000 => None,
        None => Some((2, soon)),
        Some(size) if size >= 3.0 - 1e-9 => Some((2, soon)),
        Some(size) if size >= 1.5 - 1e-9 => Some((10, later)),
        Some(_) => None,
    };
    let verdict = match promised {
        None => String::new(),
        Some((windows, share)) if share >= 0.99 => format!("within {windows}: holds"),
        Some((windows, _)) => format!("within {windows}: DOES NOT HOLD"),
    };
    let median = first[first.len() / 2];
    println!(
        "| {change:?} | {} | {features} | {reference_rows} | {rows} | {streams} | {} | {:.0} | {:.0} | {verdict} |",
        size.map_or_else(|| "vanishes".to_owned(), |size| format!("{size:.1}")),
        if median == usize::MAX { format!("none in {AFTER}") } else { median.to_string() },
        100.0 * soon,
        100.0 * later,
    );
    promised.is_none_or(|(_, share)| share >= 0.99)
}
