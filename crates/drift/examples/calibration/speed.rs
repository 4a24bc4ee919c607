//! What a window costs. It must not know any test.

use std::time::Instant;

use acgs_reference::{counts::PaneCounts, freeze};
use std::sync::Arc;

use acgs_drift::{detect, frozen::Frozen};

use crate::{
    data::{Law, Source},
    lane::{Lane, WINDOW_MS, config, reference},
};

/// Windows that are timed.
const WINDOWS: u32 = 20;

/// Prints the table.
pub(crate) fn table() {
    println!("\n## What it costs");
    println!("| what | ms | bound |");
    println!("|---|---|---|");
    let mut source = Source::new(Law::Normal, 1_000, 1_000, 1);
    let frozen = reference(&source.rows(10_000), WINDOW_MS as i64);
    let mut lane = Lane::open(source.schema(), &frozen, WINDOW_MS, 0);
    let windows: Vec<_> = (0..WINDOWS).map(|_| source.rows(1_000)).collect();
    let since = Instant::now();
    windows.into_iter().for_each(|rows| drop(lane.window(rows)));
    let each_ms = since.elapsed().as_secs_f64() * 1_000.0 / f64::from(WINDOWS);
    println!("| a window of 1,000 features and 1,000 rows, with the monitor | {each_ms:.1} | 50 |");

    let mut source = Source::new(Law::Normal, 10, 1_000, 2);
    let (then, now) = (source.rows(50_000), source.rows(50_000));
    let since = Instant::now();
    let frozen = Frozen::new(Arc::new(freeze(then.schema(), std::slice::from_ref(&then), 0)));
    let mut pane = PaneCounts::new(&frozen.reference);
    pane.push(&frozen.reference, &now);
    let report = detect::report(&config(), &frozen, &pane, |_| None);
    let all_ms = since.elapsed().as_secs_f64() * 1_000.0;
    assert_eq!(report.features.len(), 10, "a full report");
    println!("| 10 columns, 50,000 rows against 50,000: freezing and a full report | {all_ms:.1} | 50 |");
}
