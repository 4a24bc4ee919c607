//! cargo-deny, pinned: bans, licences, sources. It is built once; `.tools` keeps it.

use std::process::Command;

use crate::{Failure, root, run};

const VERSION: &str = "0.20.2";

/// Checks the dependencies.
pub(crate) fn check() -> Result<(), Failure> {
    let folder = root().join(".tools/cargo-deny");
    let binary = folder.join("bin/cargo-deny");
    let version = Command::new(&binary).arg("--version").output();
    let held = version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(VERSION));
    if !held {
        let install = ["install", "cargo-deny", "--locked", "--quiet", "--version", VERSION, "--root"];
        run(Command::new(env!("CARGO")).args(install).arg(&folder))?;
    }
    run(Command::new(binary).args(["--all-features", "check", "bans", "licenses", "sources"]))
}
