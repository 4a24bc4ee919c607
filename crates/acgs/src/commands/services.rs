//! `acgs services` and `acgs mesh status`: who is there, and how they are.

use std::{process::ExitCode, time::Duration};

use acgs_contracts::{
    grpc::health::v1::health_check_response::ServingStatus,
    orchestrator::v1::{
        ListServicesRequest, ServiceInfo, orchestrator_service_client::OrchestratorServiceClient,
    },
};
use acgs_server::Settings;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use super::probe;
use acgs_console::connect::{channel, explain};

/// How long one of them is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// List the services that have registered with an orchestrator.
#[derive(Debug, Args)]
pub struct Services {
    /// Only those that can do this: quality, drift or performance.
    #[arg(long, default_value = "")]
    capability: String,
    /// The orchestrator; default: as these settings have it.
    #[arg(long)]
    address: Option<String>,
    /// Print one JSON object for each.
    #[arg(long)]
    json: bool,
}

/// Look at a mesh as a whole.
#[derive(Debug, Args)]
pub struct MeshCommand {
    #[command(subcommand)]
    what: MeshWhat,
}

#[derive(Debug, Subcommand)]
enum MeshWhat {
    /// Ask the orchestrator and every judge how they are; the exit code is 0 when all is well.
    Status {
        /// The orchestrator; default: as these settings have it.
        #[arg(long)]
        address: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// The services that an orchestrator knows.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn list(
    settings: &Settings,
    address: &str,
    capability: String,
) -> anyhow::Result<Vec<ServiceInfo>> {
    let channel = channel(address, settings.constitution()?).await?;
    let mut client = OrchestratorServiceClient::new(channel);
    let answer = client.list_services(ListServicesRequest { capability }).await;
    Ok(answer.map_err(|status| explain(&status))?.into_inner().services)
}

impl Services {
    /// Lists.
    ///
    /// # Errors
    /// When the orchestrator does not answer.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let address = self.address.unwrap_or_else(|| probe::address(&settings, "orchestrator"));
        let services = list(&settings, &address, self.capability).await?;
        if self.json {
            for service in &services {
                println!("{}", as_json(service));
            }
            return Ok(ExitCode::SUCCESS);
        }
        if services.is_empty() {
            println!("nobody has registered with {address}; judges of `serve all` live in its process");
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["service", "kind", "can do", "health", "last heartbeat"]);
        for service in services {
            table.add_row([
                service.service_id,
                service.service_name,
                service.capabilities.join(", "),
                service.health_status,
                service.last_health_check,
            ]);
        }
        println!("{table}");
        Ok(ExitCode::SUCCESS)
    }
}

fn as_json(service: &ServiceInfo) -> serde_json::Value {
    serde_json::json!({
        "service_id": service.service_id, "service_name": service.service_name, "host": service.host,
        "port": service.port, "capabilities": service.capabilities, "health_status": service.health_status,
        "last_health_check": service.last_health_check, "load": service.load,
    })
}

/// A part of the mesh, and how it is.
struct Part {
    name: String,
    address: String,
    health: String,
    well: bool,
}

impl Part {
    async fn ask(name: &str, address: &str, service: &str) -> Self {
        let (health, well) = match probe::health(address, service, PATIENCE).await {
            Ok(ServingStatus::Serving) => ("serving".to_owned(), true),
            Ok(status) => (status.as_str_name().to_lowercase().replace('_', " "), false),
            Err(error) => (format!("{error:#}"), false),
        };
        Self { name: name.to_owned(), address: address.to_owned(), health, well }
    }
}

impl MeshCommand {
    /// Asks all.
    ///
    /// # Errors
    /// When the orchestrator does not answer.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let MeshWhat::Status { address, json } = self.what;
        let address = address.unwrap_or_else(|| probe::address(&settings, "orchestrator"));
        let mut parts =
            vec![Part::ask("orchestrator", &address, "acgs.orchestrator.v1.OrchestratorService").await];
        if let Ok(status) = probe::health(&address, "acgs.home", PATIENCE).await {
            let well = status == ServingStatus::Serving;
            let health = if well { "reachable" } else { "away: events wait in the outbox" }.to_owned();
            parts.push(Part { name: "home (NATS)".into(), address: String::new(), health, well });
        }
        let services = list(&settings, &address, String::new()).await?;
        for service in &services {
            let at = format!("{}:{}", service.host, service.port);
            parts.push(Part::ask(&service.capabilities.join(", "), &at, "").await);
        }
        for judge in ["quality", "drift", "performance"] {
            let registered =
                services.iter().any(|service| service.capabilities.iter().any(|can| can == judge));
            if !services.is_empty() && !registered {
                let health = "nobody has registered; its verdicts are UNAVAILABLE".to_owned();
                parts.push(Part { name: judge.into(), address: String::new(), health, well: false });
            }
        }
        let well = parts.iter().all(|part| part.well);
        if json {
            let part = |part: &Part| {
                serde_json::json!({
                    "name": part.name, "address": part.address, "health": part.health, "well": part.well,
                })
            };
            println!(
                "{}",
                serde_json::json!({ "well": well, "parts": parts.iter().map(part).collect::<Vec<_>>() })
            );
        } else {
            let mut table = Table::new();
            table.load_style(UTF8_FULL_CONDENSED);
            table.set_header(["part", "address", "health"]);
            for part in parts {
                table.add_row([part.name, part.address, part.health]);
            }
            println!("{table}");
            if services.is_empty() {
                println!("no judge has registered: with `serve all` they live in the orchestrator's process");
            }
        }
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
