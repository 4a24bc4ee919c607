//! `acgs models`: models, their versions, what served at some time, and what people say of a version.

use std::process::ExitCode;

use acgs_client::LifecycleClients;
use acgs_console::{
    connect::{channel, explain, wish},
    render::word,
};
use acgs_contracts::lifecycle::v1::{
    ArchiveVersionRequest, AsOfRequest, ClearLoopRequest, GateOutcome, GetVersionRequest, ListModelsRequest,
    ListVersionsRequest, Model, QuarantineVersionRequest, RegisterModelRequest, ReleaseVersionRequest,
    SetFreezeRequest, Version,
};
use acgs_mesh::client::MeshChannel;
use acgs_server::Settings;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Value, json};

use super::probe;

const PAGE: u32 = 1_000;

/// Look at models and their versions, also as they were.
#[derive(Debug, Args)]
pub struct Models {
    #[command(flatten)]
    caller: Caller,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List models; the default.
    List,
    /// Make a model known.
    Register {
        /// Its id.
        model: String,
        /// For people.
        #[arg(long, default_value = "")]
        name: String,
        /// The service that serves it.
        #[arg(long, default_value = "")]
        service: String,
    },
    /// List the versions of a model.
    Versions {
        /// The model.
        model: String,
        /// As they were then, RFC 3339.
        #[arg(long)]
        at: Option<String>,
    },
    /// Show a version with its gates.
    Show {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// Take a version out at once; a champion's place is taken by the version on standby.
    Quarantine {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
    },
    /// Let a version out of quarantine; two people have to ask.
    Release {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// Put a retired version away.
    Archive {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// The kill switch: stop all retraining of a model, or of all without one.
    Freeze {
        /// The model; all without one.
        model: Option<String>,
        /// A reason for people; kept in the log.
        #[arg(long)]
        why: String,
    },
    /// Go on after a freeze.
    Thaw {
        /// The model; all without one.
        model: Option<String>,
    },
    /// You have looked after a model whose retrainings did not help: they may trigger again.
    ClearLoop {
        /// The model.
        model: String,
    },
}

pub(super) type Client = LifecycleClients<MeshChannel>;

/// Who asks the service of models, where, and how it is told.
#[derive(Debug, Args)]
pub(super) struct Caller {
    /// The orchestrator; default: as these settings have it.
    #[arg(long, global = true)]
    address: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Who you are; default: the user of this machine.
    #[arg(long, global = true, env = "USER", default_value = "unknown")]
    pub(super) by: String,
}

impl Caller {
    /// A client.
    pub(super) async fn client(&self, settings: &Settings) -> anyhow::Result<Client> {
        let address = self.address.clone().unwrap_or_else(|| probe::address(settings, "orchestrator"));
        Ok(Client::new(channel(&address, settings.constitution()?).await?))
    }
}

fn model_json(model: &Model) -> Value {
    json!({
        "model_id": model.model_id, "model_name": model.model_name, "service_id": model.service_id,
        "champion": model.champion, "versions": model.versions, "open_jobs": model.open_jobs,
        "policy_revision": model.policy_revision, "frozen": model.frozen, "frozen_why": model.frozen_why,
        "unhelpful_in_a_row": model.unhelpful_in_a_row, "registered_at": model.registered_at,
    })
}

fn version_json(version: &Version) -> Value {
    let gates = version.gates.iter().map(|gate| {
        let measured: serde_json::Map<String, Value> =
            gate.measured.iter().map(|measured| (measured.name.clone(), measured.value.into())).collect();
        json!({
            "gate": gate.gate, "outcome": word(gate.outcome().as_str_name(), "GATE_OUTCOME_"),
            "measured": measured, "bound": gate.bound, "description": gate.description,
        })
    });
    let artifact = version.artifact.clone().unwrap_or_default();
    let data = version.data.as_ref().map(|data| {
        json!({ "from_ms": data.from_ms, "until_ms": data.until_ms, "rows": data.rows, "digest": data.digest })
    });
    json!({
        "model_id": version.model_id, "version": version.version, "number": version.number,
        "stage": word(version.stage().as_str_name(), "STAGE_"), "parent": version.parent, "job_id": version.job_id,
        "artifact": { "digest": artifact.digest, "size_bytes": artifact.size_bytes, "format": artifact.format,
            "uri": artifact.uri },
        "data": data, "metrics": version.metrics, "gates": gates.collect::<Vec<_>>(),
        "registered_at": version.registered_at, "staged_at": version.staged_at,
    })
}

impl Models {
    /// Does what is asked.
    ///
    /// # Errors
    /// When the orchestrator does not answer, or refuses.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let mut client = self.caller.client(&settings).await?;
        let why = |status: tonic::Status| explain(&status);
        match self.what.clone().unwrap_or(What::List) {
            What::List => {
                let request = ListModelsRequest { limit: PAGE, ..Default::default() };
                let found = client.models.list_models(request).await.map_err(why)?.into_inner().models;
                self.print_models(&found);
            }
            What::Register { model, name, service } => {
                let request = RegisterModelRequest {
                    model_id: model,
                    model_name: name,
                    service_id: service,
                    actor: self.caller.by.clone(),
                    ..Default::default()
                };
                let answer = client.models.register_model(request).await.map_err(why)?.into_inner();
                self.print_models(answer.model.as_slice());
            }
            What::Versions { model, at: None } => {
                let request = ListVersionsRequest { model_id: model };
                let answer = client.models.list_versions(request).await.map_err(why)?.into_inner();
                self.print_versions(&answer.versions);
            }
            What::Versions { model, at: Some(time) } => {
                let answer = client.models.as_of(AsOfRequest { model_id: model, time }).await.map_err(why)?;
                self.print_versions(&answer.into_inner().versions);
            }
            What::Show { model, version } => {
                let request = GetVersionRequest { model_id: model, version };
                let answer = client.models.get_version(request).await.map_err(why)?.into_inner();
                self.print_version(&answer.version.unwrap_or_default());
            }
            other => self.change(&mut client, other).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn change(&self, client: &mut Client, what: What) -> anyhow::Result<()> {
        let why = |status: tonic::Status| explain(&status);
        let actor = self.caller.by.clone();
        match what {
            What::Quarantine { model, version, why: reason } => {
                let request = QuarantineVersionRequest {
                    model_id: model,
                    version,
                    why: reason,
                    actor,
                    request_id: wish(),
                };
                let answer = client.models.quarantine_version(request).await.map_err(why)?.into_inner();
                self.print_versions(answer.version.as_slice());
                if !self.caller.json && !answer.champion.is_empty() {
                    println!("{} serves", answer.champion);
                }
            }
            What::Release { model, version } => {
                let request = ReleaseVersionRequest { model_id: model, version, actor, request_id: wish() };
                let answer = client.models.release_version(request).await.map_err(why)?.into_inner();
                self.print_versions(answer.version.as_slice());
            }
            What::Archive { model, version } => {
                let request = ArchiveVersionRequest { model_id: model, version, actor, request_id: wish() };
                let answer = client.models.archive_version(request).await.map_err(why)?.into_inner();
                self.print_versions(answer.version.as_slice());
            }
            What::Freeze { model, why: reason } => {
                self.freeze(client, model, true, reason).await?;
            }
            What::Thaw { model } => self.freeze(client, model, false, String::new()).await?,
            What::ClearLoop { model } => {
                let request = ClearLoopRequest { model_id: model, actor, request_id: wish() };
                let answer = client.models.clear_loop(request).await.map_err(why)?.into_inner();
                self.print_models(answer.model.as_slice());
            }
            _ => {}
        }
        Ok(())
    }

    async fn freeze(
        &self,
        client: &mut Client,
        model: Option<String>,
        frozen: bool,
        why: String,
    ) -> anyhow::Result<()> {
        let model_id = model.unwrap_or_default();
        let told = if model_id.is_empty() { "all models".to_owned() } else { model_id.clone() };
        let request =
            SetFreezeRequest { model_id, frozen, why, actor: self.caller.by.clone(), request_id: wish() };
        client.models.set_freeze(request).await.map_err(|status| explain(&status))?;
        if self.caller.json {
            println!("{}", json!({ "frozen": frozen, "about": told }));
        } else {
            println!("{told}: {}", if frozen { "nothing is retrained" } else { "retraining goes on" });
        }
        Ok(())
    }

    fn print_models(&self, found: &[Model]) {
        if self.caller.json {
            found.iter().for_each(|model| println!("{}", model_json(model)));
            return;
        }
        if found.is_empty() {
            println!("no models; `acgs models register NAME` makes one known");
            return;
        }
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["model", "champion", "versions", "open jobs", "policy", "state", "registered"]);
        for model in found {
            let state = match (model.frozen, model.unhelpful_in_a_row) {
                (true, _) => format!("frozen: {}", model.frozen_why),
                (false, 0) => "well".to_owned(),
                (false, times) => format!("{times} retrainings in a row did not help"),
            };
            table.add_row([
                model.model_id.clone(),
                if model.champion.is_empty() { "-".to_owned() } else { model.champion.clone() },
                model.versions.to_string(),
                model.open_jobs.to_string(),
                if model.policy_revision == 0 {
                    "none".to_owned()
                } else {
                    model.policy_revision.to_string()
                },
                state,
                model.registered_at.clone(),
            ]);
        }
        println!("{table}");
    }

    fn print_versions(&self, found: &[Version]) {
        if self.caller.json {
            found.iter().for_each(|version| println!("{}", version_json(version)));
            return;
        }
        if found.is_empty() {
            println!("no versions");
            return;
        }
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["version", "stage", "since", "follows", "made by", "rows", "artifact"]);
        for version in found {
            let rows = version.data.as_ref().map_or_else(|| "-".to_owned(), |data| data.rows.to_string());
            let digest =
                version.artifact.as_ref().map(|artifact| artifact.digest.clone()).unwrap_or_default();
            table.add_row([
                version.version.clone(),
                word(version.stage().as_str_name(), "STAGE_"),
                version.staged_at.clone(),
                version.parent.clone(),
                version.job_id.clone(),
                rows,
                digest.chars().take(12).collect(),
            ]);
        }
        println!("{table}");
    }

    fn print_version(&self, version: &Version) {
        self.print_versions(std::slice::from_ref(version));
        if self.caller.json {
            return;
        }
        for gate in &version.gates {
            let outcome = match gate.outcome() {
                GateOutcome::Passed => "passed ",
                GateOutcome::Failed => "FAILED ",
                _ => "n/a    ",
            };
            println!("{outcome} {:<14} {}", gate.gate, gate.description);
        }
    }
}
