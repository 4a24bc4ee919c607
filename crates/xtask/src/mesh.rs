//! A mesh of processes on this machine, without containers: nats-server, two of each judge, one orchestrator, one gateway. Ctrl-C ends it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{Failure, cargo, root, tools::Tools};

const NATS: &str = "nats://127.0.0.1:4222";
const ORCHESTRATOR: &str = "127.0.0.1:8013";
/// Roles and ports; the second of a kind takes a free one.
const JUDGES: [(&str, u16); 6] = [
    ("quality", 8010),
    ("quality", 0),
    ("drift", 8011),
    ("drift", 0),
    ("performance", 8012),
    ("performance", 0),
];

/// Children, ended in order when this goes.
struct Children(Vec<(String, Child)>);

impl Drop for Children {
    fn drop(&mut self) {
        // Ctrl-C reaches them too; who is still there is told again. NATS goes last.
        for (name, child) in self.0.iter_mut().rev() {
            let pid = child.id().to_string();
            let told = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
            if told.is_err() || child.wait().is_err() {
                eprintln!("xtask: {name} (pid {pid}) did not end well");
            }
        }
    }
}

/// Starts all, and waits for the end.
pub(crate) fn run(tools: &Tools, arguments: &[String]) -> Result<(), Failure> {
    let release = arguments.iter().any(|argument| argument == "--release");
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    cargo(&[&["build", "--package", "acgs"], profile].concat())?;
    let binary = root().join("target").join(if release { "release" } else { "debug" }).join("acgs");
    let mut children = Children(Vec::new());
    let store = root().join("target/mesh-nats");
    let nats = Command::new(tools.bin("nats-server"))
        .args(["--jetstream", "--addr", "127.0.0.1", "--port", "4222", "--store_dir"])
        .arg(store)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nats-server: {error}"))?;
    println!("nats          {NATS}  pid {}", nats.id());
    children.0.push(("nats".into(), nats));
    thread::sleep(Duration::from_millis(500));
    let nats = format!("nats.url={NATS}");
    let mut start = |role: &str, port: u16, more: &[&str]| -> Result<(), Failure> {
        let mut command = Command::new(&binary);
        command.args(["serve", role, "--json", "--set", &format!("listen.{role}={port}"), "--set", &nats]);
        for setting in more {
            command.args(["--set", setting]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{role}: {error}"))?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        println!("{role:<13} {}  pid {}", line.trim(), child.id());
        let ended = line.is_empty();
        children.0.push((role.to_owned(), child));
        if ended { Err(format!("{role} ended at once; is another mesh running?")) } else { Ok(()) }
    };
    start("orchestrator", 8013, &[])?;
    let register = format!("mesh.orchestrators=[\"{ORCHESTRATOR}\"]");
    for (role, port) in JUDGES {
        start(role, port, &[&register])?;
    }
    start("gateway", 8014, &[&format!("gateway.orchestrators=[\"{ORCHESTRATOR}\"]")])?;
    println!("\nacgs mesh status, acgs stream FILE …, acgs alerts; Ctrl-C ends it");
    // The orchestrator ends when it is told to, and with it this.
    for (name, child) in &mut children.0 {
        if name == "orchestrator" {
            let ended = child.wait().map_err(|error| error.to_string())?;
            println!("the orchestrator has ended: {ended}");
        }
    }
    Ok(())
}
