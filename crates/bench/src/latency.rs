//! From the orchestrator's receipt of the frame that closes a window to the client's receipt of its report: open
//! loop, 64-row batches, 10,000 rows a second, windows of one second.
//!
//! The report carries the server's part; what the wire adds is measured here, as the client's receipt less the moment
//! at which the closing frame was sent, so the figure is an upper bound.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use acgs_contracts::orchestrator::v1::stream_windows_response::Message;
use acgs_server::Settings;
use acgs_vocabulary::{Constitution, convert::batch};
use anyhow::Context;
use hdrhistogram::Histogram;

use super::{Figure, profile::Rows};
use acgs_console::{
    Progress,
    connect::{channel, stream},
};

const BATCH_ROWS: i64 = 64;
const ROWS_PER_SECOND: i64 = 10_000;
const WINDOW_MS: i64 = 1_000;

/// Measures for so many seconds.
pub(super) async fn measure(settings: &Settings, seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let home = tempfile::tempdir()?;
    let running = acgs_server::serve_all(&settings.alone(home.path())).await?;
    Rows::put_reference(channel(&running.addresses.drift.to_string(), running.constitution.clone()).await?)
        .await?;
    let orchestrator = running.addresses.orchestrator.to_string();
    let measured = run((&orchestrator, running.constitution.clone()), seconds).await;
    running.stop().await?;
    let (whole, server) = measured?;
    let ms =
        |histogram: &Histogram<u64>, quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(vec![
        Figure::new("window close to report at the client, p50", ms(&whole, 0.5), "ms"),
        Figure::new("window close to report at the client, p99", ms(&whole, 0.99), "ms").at_most(10.0),
        Figure::new("  of it in the orchestrator and judges, p99", ms(&server, 0.99), "ms"),
        Figure::new("  windows", whole.len() as f64, ""),
    ])
}

async fn run(
    (address, constitution): (&str, Constitution),
    seconds: u64,
) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let mut rows = Rows::new()?;
    let mut stream = stream(address, constitution, rows.open("latency", WINDOW_MS), Duration::ZERO).await?;
    let (mut whole, mut server) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let mut sent_at: HashMap<i64, Instant> = HashMap::new();
    let mut progress = Progress::new(seconds, "seconds", false);
    let start_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let started = Instant::now();
    let batches = seconds as i64 * ROWS_PER_SECOND / BATCH_ROWS;
    for number in 0..batches {
        let due = Duration::from_micros((number * BATCH_ROWS * 1_000_000 / ROWS_PER_SECOND) as u64);
        // Open loop: the plan does not wait for answers; they are taken in while it is not yet time.
        loop {
            let wait = due.saturating_sub(started.elapsed());
            if wait.is_zero() {
                break;
            }
            match tokio::time::timeout(wait, stream.next()).await {
                Ok(message) => {
                    let message = message?.context("the stream ended early")?;
                    note(message, &sent_at, &mut whole, &mut server)?;
                }
                Err(_) => break,
            }
        }
        let first_ms = start_ms + number * BATCH_ROWS * 1_000 / ROWS_PER_SECOND;
        let times_ms: Vec<i64> =
            (0..BATCH_ROWS).map(|row| first_ms + row * 1_000 / ROWS_PER_SECOND).collect();
        let last_ms = times_ms.last().copied().unwrap_or(first_ms);
        // The first row at or after a window's end closes it.
        sent_at.entry(last_ms.div_euclid(WINDOW_MS) * WINDOW_MS).or_insert_with(Instant::now);
        let data = rows.batch(times_ms)?;
        stream.send_rows(batch::to_proto(&data), data.size_bytes()).await?;
        while let Some(message) = stream.heard() {
            note(message, &sent_at, &mut whole, &mut server)?;
        }
        if number % (ROWS_PER_SECOND / BATCH_ROWS) == 0 {
            progress.advance(1, "latency");
        }
    }
    progress.finish();
    Ok((whole, server))
}

fn note(
    message: Message,
    sent_at: &HashMap<i64, Instant>,
    whole: &mut Histogram<u64>,
    server: &mut Histogram<u64>,
) -> anyhow::Result<()> {
    let Message::Report(report) = message else { return Ok(()) };
    let end_ms = report.window.as_ref().map_or(0, |window| window.end_ms);
    if let Some(sent) = sent_at.get(&end_ms).filter(|_| report.revision == 0) {
        whole.record(sent.elapsed().as_micros() as u64)?;
        server.record(report.latency_us)?;
    }
    Ok(())
}
