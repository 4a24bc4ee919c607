//! `acgs demo loop`: the same year, and a model that is looked after. The steward orders a retraining when the loss is surely worse,
//! a worker in its own process trains on what was recorded, gates judge, and what passes scores the flights from then on.

use std::{collections::HashSet, process::ExitCode, time::Duration};

use acgs_columns::Schema;
use acgs_contracts::{
    lifecycle::v1::{
        GetModelRequest, GetVersionRequest, Job, JobState, ListJobsRequest, PolicyDocument, PutPolicyRequest,
        RegisterModelRequest, RegisterVersionRequest, TriggerKind, Version,
        lifecycle_service_client::LifecycleServiceClient,
    },
    orchestrator::v1::{Durability, WindowReport, stream_windows_response},
    performance::v1::PerformanceState,
};
use acgs_mesh::client::MeshChannel;
use acgs_trainers::Artifact;
use acgs_vocabulary::{constitution::sha256_hex, convert::batch, text::rfc3339};
use anyhow::Context;
use std::sync::Arc;
use tokio::process::{Child, Command};

use super::{HOUR_MS, NAME, WEEK_MS, open, put_reference};
use crate::{
    client::{self, WindowStream, channel, explain},
    commands::{
        Progress,
        flights::{self, Flight},
        jobs::as_json,
    },
    settings::Settings,
    wire::{self, Running},
};

mod scores;
use scores::Served;

/// What is done about the model.
const POLICY: &str = include_str!("../../../../../examples/policies/flights.toml");
/// How long a trigger may take to show as a job before the next flights depart.
const TRIGGER_WAIT: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(10);
/// A retraining that takes longer than this is no demonstration.
const RETRAIN_WAIT: Duration = Duration::from_secs(60);
/// How far rows may be out of order before a window closes, as the stream is opened.
const OUT_OF_ORDERNESS_MS: i64 = 2_000;
/// The labels that matter to a window have come so long after its end.
const LABELS_MS: i64 = 48 * HOUR_MS;
/// Flights of one frame of labels.
const FRAME_ROWS: usize = 256;

type Client = LifecycleServiceClient<MeshChannel>;

/// The loop.
pub(super) struct Loop {
    json: bool,
    running: Running,
    client: Client,
    rows: Arc<Schema>,
    labels: Arc<Schema>,
    champion: String,
    /// The model that scores; none while the frozen one does, whose scores are in the data.
    model: Option<Artifact>,
    known_jobs: HashSet<String>,
    seen_windows: HashSet<i64>,
    served: Served,
    progress: Progress,
}

