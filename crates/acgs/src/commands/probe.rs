//! `acgs probe`: is a server well? For containers and scripts: it says so by its exit code.

use std::{process::ExitCode, time::Duration};

use acgs_contracts::grpc::health::v1::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use anyhow::Context;
use clap::Args;
use tonic::transport::Endpoint;

use acgs_server::Settings;

/// Ask a server for its health; the exit code is 0 when it serves.
#[derive(Debug, Args)]
pub struct Probe {
    /// quality, drift, performance, orchestrator, or an address; default: the orchestrator of these settings.
    #[arg(default_value = "orchestrator")]
    target: String,
    /// A service by its full name, or `acgs.home`; default: the server as a whole.
    #[arg(long, default_value = "")]
    service: String,
    /// How long to wait, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    timeout_ms: u64,
}

/// What a server says of a service's health.
///
/// # Errors
/// When nobody answers in time, or the server has no such service.
pub(crate) async fn health(
    address: &str,
    service: &str,
    patience: Duration,
) -> anyhow::Result<ServingStatus> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(patience);
    let asked = async {
        let channel = endpoint.connect().await.with_context(|| format!("nobody answers at {address}"))?;
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel).check(request).await;
        let answer = answer.map_err(|status| anyhow::anyhow!("{address}: {}", status.message()))?;
        anyhow::Ok(answer.into_inner().status())
    };
    tokio::time::timeout(patience, asked)
        .await
        .with_context(|| format!("{address} does not answer in time"))?
}

/// The address of a role by these settings, or what was given.
pub(crate) fn address(settings: &Settings, target: &str) -> String {
    let port = match target {
        "quality" => settings.listen.quality,
        "drift" => settings.listen.drift,
        "performance" => settings.listen.performance,
        "orchestrator" => settings.listen.orchestrator,
        "gateway" => settings.listen.gateway,
        _ => return target.to_owned(),
    };
    let host = if settings.listen.host.is_unspecified() {
        "127.0.0.1".into()
    } else {
        settings.listen.host.to_string()
    };
    format!("{host}:{port}")
}

impl Probe {
    /// Asks.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let address = address(&settings, &self.target);
        let status = health(&address, &self.service, Duration::from_millis(self.timeout_ms)).await?;
        let name = if self.service.is_empty() { "the server" } else { &self.service };
        println!("{name} at {address}: {}", status.as_str_name());
        Ok(if status == ServingStatus::Serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
