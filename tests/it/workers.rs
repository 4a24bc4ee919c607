//! A worker that does what a test says, and what tests of jobs share.

use std::time::{Duration, Instant};

use acgs_client::LifecycleClients;
use acgs_contracts::{
    lifecycle::v1::{
        self as proto, Assignment, DataPart, Job, JobState, PutArtifactRequest, ReadDatasetRequest, Revoked,
        WorkRequest, WorkResponse, put_artifact_request, work_request::Message as Say,
        work_response::Message as Told,
    },
    orchestrator::v1::{
        Durability, orchestrator_service_client::OrchestratorServiceClient, stream_windows_response,
    },
};
use acgs_mesh::client::MeshChannel;
use acgs_tests::{Mesh, PATIENCE, Stream, labels, open, rows};
use acgs_vocabulary::constitution::{PLATFORM, sha256_hex};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

pub(crate) type Client = LifecycleClients<MeshChannel>;

pub(crate) const UNTIL_MS: i64 = 600_000;

/// A worker that says what the test wants.
pub(crate) struct Fake {
    out: mpsc::Sender<WorkRequest>,
    incoming: Streaming<WorkResponse>,
}

impl Fake {
    pub(crate) async fn join(client: &mut Client, id: &str) -> Result<Self, Status> {
        let (out, messages) = mpsc::channel(16);
        let trainers = vec!["logistic".to_owned()];
        let hello = Say::Hello(proto::Hello { worker_id: id.into(), trainers });
        out.send(WorkRequest { message: Some(hello) }).await.unwrap();
        let mut incoming = client.jobs.work(ReceiverStream::new(messages)).await?.into_inner();
        let welcome = incoming.message().await?.and_then(|message| message.message);
        assert!(matches!(welcome, Some(Told::Welcome(welcome)) if welcome.lease_ms > welcome.heartbeat_ms));
        Ok(Self { out, incoming })
    }

