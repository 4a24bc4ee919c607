//! `acgs serve all`: the whole mesh in one process.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::{settings::Settings, wire};

/// Run services until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
pub struct Serve {
    /// Which services.
    #[arg(value_enum)]
    role: Role,
    /// Print the addresses as one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// What a process can be.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Quality, drift, performance and the orchestrator, judges in process.
    All,
}

impl Serve {
    /// Serves until told to stop.
    ///
    /// # Errors
    /// When a port or the home cannot be had, or a server fails.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let Role::All = self.role;
        let mut running = wire::serve_all(&settings).await?;
        let addresses = running.addresses;
        if self.json {
            println!(
                "{}",
                serde_json::json!({
                    "quality": addresses.quality, "drift": addresses.drift,
                    "performance": addresses.performance, "orchestrator": addresses.orchestrator,
                })
            );
        } else {
            println!("acgs {} serves", env!("CARGO_PKG_VERSION"));
            println!("  quality       {}", addresses.quality);
            println!("  drift         {}", addresses.drift);
            println!("  performance   {}", addresses.performance);
            println!("  orchestrator  {}", addresses.orchestrator);
            println!("constitution    {}", running.constitution.accepted().join(", then "));
            println!(
                "home            embedded, one process, in {} (durability: {:?})",
                settings.home.folder.display(),
                settings.home.durability
            );
            if settings.listen.insecure {
                println!("INSECURE        listening beyond this machine without checking identity");
            }
        }
        let failed = tokio::select! {
            () = stop_signal() => None,
            error = running.failed() => Some(error),
        };
        match failed {
            Some(error) => {
                // The others end in order all the same; what they have said is kept.
                if let Err(worse) = running.stop().await {
                    tracing::error!(error = format!("{worse:#}"), "stopping failed");
                }
                Err(error)
            }
            None => {
                tracing::info!("stopping: streams are told, calls may finish");
                running.stop().await?;
                tracing::info!("stopped");
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// SIGTERM or Ctrl-C.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be listened for; Ctrl-C can");
            if interrupt.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
