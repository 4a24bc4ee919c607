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
use acgs_vocabulary::convert::batch;
use anyhow::Context;
use hdrhistogram::Histogram;

use super::{Figure, profile::Rows};
use crate::{
    client::{WindowStream, channel},
    commands::Progress,
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
    let channel = channel(&running.addresses.orchestrator.to_string(), running.constitution.clone()).await?;
    let measured = run(channel, seconds).await;
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
    channel: acgs_mesh::client::MeshChannel,
    seconds: u64,
) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let mut rows = Rows::new()?;
    let mut stream = WindowStream::open(channel, rows.open("latency", WINDOW_MS)).await?;
    let (mut whole, mut server) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let mut sent_at: HashMap<i64, Instant> = HashMap::new();
    let mut progress = Progress::new(seconds, "seconds", false);
    let start_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let started = Instant::now();
    let batches = seconds as i64 * ROWS_PER_SECOND / BATCH_ROWS;
    let mut told = Vec::new();
    for number in 0..batches {
        let due = Duration::from_micros((number * BATCH_ROWS * 1_000_000 / ROWS_PER_SECOND) as u64);
        // Open loop: the plan does not wait for answers; they are taken in while it is not yet time.
        loop {
            let wait = due.saturating_sub(started.elapsed());
            if wait.is_zero() {
                break;
            }
            match tokio::time::timeout(wait, stream.next()).await {
                Ok(message) => told.push(message?.context("the stream ended early")?),
                Err(_) => break,
            }
            note(&mut told, &sent_at, &mut whole, &mut server)?;
        }
        let first_ms = start_ms + number * BATCH_ROWS * 1_000 / ROWS_PER_SECOND;
        let times_ms: Vec<i64> =
            (0..BATCH_ROWS).map(|row| first_ms + row * 1_000 / ROWS_PER_SECOND).collect();
        let last_ms = times_ms.last().copied().unwrap_or(first_ms);
        // The first row at or after a window's end closes it.
        sent_at.entry(last_ms.div_euclid(WINDOW_MS) * WINDOW_MS).or_insert_with(Instant::now);
        let data = rows.batch(times_ms)?;
        stream.send_rows(batch::to_proto(&data), data.size_bytes(), &mut told).await?;
        note(&mut told, &sent_at, &mut whole, &mut server)?;
        if number % (ROWS_PER_SECOND / BATCH_ROWS) == 0 {
            progress.advance(1, "latency");
        }
    }
    progress.finish();
    Ok((whole, server))
}

fn note(
    told: &mut Vec<Message>,
    sent_at: &HashMap<i64, Instant>,
    whole: &mut Histogram<u64>,
    server: &mut Histogram<u64>,
) -> anyhow::Result<()> {
    for message in told.drain(..) {
        let Message::Report(report) = message else { continue };
        let end_ms = report.window.as_ref().map_or(0, |window| window.end_ms);
        if let Some(sent) = sent_at.get(&end_ms).filter(|_| report.revision == 0) {
            whole.record(sent.elapsed().as_micros() as u64)?;
            server.record(report.latency_us)?;
        }
    }
    Ok(())
}
