//! A mesh of processes: the real binary, one role each, that tests may kill, stop and start again. It must not know a test.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use acgs_contracts::orchestrator::v1::{
    ListServicesRequest, orchestrator_service_client::OrchestratorServiceClient,
};
use acgs_mesh::client::{MeshChannel, connect};
use acgs_vocabulary::{Constitution, constitution::PLATFORM};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{PATIENCE, binary, nats::Nats, root};

/// One process.
pub struct Process {
    /// Its role on the command line.
    pub role: String,
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

/// The constitution that all are under.
pub fn constitution() -> Constitution {
    Constitution::new(vec![PLATFORM.into()]).expect("the platform's")
}

impl Process {
    /// Starts a role on a free port, or on this one: while nobody listened there another test's connection may have been given it, and is waited for.
    pub async fn start(role: &str, port: u16, flags: &[String]) -> Self {
        let since = std::time::Instant::now();
        loop {
            match Self::try_start(role, port, flags).await {
                Some(process) => return process,
                None if port > 0 && since.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                None => panic!("{role} ended at once"),
            }
        }
    }

    async fn try_start(role: &str, port: u16, flags: &[String]) -> Option<Self> {
        let mut command = Command::new(binary());
        command.args(["serve", role, "--json", "--set", &format!("listen.{role}={port}")]);
        for flag in flags {
            command.args(["--set", flag]);
        }
        let log = std::env::var("ACGS_TEST_LOG").unwrap_or_else(|_| "error".into());
        command.env("LOG_LEVEL", log).env_remove("NATS_URL");
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("says where it listens");
        let line = line.expect("its output")?;
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = said[role].as_str().and_then(|text| text.parse().ok()).expect("an address");
        // What it prints later must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { role: role.into(), address, child })
    }

    /// All services on free ports, with at most so many files open; its address is the orchestrator's, and all of them are told.
    pub async fn limited(files: u32, flags: &[String]) -> (Self, serde_json::Value) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(binary());
        command.args(["serve", "all", "--json"]);
        for service in ["quality", "drift", "performance", "orchestrator", "gateway"] {
            command.args(["--set", &format!("listen.{service}=0")]);
        }
        for flag in flags {
            command.args(["--set", flag]);
        }
        command.env("LOG_LEVEL", "error").env_remove("NATS_URL");
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("says where it listens");
        let line = line.expect("its output").expect("it ended at once");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = said["orchestrator"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        (Self { role: "all".into(), address, child }, said)
    }

    /// A model server, and the version that it says it serves.
    pub async fn model(model: &str, orchestrator: &str, flags: &[&str]) -> (Self, String) {
        let mut command = Command::new(binary());
        command.args(["model", "serve", model, "--json", "--address", orchestrator]).args(flags);
        let log = std::env::var("ACGS_TEST_LOG").unwrap_or_else(|_| "error".into());
        command.env("LOG_LEVEL", log).env_remove("NATS_URL").stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("says where it listens");
        let line = line.expect("its output").expect("it ended at once");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = said["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let version = said["version"].as_str().expect("a version").to_owned();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        (Self { role: "model".into(), address, child }, version)
    }

    /// The example's model server in Python, with stubs as [`python_stubs`] makes them.
    pub async fn python_model(
        (model, version): (&str, &str),
        orchestrator: SocketAddr,
        stubs: &std::path::Path,
    ) -> Self {
        let mut command = Command::new(python());
        command.arg(root().join("clients/python/examples/model_server.py"));
        command.args([&orchestrator.to_string(), model, version]).env("PYTHONPATH", stubs);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("says where it listens");
        let line = line.expect("its output").expect("it ended at once");
        let address = line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("an address");
        Self { role: "model".into(), address, child }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status =
            std::process::Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// SIGSTOP, until every thread of it stands still: the signal is handled by one of them, and the others go on until then.
    pub async fn freeze(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.pid());
        let is_still = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat")));
            // After the name in parentheses comes the state.
            stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
        };
        let since = std::time::Instant::now();
        while !std::fs::read_dir(&tasks).expect("it is there").all(is_still) {
            assert!(since.elapsed() < PATIENCE, "it does not stop");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("ends");
    }

    /// SIGTERM; true when it ends well in time.
    pub async fn stop(mut self) -> bool {
        self.signal("TERM");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.is_ok_and(|status| status.expect("its status").success())
    }
}

/// The Python that `cargo xtask test` installs, or the one named by PYTHON.
fn python() -> PathBuf {
    std::env::var_os("PYTHON").map_or_else(|| root().join(".tools/python/bin/python"), PathBuf::from)
}

/// Stubs of the contract for Python, as a user would make them.
pub async fn python_stubs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let make = "import pathlib, sys; from run import generate; generate(pathlib.Path(sys.argv[1]))";
    let mut command = Command::new(python());
    command.args(["-c", make]).arg(folder.path()).current_dir(root().join("clients/python/tests"));
    let made = command.status().await.expect("Python runs; `cargo xtask test` installs it");
    assert!(made.success(), "stubs");
    folder
}

/// A nats-server, an orchestrator, and judges.
pub struct Fleet {
    /// Shared by all.
    pub nats: Nats,
    /// The orchestrator.
    pub orchestrator: Process,
    /// The judges.
    pub judges: Vec<Process>,
    flags: Vec<String>,
}

impl Fleet {
    /// With so many instances of each judge.
    pub async fn start(instances: usize) -> Self {
        Self::start_with(instances, &[]).await
    }

    /// With settings of the orchestrator.
    pub async fn start_with(instances: usize, flags: &[&str]) -> Self {
        let nats = Nats::start().await;
        let shared = vec![format!("nats.url={}", nats.url()), "drain.grace_ms=3000".into()];
        let mut own = shared.clone();
        own.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let orchestrator = Process::start("orchestrator", 0, &own).await;
        let mut flags = shared;
        flags.push(format!("mesh.orchestrators=[\"{}\"]", orchestrator.address));
        let mut fleet = Self { nats, orchestrator, judges: Vec::new(), flags };
        for role in ["quality", "drift", "performance"] {
            for _ in 0..instances {
                fleet.add(role).await;
            }
        }
        fleet.wait_for(3 * instances).await;
        fleet
    }

    /// Another judge.
    pub async fn add(&mut self, role: &str) {
        let judge = Process::start(role, 0, &self.flags).await;
        self.judges.push(judge);
    }

    /// Takes a judge out by its place.
    pub fn take(&mut self, role: &str, place: usize) -> Process {
        let index = self.judges.iter().enumerate().filter(|(_, judge)| judge.role == role).nth(place);
        let index = index.map(|(index, _)| index).expect("a judge");
        self.judges.remove(index)
    }

    /// Waits until so many judges are registered.
    pub async fn wait_for(&self, judges: usize) {
        let mut client = self.client().await;
        let since = std::time::Instant::now();
        loop {
            let known =
                client.list_services(ListServicesRequest::default()).await.expect("lists").into_inner();
            if known.services.len() == judges {
                break;
            }
            assert!(since.elapsed() < PATIENCE, "{} of {judges} judges", known.services.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A channel to the orchestrator.
    pub async fn channel(&self) -> MeshChannel {
        connect(&format!("http://{}", self.orchestrator.address), constitution()).await.expect("connects")
    }

    /// A client of the orchestrator.
    pub async fn client(&self) -> OrchestratorServiceClient<MeshChannel> {
        OrchestratorServiceClient::new(self.channel().await)
    }
}