/// Runs it in a mesh of its own.
///
/// # Errors
/// When the mesh or the worker cannot be started, or refuses something.
pub(super) async fn run(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let running = wire::serve_all(settings).await?;
    let address = running.addresses.orchestrator.to_string();
    let worker = worker(&address, running.constitution.current())?;
    let flights = flights::load()?;
    let client = Client::new(channel(&address, running.constitution.clone()).await?);
    let mut this = Loop {
        json,
        client,
        rows: flights::row_schema()?,
        labels: flights::label_schema()?,
        champion: "frozen".into(),
        model: None,
        known_jobs: HashSet::new(),
        seen_windows: HashSet::new(),
        served: Served::default(),
        progress: Progress::new(flights.len() as u64, "flights", json),
        running,
    };
    let told = this.tell(flights).await;
    end(worker).await;
    let ended = this.running.stop().await;
    told?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// `acgs worker` in its own process.
fn worker(address: &str, hash: &str) -> anyhow::Result<Child> {
    let binary = std::env::current_exe().context("where is this program?")?;
    Command::new(binary)
        .args(["worker", "--address", address, "--id", "worker-1", "--json"])
        .env("CONSTITUTIONAL_HASH", hash)
        .env("LOG_LEVEL", "error")
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("the worker cannot be started")
}

async fn end(mut worker: Child) {
    let _it_may_have_ended = worker.kill().await;
}

impl Loop {
    async fn tell(&mut self, flights: Vec<Flight>) -> anyhow::Result<()> {
        self.prepare(&flights).await?;
        self.say(&format!(
            "A mesh runs in this process, `acgs worker` in another. {} flights of 2013 depart in event time; the model\n\
             of January and February scores them until a better one does. Everything is recorded, to be trained on.\n",
            flights.len()
        ));
        self.stream(flights).await?;
        self.progress.finish();
        let jobs = self.jobs().await?;
        let trained = |job: &&Job| matches!(job.state(), JobState::Succeeded | JobState::Rejected);
        let retrainings = jobs.iter().filter(trained).count();
        let accepted = jobs.iter().filter(|job| job.state() == JobState::Succeeded).count();
        if self.json {
            let mut summary = self.served.json(retrainings, accepted);
            summary["jobs"] = jobs.iter().rev().map(as_json).collect::<Vec<_>>().into();
            println!("{summary}");
        } else {
            println!("\n{}", self.served.table());
            println!(
                "\n{retrainings} retrainings, {accepted} of which went into service. Brier score from March to December: \
                 {:.4} frozen, {:.4} managed.",
                self.served.frozen(),
                self.served.managed()
            );
            println!(
                "\nWhat to look at next:\n  examples/policies/flights.toml      what was done about it, and when\n  \
                 acgs models | jobs | policy         the same of your mesh; `acgs jobs explain job-1` says why\n  \
                 acgs worker                         train for it\n  docs/policy.md                      all that a policy can say"
            );
        }
        Ok(())
    }

    fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// The reference, the model, its policy, and the version that serves.
    async fn prepare(&mut self, flights: &[Flight]) -> anyhow::Result<()> {
        let until_ms =
            acgs_vocabulary::text::parse_rfc3339(flights::REFERENCE_END).context("the reference's end")?;
        let before = &flights[..flights.partition_point(|flight| flight.time_ms < until_ms)];
        put_reference(&self.running, before).await?;
        let told = |status: tonic::Status| explain(&status);
        let actor = "demo".to_owned();
        let register = RegisterModelRequest {
            model_id: NAME.into(),
            model_name: "late flights".into(),
            service_id: "lga-gate".into(),
            actor: actor.clone(),
            ..Default::default()
        };
        self.client.register_model(register).await.map_err(told)?;
        let document = Some(PolicyDocument { toml: POLICY.into() });
        let policy =
            PutPolicyRequest { model_id: NAME.into(), document, actor: actor.clone(), ..Default::default() };
        self.client.put_policy(policy).await.map_err(told)?;
        let artifact = acgs_contracts::lifecycle::v1::Artifact {
            digest: sha256_hex(flights::DATA),
            size_bytes: 0,
            format: "scores".into(),
            uri: "examples/data/flights_lga_2013.csv.gz#p_late".into(),
        };
        let version = RegisterVersionRequest {
            model_id: NAME.into(),
            version: self.champion.clone(),
            artifact: Some(artifact),
            serving: true,
            actor,
            ..Default::default()
        };
        self.client.register_version(version).await.map_err(told)?;
        Ok(())
    }

    async fn stream(&mut self, flights: Vec<Flight>) -> anyhow::Result<()> {
        let address = self.running.addresses.orchestrator.to_string();
        let channel = channel(&address, self.running.constitution.clone()).await?;
        let mut wanted = open(&self.rows, &self.labels);
        wanted.durability = Durability::Log.into();
        let mut stream = WindowStream::open(channel, wanted).await?;
        let mut landing: Vec<Flight> =
            flights.iter().filter(|flight| flight.landed_ms.is_some()).cloned().collect();
        landing.sort_by_key(|flight| flight.landed_ms);
        let (mut landed, mut told) = (0, Vec::new());
        let mut week_end_ms =
            flights.first().map_or(0, |flight| flight.time_ms / WEEK_MS * WEEK_MS) + WEEK_MS;
        for frame in flights.chunk_by(|one, next| one.time_ms / HOUR_MS == next.time_ms / HOUR_MS) {
            let now_ms = frame[0].time_ms;
            let known = landing[landed..].partition_point(|flight| flight.landed_ms <= Some(now_ms));
            if known > 0 {
                let data = flights::batch(&self.labels, landing[landed..landed + known].iter())?;
                stream.send_labels(batch::to_proto(&data), data.size_bytes(), &mut told).await?;
                landed += known;
            }
            let scored = self.score(frame)?;
            let data = flights::batch(&self.rows, scored.iter())?;
            stream.send_rows(batch::to_proto(&data), data.size_bytes(), &mut told).await?;
            // The clock of a demonstration does not wait for anybody, so event time stands still at the end of a window until
            // it is judged, and while a retraining runs.
            let newest_ms = frame.last().map_or(now_ms, |flight| flight.time_ms);
            if newest_ms > week_end_ms + OUT_OF_ORDERNESS_MS {
                await_report(&mut stream, &mut told, week_end_ms).await?;
                week_end_ms += WEEK_MS;
            }
            if newest_ms < week_end_ms - WEEK_MS + LABELS_MS {
                stream.settle(&mut told).await?;
            }
            self.take(&mut told).await?;
            self.progress.advance(frame.len() as u64, rfc3339(now_ms).get(..10).unwrap_or(""));
        }
        for rest in landing[landed..].chunks(FRAME_ROWS) {
            let data = flights::batch(&self.labels, rest.iter())?;
            stream.send_labels(batch::to_proto(&data), data.size_bytes(), &mut told).await?;
        }
        stream.end(&mut told).await?;
        while stream.next().await?.is_some() {}
        Ok(())
    }

    /// Flights with the score of the version that serves.
    fn score(&mut self, frame: &[Flight]) -> anyhow::Result<Vec<Flight>> {
        let mut scored = frame.to_vec();
        if let Some(model) = &self.model {
            let data = flights::batch(&self.rows, frame.iter())?;
            let scores = model.score(std::slice::from_ref(&data));
            for (flight, score) in scored.iter_mut().zip(scores) {
                flight.score = Some(score);
            }
        }
        self.served.note(frame, &scored);
        Ok(scored)
    }

    async fn take(&mut self, told: &mut Vec<stream_windows_response::Message>) -> anyhow::Result<()> {
        for message in std::mem::take(told) {
            let stream_windows_response::Message::Report(report) = message else { continue };
            let end_ms = report.window.as_ref().map_or(0, |window| window.end_ms);
            if is_decayed(&report) && self.seen_windows.insert(end_ms) {
                self.await_decision(end_ms).await?;
            }
        }
        Ok(())
    }

    async fn jobs(&mut self) -> anyhow::Result<Vec<Job>> {
        let request = ListJobsRequest { model_id: NAME.into(), limit: 1_000, ..Default::default() };
        Ok(self.client.list_jobs(request).await.map_err(|status| explain(&status))?.into_inner().jobs)
    }

    /// Waits until the steward has seen the window, and until what it ordered is over.
    async fn await_decision(&mut self, end_ms: i64) -> anyhow::Result<()> {
        let since = tokio::time::Instant::now();
        let mut ordered = None;
        loop {
            let jobs = self.jobs().await?;
            let fresh = jobs.iter().find(|job| {
                let is_it = job.trigger() == TriggerKind::PerformanceDegradation;
                is_it && job.event_time_ms == end_ms && !self.known_jobs.contains(&job.job_id)
            });
            if ordered.is_none() {
                ordered = fresh.map(|job| job.job_id.clone());
            }
            let job = ordered.as_ref().and_then(|id| jobs.iter().find(|job| job.job_id == *id));
            match job {
                Some(job) if is_over(job.state()) => {
                    self.known_jobs.insert(job.job_id.clone());
                    return self.tell_job(&job.clone(), since.elapsed()).await;
                }
                Some(job) => {
                    let long = since.elapsed() > RETRAIN_WAIT;
                    anyhow::ensure!(!long, "{} is still {}", job.job_id, job.state().as_str_name());
                }
                // Suppressed for the same reason as one before: it is written down once.
                None if since.elapsed() > TRIGGER_WAIT => return Ok(()),
                None => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn tell_job(&mut self, job: &Job, took: Duration) -> anyhow::Result<()> {
        let day = rfc3339(job.event_time_ms).get(..10).unwrap_or("").to_owned();
        let outcome = match job.state() {
            JobState::Succeeded => self.change_champion().await?,
            JobState::Suppressed => return Ok(()),
            state => format!("{}: {}", state.as_str_name(), job.why),
        };
        let gate = self.gate(&job.version).await?;
        if self.json {
            let told = serde_json::json!({
                "job_id": job.job_id, "event_time": rfc3339(job.event_time_ms), "state": job.state().as_str_name(),
                "version": job.version, "why": job.why, "champion": self.champion, "gate": gate,
            });
            println!("{told}");
        } else {
            let seconds = took.as_secs_f64();
            self.progress
                .line(&format!("{day}  {:<7} {outcome} ({seconds:.1} s)\n{:20}{gate}", job.job_id, ""));
        }
        Ok(())
    }

    /// What the comparison with what served came to.
    async fn gate(&mut self, version: &str) -> anyhow::Result<String> {
        if version.is_empty() {
            return Ok(String::new());
        }
        let gates = self.version(version).await?.gates;
        Ok(gates
            .into_iter()
            .find(|gate| gate.gate == "champion")
            .map(|gate| gate.description)
            .unwrap_or_default())
    }

    async fn version(&mut self, version: &str) -> anyhow::Result<Version> {
        let request = GetVersionRequest { model_id: NAME.into(), version: version.into() };
        let answer = self.client.get_version(request).await.map_err(|status| explain(&status))?;
        answer.into_inner().version.context("no version came back")
    }

    /// Takes up the version that serves now.
    async fn change_champion(&mut self) -> anyhow::Result<String> {
        let told = |status: tonic::Status| explain(&status);
        let model = self.client.get_model(GetModelRequest { model_id: NAME.into() }).await.map_err(told)?;
        let champion = model.into_inner().model.map(|model| model.champion).unwrap_or_default();
        if champion == self.champion {
            return Ok(format!("{champion} still serves"));
        }
        let version = self.version(&champion).await?;
        let digest = version.artifact.unwrap_or_default().digest;
        let bytes = client::artifact(&mut self.client, &digest).await?;
        self.model = Some(Artifact::decode(&bytes)?);
        let rows = version.data.map_or(0, |data| data.rows);
        let line = format!("{champion}, made of {rows} flights, serves instead of {}", self.champion);
        self.champion = champion;
        Ok(line)
    }
}

fn is_decayed(report: &WindowReport) -> bool {
    let state = report.performance.as_ref().map(acgs_contracts::performance::v1::PerformanceReport::state);
    state == Some(PerformanceState::Decayed)
}

fn is_over(state: JobState) -> bool {
    !matches!(
        state,
        JobState::Observed
            | JobState::Queued
            | JobState::Leased
            | JobState::Running
            | JobState::Evaluating
            | JobState::Backoff
    )
}

/// Reads until the window that ends there is reported.
async fn await_report(
    stream: &mut WindowStream,
    told: &mut Vec<stream_windows_response::Message>,
    end_ms: i64,
) -> anyhow::Result<()> {
    let is_it = |message: &stream_windows_response::Message| match message {
        stream_windows_response::Message::Report(report) => {
            report.window.as_ref().is_some_and(|window| window.end_ms >= end_ms)
        }
        _ => false,
    };
    if told.iter().any(is_it) {
        return Ok(());
    }
    while let Some(message) = stream.next().await? {
        let found = is_it(&message);
        told.push(message);
        if found {
            return Ok(());
        }
    }
    anyhow::bail!("the server closed the stream")
}
