//! A worker of the mesh: it takes retraining jobs, trains with the trainers that ship, and brings back versions. It must not know
//! why a job is there, or what becomes of a version.

use std::{collections::BTreeMap, time::Duration};

use acgs_client::{LifecycleClients, artifacts};
use acgs_columns::{RecordBatch, Schema};
use acgs_contracts::lifecycle::v1::{
    Artifact as ArtifactMessage, Assignment, Completed, DataPart, Failed, Heartbeat, Hello,
    ReadDatasetRequest, Ready, Scores, Started, WorkRequest, WorkResponse, work_request::Message as Say,
    work_response::Message as Told,
};
use acgs_interchange::from_parquet;
use acgs_mesh::client::MeshChannel;
use acgs_trainers::{Artifact, Family, TrainError, Wishes, train};
use acgs_vocabulary::{Constitution, constitution::sha256_hex};
use anyhow::{Context, anyhow, bail};
use std::sync::Arc;
use tokio::{sync::mpsc, time::interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use acgs_console::connect::explain;

/// The trainers that it has.
pub const TRAINERS: [&str; 2] = ["logistic", "linear"];
/// Messages that wait to be sent.
const OUTGOING_MAX: usize = 16;
/// Largest message received.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The server answers by then.
const PATIENCE: Duration = Duration::from_secs(60);

type Client = LifecycleClients<MeshChannel>;
type Table = (Arc<Schema>, Vec<RecordBatch>);

/// What a worker did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A version was handed in for the job.
    Trained {
        /// The job.
        job_id: String,
        /// The model.
        model_id: String,
        /// Records that it was trained on.
        rows: u64,
    },
    /// The job could not be done, or was taken away.
    Failed {
        /// The job.
        job_id: String,
        /// A reason for people; kept in the log.
        why: String,
    },
}

/// A worker with its stream.
#[derive(Debug)]
pub struct Worker {
    client: Client,
    constitution: Constitution,
    out: mpsc::Sender<WorkRequest>,
    incoming: Streaming<WorkResponse>,
    heartbeat: Duration,
}

/// The job is gone, or the stream.
enum Trouble {
    /// The job is not ours any more.
    Revoked(String),
    /// It cannot be done; whether another attempt may do better.
    Job { retryable: bool, why: String },
    /// The stream.
    Stream(anyhow::Error),
}

impl From<TrainError> for Trouble {
    fn from(error: TrainError) -> Self {
        Self::Job { retryable: false, why: error.to_string() }
    }
}

