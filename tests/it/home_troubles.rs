//! A home that takes no writes: health says so while it lasts, and what was acknowledged is there afterwards.

use std::{net::SocketAddr, time::Duration};

use acgs_contracts::lifecycle::v1::{ListModelsRequest, RegisterModelRequest};
use acgs_mesh::client::MeshChannel;
use acgs_tests::{
    fleet::{Process, constitution},
    http::request,
    nats::Nats,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tonic::Code;

type Client = acgs_client::LifecycleClients<MeshChannel>;

async fn client(address: SocketAddr) -> Client {
    let channel = acgs_mesh::client::connect(&format!("http://{address}"), constitution()).await;
    Client::new(channel.expect("a connection"))
}

async fn register(client: &mut Client, model_id: String) -> Result<(), tonic::Status> {
    let model_name = "x".repeat(100);
    client
        .models
        .register_model(RegisterModelRequest { model_id, model_name, ..Default::default() })
        .await
        .map(drop)
}

async fn health(address: SocketAddr) -> (u16, String) {
    let told = request(address, "GET", "/health", &[], "").await;
    (told.status.as_u16(), told.text())
}

/// Whether `acgs probe` finds it well.
async fn probed(address: SocketAddr) -> bool {
    let mut probe = tokio::process::Command::new(acgs_tests::binary());
    probe.args(["probe", &address.to_string(), "--timeout-ms", "20000"]).env("LOG_LEVEL", "error");
    probe.output().await.expect("runs").status.success()
}

async fn until_health(address: SocketAddr, status: u16) -> String {
    let told = async {
        loop {
            let (found, told) = health(address).await;
            if found == status {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(acgs_tests::PATIENCE, told).await.expect("health changes")
}

fn open_files(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64
}

fn limit_files(pid: u32, files: u64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(files), maximum: Some(4_096) }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_could_open_no_file_goes_on_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let flags = [
        format!("home.folder={}", home.path().join("events").display()),
        "admission.connections_max=64".to_owned(),
    ];
    let (process, _) = Process::limited(4_096, &flags).await;
    let mut client = client(process.address).await;
    register(&mut client, "first".into()).await.unwrap();
    limit_files(process.pid(), open_files(process.pid()) + 1);
    let mut known = 1;
    let refused = loop {
        match register(&mut client, format!("m{known}")).await {
            Ok(()) => known += 1,
            Err(status) => break status,
        }
        assert!(known < 50_000, "the store needs no more files");
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    limit_files(process.pid(), 4_096);
    // No restart, and all that was acknowledged.
    until_health(process.address, 200).await;
    while register(&mut client, "after".into()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut found = std::collections::HashSet::new();
    let mut after = String::new();
    loop {
        let request = ListModelsRequest { limit: 1_000, after };
        let page = client.models.list_models(request).await.unwrap().into_inner();
        let Some(last) = page.models.last() else { break };
        after = last.model_id.clone();
        found.extend(page.models.into_iter().map(|model| model.model_id));
    }
    assert!((1..known).all(|number| found.contains(&format!("m{number}"))), "{} of {known}", found.len());
    assert!(process.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_before_it_is_full() {
    let home = tempfile::tempdir().unwrap();
    let flags = [
        format!("home.folder={}", home.path().join("events").display()),
        format!("home.free_bytes_min={}", 1_u64 << 60),
    ];
    let (process, _) = Process::limited(4_096, &flags).await;
    let told = until_health(process.address, 503).await;
    assert!(told.contains("home.free_bytes_min"), "{told}");
    assert!(!probed(process.address).await, "a probe says what /health says");
    let refused = register(&mut client(process.address).await, "m".into()).await.unwrap_err();
    assert_eq!(
        (refused.code(), acgs_tests::reason(&refused).0.as_str()),
        (Code::ResourceExhausted, "HOME_FULL")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_lost_its_journal_is_not_started_without_models() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("events");
    let flags = [format!("home.folder={}", folder.display())];
    let (process, _) = Process::limited(4_096, &flags).await;
    register(&mut client(process.address).await, "m".into()).await.unwrap();
    // Killed at once: it has no last word.
    process.kill().await;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "jnl") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut command = tokio::process::Command::new(acgs_tests::binary());
    command.args(["serve", "all", "--set", &flags[0]]).env("LOG_LEVEL", "error").env_remove("NATS_URL");
    for service in ["quality", "drift", "performance", "orchestrator", "gateway"] {
        command.args(["--set", &format!("listen.{service}=0")]);
    }
    let ended = tokio::time::timeout(acgs_tests::PATIENCE, command.kill_on_drop(true).output()).await;
    let ended = ended.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success());
    assert!(told.contains("journal") && told.contains(&folder.display().to_string()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_whether_nats_takes_writes() {
    let mut nats = Nats::start_small(24 << 20).await;
    let flags = [
        format!("nats.url={}", nats.url()),
        "home.records_bytes_max=1048576".to_owned(),
        "home.folder=none".to_owned(),
    ];
    let (process, _) = Process::limited(4_096, &flags).await;
    until_health(process.address, 200).await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let fill = async_nats::jetstream::stream::Config {
        name: "FILL".into(),
        subjects: vec!["fill".into()],
        ..Default::default()
    };
    context.create_stream(fill).await.unwrap();
    // Until it takes no more.
    loop {
        let sent = context.publish("fill", vec![7; 512 << 10].into()).await.unwrap();
        if sent.await.is_err() {
            break;
        }
    }
    until_health(process.address, 503).await;
    assert!(!probed(process.address).await);
    context.delete_stream("FILL").await.unwrap();
    until_health(process.address, 200).await;
    nats.lose_store().await;
    until_health(process.address, 503).await;
    nats.start_again().await;
    until_health(process.address, 200).await;
    register(&mut client(process.address).await, "m".into()).await.unwrap();
}
