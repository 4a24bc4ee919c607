//! The project's own commands. `cargo xtask test` installs what the tests need, pinned, into `.tools`, and runs
//! everything; `cargo xtask bench` measures; `cargo xtask soak` runs the long forms and the benchmarks; `cargo xtask mesh`
//! runs a mesh of processes here; `cargo xtask times` says what the parts of the last checks cost. It must not be needed to
//! build or run.

mod deny;
mod mesh;
mod times;
mod tools;

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

/// A step that failed, and how.
type Failure = String;

fn main() -> ExitCode {
    let asked: Vec<String> = env::args().skip(1).collect();
    let done = match asked.first().map(String::as_str) {
        Some("test") => test(),
        Some("pace") => times::pace(),
        Some("calibrate") => calibrate(&asked[1..]),
        Some("timed") => timed(&asked[1..]),
        Some("times") => times::report(),
        Some("soak") => soak(),
        Some("bench") => bench(&asked[1..]),
        Some("deny") => deny::check(),
        Some("mesh") => tools::install().and_then(|tools| mesh::run(&tools, &asked[1..])),
        Some("buf") => tools::install().and_then(|tools| buf(&tools)),
        _ => Err("say what: cargo xtask test | bench | soak | mesh | deny | buf | calibrate [still | before | power | rivals | speed | quality | performance | join] [--long] | pace | timed PART COMMAND… | times".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a command at the root; its output is ours.
fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = format!("{command:?}");
    eprintln!("xtask: {shown}");
    let status = command.current_dir(root()).status().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

fn cargo(arguments: &[&str]) -> Result<(), Failure> {
    run(Command::new(env!("CARGO")).args(arguments))
}

/// Runs a command as a part of the checks whose cost is noted.
fn timed(asked: &[String]) -> Result<(), Failure> {
    let (Some(part), Some(program)) = (asked.first(), asked.get(1)) else {
        return Err("say what: cargo xtask timed PART COMMAND…".to_owned());
    };
    times::timed(part, || run(Command::new(program).args(&asked[2..])))
}

/// Everything that must hold before a change lands.
fn test() -> Result<(), Failure> {
    let tools = times::timed("tools", tools::install)?;
    times::timed("build", || {
        cargo(&["build", "--package", "acgs"])?;
        cargo(&["test", "--workspace", "--all-features", "--no-run"])
    })?;
    times::timed("rust", || cargo(&["test", "--workspace", "--all-features"]))?;
    times::timed("contract", || buf(&tools))?;
    times::timed("calibration", || calibrate(&[]))?;
    for (part, script) in
        [("python", "clients/python/tests/run.py"), ("mesh", "clients/python/tests/mesh.py")]
    {
        times::timed(part, || {
            run(Command::new(tools.python())
                .arg(script)
                .env("GRPCURL", tools.bin("grpcurl"))
                .env("NATS_SERVER", tools.bin("nats-server"))
                .env("NODE", tools.bin("node"))
                .env("NODE_PATH", root().join(".tools/node/node_modules")))
        })?;
    }
    Ok(())
}

/// How often drift and decay are called where there is none, and how soon where there is: docs/calibration.md, docs/performance.md, docs/quality.md.
fn calibrate(arguments: &[String]) -> Result<(), Failure> {
    let example = |package, name, arguments: &[String]| {
        let command = ["run", "--release", "--package", package, "--example", name, "--"];
        run(Command::new(env!("CARGO")).args(command).args(arguments))
    };
    let only = arguments.iter().find(|word| !word.starts_with("--")).map(String::as_str);
    if only == Some("join") {
        return example("acgs-windowing", "label_join", &[]);
    }
    if !matches!(only, Some("performance" | "quality")) {
        example("acgs-drift", "calibration", arguments)?;
    }
    let options: Vec<String> = arguments.iter().filter(|word| word.starts_with("--")).cloned().collect();
    if matches!(only, None | Some("quality")) {
        example("acgs-quality", "false_findings", &options)?;
    }
    if matches!(only, None | Some("performance")) {
        example("acgs-performance", "coverage", &options)?;
    }
    Ok(())
}

/// The measurements, as the shipped binary is built.
fn bench(arguments: &[String]) -> Result<(), Failure> {
    let command = ["run", "--profile", "dist", "--package", "acgs", "--", "bench"];
    run(Command::new(env!("CARGO")).args(command).args(arguments))
}

/// The contract by buf's STANDARD rules.
fn buf(tools: &tools::Tools) -> Result<(), Failure> {
    run(Command::new(tools.bin("buf")).args(["lint", "proto"]))
}

/// The long forms: what a person runs once for a release.
fn soak() -> Result<(), Failure> {
    test()?;
    cargo(&["test", "--release", "--package", "acgs-tests", "noise"])?;
    run(Command::new(env!("CARGO"))
        .args([
            "test",
            "--package",
            "acgs-tests",
            "--",
            "--nocapture",
            "--test-threads=1",
            "failover::",
            "mesh::",
            "kills::",
            "rollouts::",
        ])
        .env("ACGS_TEST_STOPPED_SECONDS", "20")
        .env("ACGS_TEST_NATS_AWAY_SECONDS", "30")
        .env("ACGS_TEST_CALLS_PER_SECOND", "1000"))?;
    run(Command::new(env!("CARGO"))
        .args(["test", "--release", "--package", "acgs-lifecycle", "--package", "acgs-models"])
        .env("ACGS_EXPLORER_DEPTH", "12")
        .env("ACGS_SIMULATIONS", "1000")
        .env("PROPTEST_CASES", "20000"))?;
    cargo(&["run", "--release", "--", "demo", "loop"])?;
    calibrate(&["--long".to_owned()])?;
    bench(&[])
}
