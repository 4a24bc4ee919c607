//! `acgs deployments`: versions on their way into service, why each is where it is, and what people say of them.

use std::{io::IsTerminal, process::ExitCode};

use acgs_console::{
    connect::{explain, wish},
    render::word,
};
use acgs_contracts::lifecycle::v1::{
    AbortDeploymentRequest, Deployment, DeploymentPhase, ExplainDeploymentRequest, ListDeploymentsRequest,
    PauseDeploymentRequest, PromoteDeploymentRequest, ResumeDeploymentRequest, RollbackRequest,
    StartDeploymentRequest, Strategy, WatchDeploymentRequest,
};
use acgs_server::Settings;
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Value, json};

use super::models::Caller;

/// Cells of a bar.
const BAR: usize = 40;

/// Look at deployments, begin one, and say what becomes of it.
#[derive(Debug, Args)]
pub struct Deployments {
    #[command(flatten)]
    caller: Caller,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    Immediate,
    Canary,
    BlueGreen,
    Rolling,
    Shadow,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List deployments, the newest first; the default.
    List {
        /// Only of this model.
        #[arg(long, default_value = "")]
        model: String,
        /// How many.
        #[arg(long, short = 'n', default_value_t = 20)]
        count: u32,
    },
    /// Bring a version into service.
    Start {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// How; default: as the model's policy has it, or step by step.
        #[arg(long, value_enum)]
        strategy: Option<How>,
        /// A file with what a policy has under [deployment].
        #[arg(long, value_name = "FILE")]
        plan: Option<std::path::PathBuf>,
        /// You vouch for a version that no gate has judged.
        #[arg(long)]
        unjudged: bool,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
        /// Stay and watch it to its end.
        #[arg(long)]
        watch: bool,
    },
    /// Watch a deployment to its end.
    Watch {
        /// Such as deployment-3.
        deployment: String,
    },
    /// Why a deployment is where it is: every step, with the values that decided it.
    Explain {
        /// Such as deployment-3.
        deployment: String,
    },
    /// Hold its weights.
    Pause {
        /// Such as deployment-3.
        deployment: String,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
    },
    /// Go on.
    Resume {
        /// Such as deployment-3.
        deployment: String,
    },
    /// Take it back.
    Abort {
        /// Such as deployment-3.
        deployment: String,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
    },
    /// Give it all traffic without more evidence.
    Promote {
        /// Such as deployment-3.
        deployment: String,
        /// One that has all traffic is done at once, without being watched any longer.
        #[arg(long)]
        no_bake: bool,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
    },
    /// Put the version that served before into service again.
    Rollback {
        /// The model.
        model: String,
        /// The version that serves and is to serve no more: needed to go back more than one step.
        #[arg(long, value_name = "VERSION")]
        from: Option<String>,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
    },
}

fn phase(deployment: &Deployment) -> String {
    word(deployment.phase().as_str_name(), "DEPLOYMENT_PHASE_")
}

fn strategy(deployment: &Deployment) -> String {
    word(deployment.strategy().as_str_name(), "STRATEGY_")
}

/// A deployment as JSON.
pub(super) fn as_json(deployment: &Deployment) -> Value {
    let counts = deployment.counts.unwrap_or_default();
    let gates = deployment.gates.iter().map(|gate| {
        json!({
            "gate": gate.gate, "bad": gate.bad, "bad_at": gate.bad_at, "good": gate.good, "good_at": gate.good_at,
            "description": gate.description,
        })
    });
    json!({
        "deployment_id": deployment.deployment_id, "model_id": deployment.model_id, "version": deployment.version,
        "baseline": deployment.baseline, "strategy": strategy(deployment), "phase": phase(deployment),
        "steps": deployment.steps, "step": deployment.step, "weight": deployment.weight,
        "pause_reason": word(deployment.pause_reason().as_str_name(), "PAUSE_REASON_"),
        "rollback_cause": word(deployment.rollback_cause().as_str_name(), "ROLLBACK_CAUSE_"),
        "why": deployment.why, "actor": deployment.actor, "started_at": deployment.started_at,
        "phase_at": deployment.phase_at, "due_at": deployment.due_at,
        "candidate_calls": counts.candidate_calls, "candidate_errors": counts.candidate_errors,
        "baseline_calls": counts.baseline_calls, "baseline_errors": counts.baseline_errors,
        "shadow_compared": counts.shadow_compared, "shadow_different": counts.shadow_different,
        "gates": gates.collect::<Vec<_>>(), "fenced_routers": deployment.fenced_routers,
    })
}

