//! Wiring: settings to running servers. It must not decide anything that a room decides.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use acgs_contracts::{
    constitution::v1::constitution_service_server::ConstitutionServiceServer,
    drift::v1::drift_service_server::DriftServiceServer,
    orchestrator::v1::orchestrator_service_server::OrchestratorServiceServer,
    performance::v1::performance_service_server::PerformanceServiceServer,
    quality::v1::quality_service_server::QualityServiceServer,
};
use acgs_drift::ReferenceStore;
use acgs_events::{Durability, Embedded, LogSink, Options};
use acgs_lane::in_process::{InProcess, JudgeFactory};
use acgs_mesh::{
    clock::SystemClock,
    health::HealthSwitch,
    metrics::Metrics,
    refusals::Refusals,
    server::{self, Plumbing},
};
use acgs_orchestrator::{OrchestratorFace, Parts};
use acgs_vocabulary::{
    Constitution, JudgeKind,
    ports::{Blobs, Clock, EventLog, FindingSink, KeyValue},
};
use anyhow::Context;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    constitution_face::ConstitutionFace,
    settings::{HomeDurability, Settings},
};

/// Largest unary request.
const UNARY_BYTES_MAX: usize = 16 << 20;
/// Largest message of a judge's service: lane frames and references' batches, and unary requests.
const MESSAGE_BYTES_MAX: usize = UNARY_BYTES_MAX;
/// Full names of the services, for health.
const SERVICES: [&str; 4] = [
    "acgs.quality.v1.QualityService",
    "acgs.drift.v1.DriftService",
    "acgs.performance.v1.PerformanceService",
    "acgs.orchestrator.v1.OrchestratorService",
];

/// Where the four services listen.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Quality.
    pub quality: SocketAddr,
    /// Drift.
    pub drift: SocketAddr,
    /// Performance.
    pub performance: SocketAddr,
    /// Orchestrator.
    pub orchestrator: SocketAddr,
}

/// A whole mesh in this process.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    /// What it serves under.
    pub constitution: Constitution,
    /// Its log.
    pub log: Arc<dyn EventLog>,
    health: HealthSwitch,
    stop: CancellationToken,
    servers: JoinSet<Result<(), server::ServeError>>,
    orchestrator: OrchestratorFace,
    audit: JoinHandle<()>,
    refusals: Arc<Refusals>,
    clock: Arc<dyn Clock>,
    sink: LogSink,
}

