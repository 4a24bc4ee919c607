//! Rows per CPU second: one client stream of 1,024-row batches through the whole mesh, beside a bare bidirectional
//! stream that carries and discards the same messages.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use acgs_contracts::common::v1::RecordBatch as Message;
use acgs_server::Settings;
use acgs_vocabulary::{Constitution, convert::batch};
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

use super::{Figure, cpu, discard::Discard, profile::Rows};
use acgs_console::{
    Progress,
    connect::{channel, stream},
};

const BATCH_ROWS: usize = 1_024;
/// Event time of one batch: a window of a second takes 100 batches.
pub(super) const BATCH_MS: i64 = 10;
/// Length of windows.
pub(super) const WINDOW_MS: i64 = 1_000;
/// Different batches, sent over and over with new times, so that making rows costs nothing.
const DISTINCT: usize = 64;

/// Measures both, and their ratio.
pub(super) async fn measure(settings: &Settings, batches: usize) -> anyhow::Result<Vec<Figure>> {
    let bare = through_bare(settings, batches).await?;
    let mesh = through_mesh(settings, batches, WINDOW_MS).await?;
    Ok(vec![
        Figure::new("rows per CPU second, bare stream that discards", bare.per_cpu_second, "rows/CPU s"),
        Figure::new("rows per CPU second, client and server together", mesh.per_cpu_second, "rows/CPU s")
            .at_least(500_000.0),
        Figure::new("  of the bare stream", mesh.per_cpu_second / bare.per_cpu_second, "ratio"),
        Figure::new("rows per second of wall time", mesh.per_second, "rows/s"),
    ])
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    pub(super) per_cpu_second: f64,
    pub(super) per_second: f64,
    /// Of this process.
    pub(super) cpu_seconds: f64,
}

/// Windows of so many milliseconds; a batch has the event time of [`BATCH_MS`].
pub(super) async fn through_mesh(
    settings: &Settings,
    batches: usize,
    window_ms: i64,
) -> anyhow::Result<Speed> {
    let home = tempfile::tempdir()?;
    let running = acgs_server::serve_all(&settings.alone(home.path())).await?;
    Rows::put_reference(channel(&running.addresses.drift.to_string(), running.constitution.clone()).await?)
        .await?;
    let orchestrator = running.addresses.orchestrator.to_string();
    let speed = send((&orchestrator, running.constitution.clone()), batches, ("mesh", window_ms)).await;
    running.stop().await?;
    speed
}

pub(super) async fn through_bare(settings: &Settings, batches: usize) -> anyhow::Result<Speed> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let layer = acgs_mesh::constitution::ConstitutionLayer::new(settings.constitution()?, Arc::default());
    let server = Server::builder()
        .layer(layer)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .add_service(Discard)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    let server = tokio::spawn(server);
    let speed = send((&address.to_string(), settings.constitution()?), batches, ("bare", WINDOW_MS)).await;
    server.abort();
    speed
}

pub(super) async fn send(
    (address, constitution): (&str, Constitution),
    batches: usize,
    (name, window_ms): (&str, i64),
) -> anyhow::Result<Speed> {
    let mut rows = Rows::new()?;
    let (mut distinct, mut bytes): (Vec<Message>, usize) = (Vec::new(), 0);
    for _ in 0..DISTINCT {
        let data = rows.batch(vec![0; BATCH_ROWS])?;
        bytes = data.size_bytes();
        distinct.push(batch::to_proto(&data));
    }
    let mut stream = stream(address, constitution, rows.open(name, window_ms), Duration::ZERO).await?;
    let mut progress = Progress::new(batches as u64, "batches", false);
    let (started, cpu_before) = (Instant::now(), cpu::seconds(std::process::id())?);
    for number in 0..batches {
        let mut message = distinct[number % DISTINCT].clone();
        let start_ms = number as i64 * BATCH_MS;
        for (row, time_ms) in message.columns[0].integers.iter_mut().enumerate() {
            *time_ms = start_ms + row as i64 * BATCH_MS / BATCH_ROWS as i64;
        }
        for (row, id) in message.columns[1].integers.iter_mut().enumerate() {
            *id = (number * BATCH_ROWS + row) as i64;
        }
        stream.send_rows(message, bytes).await?;
        while stream.heard().is_some() {}
        progress.advance(1, name);
    }
    stream.end().await?;
    while stream.next().await?.is_some() {}
    let rows = (batches * BATCH_ROWS) as f64;
    let cpu_seconds = cpu::seconds(std::process::id())? - cpu_before;
    progress.finish();
    Ok(Speed {
        per_cpu_second: rows / cpu_seconds,
        per_second: rows / started.elapsed().as_secs_f64(),
        cpu_seconds,
    })
}
