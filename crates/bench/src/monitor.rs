//! What the monitor of drift costs: the same rows through the mesh with and without it, in windows of a thousand rows, in turn.

use acgs_server::Settings;

use super::{Figure, throughput};

/// Runs of each kind.
const RUNS: usize = 5;

/// Measures both, and their ratio.
pub(super) async fn measure(settings: &Settings, batches: usize) -> anyhow::Result<Vec<Figure>> {
    let mut without = settings.clone();
    without.drift.false_alarm_days = 0.0;
    let (mut with_s, mut without_s) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        // Each goes first as often as second.
        let order = if run % 2 == 0 { [true, false] } else { [false, true] };
        for monitored in order {
            let (settings, times) =
                if monitored { (settings, &mut with_s) } else { (&without, &mut without_s) };
            times.push(
                throughput::through_mesh(settings, batches, throughput::BATCH_MS).await?.per_cpu_second,
            );
        }
    }
    let (with, without) = (median(with_s), median(without_s));
    Ok(vec![
        Figure::new(
            "rows per CPU second, windows of 1,024 rows, with the monitor of drift",
            with,
            "rows/CPU s",
        ),
        Figure::new("  of the same without it", with / without, "ratio").at_least(0.9),
    ])
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}
