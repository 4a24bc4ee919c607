//! What the gateway costs a call, beside nginx and HAProxy on the same machine in the same run, when they are installed: CPU of the
//! hop with 64 calls at once, and the wait that it adds to a lonely call.

mod capture;
mod rig;
mod routes;

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use acgs_contracts::{
    inference::{ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient},
    lifecycle::v1::{ModelRoutes, RouteShare, RouteTable, VersionEndpoints},
};
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use rig::Echo;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use super::{Figure, cpu, processes::Process};
use acgs_server::Settings;

const MODEL: &str = "bench";
/// Calls at once.
const CALLERS: usize = 64;
/// All are measured so often, in turn.
const ROUNDS: usize = 3;
/// Connections for lonely calls in each round.
const LONELY_ROUNDS: usize = 4;
/// A hop that does not answer by then never will.
const PATIENCE: Duration = Duration::from_secs(10);

type Client = GrpcInferenceServiceClient<Channel>;

/// Something between client and server.
enum Hop {
    Ours(Process),
    Peer { child: Child, address: String },
}

impl Hop {
    fn address(&self) -> &str {
        match self {
            Self::Ours(process) => &process.address,
            Self::Peer { address, .. } => address,
        }
    }

    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        match self {
            Self::Ours(process) => process.cpu_seconds(),
            Self::Peer { child, .. } => cpu::seconds(child.id().context("it has ended")?),
        }
    }
}

/// Measures; `scale` divides the work.
pub(super) async fn measure(settings: &Settings, scale: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = hops(64_000 / scale).await?;
    figures.extend(capture::measure(settings, 64_000 / scale).await?);
    figures.extend(routes::measure(settings, 200 / scale).await?);
    Ok(figures)
}

/// So many calls in each round.
async fn hops(calls: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let server = Echo::new(0).serve().await?;
    let mut hops = vec![("gateway", ours(folder.path(), server).await?)];
    if let Some(nginx) = nginx(folder.path(), server)? {
        hops.push(("nginx", nginx));
    }
    if let Some(haproxy) = haproxy(folder.path(), server)? {
        hops.push(("HAProxy", haproxy));
    }
    let mut lonely_direct = Vec::new();
    let mut found: Vec<(Vec<f64>, Vec<f64>)> = hops.iter().map(|_| Default::default()).collect();
    for _ in 0..ROUNDS {
        for ((_, hop), (cpu, _)) in hops.iter().zip(&mut found) {
            let client = client(hop.address(), &question()).await?;
            let before = hop.cpu_seconds()?;
            crowd(&client, calls, &question()).await?;
            cpu.push((hop.cpu_seconds()? - before) * 1e6 / calls as f64);
        }
        // Which core a connection's thread is on decides whether a sleeping one has to be woken: several connections, in turn.
        for _ in 0..LONELY_ROUNDS {
            let direct = client(&server.to_string(), &question()).await?;
            lonely_direct.push(lonely(&direct, calls / 60).await?);
            for ((_, hop), (_, wait)) in hops.iter().zip(&mut found) {
                let client = client(hop.address(), &question()).await?;
                wait.push(lonely(&client, calls / 60).await?);
            }
        }
    }
    let direct_us = median(lonely_direct);
    let mut figures = vec![Figure::new("wait of a lonely call without a hop, p50", direct_us, "us")];
    let peers: Vec<(f64, f64)> =
        found.iter().map(|(cpu, wait)| (median(cpu.clone()), median(wait.clone()) - direct_us)).collect();
    for ((name, _), (cpu_us, added_us)) in hops.iter().zip(&peers) {
        figures.push(Figure::new(format!("hop CPU per call, {CALLERS} at once, {name}"), *cpu_us, "us"));
        figures.push(Figure::new(format!("wait that {name} adds to a lonely call, p50"), *added_us, "us"));
    }
    let (own_cpu, own_wait) = peers[0];
    for ((name, _), (cpu_us, added_us)) in hops.iter().zip(&peers).skip(1) {
        let cpu = Figure::new(format!("  gateway against {name}, CPU"), own_cpu / cpu_us, "ratio");
        let wait = Figure::new(format!("  gateway against {name}, wait"), own_wait / added_us, "ratio");
        match *name {
            "nginx" => figures.extend([cpu.at_most(1.0), wait.at_most(1.0)]),
            _ => figures.extend([cpu.at_most(1.5), wait]),
        }
    }
    if hops.len() < 3 {
        eprintln!("nginx and HAProxy are measured beside it when they are on PATH");
    }
    Ok(figures)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Our gateway, with routes from a snapshot: no orchestrator is needed to carry calls.
async fn ours(folder: &Path, server: SocketAddr) -> anyhow::Result<Hop> {
    let routes = ModelRoutes {
        model_id: MODEL.into(),
        epoch: 1,
        shares: vec![RouteShare { version: "v1".into(), weight: 100 }],
        endpoints: vec![VersionEndpoints { version: "v1".into(), endpoints: vec![server.to_string()] }],
        ..ModelRoutes::default()
    };
    let table = RouteTable { models: vec![routes], ..RouteTable::default() };
    let snapshot = folder.join("routes.binpb");
    std::fs::write(&snapshot, prost::Message::encode_to_vec(&table))?;
    let flags = [format!("gateway.snapshot={}", snapshot.display())];
    Ok(Hop::Ours(Process::start("gateway", &flags).await?))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A program on PATH, or where system services are.
fn program(name: &str) -> Option<std::path::PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&on_path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.exists())
}

