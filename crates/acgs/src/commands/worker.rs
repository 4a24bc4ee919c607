//! `acgs worker`: trains for a mesh until it is ended.

use std::{process::ExitCode, time::Duration};

use acgs_mesh::clock::SystemClock;
use acgs_server::Settings;
use acgs_vocabulary::{ports::Clock, text};
use clap::Args;
use serde_json::json;

use super::probe;
use acgs_console::connect::channel;

use crate::worker::{Done, TRAINERS, Worker as Session};

/// First and longest pause before it joins again.
const REJOIN_FIRST: Duration = Duration::from_millis(200);
const REJOIN_MAX: Duration = Duration::from_secs(5);

/// Train for a mesh: take retraining jobs and bring back versions.
#[derive(Debug, Args)]
pub struct Worker {
    /// The orchestrator; default: as these settings have it.
    #[arg(long)]
    address: Option<String>,
    /// Who it is among workers; default: a unique name.
    #[arg(long)]
    id: Option<String>,
    /// End after so many jobs.
    #[arg(long)]
    jobs: Option<u64>,
    /// Print one JSON object for each job.
    #[arg(long)]
    json: bool,
}

impl Worker {
    /// Works until SIGTERM or Ctrl-C, or until enough jobs are done. A mesh that goes away is joined again.
    ///
    /// # Errors
    /// When the mesh cannot be reached at the beginning.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        tokio::select! {
            worked = self.work(&settings) => worked?,
            () = acgs_console::stop_signal() => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn work(&self, settings: &Settings) -> anyhow::Result<()> {
        let address = self.address.clone().unwrap_or_else(|| probe::address(settings, "orchestrator"));
        let id = self.id.clone().unwrap_or_else(|| text::unique_id("worker-", SystemClock::new().now_ms()));
        let constitution = settings.constitution()?;
        let mut left = self.jobs.unwrap_or(u64::MAX);
        let mut pause = REJOIN_FIRST;
        let mut joined = false;
        while left > 0 {
            let session = match channel(&address, constitution.clone()).await {
                Ok(channel) => Session::join(channel, constitution.clone(), &id).await,
                Err(error) => Err(error),
            };
            let mut session = match session {
                Ok(session) => session,
                Err(error) if !joined => return Err(error),
                Err(_away) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REJOIN_MAX);
                    continue;
                }
            };
            if !std::mem::replace(&mut joined, true) && !self.json {
                println!("{id} trains for {address}: {}", TRAINERS.join(", "));
            }
            pause = REJOIN_FIRST;
            while left > 0 {
                match session.next().await {
                    Ok(done) => {
                        self.print(&done);
                        left -= 1;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the mesh went away; joining again");
                        tokio::time::sleep(pause).await;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn print(&self, done: &Done) {
        match (done, self.json) {
            (Done::Trained { job_id, model_id, rows }, true) => {
                println!(
                    "{}",
                    json!({ "job_id": job_id, "model_id": model_id, "rows": rows, "trained": true })
                );
            }
            (Done::Failed { job_id, why }, true) => {
                println!("{}", json!({ "job_id": job_id, "why": why, "trained": false }));
            }
            (Done::Trained { job_id, model_id, rows }, false) => {
                println!("{job_id}  {model_id} trained on {rows} records");
            }
            (Done::Failed { job_id, why }, false) => println!("{job_id}  not done: {why}"),
        }
    }
}