/// Starts all services on the settings' ports, judges in process, the home in its folder.
///
/// # Errors
/// When a port is taken or the home cannot be opened.
pub async fn serve_all(settings: &Settings) -> anyhow::Result<Running> {
    let home = Embedded::open(Options {
        folder: settings.home.folder.clone(),
        durability: match settings.home.durability {
            HomeDurability::System => Durability::System,
            HomeDurability::Always => Durability::Always,
        },
        events_max: settings.home.events_max,
    })?;
    let home = Arc::new(home);
    let (log, keys, blobs): (Arc<dyn EventLog>, Arc<dyn KeyValue>, Arc<dyn Blobs>) =
        (Arc::clone(&home) as _, Arc::clone(&home) as _, home);
    let constitution = settings.constitution()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log_sink = LogSink::start(Arc::clone(&log), Arc::clone(&clock), constitution.clone());
    let sink: Arc<dyn FindingSink> = Arc::new(log_sink.clone());
    let references = ReferenceStore::new(keys, blobs);
    let stop = CancellationToken::new();

    let quality = acgs_quality::QualityFace::new(
        settings.quality,
        constitution.clone(),
        Arc::clone(&clock),
        Arc::clone(&sink),
    );
    let drift = acgs_drift::DriftFace::new(
        settings.drift,
        constitution.clone(),
        Arc::clone(&clock),
        Arc::clone(&sink),
        Some(references.clone()),
    );
    let performance = acgs_performance::PerformanceFace::new(
        settings.performance.clone(),
        constitution.clone(),
        Arc::clone(&clock),
        Arc::clone(&sink),
    );
    let orchestrator = OrchestratorFace::new(Parts {
        config: settings.orchestrator,
        constitution: constitution.clone(),
        clock: Arc::clone(&clock),
        connector: Arc::new(judges(settings)),
        references: Arc::new(references),
        log: Arc::clone(&log),
        stop: stop.clone(),
    });

    let health = HealthSwitch::new(&SERVICES);
    let refusals = Arc::new(Refusals::default());
    let audit = Arc::clone(&refusals).run(Arc::clone(&sink), Arc::clone(&clock), stop.clone());
    let audit = tokio::spawn(audit);
    let metrics = Metrics::new(constitution.clone());
    let plumbing = Plumbing {
        constitution: constitution.clone(),
        refusals: Arc::clone(&refusals),
        health: health.clone(),
        metrics,
    };
    let mut group = Group {
        plumbing,
        stop: stop.clone(),
        grace: Duration::from_millis(settings.drain.grace_ms),
        servers: JoinSet::new(),
    };
    let listen = settings.listen;
    let sized = |port| SocketAddr::new(listen.host, port);
    let quality = QualityServiceServer::new(quality).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let drift = DriftServiceServer::new(drift).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let performance = PerformanceServiceServer::new(performance).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let front =
        OrchestratorServiceServer::new(orchestrator.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let addresses = Addresses {
        quality: group.add(sized(listen.quality), Routes::new(quality)).await?,
        drift: group.add(sized(listen.drift), Routes::new(drift)).await?,
        performance: group.add(sized(listen.performance), Routes::new(performance)).await?,
        orchestrator: group.add(sized(listen.orchestrator), Routes::new(front)).await?,
    };
    let servers = group.servers;
    let sink = log_sink;
    Ok(Running {
        addresses,
        constitution,
        log,
        health,
        stop,
        servers,
        orchestrator,
        audit,
        refusals,
        clock,
        sink,
    })
}

/// The three judges, each lane its own.
#[must_use]
pub fn judges(settings: &Settings) -> InProcess {
    let (quality, drift, performance) = (settings.quality, settings.drift, settings.performance.clone());
    let factories: [(JudgeKind, JudgeFactory); 3] = [
        (JudgeKind::Quality, Arc::new(move || Box::new(acgs_quality::judge(quality)))),
        (JudgeKind::Drift, Arc::new(move || Box::new(acgs_drift::judge(drift)))),
        (JudgeKind::Performance, Arc::new(move || Box::new(acgs_performance::judge(performance.clone())))),
    ];
    InProcess::new(HashMap::from(factories))
}

/// Servers that share their plumbing.
struct Group {
    plumbing: Plumbing,
    stop: CancellationToken,
    grace: Duration,
    servers: JoinSet<Result<(), server::ServeError>>,
}

impl Group {
    async fn add(&mut self, address: SocketAddr, services: Routes) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on {address}; is another mesh running? `--set listen.…=0` takes a free port"
            )
        })?;
        let bound = listener.local_addr()?;
        let face = ConstitutionFace::new(self.plumbing.constitution.clone());
        let services = services.add_service(ConstitutionServiceServer::new(face));
        self.servers.spawn(server::serve(
            listener,
            services,
            self.plumbing.clone(),
            self.stop.clone(),
            self.grace,
        ));
        Ok(bound)
    }
}

impl Running {
    /// Waits for a server to fail; that is the end of all.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.servers.join_next().await {
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a server ended by itself"),
            Some(Ok(Err(error))) => error.into(),
            Some(Err(error)) => error.into(),
        }
    }

    /// Ends in order: not ready, streams told, calls finished within the grace.
    ///
    /// # Errors
    /// When a server did not end well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.health.all_down();
        self.stop.cancel();
        self.orchestrator.drained().await;
        let mut trouble = None;
        while let Some(ended) = self.servers.join_next().await {
            let failed = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => anyhow::Error::from(error),
                Err(error) => anyhow::Error::from(error).context("a server's task was lost"),
            };
            trouble.get_or_insert(failed);
        }
        // What was said last is in the log before the process ends.
        let audit = self.audit.await.context("the audit's task was lost");
        // Refusals of connections that were still open are told too.
        self.refusals.publish(&self.sink, self.clock.now_ms());
        self.sink.flush().await;
        trouble.map_or(audit, Err)
    }
}
