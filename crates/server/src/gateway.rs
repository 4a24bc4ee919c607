//! The gateway of a process: its listener, the orchestrators that it follows, its snapshot. It must not decide where calls go.

use std::{net::SocketAddr, sync::Arc, sync::atomic::Ordering};

use acgs_contracts::constitution::v1::constitution_service_server::ConstitutionServiceServer;
use acgs_gateway::{
    capture::{CaptureParts, Captures},
    follow::Follower,
    front,
    proxy::Gateway,
    shards::Shards,
    snapshot,
    stats::Stats,
    table::Table,
    warm,
};
use acgs_mesh::{
    metrics::{Measured, Sample},
    server::{self, Doors},
};
use acgs_vocabulary::text;
use anyhow::Context;
use serde_json::Map;
use tonic::service::Routes;

use crate::{
    constitution_service::ConstitutionService, doors::CONSTITUTION, machine, role::GATEWAY,
    server_group::Group, settings::Settings,
};

/// Starts it; `own` is an orchestrator of the same process.
pub(crate) async fn start(
    settings: &Settings,
    group: &mut Group,
    own: Option<SocketAddr>,
) -> anyhow::Result<SocketAddr> {
    let listener = group.bind(settings.listen.gateway).await?;
    let bound = listener.local_addr()?;
    let (config, stop) = (settings.gateway.clone(), group.stop.clone());
    let shards = Shards::start(config.threads).context("the gateway's threads cannot be started")?;
    let table = Arc::new(Table::new(warm::probe(), shards));
    if !config.snapshot.as_os_str().is_empty() {
        let known = snapshot::load(&table, &config.snapshot).await;
        let known = known.with_context(|| format!("gateway.snapshot {}", config.snapshot.display()))?;
        if known > 0 {
            tracing::info!(models = known, "going by the last known routes until an orchestrator is heard");
        }
        tokio::spawn(snapshot::keep(Arc::clone(&table), config.snapshot.clone(), stop.clone()));
    }
    let router_id = match config.id.as_str() {
        // All addresses of a machine are those of every other machine too.
        "" if bound.ip().is_unspecified() => format!("gateway-{}:{}", machine::host_name(), bound.port()),
        "" => format!("gateway-{bound}"),
        own => own.to_owned(),
    };
    let stats = Arc::new(Stats::default());
    let follower = Follower {
        router_id: router_id.replace(['[', ']'], ""),
        incarnation: text::unique_id("life-", group.plumbing.clock.now_ms()),
        constitution: group.plumbing.constitution.clone(),
        table: Arc::clone(&table),
        stats: Arc::clone(&stats),
        stop: stop.clone(),
    };
    let mut orchestrators = config.orchestrators.clone();
    orchestrators.extend(own.map(|own| own.to_string()));
    for orchestrator in orchestrators.clone() {
        tokio::spawn(follower.clone().run(orchestrator));
    }
    tokio::spawn(warm::run(Arc::clone(&table), stop.clone()));
    let captures = Captures::start(CaptureParts {
        router_id: follower.router_id.clone(),
        orchestrators,
        constitution: group.plumbing.constitution.clone(),
        bytes_max: config.capture_waiting_bytes_max,
        clock: Arc::clone(&group.plumbing.clock),
        stats: Arc::clone(&stats),
        stop: stop.clone(),
    });
    let gateway = Gateway::new(config, table, group.plumbing.constitution.clone(), stats, captures);
    group.plumbing.metrics.ask(numbers(gateway.stats()));
    let service = ConstitutionService::new(group.plumbing.constitution.clone());
    let routes = Routes::new(ConstitutionServiceServer::new(service));
    let fields: server::Fields = Arc::new(Map::new);
    let doors = Doors {
        services: vec![GATEWAY, CONSTITUTION],
        name: "inference-gateway",
        health: Arc::clone(&fields),
        numbers: fields,
    };
    let doors = front::Doors {
        admission: group.plumbing.admission.clone(),
        gate: group.plumbing.gate.clone(),
        own: server::router(routes, &group.plumbing, &doors)?,
    };
    let (stop, grace) = (group.stop.clone(), group.grace);
    let health = group.plumbing.health.clone();
    group.servers.spawn(async move {
        let over = stop.clone();
        tokio::spawn(async move {
            over.cancelled().await;
            health.end_watches();
        });
        front::serve(listener, gateway, doors, stop, grace).await;
        Ok(())
    });
    Ok(bound)
}

fn numbers(stats: Arc<Stats>) -> impl Fn() -> Vec<Measured> + Send + Sync {
    move || {
        let counter = |name, help, value: u64| Measured {
            name,
            help,
            samples: vec![Sample { labels: Vec::new(), value: Err(value) }],
        };
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            counter("acgs_gateway_calls", "Calls that went to a version", read(&stats.calls)),
            counter(
                "acgs_gateway_refused",
                "Calls that the gateway answered with an error",
                read(&stats.refused),
            ),
            counter(
                "acgs_gateway_unstamped",
                "Calls that came without the constitutional hash and went on with it",
                read(&stats.unstamped),
            ),
            counter(
                "acgs_gateway_breaches",
                "Answers under another constitution, not passed on",
                read(&stats.breaches),
            ),
            counter("acgs_gateway_copies", "Copies of calls that were sent to shadows", read(&stats.copies)),
            counter(
                "acgs_gateway_copies_dropped",
                "Copies that were not sent, for want of room or because they were too large",
                read(&stats.copies_dropped),
            ),
            counter("acgs_gateway_captures", "Calls that became records", read(&stats.captures)),
            counter(
                "acgs_gateway_captures_dropped",
                "Sampled calls that became no records",
                stats.losses.all(),
            ),
            Measured {
                name: "acgs_gateway_captures_lost",
                help: "Sampled calls that became no records, by reason",
                samples: stats
                    .losses
                    .each()
                    .map(|(reason, calls)| Sample {
                        labels: vec![("reason", reason.as_str().to_owned())],
                        value: Err(calls),
                    })
                    .collect(),
            },
            Measured {
                name: "acgs_gateway_in_flight",
                help: "Calls that are open now",
                samples: vec![Sample {
                    labels: Vec::new(),
                    value: Ok(stats.in_flight.load(Ordering::Relaxed) as f64),
                }],
            },
        ]
    }
}