impl Worker {
    /// Says who it is.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn join(
        channel: MeshChannel,
        constitution: Constitution,
        worker_id: &str,
    ) -> anyhow::Result<Self> {
        let mut client = Client::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (out, messages) = mpsc::channel(OUTGOING_MAX);
        let trainers = TRAINERS.iter().map(ToString::to_string).collect();
        let hello = Say::Hello(Hello { worker_id: worker_id.to_owned(), trainers });
        out.send(WorkRequest { message: Some(hello) }).await.context("the stream is closed")?;
        let answer = client.jobs.work(ReceiverStream::new(messages)).await;
        let mut incoming = answer.map_err(|status| explain(&status))?.into_inner();
        let first =
            tokio::time::timeout(PATIENCE, incoming.message()).await.context("the server is silent")?;
        let Some(Told::Welcome(welcome)) =
            first.map_err(|status| explain(&status))?.and_then(|message| message.message)
        else {
            bail!("the server did not welcome the worker");
        };
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms.max(1) as u64);
        Ok(Self { client, constitution, out, incoming, heartbeat })
    }

    async fn say(&self, message: Say) -> Result<(), Trouble> {
        let sent = self.out.send(WorkRequest { message: Some(message) }).await;
        sent.map_err(|_| Trouble::Stream(anyhow!("the stream is closed")))
    }

    async fn hear(&mut self) -> Result<Told, Trouble> {
        match self.incoming.message().await {
            Ok(Some(WorkResponse { message: Some(message) })) => Ok(message),
            Ok(_) => Err(Trouble::Stream(anyhow!("the server has ended the stream"))),
            Err(status) => Err(Trouble::Stream(explain(&status))),
        }
    }

    /// Waits for a job and does it.
    ///
    /// # Errors
    /// When the stream is lost.
    pub async fn next(&mut self) -> anyhow::Result<Done> {
        self.say(Say::Ready(Ready {})).await.map_err(stream_trouble)?;
        let assignment = loop {
            match self.hear().await.map_err(stream_trouble)? {
                Told::Assignment(assignment) => break assignment,
                // Of a job before.
                _ => continue,
            }
        };
        let (job_id, fence) = (assignment.job_id.clone(), assignment.fence);
        tracing::info!(job = job_id, model = assignment.model_id, trainer = assignment.trainer, "a job");
        match self.work(&assignment).await {
            Ok(rows) => Ok(Done::Trained { job_id, model_id: assignment.model_id, rows }),
            Err(Trouble::Revoked(why)) => Ok(Done::Failed { job_id, why }),
            Err(Trouble::Job { retryable, why }) => {
                let failed = Failed { job_id: job_id.clone(), fence, retryable, why: why.clone() };
                self.say(Say::Failed(failed)).await.map_err(stream_trouble)?;
                let _taken_or_revoked = self.hear().await.map_err(stream_trouble)?;
                Ok(Done::Failed { job_id, why })
            }
            Err(Trouble::Stream(error)) => Err(error),
        }
    }

    async fn work(&mut self, job: &Assignment) -> Result<u64, Trouble> {
        let (job_id, fence) = (job.job_id.clone(), job.fence);
        self.say(Say::Started(Started { job_id: job_id.clone(), fence })).await?;
        self.await_taken(&job_id).await?;
        let family = match job.trainer.as_str() {
            "logistic" => Family::Logistic,
            "linear" => Family::Linear,
            other => return Err(Trouble::Job { retryable: false, why: format!("no trainer {other:?}") }),
        };
        let given: BTreeMap<String, String> = job.hyperparameters.clone().into_iter().collect();
        let wishes = Wishes::parse(&given)?;
        let records = self.fetch(job, DataPart::Train).await?;
        let first = self.alive(job, fit(family, wishes, records)).await?;
        let holdout = self.fetch(job, DataPart::Holdout).await?;
        let scores = first.score(&holdout.1);
        self.say(Say::Scores(Scores { job_id: job_id.clone(), fence, scores })).await?;
        match self.hear().await? {
            Told::Scored(_) => {}
            Told::Revoked(revoked) => return Err(Trouble::Revoked(revoked.message)),
            other => return Err(Trouble::Stream(anyhow!("{other:?} instead of an answer to the scores"))),
        }
        let (mut artifact, data) = match &job.refit {
            Some(data) => {
                let records = self.fetch(job, DataPart::Refit).await?;
                (self.alive(job, fit(family, wishes, records)).await?, data)
            }
            None => (first, job.train.as_ref().unwrap_or(&NO_DATA)),
        };
        artifact.constitutional_hash = self.constitution.current().to_owned();
        artifact.data_digest.clone_from(&data.digest);
        let rows = artifact.rows;
        let artifact = self.upload(&artifact).await?;
        let completed = Completed {
            job_id: job_id.clone(),
            fence,
            artifact: Some(artifact),
            data_digest: data.digest.clone(),
            metrics: [("rows".to_owned(), rows as f64)].into(),
            evidence: Vec::new(),
            constitutional_hash: self.constitution.current().to_owned(),
        };
        self.say(Say::Completed(completed)).await?;
        self.await_taken(&job_id).await?;
        Ok(rows)
    }

    async fn await_taken(&mut self, job: &str) -> Result<(), Trouble> {
        match self.hear().await? {
            Told::Taken(taken) if taken.job_id == job => Ok(()),
            Told::Revoked(revoked) => Err(Trouble::Revoked(revoked.message)),
            other => Err(Trouble::Stream(anyhow!("{other:?} instead of an answer"))),
        }
    }

    /// Says that it is alive while a computation runs, and gives it up when the job is taken away.
    async fn alive(
        &mut self,
        job: &Assignment,
        computation: impl Future<Output = Result<Artifact, Trouble>>,
    ) -> Result<Artifact, Trouble> {
        let mut beats = interval(self.heartbeat);
        tokio::pin!(computation);
        loop {
            tokio::select! {
                done = &mut computation => return done,
                _ = beats.tick() => {
                    let heartbeat = Heartbeat { job_id: job.job_id.clone(), fence: job.fence };
                    self.say(Say::Heartbeat(heartbeat)).await?;
                }
                told = self.incoming.message() => match told {
                    Ok(Some(WorkResponse { message: Some(Told::Revoked(revoked)) })) => {
                        return Err(Trouble::Revoked(revoked.message));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return Err(Trouble::Stream(anyhow!("the server has ended the stream"))),
                    Err(status) => return Err(Trouble::Stream(explain(&status))),
                },
            }
        }
    }

    async fn fetch(&mut self, job: &Assignment, part: DataPart) -> Result<Table, Trouble> {
        let request = ReadDatasetRequest { job_id: job.job_id.clone(), fence: job.fence, part: part.into() };
        let lost = |status: tonic::Status| match status.code() {
            tonic::Code::FailedPrecondition => Trouble::Revoked(status.message().to_owned()),
            _ => {
                Trouble::Job { retryable: true, why: format!("the data cannot be had: {}", status.message()) }
            }
        };
        let mut pieces = self.client.jobs.read_dataset(request).await.map_err(lost)?.into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.message().await.map_err(lost)? {
            bytes.extend_from_slice(&piece.chunk);
        }
        let digest = match part {
            DataPart::Train => job.train.as_ref(),
            DataPart::Holdout => job.holdout.as_ref(),
            _ => job.refit.as_ref(),
        };
        if digest.is_none_or(|data| data.digest != sha256_hex(&bytes)) {
            return Err(Trouble::Job { retryable: true, why: "the data are not what the job names".into() });
        }
        from_parquet(bytes.into()).map_err(|error| Trouble::Job { retryable: false, why: error.to_string() })
    }

    async fn upload(&mut self, artifact: &Artifact) -> Result<ArtifactMessage, Trouble> {
        let fatal = |why: String| Trouble::Job { retryable: false, why };
        let bytes = artifact.encode().map_err(|error| fatal(error.to_string()))?;
        let put = artifacts::put(&mut self.client.jobs, &bytes, &artifact.format).await;
        put.map_err(|status| Trouble::Job { retryable: true, why: status.message().to_owned() })
    }
}

static NO_DATA: acgs_contracts::lifecycle::v1::DataWindow =
    acgs_contracts::lifecycle::v1::DataWindow { from_ms: 0, until_ms: 0, rows: 0, digest: String::new() };

async fn fit(family: Family, wishes: Wishes, (schema, batches): Table) -> Result<Artifact, Trouble> {
    let fitted = tokio::task::spawn_blocking(move || train(family, wishes, &schema, &batches)).await;
    let lost = |error: tokio::task::JoinError| Trouble::Job { retryable: true, why: error.to_string() };
    Ok(fitted.map_err(lost)??)
}

fn stream_trouble(trouble: Trouble) -> anyhow::Error {
    match trouble {
        Trouble::Stream(error) => error,
        Trouble::Revoked(why) | Trouble::Job { why, .. } => anyhow!(why),
    }
}
