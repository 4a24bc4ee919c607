//! A real nats-server on a free port, with a store of its own, that tests may kill, stop and start again. It must not know a
//! test.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

use crate::{PATIENCE, root};

/// A server.
pub struct Nats {
    port: u16,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

/// The binary that `cargo xtask test` installs, or the one named by NATS_SERVER.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("NATS_SERVER")
        .map_or_else(|| root().join(".tools/python/bin/nats-server"), PathBuf::from);
    assert!(path.exists(), "{} is missing: `cargo xtask test` installs it", path.display());
    path
}

impl Nats {
    /// A new server.
    pub async fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut server = Self { port, folder: tempfile::tempdir().expect("a folder"), child: None };
        server.start_again().await;
        server
    }

    fn config(&self) -> Vec<std::ffi::OsString> {
        let config = self.folder.path().join("nats.conf");
        if config.exists() { vec!["--config".into(), config.into()] } else { Vec::new() }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("ends");
        }
    }

    /// SIGKILL, and all that it kept is gone.
    pub async fn lose_store(&mut self) {
        self.kill().await;
        self.folder = tempfile::tempdir().expect("a folder");
    }

    /// Sends a signal by name: STOP and CONT make it silent for a while.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().expect("it runs").to_string();
        let status = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(status.expect("kill").success());
        let stopped = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            status.is_ok_and(|status| status.lines().any(|line| line.starts_with("State:\tT")))
        };
        // Each thread stops when it gets to it.
        while name == "STOP" && !stopped() {
            std::thread::yield_now();
        }
    }

    /// One that keeps at most so many bytes.
    pub async fn start_small(bytes: u64) -> Self {
        let mut server = Self::start().await;
        server.lose_store().await;
        let config = server.folder.path().join("nats.conf");
        std::fs::write(&config, format!("jetstream {{ max_file_store: {bytes} }}\n")).expect("a file");
        server.start_again().await;
        server
    }

    /// On the same port and store.
    pub async fn start_again(&mut self) {
        let child = Command::new(binary())
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .arg("--store_dir")
            .arg(self.folder.path())
            .args(self.config())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("starts");
        self.child = Some(child);
        let since = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(since.elapsed() < PATIENCE, "nats-server does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
