//! A judge says to orchestrators that it is there, again and again, and when it goes. It must not know what they do with it.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use acgs_contracts::orchestrator::v1::{
    DeregisterServiceRequest, HeartbeatRequest, RegisterServiceRequest,
    orchestrator_service_client::OrchestratorServiceClient,
};
use acgs_mesh::{
    calls::Calls,
    client::{MeshChannel, connect},
    health::HealthSwitch,
};
use acgs_vocabulary::Constitution;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;

/// An orchestrator that does not answer by then is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What a process says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) service_id: String,
    pub(crate) service_name: &'static str,
    /// Where others reach it.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) capability: &'static str,
}

impl Announcement {
    /// Of a process that listens here, or is reached as the settings say: `host`, or `host:port`.
    pub(crate) fn of(
        advertise: &str,
        bound: SocketAddr,
        service_name: &'static str,
        capability: &'static str,
    ) -> Self {
        let (host, port) = match advertise.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                (host.to_owned(), port.parse().unwrap_or_else(|_| bound.port()))
            }
            _ if !advertise.is_empty() => (advertise.to_owned(), bound.port()),
            _ => (bound.ip().to_string(), bound.port()),
        };
        // An address of IPv6 stands in brackets before a port.
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => host,
        };
        let service_id = format!("{capability}@{host}:{port}");
        Self { service_id, service_name, host, port, capability }
    }
}

/// Announces to every orchestrator until `stop` is cancelled; says goodbye then.
pub(crate) async fn run(
    announcement: Announcement,
    orchestrators: Vec<String>,
    constitution: Constitution,
    (health, calls): (HealthSwitch, Calls),
    every: Duration,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    for orchestrator in orchestrators {
        let (announcement, constitution) = (announcement.clone(), constitution.clone());
        let (health, calls, stop) = (health.clone(), calls.clone(), stop.clone());
        tasks.spawn(async move {
            let mut client = None;
            let mut registered = false;
            loop {
                let beat = registered.then(|| HeartbeatRequest {
                    service_id: announcement.service_id.clone(),
                    draining: !health.is_serving(""),
                    load: calls.open(),
                });
                let told = tell(&announcement, &orchestrator, &constitution, &mut client, beat);
                registered = match timeout(ANSWER_TIMEOUT, told).await {
                    Ok(Ok(())) => true,
                    Ok(Err(status)) if status.code() == Code::NotFound => false,
                    Ok(Err(status)) => {
                        tracing::warn!(orchestrator, error = status.message(), "not registered");
                        client = None;
                        false
                    }
                    Err(_) => {
                        client = None;
                        false
                    }
                };
                // One that has forgotten us is told at once.
                let pause = if registered || client.is_none() { every } else { Duration::from_millis(20) };
                if timeout(pause, stop.cancelled()).await.is_ok() {
                    break;
                }
            }
            if let Some(client) = &mut client {
                let gone = DeregisterServiceRequest { service_id: announcement.service_id.clone() };
                let _lease_runs_out_anyway = timeout(ANSWER_TIMEOUT, client.deregister_service(gone)).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

async fn tell(
    announcement: &Announcement,
    orchestrator: &str,
    constitution: &Constitution,
    client: &mut Option<OrchestratorServiceClient<MeshChannel>>,
    beat: Option<HeartbeatRequest>,
) -> Result<(), tonic::Status> {
    let client = match client {
        Some(client) => client,
        None => {
            let url = format!("http://{orchestrator}");
            let channel = connect(&url, constitution.clone())
                .await
                .map_err(|error| tonic::Status::unavailable(format!("{orchestrator}: {error}")))?;
            client.insert(OrchestratorServiceClient::new(channel))
        }
    };
    if let Some(beat) = beat {
        return client.heartbeat(beat).await.map(|_| ());
    }
    let request = RegisterServiceRequest {
        service_id: announcement.service_id.clone(),
        service_name: announcement.service_name.to_owned(),
        host: announcement.host.clone(),
        port: u32::from(announcement.port),
        capabilities: vec![announcement.capability.to_owned()],
        health_endpoint: String::new(),
    };
    let answer = client.register_service(request).await?.into_inner();
    tracing::info!(orchestrator, incarnation = answer.incarnation, "registered");
    Ok(())
}
