//! From settings and a role to a running process, part by part. It must not decide anything that a room decides.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use acgs_contracts::orchestrator::v1::orchestrator_service_server::OrchestratorServiceServer;
use acgs_drift::ReferenceStore;
use acgs_lane::in_process::JudgeFactory;
use acgs_mesh::{
    admission::{
        Admission,
        gate::{Gate, Names},
        raise_descriptors_max,
    },
    calls::Calls,
    clock::SystemClock,
    health::HealthSwitch,
    metrics::Metrics,
    refusals::Refusals,
    server, telemetry,
};
use acgs_storage::{LogSink, Outbox, unsent::Unsent};
use acgs_streams::OrchestratorService;
use acgs_vocabulary::{
    Constitution, JudgeKind, budget,
    ports::{Clock, EventSink, FindingSink, NoSink},
    text,
};
use anyhow::Context;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    addresses::Addresses,
    announce,
    doors::Sources,
    gateway, gauges,
    home::{self, Home},
    home_watch::HomeWatch,
    machine,
    remote::{Remote, service_of},
    role::{LIFECYCLE, ORCHESTRATOR, Part, Role, service_name},
    running::Running,
    server_group::Group,
    settings::Settings,
    tools::{MESSAGE_BYTES_MAX, Tools},
    unsent,
};

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
    let mut assembly = Assembly::open(settings, role).await?;
    for part in role.parts() {
        match part {
            Part::Judge(judge) => assembly.judge(judge).await?,
            Part::Orchestrator => assembly.orchestrator().await?,
            Part::Gateway => assembly.gateway().await?,
        }
    }
    Ok(assembly.run())
}

/// By which names the servers may be called.
fn names(settings: &Settings) -> Names {
    let host = |address: &String| match address.rsplit_once(':') {
        Some((host, _)) => host.to_owned(),
        None => address.clone(),
    };
    let mut hosts = settings.web.hosts.clone();
    hosts.push(host(&settings.mesh.advertise));
    Names { hosts, origins: settings.web.origins.clone() }
}

/// A process in the making: what all parts share, and what each has added.
struct Assembly<'a> {
    settings: &'a Settings,
    role: Role,
    constitution: Constitution,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    home: Option<Home>,
    outbox: Option<Outbox>,
    unsent: Option<Unsent>,
    sink: Arc<dyn FindingSink>,
    sources: Sources,
    refusals: Arc<Refusals>,
    audit: JoinHandle<()>,
    group: Group,
    addresses: Addresses,
    factories: HashMap<JudgeKind, JudgeFactory>,
    judges: Option<Remote>,
    orchestrator: Option<OrchestratorService>,
}

impl<'a> Assembly<'a> {
    /// What every part needs: the home, the way to the log, the plumbing.
    async fn open(settings: &'a Settings, role: Role) -> anyhow::Result<Self> {
        raise_descriptors_max();
        let memory = &settings.memory;
        let bytes_max = if memory.bytes_max == 0 { machine::half_of_memory() } else { memory.bytes_max };
        budget::process().resize(bytes_max, memory.percent());
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
        let unsent = match (&home, &outbox) {
            (Some(home), Some(outbox)) => unsent::of(settings, home, outbox, &clock).await,
            _ => None,
        };
        let log_sink = outbox.as_ref().map(|outbox| {
            let outbox: Arc<dyn EventSink> = Arc::new(outbox.clone());
            LogSink::new(outbox, Arc::clone(&clock), constitution.clone(), telemetry::traceparent)
        });
        let sink: Arc<dyn FindingSink> = match &log_sink {
            Some(sink) => Arc::new(sink.clone()),
            None => Arc::new(NoSink),
        };
        let refusals = Arc::new(Refusals::default());
        let audit = Arc::clone(&refusals).run(Arc::clone(&sink), Arc::clone(&clock), stop.clone());
        let metrics = Metrics::new(constitution.clone());
        if let Some(outbox) = &outbox {
            metrics.ask(gauges::outbox(outbox.clone()));
        }
        let calls = metrics.add(Calls::new);
        let sources =
            Sources { calls: calls.clone(), sink: log_sink, uptime_start: text::rfc3339(clock.now_ms()) };
        let group = Group {
            plumbing: server::Plumbing {
                constitution: constitution.clone(),
                refusals: Arc::clone(&refusals),
                health: HealthSwitch::new(&role.services()),
                metrics,
                calls,
                clock: Arc::clone(&clock),
                home_trouble: tokio::sync::watch::Sender::default(),
                admission: Admission::new(&settings.admission),
                gate: Gate::new(&settings.admission, names(settings)),
            },
            host: settings.listen.host,
            stop: stop.clone(),
            grace: Duration::from_millis(settings.drain.grace_ms),
            servers: JoinSet::new(),
        };
        Ok(Self {
            settings,
            role,
            constitution,
            clock,
            stop,
            home,
            outbox,
            unsent,
            sink,
            sources,
            refusals,
            audit: tokio::spawn(audit),
            group,
            addresses: Addresses::none(),
            factories: HashMap::new(),
            judges: None,
            orchestrator: None,
        })
    }

