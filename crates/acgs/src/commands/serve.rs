//! `acgs serve`: the whole mesh in one process, or one role of it.

use std::process::ExitCode;

use acgs_vocabulary::JudgeKind;
use clap::{Args, ValueEnum};

use acgs_server::Settings;

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
    /// Quality, drift, performance, the orchestrator and the gateway; judges in process.
    All,
    /// A judge of data quality.
    Quality,
    /// A judge of drift.
    Drift,
    /// A judge of performance.
    Performance,
    /// The orchestrator, with judges in other processes.
    Orchestrator,
    /// The gateway: carries calls of models to their versions.
    Gateway,
}

impl From<Role> for acgs_server::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::All => Self::All,
            Role::Quality => Self::Judge(JudgeKind::Quality),
            Role::Drift => Self::Judge(JudgeKind::Drift),
            Role::Performance => Self::Judge(JudgeKind::Performance),
            Role::Orchestrator => Self::Orchestrator,
            Role::Gateway => Self::Gateway,
        }
    }
}

impl Serve {
    /// The original's name of the role.
    pub(super) fn service_name(&self) -> &'static str {
        match self.role {
            Role::All => "acgs",
            Role::Quality => "data-quality-service",
            Role::Drift => "drift-detection-service",
            Role::Performance => "performance-monitoring-service",
            Role::Orchestrator => "analytics-orchestrator",
            Role::Gateway => "inference-gateway",
        }
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// When a port or the home cannot be had, or a server fails.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let mut running = acgs_server::serve(&settings, self.role.into()).await?;
        if self.json {
            let served: serde_json::Map<String, serde_json::Value> = running
                .addresses
                .served()
                .map(|(name, address)| (name.to_owned(), address.to_string().into()))
                .collect();
            println!("{}", serde_json::Value::Object(served));
        } else {
            println!("acgs {} serves", env!("CARGO_PKG_VERSION"));
            for (name, address) in running.addresses.served() {
                println!("  {name:<13} {address}");
            }
            println!("constitution    {}", running.constitution.accepted().join(", then "));
            println!("home            {}", running.home);
            if !settings.gateway.orchestrators.is_empty() {
                println!("follows         {}", settings.gateway.orchestrators.join(", "));
            }
            if !settings.mesh.orchestrators.is_empty() {
                println!("registers with  {}", settings.mesh.orchestrators.join(", "));
            }
            if settings.listen.insecure {
                println!("INSECURE        listening beyond this machine without checking identity");
            }
        }
        let failed = tokio::select! {
            () = acgs_console::stop_signal() => None,
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
                tokio::select! {
                    stopped = running.stop() => stopped?,
                    () = acgs_console::stop_signal() => anyhow::bail!("told to stop twice: what was open is cut"),
                }
                tracing::info!("stopped");
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
