//! Wiring: settings to running servers. It must not decide anything that a room decides.

mod announce;
mod doors;
mod gateway;
mod gauges;
pub mod home;
mod models;
pub mod remote;
mod running;
mod server_group;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use acgs_contracts::{
    drift::v1::drift_service_server::DriftServiceServer,
    orchestrator::v1::orchestrator_service_server::OrchestratorServiceServer,
    performance::v1::performance_service_server::PerformanceServiceServer,
    quality::v1::quality_service_server::QualityServiceServer,
};
use acgs_drift::ReferenceStore;
use acgs_lane::{
    Connector,
    in_process::{InProcess, JudgeFactory},
};
use acgs_mesh::{
    calls::Calls,
    clock::SystemClock,
    health::HealthSwitch,
    metrics::Metrics,
    refusals::Refusals,
    server::{self, Doors},
    telemetry,
};
use acgs_records::Records;
use acgs_storage::{LogSink, Outbox};
use acgs_streams::{OrchestratorService, StreamsDeps, alerts::Alerts, directory::Directory, leases::Leases};
use acgs_vocabulary::{
    AllowList, Constitution, JudgeKind,
    ports::{Clock, EventSink, FindingSink, KeyValue, NoSink},
    text,
};
use anyhow::Context;
use doors::Sources;
use remote::{Remote, service_of};
pub use running::Running;
use server_group::Group;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::settings::Settings;

/// Largest message of a service: lane frames, references' batches, and unary requests.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const ORCHESTRATOR: &str = "acgs.orchestrator.v1.OrchestratorService";
/// The services over the life of models.
const LIFECYCLE: [&str; 4] = [
    "acgs.lifecycle.v1.ModelService",
    "acgs.lifecycle.v1.JobService",
    "acgs.lifecycle.v1.DeploymentService",
    "acgs.lifecycle.v1.RoutingService",
];
/// What health says of the home.
const HOME: &str = "acgs.home";

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Judges and orchestrator, lanes in process.
    All,
    /// One judge.
    Judge(JudgeKind),
    /// The orchestrator; judges are elsewhere.
    Orchestrator,
    /// The gateway; orchestrators are elsewhere.
    Gateway,
}

/// Where services listen; the unspecified address stands for one that this process does not serve.
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
    /// Gateway.
    pub gateway: SocketAddr,
}

impl Addresses {
    /// Those that are served, by name.
    pub fn served(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let all = [
            ("quality", self.quality),
            ("drift", self.drift),
            ("performance", self.performance),
            ("orchestrator", self.orchestrator),
            ("gateway", self.gateway),
        ];
        all.into_iter().filter(|(_, address)| address.port() != 0)
    }
}

/// Starts all services on the settings' ports, judges in process.
///
/// # Errors
/// When a port is taken or the home cannot be opened.
pub async fn serve_all(settings: &Settings) -> anyhow::Result<Running> {
    serve(settings, Role::All).await
}

