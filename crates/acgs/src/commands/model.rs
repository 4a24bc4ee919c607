//! `acgs model serve`: serves versions of a model by the Open Inference Protocol, one version or those that the mesh wants warm.

use std::{
    collections::HashMap, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use acgs_client::{LifecycleClients, artifacts};
use acgs_contracts::{
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    lifecycle::v1::{EndpointChange, ListVersionsRequest, SetEndpointsRequest, Stage, Version},
};
use acgs_mesh::{
    admission::{
        Admission,
        gate::{Gate, Names},
    },
    calls::Calls,
    client::MeshChannel,
    clock::SystemClock,
    health::HealthSwitch,
    metrics::Metrics,
    refusals::Refusals,
    server::{self, Doors, Plumbing},
};
use acgs_server::Settings;
use acgs_trainers::{Artifact, FORMAT};
use acgs_vocabulary::{Constitution, constitution::sha256_hex};
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Map, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::probe;
use acgs_console::connect::{channel, explain};

use crate::model_server::ModelServer;

const INFERENCE: &str = "inference.GRPCInferenceService";
/// Largest request, in bytes: what the gateway takes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Between two looks at which versions the mesh wants.
const LOOK: Duration = Duration::from_millis(100);
/// After the mesh went away.
const RETRY: Duration = Duration::from_millis(500);
/// Open calls may end within this.
const GRACE: Duration = Duration::from_secs(10);

/// Serve versions of a model.
#[derive(Debug, Args)]
pub struct Model {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Serve by the Open Inference Protocol until SIGTERM or Ctrl-C.
    Serve(Box<ServeModel>),
}

/// What is served, and where.
#[derive(Debug, Args)]
struct ServeModel {
    /// The model.
    model: String,
    /// Only this version; without it, every version that serves, is deployed, or is kept warm, each on a port of its own.
    #[arg(long)]
    version: Option<String>,
    /// A model file instead of the mesh's: needs --version.
    #[arg(long, requires = "version")]
    artifact: Option<PathBuf>,
    /// The orchestrator; default: as these settings have it.
    #[arg(long)]
    address: Option<String>,
    /// The port, for one version; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where gateways reach it; default: where it listens.
    #[arg(long)]
    advertise: Option<String>,
    /// Do not tell the mesh where it listens.
    #[arg(long)]
    quiet: bool,
    /// Print one JSON object for each version that is served.
    #[arg(long)]
    json: bool,
}

type Client = LifecycleClients<MeshChannel>;

impl Model {
    /// Serves until told to stop.
    ///
    /// # Errors
    /// When a port cannot be had, or the version cannot be read.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let What::Serve(serve) = self.what;
        let constitution = settings.constitution()?;
        let address = serve.address.clone().unwrap_or_else(|| probe::address(&settings, "orchestrator"));
        let mut host = Host {
            stop: CancellationToken::new(),
            host: settings.listen.host.to_string(),
            gates: gates(&settings, serve.advertise.as_deref()),
            address,
            constitution,
            served: HashMap::new(),
            servers: JoinSet::new(),
            serve: *serve,
        };
        let ended = tokio::select! {
            ended = host.run() => ended,
            () = acgs_console::stop_signal() => Ok(()),
        };
        host.end().await;
        ended.map(|()| ExitCode::SUCCESS)
    }
}

/// A process that serves versions.
struct Host {
    serve: ServeModel,
    host: String,
    gates: (Admission, Gate),
    address: String,
    constitution: Constitution,
    /// Versions and where they are reached.
    served: HashMap<String, String>,
    servers: JoinSet<Result<(), server::ServeError>>,
    stop: CancellationToken,
}

impl Host {
    async fn client(&self) -> anyhow::Result<Client> {
        let client = Client::new(channel(&self.address, self.constitution.clone()).await?);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        match (self.serve.version.clone(), self.serve.artifact.clone()) {
            (Some(version), Some(path)) => {
                let bytes =
                    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                self.open(&version, Artifact::decode(&bytes)?).await?;
                self.tell_until_told(&version).await;
                self.wait().await
            }
            (Some(version), None) => {
                let mut client = self.client().await?;
                let versions = self.versions(&mut client).await?;
                let known = versions.into_iter().find(|known| known.version == version);
                let known = known.with_context(|| format!("there is no version {version:?}"))?;
                let model = self.fetch(&mut client, &known).await?;
                self.open(&version, model).await?;
                self.tell_until_told(&version).await;
                self.wait().await
            }
            (None, _) => self.follow().await,
        }
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        match self.servers.join_next().await {
            Some(Ok(Err(error))) => Err(error.into()),
            _ => bail!("a server ended by itself"),
        }
    }