/// One line: where it stands, what it has, what was seen.
fn line(deployment: &Deployment) -> String {
    let full = deployment.weight as usize * BAR / 100;
    let bar: String = (0..BAR).map(|cell| if cell < full { '=' } else { '.' }).collect();
    let counts = deployment.counts.unwrap_or_default();
    let least = deployment.gates.iter().map(|gate| (gate.good / gate.good_at).min(1.0)).fold(1.0, f64::min);
    let worst = deployment.gates.iter().map(|gate| (gate.bad / gate.bad_at).min(1.0)).fold(0.0, f64::max);
    let mut line = format!(
        "{:<10} {} {:>3} % [{bar}] {} calls, {} failed; baseline {} / {}; evidence for {:.0} %, against {:.0} %",
        phase(deployment),
        deployment.version,
        deployment.weight,
        counts.candidate_calls,
        counts.candidate_errors,
        counts.baseline_calls,
        counts.baseline_errors,
        least * 100.0,
        worst * 100.0,
    );
    if counts.shadow_compared > 0 {
        line += &format!("; {} of {} copies differ", counts.shadow_different, counts.shadow_compared);
    }
    if !deployment.fenced_routers.is_empty() {
        line += &format!("; PARTIAL, fenced: {}", deployment.fenced_routers.join(", "));
    }
    line
}

