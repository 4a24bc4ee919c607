//! `acgs jobs`: retraining jobs, why each is where it is, and what people say of them.

use std::process::ExitCode;

use acgs_console::{
    connect::{explain, wish},
    render::{job_json, job_state, job_trigger, word},
};
use acgs_contracts::{
    common::v1::Severity,
    lifecycle::v1::{
        ApproveJobRequest, CancelJobRequest, ExplainJobRequest, Job, ListJobsRequest,
        RequestRetrainingRequest, RequeueJobRequest,
    },
};
use acgs_server::Settings;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use super::models::Caller;

/// Look at retraining jobs, ask for one, and say what is done about them.
#[derive(Debug, Args)]
pub struct Jobs {
    #[command(flatten)]
    caller: Caller,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List jobs, the newest first; the default.
    List {
        /// Only of this model.
        #[arg(long, default_value = "")]
        model: String,
        /// How many.
        #[arg(long, short = 'n', default_value_t = 20)]
        count: u32,
    },
    /// Ask for a retraining.
    Request {
        /// The model.
        model: String,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
        /// Cooldown, budget and loop protection do not count this time.
        #[arg(long)]
        override_limits: bool,
    },
    /// Why a job is where it is: every step, with the values that decided it.
    Explain {
        /// Such as job-7.
        job: String,
    },
    /// End a job.
    Cancel {
        /// Such as job-7.
        job: String,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
    },
    /// Queue a dead letter again.
    Requeue {
        /// Such as job-7.
        job: String,
    },
    /// Agree to what a job brought.
    Approve {
        /// Such as job-7.
        job: String,
        /// A reason for people; kept in the log.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Do not agree to it.
    Deny {
        /// Such as job-7.
        job: String,
        /// A reason for people; kept in the log.
        #[arg(long, default_value = "")]
        why: String,
    },
}

impl Jobs {
    /// Does what is asked.
    ///
    /// # Errors
    /// When the orchestrator does not answer, or refuses.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let mut client = self.caller.client(&settings).await?;
        let told = |status: tonic::Status| explain(&status);
        let actor = self.caller.by.clone();
        let default = What::List { model: String::new(), count: 20 };
        let job = match self.what.clone().unwrap_or(default) {
            What::List { model, count } => {
                let request = ListJobsRequest { model_id: model, limit: count, ..Default::default() };
                let found = client.jobs.list_jobs(request).await.map_err(told)?.into_inner().jobs;
                self.print(&found);
                return Ok(ExitCode::SUCCESS);
            }
            What::Explain { job } => {
                let answer =
                    client.jobs.explain_job(ExplainJobRequest { job_id: job }).await.map_err(told)?;
                let answer = answer.into_inner();
                if self.caller.json {
                    let mut json = answer.job.as_ref().map(job_json).unwrap_or_default();
                    json["explanation"] = answer.explanation.into();
                    println!("{json}");
                } else {
                    self.print(answer.job.as_slice());
                    answer.explanation.iter().for_each(|line| println!("{line}"));
                }
                return Ok(ExitCode::SUCCESS);
            }
            What::Request { model, why, override_limits } => {
                let request = RequestRetrainingRequest {
                    model_id: model,
                    why,
                    override_limits,
                    actor,
                    ..Default::default()
                };
                client.jobs.request_retraining(request).await.map_err(told)?.into_inner().job
            }
            What::Cancel { job, why } => {
                let request = CancelJobRequest { job_id: job, why, actor, request_id: wish() };
                client.jobs.cancel_job(request).await.map_err(told)?.into_inner().job
            }
            What::Requeue { job } => {
                let request = RequeueJobRequest { job_id: job, actor, request_id: wish() };
                client.jobs.requeue_job(request).await.map_err(told)?.into_inner().job
            }
            What::Approve { job, why } => {
                let request =
                    ApproveJobRequest { job_id: job, approved: true, why, actor, request_id: wish() };
                client.jobs.approve_job(request).await.map_err(told)?.into_inner().job
            }
            What::Deny { job, why } => {
                let request =
                    ApproveJobRequest { job_id: job, approved: false, why, actor, request_id: wish() };
                client.jobs.approve_job(request).await.map_err(told)?.into_inner().job
            }
        };
        self.print(job.as_slice());
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, found: &[Job]) {
        if self.caller.json {
            found.iter().for_each(|job| println!("{}", job_json(job)));
            return;
        }
        if found.is_empty() {
            println!("no jobs");
            return;
        }
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header([
            "job", "model", "state", "trigger", "severity", "since", "worker", "version", "why",
        ]);
        for job in found {
            let severity = match job.severity() {
                Severity::Unspecified => String::new(),
                severity => word(severity.as_str_name(), "SEVERITY_"),
            };
            let first = job.evidence.first().map(|piece| piece.description.clone()).unwrap_or_default();
            table.add_row([
                job.job_id.clone(),
                job.model_id.clone(),
                job_state(job),
                job_trigger(job),
                severity,
                job.stepped_at.clone(),
                job.worker.clone(),
                job.version.clone(),
                if job.why.is_empty() { first } else { job.why.clone() },
            ]);
        }
        println!("{table}");
    }
}