fn spawn(program: &Path, arguments: &[&str], address: String) -> anyhow::Result<Hop> {
    let child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    Ok(Hop::Peer { child, address })
}

fn nginx(folder: &Path, server: SocketAddr) -> anyhow::Result<Option<Hop>> {
    let Some(program) = program("nginx") else { return Ok(None) };
    let (port, config) = (free_port()?, folder.join("nginx.conf"));
    let text = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/nginx.log crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0};\n\
         uwsgi_temp_path {0}; scgi_temp_path {0};\n\
         upstream server {{ server {server}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port} http2; keepalive_requests 100000000; client_max_body_size 0;\n\
         location / {{ grpc_pass grpc://server; }} }} }}\n",
        folder.display()
    );
    std::fs::write(&config, text)?;
    let config = config.display().to_string();
    Ok(Some(spawn(&program, &["-c", &config], format!("127.0.0.1:{port}"))?))
}

fn haproxy(folder: &Path, server: SocketAddr) -> anyhow::Result<Option<Hop>> {
    let Some(program) = program("haproxy") else { return Ok(None) };
    let (port, config) = (free_port()?, folder.join("haproxy.cfg"));
    let text = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend calls\n bind 127.0.0.1:{port} proto h2\n default_backend servers\n\
         backend servers\n server one {server} proto h2\n"
    );
    std::fs::write(&config, text)?;
    let config = config.display().to_string();
    Ok(Some(spawn(&program, &["-db", "-f", &config], format!("127.0.0.1:{port}"))?))
}

fn question() -> ModelInferRequest {
    ModelInferRequest { model_name: MODEL.into(), id: "a question".into(), ..Default::default() }
}

/// One connection, on which a call has been answered.
async fn client(address: &str, question: &ModelInferRequest) -> anyhow::Result<Client> {
    let since = Instant::now();
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    loop {
        let answered = match endpoint.connect().await {
            Ok(channel) => {
                let mut client = Client::new(channel);
                client.model_infer(question.clone()).await.map(|_| client).map_err(anyhow::Error::from)
            }
            Err(error) => Err(error.into()),
        };
        match answered {
            Ok(client) => return Ok(client),
            Err(error) if since.elapsed() > PATIENCE => return Err(error.context(address.to_owned())),
            Err(_not_yet) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn crowd(client: &Client, calls: usize, question: &ModelInferRequest) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (mut client, question) = (client.clone(), question.clone());
        tasks.spawn(async move {
            for _ in 0..calls / CALLERS {
                client.model_infer(question.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The median wait of one call after the other, in microseconds.
async fn lonely(client: &Client, calls: usize) -> anyhow::Result<f64> {
    let mut client = client.clone();
    let mut waits = Histogram::<u64>::new(3)?;
    for _ in 0..calls {
        let since = Instant::now();
        let answer = client.model_infer(question()).await?.into_inner();
        waits.record(since.elapsed().as_nanos() as u64)?;
        ensure!(answer.id == "a question", "another answer");
    }
    Ok(waits.value_at_quantile(0.5) as f64 / 1_000.0)
}
