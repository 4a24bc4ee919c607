//! `acgs`: reads settings, and does what the command line says.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use acgs::{
    commands::{Cli, Command},
    settings::Settings,
};
use anyhow::Context;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(cli.config.as_deref(), std::env::vars(), &cli.settings)?;
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log.level).with_context(|| {
        format!("log.level {:?} is none of error, warn, info, debug, trace", settings.log.level)
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();

    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if settings.runtime.worker_threads > 0 {
        builder.worker_threads(settings.runtime.worker_threads);
    }
    let runtime = builder.enable_all().build().context("the runtime cannot be started")?;
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(command) => command.run(settings).await,
            Command::Demo(command) => command.run(settings).await,
            Command::Stream(command) => command.run(settings).await,
            Command::Watch(command) => command.run(settings).await,
            Command::Bench(command) => command.run(settings).await,
            Command::Constitution(command) => command.run(settings).await,
        }
    });
    // A computation that nobody waits for any more does not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(5));
    code
}
