//! `Work`: one worker's stream. It is given jobs when it is free, and what it says about a job counts only with the job's fence.

use std::{pin::Pin, sync::Arc, time::Duration};

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{
    Answer, Command,
    command::{Held, Trained},
    event::{Artifact, Plan},
    job::JobState,
    model::Job,
};
use acgs_vocabulary::{Problem, names, ports::PortError, problem::Kind};
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use super::{ModelsDeps, checks, messages};
use crate::job_files::scores_key;

/// What waits for a worker.
const TOLD_MAX: usize = 16;
/// A worker says who it is by then.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A free worker is looked after at least this often.
const LOOK: Duration = Duration::from_millis(250);
/// Most scores of one message.
const SCORES_MAX: usize = 1_500_000;
const TRAINERS_MAX: usize = 64;

/// What a worker is told.
pub(super) type Told = Pin<Box<dyn Stream<Item = Result<proto::WorkResponse, Status>> + Send>>;

use proto::{work_request::Message as Said, work_response::Message as Tell};

/// Serves a worker until it leaves.
///
/// # Errors
/// When it does not say who it is.
pub(super) async fn run(
    deps: ModelsDeps,
    mut incoming: Streaming<proto::WorkRequest>,
) -> Result<Told, Status> {
    let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.next()).await;
    let first = first.map_err(|_| Problem::field("hello", "HELLO_FIRST", "did not come in time"))?;
    let Some(Said::Hello(hello)) = first.transpose()?.and_then(|message| message.message) else {
        return Err(Problem::field("message", "HELLO_FIRST", "the first message is `hello`").into());
    };
    checks::name("hello.worker_id", &hello.worker_id)?;
    let named = |trainer: &String| names::check("hello.trainers", trainer, 1).is_ok();
    if !(1..=TRAINERS_MAX).contains(&hello.trainers.len()) || !hello.trainers.iter().all(named) {
        let message =
            format!("are not 1 to {TRAINERS_MAX} names of 1 to 128 bytes without control characters");
        return Err(Problem::field("hello.trainers", "BAD_NAME", message).into());
    }
    let (out, told) = mpsc::channel(TOLD_MAX);
    let welcome = Tell::Welcome(proto::Welcome {
        lease_ms: deps.limits.lease_ms,
        heartbeat_ms: (deps.limits.lease_ms / 3).max(1),
    });
    let session =
        Session { deps, worker: hello.worker_id, trainers: hello.trainers, out, holds: None, free: false };
    tokio::spawn(session.serve(incoming, welcome));
    Ok(Box::pin(ReceiverStream::new(told)))
}

struct Session {
    deps: ModelsDeps,
    worker: String,
    trainers: Vec<String>,
    out: mpsc::Sender<Result<proto::WorkResponse, Status>>,
    /// The job that was given on this stream, with its fence.
    holds: Option<(u64, u64)>,
    free: bool,
}

/// The worker has left.
struct Gone;

impl Session {
    async fn serve(mut self, mut incoming: Streaming<proto::WorkRequest>, welcome: Tell) {
        let stop = self.deps.stop.clone();
        let mut changed = self.deps.writer.changed();
        if self.tell(welcome).await.is_err() {
            return;
        }
        loop {
            changed.borrow_and_update();
            let looked = if self.free { self.assign().await } else { self.check().await };
            if looked.is_err() {
                return;
            }
            tokio::select! {
                message = incoming.next() => {
                    let Some(Ok(message)) = message else { return };
                    if self.hear(message).await.is_err() {
                        return;
                    }
                }
                ended = changed.changed() => if ended.is_err() { return },
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {
                    let problem = Problem::new(Kind::Unavailable, "DRAINING", "the server is stopping");
                    let _worker_left = self.out.send(Err(problem.into())).await;
                    return;
                }
            }
        }
    }

    async fn tell(&self, message: Tell) -> Result<(), Gone> {
        self.out.send(Ok(proto::WorkResponse { message: Some(message) })).await.map_err(|_| Gone)
    }

    async fn revoke(&mut self, job_id: &str, reason: &str, message: String) -> Result<(), Gone> {
        if self.holds.is_some_and(|(job, _)| format!("job-{job}") == job_id) {
            self.holds = None;
        }
        let (job_id, reason) = (job_id.to_owned(), reason.to_owned());
        self.tell(Tell::Revoked(proto::Revoked { job_id, reason, message })).await
    }