/// Starts what a role asks for.
///
/// # Errors
/// When a port is taken or the home cannot be opened.
pub async fn serve(settings: &Settings, role: Role) -> anyhow::Result<Running> {
    let constitution = settings.constitution()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let stop = CancellationToken::new();
    let home = match role {
        // It keeps nothing but its snapshot.
        Role::Gateway => None,
        _ => home::open(settings, !matches!(role, Role::Judge(_)), &clock).await?,
    };
    let outbox = home
        .as_ref()
        .map(|home| Outbox::start(Arc::clone(&home.log), Arc::clone(&clock), settings.nats.outbox_max));
    let log_sink = outbox.as_ref().map(|outbox| {
        let outbox: Arc<dyn EventSink> = Arc::new(outbox.clone());
        LogSink::new(outbox, Arc::clone(&clock), constitution.clone(), telemetry::traceparent)
    });
    let sink: Arc<dyn FindingSink> = match &log_sink {
        Some(sink) => Arc::new(sink.clone()),
        None => Arc::new(NoSink),
    };
    let references =
        home.as_ref().map(|home| ReferenceStore::new(Arc::clone(&home.keys), Arc::clone(&home.blobs)));
    let keys = home.as_ref().map(|home| Arc::clone(&home.keys));
    let health = HealthSwitch::new(&services(role));
    let refusals = Arc::new(Refusals::default());
    let audit = Arc::clone(&refusals).run(Arc::clone(&sink), Arc::clone(&clock), stop.clone());
    let metrics = Metrics::new(constitution.clone());
    if let Some(outbox) = &outbox {
        metrics.ask(gauges::outbox(outbox.clone()));
    }
    let calls = metrics.add(Calls::new);
    let sources =
        Sources { calls: calls.clone(), sink: log_sink, uptime_start: text::rfc3339(clock.now_ms()) };
    let mut group = Group {
        plumbing: server::Plumbing {
            constitution: constitution.clone(),
            refusals: Arc::clone(&refusals),
            health: health.clone(),
            metrics,
            calls: calls.clone(),
            clock: Arc::clone(&clock),
            web_origins: settings.web.origins.clone(),
        },
        host: settings.listen.host,
        stop: stop.clone(),
        grace: Duration::from_millis(settings.drain.grace_ms),
        servers: JoinSet::new(),
    };
    let tools = Tools {
        settings,
        constitution: &constitution,
        clock: &clock,
        sink: &sink,
        sources: &sources,
        stop: &stop,
    };
    let unserved = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let mut addresses = Addresses {
        quality: unserved,
        drift: unserved,
        performance: unserved,
        orchestrator: unserved,
        gateway: unserved,
    };
    let mut factories = HashMap::new();
    for judge in JudgeKind::ALL {
        if role == Role::All || role == Role::Judge(judge) {
            let (port, services, doors, factory) =
                tools.judge_routes(judge, keys.clone(), references.clone());
            factories.insert(judge, factory);
            *address_of(&mut addresses, judge) = group.add(port, services, doors).await?;
        }
    }
    let mut judges = None;
    let mut orchestrator = None;
    if let (true, Some(home)) = (matches!(role, Role::All | Role::Orchestrator), &home) {
        let listener = group.bind(settings.listen.orchestrator).await?;
        addresses.orchestrator = listener.local_addr()?;
        let outbox = outbox.clone().context("an orchestrator has an outbox")?;
        let references = references.clone().context("an orchestrator has references")?;
        let (service, remote, doors) =
            tools.orchestrator(factories, home, outbox.clone(), references, addresses.orchestrator)?;
        let server =
            OrchestratorServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (routes, writer) = tools.models(home, &outbox, Routes::new(server)).await?;
        group.plumbing.metrics.ask(gauges::lifecycle(writer));
        group.serve(listener, routes, doors);
        if let Some(remote) = &remote {
            group.plumbing.metrics.ask(gauges::judges(remote.clone()));
        }
        judges = remote;
        orchestrator = Some(service);
    }
    if matches!(role, Role::All | Role::Gateway) {
        let own = (role == Role::All).then_some(addresses.orchestrator);
        addresses.gateway = gateway::start(settings, &mut group, own).await?;
    }
    let announcing = CancellationToken::new();
    let announcer = match role {
        Role::Judge(judge) if !settings.mesh.orchestrators.is_empty() => {
            let bound = *address_of(&mut addresses, judge);
            let announcement = announce::Announcement::of(
                &settings.mesh.advertise,
                bound,
                service_name(judge),
                judge.as_str(),
            );
            Some(tokio::spawn(announce::run(
                announcement,
                settings.mesh.orchestrators.clone(),
                constitution.clone(),
                (health.clone(), calls.clone()),
                Duration::from_millis(settings.mesh.heartbeat_ms),
                announcing.clone(),
            )))
        }
        _ => None,
    };
    if let Some(connected) = home.as_ref().and_then(|home| home.connected.clone()) {
        tokio::spawn(tell_health(connected, health.clone(), role, stop.clone()));
    }
    Ok(Running {
        addresses,
        constitution,
        log: home.as_ref().map(|home| Arc::clone(&home.log)),
        home: home.map_or_else(
            || match role {
                Role::Gateway => "none: it keeps only its last routes".into(),
                _ => "none: what needs one answers HOME_REQUIRED, findings of calls are not published".into(),
            },
            |home| home.label,
        ),
        judges,
        role,
        notice: Duration::from_millis(settings.drain.notice_ms),
        grace: Duration::from_millis(settings.drain.grace_ms),
        health,
        stop,
        announcing,
        servers: group.servers,
        orchestrator,
        audit: tokio::spawn(audit),
        announcer,
        refusals,
        clock,
        sink,
        outbox,
    })
}

/// What a role serves, as health knows it.
fn services(role: Role) -> Vec<&'static str> {
    let judges = JudgeKind::ALL.into_iter().map(service_of);
    match role {
        Role::All => judges.chain([ORCHESTRATOR, gateway::GATEWAY]).chain(LIFECYCLE).collect(),
        Role::Judge(judge) => vec![service_of(judge)],
        Role::Orchestrator => std::iter::once(ORCHESTRATOR).chain(LIFECYCLE).collect(),
        Role::Gateway => vec![gateway::GATEWAY],
    }
}

/// The original's names.
fn service_name(judge: JudgeKind) -> &'static str {
    match judge {
        JudgeKind::Quality => "data-quality-service",
        JudgeKind::Drift => "drift-detection-service",
        JudgeKind::Performance => "performance-monitoring-service",
    }
}

fn address_of(addresses: &mut Addresses, judge: JudgeKind) -> &mut SocketAddr {
    match judge {
        JudgeKind::Quality => &mut addresses.quality,
        JudgeKind::Drift => &mut addresses.drift,
        JudgeKind::Performance => &mut addresses.performance,
    }
}

