//! Rows per CPU second through a mesh of processes: an orchestrator, three judges, a nats-server, and this client, all counted.

use std::time::Duration;

use acgs_contracts::orchestrator::v1::{
    ListServicesRequest, orchestrator_service_client::OrchestratorServiceClient,
};
use acgs_server::Settings;
use anyhow::bail;

use super::{Figure, processes::Process, profile::Rows, throughput};
use acgs_console::connect::channel;

/// Measures over so many batches, beside the bare stream.
pub(super) async fn measure(settings: &Settings, batches: usize) -> anyhow::Result<Vec<Figure>> {
    let bare = throughput::through_bare(settings, batches).await?;
    let folder = tempfile::tempdir()?;
    let nats = Process::nats(folder.path()).await?;
    let shared = format!("nats.url={}", nats.address);
    let orchestrator = Process::start("orchestrator", std::slice::from_ref(&shared)).await?;
    let register = format!("mesh.orchestrators=[\"{}\"]", orchestrator.address);
    let mut processes = vec![nats];
    let mut drift = String::new();
    for role in ["quality", "drift", "performance"] {
        let judge = Process::start(role, &[shared.clone(), register.clone()]).await?;
        if role == "drift" {
            drift.clone_from(&judge.address);
        }
        processes.push(judge);
    }
    let constitution = settings.constitution()?;
    Rows::put_reference(channel(&drift, constitution.clone()).await?).await?;
    let address = orchestrator.address.clone();
    let channel = channel(&address, constitution.clone()).await?;
    processes.push(orchestrator);
    let mut client = OrchestratorServiceClient::new(channel);
    for attempt in 0.. {
        let known = client.list_services(ListServicesRequest::default()).await?.into_inner();
        if known.services.len() == 3 {
            break;
        }
        if attempt == 100 {
            bail!("{} of 3 judges have registered", known.services.len());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let used =
        |processes: &[Process]| processes.iter().map(Process::cpu_seconds).sum::<anyhow::Result<f64>>();
    let before = used(&processes)?;
    let own =
        throughput::send((&address, constitution), batches, ("processes", throughput::WINDOW_MS)).await?;
    let others_s = used(&processes)? - before;
    let rows = own.per_cpu_second * own.cpu_seconds;
    let per_cpu_second = rows / (own.cpu_seconds + others_s);
    Ok(vec![
        Figure::new("rows per CPU second, bare stream that discards", bare.per_cpu_second, "rows/CPU s"),
        Figure::new("rows per CPU second of client, four processes and NATS", per_cpu_second, "rows/CPU s")
            .at_least(250_000.0),
        Figure::new("  of the bare stream", per_cpu_second / bare.per_cpu_second, "ratio"),
        Figure::new("rows per second of wall time", own.per_second, "rows/s"),
    ])
}
