//! Real processes that die while a model is retrained: the orchestrator at every state of a job, the worker in training, NATS for
//! a while. No job is lost, none is done twice, no version is half registered.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use acgs_contracts::lifecycle::v1::{
    self as proto, Assignment, JobState, Stage, work_response::Message as Told,
};
use acgs_mesh::client::connect;
use acgs_tests::{
    PATIENCE, POLICY, binary,
    fleet::{Process, constitution},
    nats::Nats,
};
use tokio::process::{Child, Command};

use crate::workers::{Client, Fake, completed, job, prepare, request, scores, started, upload, wait_for};

/// An orchestrator that is killed and started again, on the same home and port.
struct Mortal {
    process: Option<Process>,
    flags: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Mortal {
    async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![format!("home.folder={}", folder.path().join("events").display())];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let process = Some(Process::start("orchestrator", 0, &all).await);
        Self { process, flags: all, _folder: folder }
    }

    async fn client(&self) -> Client {
        let address = self.process.as_ref().unwrap().address;
        Client::new(connect(&format!("http://{address}"), constitution()).await.unwrap())
    }

    async fn prepared(&self, policy: &str) -> Client {
        let address = self.process.as_ref().unwrap().address;
        prepare(connect(&format!("http://{address}"), constitution()).await.unwrap(), policy).await
    }

    /// SIGKILL, and up again.
    async fn die(&mut self) -> Client {
        let process = self.process.take().unwrap();
        let port = process.address.port();
        process.kill().await;
        self.process = Some(Process::start("orchestrator", port, &self.flags).await);
        self.client().await
    }
}

/// What is there at the end: one version of one job that serves, and nothing half judged.
async fn check_end(client: &mut Client, served: &str) {
    let list = proto::ListVersionsRequest { model_id: "m".into() };
    let versions = client.models.list_versions(list).await.unwrap().into_inner().versions;
    let champions: Vec<&str> = versions
        .iter()
        .filter(|version| version.stage() == Stage::Champion)
        .map(|version| version.version.as_str())
        .collect();
    assert_eq!(champions, [served]);
    let half = versions.iter().filter(|version| {
        matches!(version.stage(), Stage::Registered | Stage::Validating | Stage::Candidate)
    });
    assert_eq!(half.count(), 0, "{versions:#?}");
    let list = proto::ListJobsRequest { states: vec![JobState::Succeeded.into()], ..Default::default() };
    let jobs = client.jobs.list_jobs(list).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
}