/// While the home is away: it is down, and an orchestrator takes no new streams, whose leases it could not have.
async fn tell_health(
    mut connected: tokio::sync::watch::Receiver<bool>,
    health: HealthSwitch,
    role: Role,
    stop: CancellationToken,
) {
    loop {
        let up = *connected.borrow_and_update();
        health.set(HOME, up);
        if !matches!(role, Role::Judge(_)) {
            health.set(ORCHESTRATOR, up);
            for service in LIFECYCLE {
                health.set(service, up);
            }
        }
        tokio::select! {
            changed = connected.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

/// What every service is made with.
struct Tools<'a> {
    settings: &'a Settings,
    constitution: &'a Constitution,
    clock: &'a Arc<dyn Clock>,
    sink: &'a Arc<dyn FindingSink>,
    sources: &'a Sources,
    stop: &'a CancellationToken,
}

impl Tools<'_> {
    /// A judge's services; its standing orders run from now on.
    fn judge_routes(
        &self,
        judge: JudgeKind,
        keys: Option<Arc<dyn KeyValue>>,
        references: Option<ReferenceStore>,
    ) -> (u16, Routes, Doors, JudgeFactory) {
        let Tools { settings, constitution, clock, sink, sources, stop } = self;
        let (constitution, clock, sink, stop) =
            ((*constitution).clone(), Arc::clone(clock), Arc::clone(sink), (*stop).clone());
        match judge {
            JudgeKind::Quality => {
                let service = acgs_quality::QualityService::new(
                    settings.quality,
                    constitution,
                    clock,
                    sink,
                    keys,
                    stop,
                );
                tokio::spawn(service.clone().run_monitors());
                let doors = sources.quality(&service);
                let lanes = service.clone();
                let factory: JudgeFactory = Arc::new(move || Box::new(lanes.lane_judge()));
                let service = QualityServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
                (settings.listen.quality, Routes::new(service), doors, factory)
            }
            JudgeKind::Drift => {
                let service = acgs_drift::DriftService::new(
                    settings.drift,
                    constitution,
                    clock,
                    sink,
                    references,
                    stop,
                );
                tokio::spawn(service.clone().run_monitors());
                let doors = sources.drift(&service);
                let lanes = service.clone();
                let factory: JudgeFactory = Arc::new(move || Box::new(lanes.lane_judge()));
                let service = DriftServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
                (settings.listen.drift, Routes::new(service), doors, factory)
            }
            JudgeKind::Performance => {
                let config = settings.performance.clone();
                let service =
                    acgs_performance::PerformanceService::new(config, constitution, clock, sink, keys, stop);
                tokio::spawn(service.clone().run_monitors());
                let doors = sources.performance(&service);
                let lanes = service.clone();
                let factory: JudgeFactory = Arc::new(move || Box::new(lanes.lane_judge()));
                let service =
                    PerformanceServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
                (settings.listen.performance, Routes::new(service), doors, factory)
            }
        }
    }

    fn orchestrator(
        &self,
        factories: HashMap<JudgeKind, JudgeFactory>,
        home: &home::Home,
        outbox: Outbox,
        references: ReferenceStore,
        bound: SocketAddr,
    ) -> anyhow::Result<(OrchestratorService, Option<Remote>, Doors)> {
        let mesh = &self.settings.mesh;
        let allowed = AllowList::parse(&mesh.allowed).context("mesh.allowed")?;
        let directory = Directory::start(allowed, mesh.lease_ms, Arc::clone(self.clock), self.stop.clone());
        let remote = factories.is_empty().then(|| {
            Remote::start(
                &mesh.addresses,
                &mesh.names,
                Duration::from_millis(mesh.names_refresh_ms),
                &directory,
                self.constitution.clone(),
                self.stop,
            )
        });
        let connector: Arc<dyn Connector> = match &remote {
            Some(remote) => Arc::new(remote.clone()),
            None => Arc::new(InProcess::new(factories)),
        };
        let announcement =
            announce::Announcement::of(&mesh.advertise, bound, "analytics-orchestrator", "orchestrator");
        // Alone with its home, a process is every stream's owner.
        let leases = home.connected.is_some().then(|| {
            let owner = format!("{}:{}", announcement.host, announcement.port);
            Leases::new(Arc::clone(&home.keys), Arc::clone(self.clock), &owner, mesh.stream_lease_ms)
        });
        let doors = self.sources.orchestrator(&directory);
        let service = OrchestratorService::new(StreamsDeps {
            config: self.settings.orchestrator,
            constitution: self.constitution.clone(),
            clock: Arc::clone(self.clock),
            connector,
            references: Arc::new(references),
            log: Arc::clone(&home.log),
            outbox: Arc::new(outbox),
            records: Arc::new(Records::new(Arc::clone(&home.records), self.constitution.clone())),
            alerts: Alerts::new(Arc::clone(&home.keys), Arc::clone(self.clock)),
            directory,
            leases,
            stop: self.stop.clone(),
        });
        Ok((service, remote, doors))
    }
}

/// The three judges, each lane its own, as no service has them: nothing is gathered for standing orders.
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
