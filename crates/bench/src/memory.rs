//! Resident memory of `acgs serve all`, a process of its own: idle, after a tenth of the rows, after all.

use std::{process::Stdio, time::Duration};

use acgs_vocabulary::{Constitution, convert::batch};
use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{Figure, cpu, profile::Rows};
use acgs_console::{
    Progress,
    connect::{channel, stream},
};

const BATCH_ROWS: usize = 1_024;
const BATCH_MS: i64 = 10;

/// Measures over so many rows.
pub(super) async fn measure(rows: usize) -> anyhow::Result<Vec<Figure>> {
    let home = tempfile::tempdir()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", "all", "--json"])
        .arg("--set")
        .arg(format!("home.folder={}", home.path().join("events").display()))
        .args(["--set", "listen.quality=0", "--set", "listen.drift=0"])
        .args([
            "--set",
            "listen.performance=0",
            "--set",
            "listen.orchestrator=0",
            "--set",
            "listen.gateway=0",
            "--set",
            "log.level=warn",
        ])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("the mesh cannot be started")?;
    let measured = load(&mut child, rows).await;
    child.kill().await?;
    measured
}

async fn load(child: &mut Child, rows: usize) -> anyhow::Result<Vec<Figure>> {
    let pid = child.id().context("the mesh has ended")?;
    let output = child.stdout.take().context("no output")?;
    let line = BufReader::new(output).lines().next_line().await?.context("the mesh said nothing")?;
    let addresses: serde_json::Value = serde_json::from_str(&line)?;
    let address = |name: &str| addresses[name].as_str().unwrap_or("").to_owned();
    let constitution = Constitution::new(vec![acgs_vocabulary::constitution::PLATFORM.to_owned()])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = cpu::resident_mib(pid)?;
    Rows::put_reference(channel(&address("drift"), constitution.clone()).await?).await?;
    let mut source = Rows::new()?;
    let open = source.open("memory", 1_000);
    let mut stream = stream(&address("orchestrator"), constitution, open, Duration::ZERO).await?;
    let (mut early, batches) = (0.0, rows / BATCH_ROWS);
    let mut progress = Progress::new(rows as u64, "rows", false);
    for number in 0..batches {
        if number == batches / 10 {
            early = cpu::resident_mib(pid)?;
        }
        let start_ms = number as i64 * BATCH_MS;
        let times_ms =
            (0..BATCH_ROWS as i64).map(|row| start_ms + row * BATCH_MS / BATCH_ROWS as i64).collect();
        let data = source.batch(times_ms)?;
        stream.send_rows(batch::to_proto(&data), data.size_bytes()).await?;
        while stream.heard().is_some() {}
        progress.advance(BATCH_ROWS as u64, "memory");
    }
    let late = cpu::resident_mib(pid)?;
    progress.finish();
    Ok(vec![
        Figure::new("resident, idle `serve all`", idle, "MiB").at_most(50.0),
        Figure::new(format!("resident after {} rows", rows / 10), early, "MiB"),
        Figure::new(format!("resident after {rows} rows"), late, "MiB"),
        Figure::new("  growth", late / early, "ratio").at_most(1.1),
    ])
}
