//! `acgs policy`: a model's policy, shown or put in force, and checked without a server.

use std::{path::PathBuf, process::ExitCode};

use acgs_console::{
    connect::{explain, wish},
    render::word,
};
use acgs_contracts::lifecycle::v1::{GetPolicyRequest, Policy, PolicyDocument, PutPolicyRequest};
use acgs_server::Settings;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::models::Caller;

/// Look at a model's policy, or put one in force.
#[derive(Debug, Args)]
pub struct PolicyCommand {
    #[command(flatten)]
    caller: Caller,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Show what is in force, as a file.
    Get {
        /// The model.
        model: String,
    },
    /// Put a file in force; docs/policy.md lists what it can say.
    Put {
        /// The model.
        model: String,
        /// TOML.
        file: PathBuf,
        /// Only when this revision is in force; 0 is none yet.
        #[arg(long)]
        expected_revision: Option<u64>,
    },
    /// Check a file, without a server.
    Check {
        /// TOML.
        file: PathBuf,
    },
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

impl PolicyCommand {
    /// Does what is asked.
    ///
    /// # Errors
    /// When the orchestrator does not answer, or the policy is wrong.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        match &self.what {
            What::Check { file } => {
                acgs_lifecycle::Policy::parse(&read(file)?).with_context(|| file.display().to_string())?;
                if self.caller.json {
                    println!("{}", json!({ "file": file, "fine": true }));
                } else {
                    println!("{} is a policy", file.display());
                }
            }
            What::Get { model } => {
                let mut client = self.caller.client(&settings).await?;
                let request = GetPolicyRequest { model_id: model.clone() };
                let answer = client.models.get_policy(request).await.map_err(|status| explain(&status))?;
                self.print(&answer.into_inner().policy.unwrap_or_default());
            }
            What::Put { model, file, expected_revision } => {
                let toml = read(file)?;
                let mut client = self.caller.client(&settings).await?;
                let request = PutPolicyRequest {
                    model_id: model.clone(),
                    document: Some(PolicyDocument { toml }),
                    expected_revision: *expected_revision,
                    actor: self.caller.by.clone(),
                    request_id: wish(),
                };
                let answer = client.models.put_policy(request).await.map_err(|status| explain(&status))?;
                self.print(&answer.into_inner().policy.unwrap_or_default());
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, policy: &Policy) {
        let toml = policy.document.as_ref().map(|document| document.toml.clone()).unwrap_or_default();
        if self.caller.json {
            let rules: Vec<_> = policy
                .rules
                .iter()
                .map(|rule| {
                    json!({
                        "trigger": word(rule.trigger().as_str_name(), "TRIGGER_KIND_"),
                        "mode": word(rule.mode().as_str_name(), "TRIGGER_MODE_"),
                        "severity_min": rule.severity_min().as_str_name(), "coalesce_ms": rule.coalesce_ms,
                        "cooldown_ms": rule.cooldown_ms, "cron": rule.cron,
                    })
                })
                .collect();
            let told = json!({
                "model_id": policy.model_id, "revision": policy.revision, "enabled": policy.enabled,
                "rules": rules, "toml": toml,
            });
            println!("{told}");
        } else {
            println!("# {}, revision {}\n{toml}", policy.model_id, policy.revision);
        }
    }
}