    pub(crate) async fn say(&self, message: Say) {
        self.out.send(WorkRequest { message: Some(message) }).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Result<Told, Status> {
        let told =
            tokio::time::timeout(PATIENCE, self.incoming.message()).await.expect("an answer in time")?;
        Ok(told.and_then(|told| told.message).expect("an answer"))
    }

    pub(crate) async fn assignment(&mut self) -> Assignment {
        self.say(Say::Ready(proto::Ready {})).await;
        match self.hear().await.unwrap() {
            Told::Assignment(assignment) => assignment,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn taken(&mut self, message: Say) {
        self.say(message).await;
        let told = self.hear().await.unwrap();
        assert!(matches!(told, Told::Taken(_)), "{told:?}");
    }

    pub(crate) async fn revoked(&mut self, message: Say) -> Revoked {
        self.say(message).await;
        match self.hear().await.unwrap() {
            Told::Revoked(revoked) => revoked,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn started(job: &Assignment) -> Say {
    Say::Started(proto::Started { job_id: job.job_id.clone(), fence: job.fence })
}

pub(crate) fn scores(job: &Assignment, value: f64) -> Say {
    let scores = vec![value; job.holdout.as_ref().unwrap().rows as usize];
    Say::Scores(proto::Scores { job_id: job.job_id.clone(), fence: job.fence, scores })
}

pub(crate) fn completed(job: &Assignment, digest: &str) -> Say {
    let artifact = proto::Artifact { digest: digest.into(), format: "test/1".into(), ..Default::default() };
    let data = job.refit.as_ref().or(job.train.as_ref()).unwrap();
    Say::Completed(proto::Completed {
        job_id: job.job_id.clone(),
        fence: job.fence,
        artifact: Some(artifact),
        data_digest: data.digest.clone(),
        constitutional_hash: PLATFORM.into(),
        ..Default::default()
    })
}

/// A model with a policy and ten minutes of labelled records: `y` is 1 where `x` is large.
pub(crate) async fn prepare(channel: MeshChannel, policy: &str) -> Client {
    let mut client = Client::new(channel.clone());
    let model = proto::RegisterModelRequest { model_id: "m".into(), ..Default::default() };
    client.models.register_model(model).await.unwrap();
    let document = Some(proto::PolicyDocument { toml: policy.into() });
    let put = proto::PutPolicyRequest { model_id: "m".into(), document, ..Default::default() };
    client.models.put_policy(put).await.unwrap();
    let mut wanted = open("records", UNTIL_MS);
    (wanted.model_id, wanted.durability) = ("m".into(), Durability::Log.into());
    let mut stream = Stream::open(OrchestratorServiceClient::new(channel), wanted).await.unwrap();
    let times: Vec<i64> = (0..UNTIL_MS).step_by(1_000).collect();
    let batch = rows(0, &times, 0.0);
    let late = |row: usize| f64::from(u8::from(batch.columns()[2].number(row).unwrap() > 2.0));
    let truth: Vec<(i64, f64)> = (0..times.len()).map(|row| (row as i64, late(row))).collect();
    stream.rows(1, &batch).await;
    stream.labels(2, &labels(&truth)).await;
    loop {
        match stream.next().await.unwrap().unwrap() {
            stream_windows_response::Message::Accepted(accepted) if accepted.through_seq == 2 => {
                return client;
            }
            _ => {}
        }
    }
}

pub(crate) async fn prepared(flags: &[&str], policy: &str) -> (Mesh, Client) {
    let mesh = Mesh::start_with(flags).await;
    let channel = mesh.channel(mesh.running.addresses.orchestrator).await;
    let client = prepare(channel, policy).await;
    (mesh, client)
}

pub(crate) async fn request(client: &mut Client, id: &str) -> Job {
    let request = proto::RequestRetrainingRequest {
        model_id: "m".into(),
        why: "a test".into(),
        request_id: id.into(),
        event_time_ms: Some(UNTIL_MS),
        override_limits: true,
        actor: "ann".into(),
        ..Default::default()
    };
    client.jobs.request_retraining(request).await.unwrap().into_inner().job.unwrap()
}

pub(crate) async fn job(client: &mut Client, id: &str) -> Job {
    client.jobs.get_job(proto::GetJobRequest { job_id: id.into() }).await.unwrap().into_inner().job.unwrap()
}

pub(crate) async fn wait_for(client: &mut Client, id: &str, wanted: JobState) -> Job {
    let since = Instant::now();
    loop {
        let request = proto::GetJobRequest { job_id: id.into() };
        match client.jobs.get_job(request).await {
            Ok(found) => {
                let found = found.into_inner().job.unwrap();
                if found.state() == wanted {
                    return found;
                }
                assert!(
                    since.elapsed() < PATIENCE,
                    "{id} is {:?}, not {wanted:?}: {}",
                    found.state(),
                    found.why
                );
            }
            // Another orchestrator may not have read of it yet.
            Err(status) => {
                assert!(status.code() == Code::NotFound && since.elapsed() < PATIENCE, "{status:?}")
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn put(
    client: &mut Client,
    digest: &str,
    size_bytes: u64,
    bytes: &[u8],
) -> Result<(), Status> {
    let header = proto::ArtifactHeader { digest: digest.into(), size_bytes };
    let mut messages = vec![put_artifact_request::Message::Header(header)];
    messages.extend(bytes.chunks(1 << 20).map(|chunk| put_artifact_request::Message::Chunk(chunk.to_vec())));
    let messages = messages.into_iter().map(|message| PutArtifactRequest { message: Some(message) });
    client.jobs.put_artifact(tokio_stream::iter(messages)).await.map(|_| ())
}

pub(crate) async fn upload(client: &mut Client, bytes: &[u8]) -> String {
    let digest = sha256_hex(bytes);
    put(client, &digest, bytes.len() as u64, bytes).await.unwrap();
    digest
}

pub(crate) async fn dataset(
    client: &mut Client,
    job: &Assignment,
    part: DataPart,
) -> Result<Vec<u8>, Status> {
    let request = ReadDatasetRequest { job_id: job.job_id.clone(), fence: job.fence, part: part.into() };
    let mut pieces = client.jobs.read_dataset(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        bytes.extend_from_slice(&piece.chunk);
    }
    Ok(bytes)
}