async fn scored(fake: &mut Fake, job: &Assignment) {
    fake.say(scores(job, 0.5)).await;
    let told = fake.hear().await.unwrap();
    assert!(matches!(told, Told::Scored(_)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_orchestrator_is_killed_at_every_state_of_a_job() {
    let mut orchestrator =
        Mortal::start(&["lifecycle.backoff_ms=20000", "lifecycle.backoff_ms_max=20000"]).await;
    let manual = "[triggers.manual]\nmode = \"approve\"\ncoalesce_ms = 1000";
    let policy = POLICY.replace("[triggers.manual]\nmode = \"auto\"", manual);
    let mut client = orchestrator.prepared(&policy).await;
    assert_eq!(request(&mut client, "1").await.state(), JobState::Observed);

    // It may be over with coalescing by the time it is up again.
    client = orchestrator.die().await;
    wait_for(&mut client, "job-1", JobState::Queued).await;

    client = orchestrator.die().await;
    assert_eq!(job(&mut client, "job-1").await.state(), JobState::Queued);
    let mut fake = Fake::join(&mut client, "w").await.unwrap();
    let first = fake.assignment().await;

    client = orchestrator.die().await;
    assert_eq!(job(&mut client, "job-1").await.state(), JobState::Leased);
    // The worker comes back with the fence that it has.
    let mut fake = Fake::join(&mut client, "w").await.unwrap();
    fake.taken(started(&first)).await;
    let failed = proto::Failed {
        job_id: first.job_id.clone(),
        fence: first.fence,
        retryable: true,
        why: "a disk is full".into(),
    };
    fake.taken(proto::work_request::Message::Failed(failed)).await;

    client = orchestrator.die().await;
    let waits = job(&mut client, "job-1").await;
    assert_eq!((waits.state(), waits.attempt, waits.why.as_str()), (JobState::Backoff, 1, "a disk is full"));
    orchestrator.flags.push("lifecycle.queue_ms=86400000".into());
    let mut fake = Fake::join(&mut client, "w").await.unwrap();
    let second = fake.assignment().await;
    assert!(second.fence > first.fence);
    fake.taken(started(&second)).await;
    scored(&mut fake, &second).await;

    client = orchestrator.die().await;
    assert_eq!(job(&mut client, "job-1").await.state(), JobState::Running);
    let fake = Fake::join(&mut client, "w").await.unwrap();
    let digest = upload(&mut client, b"a model").await;
    // It dies while it judges, or just after: the restarted one judges, or has judged.
    fake.say(completed(&second, &digest)).await;
    while job(&mut client, "job-1").await.state() == JobState::Running {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client = orchestrator.die().await;
    wait_for(&mut client, "job-1", JobState::AwaitingApproval).await;

    client = orchestrator.die().await;
    assert_eq!(job(&mut client, "job-1").await.state(), JobState::AwaitingApproval);
    let approve = proto::ApproveJobRequest {
        job_id: "job-1".into(),
        approved: true,
        actor: "bob".into(),
        ..Default::default()
    };
    client.jobs.approve_job(approve).await.unwrap();

    client = orchestrator.die().await;
    let over = job(&mut client, "job-1").await;
    assert_eq!(over.state(), JobState::Succeeded);
    check_end(&mut client, &over.version).await;
    // A result that is sent once more is refused, whoever asks.
    let mut fake = Fake::join(&mut client, "w").await.unwrap();
    fake.say(completed(&second, &digest)).await;
    let told = fake.hear().await.unwrap();
    assert!(matches!(told, Told::Revoked(_)), "{told:?}");
}

fn worker(address: std::net::SocketAddr, id: &str) -> Child {
    let address = address.to_string();
    let mut command = Command::new(binary());
    command.args(["worker", "--address", &address, "--id", id, "--json"]).env("LOG_LEVEL", "error");
    command.stdout(Stdio::null()).kill_on_drop(true).spawn().expect("starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_killed_in_training_and_another_does_it_once() {
    let mut orchestrator = Mortal::start(&["lifecycle.lease_ms=600", "lifecycle.backoff_ms=1"]).await;
    let mut client = orchestrator.prepared(POLICY).await;
    let address = orchestrator.process.as_ref().unwrap().address;
    // It stops as soon as it has the job, and dies so.
    let mut first = worker(address, "first");
    request(&mut client, "1").await;
    let since = Instant::now();
    while !matches!(job(&mut client, "job-1").await.state(), JobState::Leased | JobState::Running) {
        assert!(since.elapsed() < PATIENCE && job(&mut client, "job-1").await.state() != JobState::Succeeded);
    }
    first.kill().await.unwrap();
    let second = worker(address, "second");
    let over = wait_for(&mut client, "job-1", JobState::Succeeded).await;
    check_end(&mut client, &over.version).await;
    drop(second);
    client = orchestrator.die().await;
    check_end(&mut client, &over.version).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_orchestrators_share_models_and_one_goes_on_without_the_other() {
    let mut nats = Nats::start().await;
    let flags = vec![format!("nats.url={}", nats.url()), "drain.grace_ms=3000".into()];
    let first = Process::start("orchestrator", 0, &flags).await;
    let second = Process::start("orchestrator", 0, &flags).await;
    let channel = async |process: &Process| {
        connect(&format!("http://{}", process.address), constitution()).await.unwrap()
    };
    let mut one = prepare(channel(&first).await, POLICY).await;
    let mut other = Client::new(channel(&second).await);
    request(&mut one, "1").await;
    wait_for(&mut other, "job-1", JobState::Queued).await;
    // Both write at once: nothing is decided twice.
    let freeze = |frozen| proto::SetFreezeRequest {
        model_id: "m".into(),
        frozen,
        why: "a race".into(),
        actor: "ann".into(),
        ..Default::default()
    };
    for round in 0..20 {
        let (here, there) =
            tokio::join!(async { request(&mut one.clone(), &format!("a{round}")).await }, async {
                other.clone().models.set_freeze(freeze(round % 2 == 0)).await
            });
        assert!(here.state() == JobState::Suppressed, "{here:?}");
        there.unwrap();
    }
    let mut fake = Fake::join(&mut other, "w").await.unwrap();
    let given = fake.assignment().await;
    fake.taken(started(&given)).await;
    first.kill().await;
    scored(&mut fake, &given).await;

    // NATS is away for a while: what is asked is answered as unavailable, and goes on afterwards.
    let away =
        std::env::var("ACGS_TEST_NATS_AWAY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    nats.kill().await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(away) {
        let refused = other.models.set_freeze(freeze(true)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    nats.start_again().await;
    let since = Instant::now();
    let digest = loop {
        let bytes = b"a model";
        let digest = acgs_vocabulary::constitution::sha256_hex(bytes);
        if crate::workers::put(&mut other, &digest, bytes.len() as u64, bytes).await.is_ok() {
            break digest;
        }
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // A freeze that was answered as unavailable may be written all the same, also now, and nothing goes into service under it: after another
    // entry it cannot be any more.
    other.models.set_freeze(freeze(true)).await.unwrap();
    other.models.set_freeze(freeze(false)).await.unwrap();
    let mut fake = Fake::join(&mut other, "w").await.unwrap();
    fake.taken(completed(&given, &digest)).await;
    let over = wait_for(&mut other, "job-1", JobState::Succeeded).await;
    check_end(&mut other, &over.version).await;
}