    /// Serves whatever the mesh wants warm; a mesh that goes away is waited for, and what is served stays.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let mut client = self.client().await?;
        loop {
            match self.look(&mut client).await {
                Ok(()) => tokio::time::sleep(LOOK).await,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the mesh cannot be followed; trying again");
                    tokio::time::sleep(RETRY).await;
                    if let Ok(again) = self.client().await {
                        client = again;
                    }
                }
            }
        }
    }

    async fn look(&mut self, client: &mut Client) -> anyhow::Result<()> {
        for version in self.versions(client).await? {
            let wanted = matches!(version.stage(), Stage::Champion | Stage::Candidate | Stage::Standby);
            let ours = version.artifact.as_ref().is_some_and(|artifact| artifact.format == FORMAT);
            if wanted && ours && !self.served.contains_key(&version.version) {
                let model = self.fetch(client, &version).await?;
                self.open(&version.version, model).await?;
                self.tell(client, &version.version, EndpointChange::Add).await?;
            }
        }
        Ok(())
    }

    async fn versions(&self, client: &mut Client) -> anyhow::Result<Vec<Version>> {
        let request = ListVersionsRequest { model_id: self.serve.model.clone() };
        Ok(client
            .models
            .list_versions(request)
            .await
            .map_err(|status| explain(&status))?
            .into_inner()
            .versions)
    }

    async fn fetch(&self, client: &mut Client, version: &Version) -> anyhow::Result<Artifact> {
        let artifact = version.artifact.clone().unwrap_or_default();
        ensure!(
            artifact.uri.is_empty(),
            "version {:?} is at {}, not in the mesh",
            version.version,
            artifact.uri
        );
        let bytes =
            artifacts::get(&mut client.jobs, &artifact.digest).await.map_err(|status| explain(&status))?;
        ensure!(
            sha256_hex(&bytes) == artifact.digest,
            "the file of version {:?} was changed",
            version.version
        );
        let model = Artifact::decode(&bytes)?;
        let hash = &model.constitutional_hash;
        let accepted = hash.is_empty() || self.constitution.accepts(hash);
        ensure!(accepted, "version {:?} was made under another constitution", version.version);
        Ok(model)
    }

    /// Serves a version on a port.
    async fn open(&mut self, version: &str, model: Artifact) -> anyhow::Result<()> {
        let listener = TcpListener::bind(format!("{}:{}", self.host, self.serve.port)).await?;
        let bound = listener.local_addr()?;
        let service = ModelServer::new(&self.serve.model, version, model);
        self.servers.spawn(serve(
            listener,
            service,
            self.gates.clone(),
            self.constitution.clone(),
            self.stop.clone(),
        ));
        self.served.insert(version.to_owned(), advertised(self.serve.advertise.as_deref(), bound));
        if self.serve.json {
            let served =
                json!({ "model_id": self.serve.model, "version": version, "address": bound.to_string() });
            println!("{served}");
        } else {
            println!("{} {version} answers at {bound}", self.serve.model);
        }
        Ok(())
    }

    async fn tell(&self, client: &mut Client, version: &str, change: EndpointChange) -> anyhow::Result<()> {
        let Some(endpoint) = self.served.get(version).filter(|_| !self.serve.quiet) else { return Ok(()) };
        let request = SetEndpointsRequest {
            model_id: self.serve.model.clone(),
            version: version.to_owned(),
            endpoints: vec![endpoint.clone()],
            change: change.into(),
            actor: "model-server".into(),
            ..Default::default()
        };
        client.routing.set_endpoints(request).await.map_err(|status| explain(&status))?;
        Ok(())
    }

    /// Says where a version is, however long that takes: it is served meanwhile.
    async fn tell_until_told(&self, version: &str) {
        if self.serve.quiet {
            return;
        }
        loop {
            let told = match self.client().await {
                Ok(mut client) => self.tell(&mut client, version, EndpointChange::Add).await,
                Err(error) => Err(error),
            };
            let Err(error) = told else { return };
            tracing::warn!(error = format!("{error:#}"), "the mesh was not told; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Gateways send nothing new here, then what is open may end.
    async fn end(&mut self) {
        if let (false, Ok(mut client)) = (self.serve.quiet, self.client().await) {
            for version in self.served.keys() {
                // One that has traffic and no other endpoint keeps its address: nothing better is known.
                let _kept = self.tell(&mut client, version, EndpointChange::Remove).await;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.stop.cancel();
        while self.servers.join_next().await.is_some() {}
    }
}

fn advertised(advertise: Option<&str>, bound: SocketAddr) -> String {
    match advertise {
        Some(host) if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
            host.to_owned()
        }
        Some(host) => format!("{host}:{}", bound.port()),
        None => bound.to_string(),
    }
}

/// Who may come in, and by which names.
fn gates(settings: &Settings, advertise: Option<&str>) -> (Admission, Gate) {
    let mut names = Names { hosts: settings.web.hosts.clone(), origins: settings.web.origins.clone() };
    let host = |address: &str| address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
    names.hosts.extend(advertise.map(host));
    (Admission::new(&settings.admission), Gate::new(&settings.admission, names))
}

/// Serves one version until `stop` is cancelled.
async fn serve(
    listener: TcpListener,
    service: ModelServer,
    (admission, gate): (Admission, Gate),
    constitution: Constitution,
    stop: CancellationToken,
) -> Result<(), server::ServeError> {
    let metrics = Metrics::new(constitution.clone());
    let plumbing = Plumbing {
        constitution,
        refusals: Arc::new(Refusals::default()),
        health: HealthSwitch::new(&[INFERENCE]),
        calls: metrics.add(Calls::new),
        metrics,
        clock: Arc::new(SystemClock::new()),
        home_trouble: tokio::sync::watch::Sender::default(),
        admission,
        gate,
    };
    let fields: server::Fields = Arc::new(Map::new);
    let doors = Doors {
        services: vec![INFERENCE],
        name: "model-server",
        health: Arc::clone(&fields),
        numbers: fields,
    };
    let service = GrpcInferenceServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
    server::serve(listener, Routes::new(service), plumbing, doors, stop, GRACE).await
}
