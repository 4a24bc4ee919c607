//! Processes of a mesh for measuring: the same binary, one role each, and a nats-server that is found on this machine.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use super::cpu;

/// A process that does not listen by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process, ended with this.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Where it listens.
    pub(super) address: String,
}

impl Process {
    /// A role on a free port.
    pub(super) async fn start(role: &str, flags: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "serve",
            role,
            "--json",
            "--set",
            &format!("listen.{role}=0"),
            "--set",
            "log.level=warn",
        ]);
        for flag in flags {
            command.args(["--set", flag]);
        }
        command.env_remove("NATS_URL").stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{role} cannot be started"))?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.context("it is silent")??;
        let said: serde_json::Value = serde_json::from_str(&line.context("it ended at once")?)?;
        let address = said[role].as_str().context("it does not say where it listens")?.to_owned();
        Ok(Self { child, address })
    }

    /// A nats-server with a store of its own: NATS_SERVER, the one on PATH, or the one that the tests install.
    pub(super) async fn nats(folder: &std::path::Path) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        drop(listener);
        let child = Command::new(nats_binary()?)
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string(), "--store_dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("nats-server cannot be started")?;
        let reachable = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reachable).await.context("nats-server does not listen")?;
        Ok(Self { child, address: format!("nats://127.0.0.1:{port}") })
    }

    /// CPU seconds that it has used.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu::seconds(self.child.id().context("it has ended")?)
    }
}

fn nats_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return Ok(path.into());
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&on_path).chain([PathBuf::from(".tools/python/bin")]);
    for folder in folders {
        let path = folder.join("nats-server");
        if path.exists() {
            return Ok(std::path::absolute(path)?);
        }
    }
    bail!("nats-server is not found; put it on PATH, set NATS_SERVER, or run `cargo xtask test` once")
}