    /// A free worker gets the next job that it can do.
    async fn assign(&mut self) -> Result<(), Gone> {
        let next = self.deps.writer.look(|state| {
            let room = state.running() < self.deps.limits.running_max;
            state
                .next_job(&self.trainers)
                .filter(|_| room)
                .map(|(model, job)| (Arc::clone(model), Arc::clone(job)))
        });
        let Some((model, job)) = next else { return Ok(()) };
        let Some(_hold) = self.deps.holds.take(job.number) else { return Ok(()) };
        let Some(policy) = model.policy.clone() else { return Ok(()) };
        let parent = model.champion.as_deref().unwrap_or("");
        let plan = match self.deps.preparer.plan(&model.model_id, &policy, &job, parent).await {
            Ok(plan) => plan,
            Err(problem) if problem.is_passing() => {
                tracing::warn!(job = job.number, %problem, "a job waits");
                return Ok(());
            }
            Err(problem) => {
                let command = Command::Unready { job: job.number, why: problem.to_string() };
                let _a_later_look_does_it =
                    self.deps.writer.submit("job-preparer", &model.model_id, command).await;
                return Ok(());
            }
        };
        let command =
            Command::Lease { job: job.number, worker: self.worker.clone(), plan: Box::new(plan.clone()) };
        match self.deps.writer.submit(&self.worker, &model.model_id, command).await {
            Ok(Answer::Leased(fence)) => {
                self.holds = Some((job.number, fence));
                self.free = false;
                let artifact = model.version(parent).map(|version| version.new.artifact.clone());
                let assignment =
                    assignment(&self.deps, &model.model_id, &job, fence, &plan, artifact.as_ref());
                self.tell(Tell::Assignment(assignment)).await
            }
            // Another was faster, or the home is away: the next look finds what there is then.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether the worker still has what it was given.
    async fn check(&mut self) -> Result<(), Gone> {
        let Some((number, fence)) = self.holds else { return Ok(()) };
        let job = self.deps.writer.look(|state| state.job(number).map(|(_, job)| Arc::clone(job)));
        let Some(job) = job else { return Ok(()) };
        if job.lease.as_ref().is_some_and(|lease| lease.fence == fence) {
            return Ok(());
        }
        let job_id = format!("job-{number}");
        match job.state {
            JobState::Cancelled | JobState::Superseded => {
                self.revoke(&job_id, "CANCELLED", job.why.clone()).await
            }
            JobState::Backoff | JobState::DeadLettered | JobState::Queued | JobState::Leased => {
                self.revoke(&job_id, "EXPIRED", job.why.clone()).await
            }
            _ => {
                // It was judged: the worker had its answer.
                self.holds = None;
                Ok(())
            }
        }
    }

    async fn hear(&mut self, message: proto::WorkRequest) -> Result<(), Gone> {
        let heard = match message.message {
            Some(Said::Ready(_)) => {
                self.free = true;
                return Ok(());
            }
            Some(Said::Started(said)) => {
                self.about(&said.job_id, said.fence, Command::Start).await.map(|taken| (said.job_id, taken))
            }
            Some(Said::Heartbeat(said)) => {
                let heard = self.about(&said.job_id, said.fence, Command::Heartbeat).await;
                match heard {
                    Ok(true) => return Ok(()),
                    other => other.map(|taken| (said.job_id, taken)),
                }
            }
            Some(Said::Scores(said)) => {
                let job_id = said.job_id.clone();
                match self.scores(said).await {
                    Ok(true) => return self.tell(Tell::Scored(proto::Scored { job_id })).await,
                    other => other.map(|taken| (job_id, taken)),
                }
            }
            Some(Said::Completed(said)) => {
                let (job_id, fence) = (said.job_id.clone(), said.fence);
                match self.completed(said).await {
                    Ok(true) => match self.lost(&job_id, fence) {
                        Some(why) => return self.revoke(&job_id, "BAD_RESULT", why).await,
                        None => {
                            self.holds = None;
                            Ok((job_id, true))
                        }
                    },
                    other => other.map(|taken| (job_id, taken)),
                }
            }
            Some(Said::Failed(said)) => {
                let why: String = said.why.chars().take(checks::TEXT_BYTES_MAX / 4).collect();
                let retryable = said.retryable;
                let command = |held| Command::TrainFailed { held, retryable, why };
                let heard = self.about(&said.job_id, said.fence, command).await;
                self.holds = self.holds.filter(|_| !matches!(heard, Ok(true)));
                heard.map(|taken| (said.job_id, taken))
            }
            Some(Said::Hello(_)) => Err(Problem::field("message", "HELLO_FIRST", "hello is said once")),
            None => Err(Problem::field("message", "MISSING", "is none of the messages of this version")),
        };
        match heard {
            Ok((job_id, true)) => self.tell(Tell::Taken(proto::Taken { job_id })).await,
            Ok((job_id, false)) => {
                let message = "the job is another's, or over: stop".to_owned();
                self.revoke(&job_id, "STALE_FENCE", message).await
            }
            Err(problem) => {
                let _worker_left = self.out.send(Err(problem.into())).await;
                Err(Gone)
            }
        }
    }

    /// Says something about a job that the worker holds; false when it does not, and that is written down.
    async fn about(
        &self,
        job_id: &str,
        fence: u64,
        command: impl FnOnce(Held) -> Command,
    ) -> Result<bool, Problem> {
        let number = checks::job_number(job_id)?;
        let model_id =
            self.deps.writer.look(|state| state.job(number).map(|(model, _)| Arc::clone(&model.model_id)));
        let Some(model_id) = model_id else { return Ok(false) };
        let held = Held { job: number, worker: self.worker.clone(), fence };
        match self.deps.writer.submit(&self.worker, &model_id, command(held)).await {
            Ok(Answer::Stale(_)) => Ok(false),
            Ok(_) => Ok(true),
            Err(problem) if problem.reason() == "WRONG_STATE" => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// Why a job that was held is not any more; `None` while it is.
    fn lost(&self, job_id: &str, fence: u64) -> Option<String> {
        let number = checks::job_number(job_id).ok()?;
        self.deps.writer.look(|state| {
            let (_, job) = state.job(number)?;
            let held = job.lease.as_ref().is_some_and(|lease| lease.fence == fence);
            let over = matches!(job.state, JobState::Backoff | JobState::DeadLettered);
            (!held && over).then(|| job.why.clone())
        })
    }

    async fn scores(&self, said: proto::Scores) -> Result<bool, Problem> {
        let number = checks::job_number(&said.job_id)?;
        if said.scores.len() > SCORES_MAX {
            let message = format!("are {}, at most {SCORES_MAX}", said.scores.len());
            return Err(Problem::field("scores.scores", "BAD_SCORES", message));
        }
        if !self.about(&said.job_id, said.fence, Command::Heartbeat).await? {
            return Ok(false);
        }
        let bytes: Vec<u8> = said.scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        match self.deps.blobs.put(&scores_key(number, said.fence), bytes).await {
            Ok(()) => Ok(true),
            Err(PortError::Invalid(_)) => {
                let message = "other scores were sent before; what was scored does not change";
                Err(Problem::field("scores.scores", "BAD_SCORES", message))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn completed(&mut self, said: proto::Completed) -> Result<bool, Problem> {
        let number = checks::job_number(&said.job_id)?;
        let artifact = said.artifact.unwrap_or_default();
        checks::digest("completed.artifact.digest", &artifact.digest)?;
        checks::text("completed.artifact.uri", &artifact.uri)?;
        checks::short("completed.artifact.format", &artifact.format)?;
        checks::short("completed.constitutional_hash", &said.constitutional_hash)?;
        let metrics = messages::metrics("completed.metrics", said.metrics)?;
        let evidence = messages::evidence(&said.evidence).map_err(|problem| problem.within("completed"))?;
        // What has no uri is here; a worker whose artifact is not loses the job and harms nothing.
        let bytes = match artifact.uri.is_empty() {
            true => self.deps.blobs.get(&super::artifact_key(&artifact.digest)).await?,
            false => None,
        };
        let scores = self.deps.blobs.get(&scores_key(number, said.fence)).await?;
        let missing = match (&scores, artifact.uri.is_empty() && bytes.is_none()) {
            (None, _) => Some("no scores of the held-out records came before the end"),
            (_, true) => Some("the artifact was not uploaded"),
            _ => None,
        };
        if let Some(why) = missing {
            let why = why.to_owned();
            let command = |held| Command::TrainFailed { held, retryable: true, why };
            return self.about(&said.job_id, said.fence, command).await;
        }
        let size_bytes = bytes.map_or(artifact.size_bytes, |bytes| bytes.len() as u64);
        let outcome = Trained {
            artifact: Artifact {
                digest: artifact.digest,
                size_bytes,
                format: artifact.format,
                uri: artifact.uri,
            },
            data_digest: said.data_digest,
            scores_digest: acgs_vocabulary::constitution::sha256_hex(&scores.unwrap_or_default()),
            metrics,
            evidence,
            constitutional_hash: said.constitutional_hash,
        };
        let outcome = Box::new(outcome);
        let command = |held| Command::TrainSucceeded { held, outcome };
        self.about(&said.job_id, said.fence, command).await
    }
}

fn assignment(
    deps: &ModelsDeps,
    model_id: &str,
    job: &Job,
    fence: u64,
    plan: &Plan,
    parent: Option<&Artifact>,
) -> proto::Assignment {
    let gates = deps.writer.look(|state| {
        let policy = state.model(model_id).and_then(|model| model.policy.clone());
        policy.map(|policy| messages::gates(&policy.gates)).unwrap_or_default()
    });
    proto::Assignment {
        job_id: format!("job-{}", job.number),
        fence,
        model_id: model_id.to_owned(),
        trainer: plan.trainer.clone(),
        hyperparameters: plan.hyperparameters.clone().into_iter().collect(),
        parent: plan.parent.clone(),
        parent_artifact: parent.map(messages::artifact),
        train: Some(messages::data(&plan.train)),
        holdout: Some(messages::data(&plan.holdout)),
        refit: plan.refit.as_ref().map(messages::data),
        gates,
        train_ms: deps.limits.train_ms,
    }
}
