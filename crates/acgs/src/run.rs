//! What the command line says, done. Here and not in the binary, so that the commands are compiled once. It must not know any command.

use std::{process::ExitCode, time::Duration};

use acgs_mesh::telemetry;
use acgs_server::{Settings, settings::LogFormat};
use anyhow::Context;
use clap::Parser;

use crate::commands::{Cli, Command};

/// Reads settings, and does it; errors are told on the standard error.
#[must_use]
pub fn main() -> ExitCode {
    end_with_the_pipe();
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// As a shell says of a process that SIGPIPE ended.
const BROKEN_PIPE: i32 = 141;

/// Whoever reads what is printed may stop at any time, as `head` does: that is no fault, and nothing to be told.
fn end_with_the_pipe() {
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The standard library's `println!` leaves no other trace of what happened.
        let said = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(BROKEN_PIPE);
        }
        otherwise(panic);
    }));
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(cli.config.as_deref(), std::env::vars(), &cli.settings)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if settings.runtime.worker_threads > 0 {
        builder.worker_threads(settings.runtime.worker_threads);
    }
    let runtime = builder.enable_all().build().context("the runtime cannot be started")?;
    let code = runtime.block_on(async {
        let telemetry = telemetry::start(&telemetry::Options {
            level: settings.log.level.clone(),
            json: settings.log.format == LogFormat::Json,
            otlp_endpoint: settings.telemetry.otlp_endpoint.clone(),
            sampled: settings.telemetry.sampled,
            service: cli.command.service_name().to_owned(),
        })?;
        let code = match cli.command {
            Command::Serve(command) => command.run(settings).await,
            Command::Demo(command) => command.run(settings).await,
            Command::Stream(command) => command.run(settings).await,
            Command::Watch(command) => command.run(settings).await,
            Command::Mesh(command) => command.run(settings).await,
            Command::Services(command) => command.run(settings).await,
            Command::Windows(command) => command.run(settings).await,
            Command::Alerts(command) => command.run(settings).await,
            Command::Models(command) => command.run(settings).await,
            Command::Model(command) => command.run(settings).await,
            Command::Deployments(command) => command.run(settings).await,
            Command::Routes(command) => command.run(settings).await,
            Command::Jobs(command) => command.run(settings).await,
            Command::Worker(command) => command.run(settings).await,
            Command::Policy(command) => command.run(settings).await,
            Command::Doctor(command) => command.run(settings).await,
            Command::Probe(command) => command.run(settings).await,
            Command::Bench(command) => command.run(settings).await,
            Command::Constitution(command) => command.run(settings).await,
        };
        telemetry.end().await;
        code
    });
    // A computation that nobody waits for any more does not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(5));
    code
}