impl Deployments {
    /// Does what is asked.
    ///
    /// # Errors
    /// When the orchestrator does not answer, or refuses.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let mut client = self.caller.client(&settings).await?;
        let told = |status: tonic::Status| explain(&status);
        let actor = self.caller.by.clone();
        let default = What::List { model: String::new(), count: 20 };
        let deployment = match self.what.clone().unwrap_or(default) {
            What::List { model, count } => {
                let request = ListDeploymentsRequest { model_id: model, limit: count, ..Default::default() };
                let found = client
                    .deployments
                    .list_deployments(request)
                    .await
                    .map_err(told)?
                    .into_inner()
                    .deployments;
                self.print(&found);
                return Ok(ExitCode::SUCCESS);
            }
            What::Start { model, version, strategy, plan, unjudged, why, watch } => {
                let plan_toml = plan.map(std::fs::read_to_string).transpose()?.unwrap_or_default();
                let strategy = match strategy {
                    None => Strategy::Unspecified,
                    Some(How::Immediate) => Strategy::Immediate,
                    Some(How::Canary) => Strategy::Canary,
                    Some(How::BlueGreen) => Strategy::BlueGreen,
                    Some(How::Rolling) => Strategy::Rolling,
                    Some(How::Shadow) => Strategy::Shadow,
                };
                let request = StartDeploymentRequest {
                    model_id: model,
                    version,
                    strategy: strategy.into(),
                    plan_toml,
                    unjudged,
                    why,
                    actor,
                    request_id: wish(),
                };
                let started =
                    client.deployments.start_deployment(request).await.map_err(told)?.into_inner().deployment;
                if let (true, Some(started)) = (watch, &started) {
                    return self.watch(&mut client, started.deployment_id.clone()).await;
                }
                started
            }
            What::Watch { deployment } => return self.watch(&mut client, deployment).await,
            What::Explain { deployment } => {
                let request = ExplainDeploymentRequest { deployment_id: deployment };
                let answer = client.deployments.explain_deployment(request).await.map_err(told)?.into_inner();
                if self.caller.json {
                    let mut json = answer.deployment.as_ref().map(as_json).unwrap_or_default();
                    json["explanation"] = answer.explanation.into();
                    println!("{json}");
                } else {
                    self.print(answer.deployment.as_slice());
                    answer.explanation.iter().for_each(|line| println!("{line}"));
                }
                return Ok(ExitCode::SUCCESS);
            }
            What::Pause { deployment, why } => {
                let request =
                    PauseDeploymentRequest { deployment_id: deployment, why, actor, request_id: wish() };
                client.deployments.pause_deployment(request).await.map_err(told)?.into_inner().deployment
            }
            What::Resume { deployment } => {
                let request =
                    ResumeDeploymentRequest { deployment_id: deployment, actor, request_id: wish() };
                client.deployments.resume_deployment(request).await.map_err(told)?.into_inner().deployment
            }
            What::Abort { deployment, why } => {
                let request =
                    AbortDeploymentRequest { deployment_id: deployment, why, actor, request_id: wish() };
                client.deployments.abort_deployment(request).await.map_err(told)?.into_inner().deployment
            }
            What::Promote { deployment, no_bake, why } => {
                // Without an id the same again is a repetition; with one it is meant.
                let request_id = if no_bake { wish() } else { String::new() };
                let request = PromoteDeploymentRequest { deployment_id: deployment, why, actor, request_id };
                client.deployments.promote_deployment(request).await.map_err(told)?.into_inner().deployment
            }
            What::Rollback { model, from, why } => {
                let expected_champion = from.unwrap_or_default();
                let request =
                    RollbackRequest { model_id: model, why, actor, request_id: wish(), expected_champion };
                let answer = client.deployments.rollback(request).await.map_err(told)?.into_inner();
                match self.caller.json {
                    true => println!("{}", json!({ "champion": answer.champion })),
                    false => println!("{} serves", answer.champion),
                }
                return Ok(ExitCode::SUCCESS);
            }
        };
        self.print(deployment.as_slice());
        Ok(ExitCode::SUCCESS)
    }

    /// A line that moves on a terminal, a line for each change elsewhere.
    async fn watch(
        &self,
        client: &mut super::models::Client,
        deployment_id: String,
    ) -> anyhow::Result<ExitCode> {
        let told = |status: tonic::Status| explain(&status);
        let request = WatchDeploymentRequest { deployment_id };
        let mut states = client.deployments.watch_deployment(request).await.map_err(told)?.into_inner();
        let (mut last, mut said) = (None, String::new());
        let moving = std::io::stdout().is_terminal();
        while let Some(answer) = states.message().await.map_err(told)? {
            let Some(deployment) = answer.deployment else { continue };
            if self.caller.json {
                println!("{}", as_json(&deployment));
            } else {
                let key = format!("{} {}", phase(&deployment), deployment.weight);
                if moving {
                    // The line before is written over, unless it was of another phase.
                    print!(
                        "{}\x1b[2K{}",
                        if said == key || said.is_empty() { "\r" } else { "\n" },
                        line(&deployment)
                    );
                    std::io::Write::flush(&mut std::io::stdout())?;
                } else {
                    println!("{}", line(&deployment));
                }
                said = key;
            }
            last = Some(deployment);
        }
        if moving && !self.caller.json {
            println!();
        }
        let Some(last) = last else { return Ok(ExitCode::FAILURE) };
        let well = last.phase() == DeploymentPhase::Completed;
        if !self.caller.json {
            let end = if well { format!("{} serves", last.version) } else { last.why.clone() };
            println!("{}: {end}", phase(&last));
        }
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn print(&self, found: &[Deployment]) {
        if self.caller.json {
            found.iter().for_each(|deployment| println!("{}", as_json(deployment)));
            return;
        }
        if found.is_empty() {
            println!("no deployments");
            return;
        }
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header([
            "deployment",
            "model",
            "version",
            "strategy",
            "phase",
            "weight",
            "calls",
            "since",
            "why",
        ]);
        for deployment in found {
            table.add_row([
                deployment.deployment_id.clone(),
                deployment.model_id.clone(),
                deployment.version.clone(),
                strategy(deployment),
                phase(deployment),
                format!("{} %", deployment.weight),
                deployment.counts.unwrap_or_default().candidate_calls.to_string(),
                deployment.phase_at.clone(),
                deployment.why.clone(),
            ]);
        }
        println!("{table}");
    }
}