    fn tools(&self) -> Tools<'_> {
        Tools {
            settings: self.settings,
            constitution: &self.constitution,
            clock: &self.clock,
            sink: &self.sink,
            sources: &self.sources,
            home_trouble: self.group.plumbing.home_trouble.subscribe(),
            stop: &self.stop,
        }
    }

    fn references(&self) -> Option<ReferenceStore> {
        let home = self.home.as_ref()?;
        Some(ReferenceStore::new(Arc::clone(&home.keys), Arc::clone(&home.blobs)))
    }

    async fn judge(&mut self, judge: JudgeKind) -> anyhow::Result<()> {
        let keys = self.home.as_ref().map(|home| Arc::clone(&home.keys));
        let (port, services, doors, factory) = self.tools().judge_routes(judge, keys, self.references());
        self.factories.insert(judge, factory);
        *self.addresses.of(judge) = self.group.add(port, services, doors).await?;
        Ok(())
    }

    async fn orchestrator(&mut self) -> anyhow::Result<()> {
        let listener = self.group.bind(self.settings.listen.orchestrator).await?;
        self.addresses.orchestrator = listener.local_addr()?;
        let outbox = self.outbox.clone().context("an orchestrator has an outbox")?;
        let references = self.references().context("an orchestrator has references")?;
        let factories = std::mem::take(&mut self.factories);
        let bound = self.addresses.orchestrator;
        let home = self.home.as_ref().context("an orchestrator has a home")?;
        let tools = self.tools();
        let (service, remote, doors) =
            tools.orchestrator(factories, home, outbox.clone(), references, bound)?;
        let server =
            OrchestratorServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (routes, writer) = tools.models(home, &outbox, Routes::new(server)).await?;
        self.group.plumbing.metrics.ask(gauges::lifecycle(writer));
        self.group.plumbing.metrics.ask(gauges::streams(service.clone()));
        self.group.serve(listener, routes, doors);
        if let Some(remote) = &remote {
            self.group.plumbing.metrics.ask(gauges::judges(remote.clone()));
        }
        self.judges = remote;
        self.orchestrator = Some(service);
        Ok(())
    }

    async fn gateway(&mut self) -> anyhow::Result<()> {
        let own = (self.role == Role::All).then_some(self.addresses.orchestrator);
        self.addresses.gateway = gateway::start(self.settings, &mut self.group, own).await?;
        Ok(())
    }

    /// A judge that serves elsewhere says to orchestrators that it is there.
    fn announcer(&mut self, announcing: &CancellationToken) -> Option<JoinHandle<()>> {
        let Role::Judge(judge) = self.role else { return None };
        let mesh = &self.settings.mesh;
        if mesh.orchestrators.is_empty() {
            return None;
        }
        let bound: SocketAddr = *self.addresses.of(judge);
        let announcement =
            announce::Announcement::of(&mesh.advertise, bound, service_name(judge), judge.as_str());
        Some(tokio::spawn(announce::run(
            announcement,
            mesh.orchestrators.clone(),
            self.constitution.clone(),
            (self.group.plumbing.health.clone(), self.group.plumbing.calls.clone()),
            Duration::from_millis(mesh.heartbeat_ms),
            announcing.clone(),
        )))
    }

    fn run(mut self) -> Running {
        let announcing = CancellationToken::new();
        let announcer = self.announcer(&announcing);
        self.group.plumbing.gate.tell_places(places(self.settings, &self.addresses));
        self.group.plumbing.metrics.ask(gauges::admission(self.group.plumbing.admission.clone()));
        self.group.plumbing.metrics.ask(gauges::memory);
        let health = self.group.plumbing.health.clone();
        let watched = self.home.as_ref().map(|home| {
            let watch = HomeWatch {
                probe: Arc::clone(&home.probe),
                connected: home.connected.clone(),
                outbox: self.outbox.clone(),
                health: health.clone(),
                role: self.role,
                why: self.group.plumbing.home_trouble.clone(),
            };
            tokio::spawn(watch.run(self.stop.clone()))
        });
        Running {
            addresses: self.addresses,
            constitution: self.constitution,
            log: self.home.as_ref().map(|home| Arc::clone(&home.log)),
            home: self.home.map_or_else(
                || match self.role {
                    Role::Gateway => "none: it keeps only its last routes".into(),
                    _ => "none: what needs one answers HOME_REQUIRED, findings of calls are not published"
                        .into(),
                },
                |home| home.label,
            ),
            judges: self.judges,
            role: self.role,
            notice: Duration::from_millis(self.settings.drain.notice_ms),
            grace: Duration::from_millis(self.settings.drain.grace_ms),
            health,
            stop: self.stop,
            announcing,
            servers: self.group.servers,
            watched,
            orchestrator: self.orchestrator,
            audit: self.audit,
            announcer,
            refusals: self.refusals,
            clock: self.clock,
            sink: self.sink,
            outbox: self.outbox,
            unsent: self.unsent,
        }
    }
}

/// Where each service is: in this process, else where these settings have it.
fn places(settings: &Settings, addresses: &Addresses) -> BTreeMap<String, String> {
    let port = |bound: u16, set: u16| format!("port {}", if bound == 0 { set } else { bound });
    let mut places = BTreeMap::new();
    for judge in JudgeKind::ALL {
        let set = match judge {
            JudgeKind::Quality => settings.listen.quality,
            JudgeKind::Drift => settings.listen.drift,
            JudgeKind::Performance => settings.listen.performance,
        };
        places.insert(service_of(judge).to_owned(), port(addresses.at(judge).port(), set));
    }
    for service in [ORCHESTRATOR].into_iter().chain(LIFECYCLE) {
        places.insert(service.to_owned(), port(addresses.orchestrator.port(), settings.listen.orchestrator));
    }
    let gateway = port(addresses.gateway.port(), settings.listen.gateway);
    places.insert("inference.GRPCInferenceService".to_owned(), gateway);
    places
}
