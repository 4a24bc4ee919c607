//! `acgs alerts`: what stands, who has seen it, why it stands, and its end.

use std::process::ExitCode;

use acgs_contracts::{
    common::v1::Severity,
    orchestrator::v1::{
        AcknowledgeAlertRequest, AlertRecord, AlertState, ExplainAlertRequest, ListAlertsRequest,
        ResolveAlertRequest, orchestrator_service_client::OrchestratorServiceClient,
    },
};
use acgs_mesh::client::MeshChannel;
use acgs_server::Settings;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use super::probe;
use acgs_console::connect::{channel, explain};

/// Look at alerts, and say what is done about them.
#[derive(Debug, Args)]
pub struct Alerts {
    /// The orchestrator; default: as these settings have it.
    #[arg(long, global = true)]
    address: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List alerts; the default.
    List {
        /// Also those that are over.
        #[arg(long)]
        all: bool,
        /// Only those of this model.
        #[arg(long, default_value = "")]
        model: String,
    },
    /// Say that somebody has seen an alert.
    Acknowledge(Person),
    /// End an alert; it opens again when windows say so.
    Resolve(Person),
    /// Why an alert stands.
    Explain {
        /// Of the list; its beginning is enough when it is the only one.
        alert: String,
    },
}

/// Who says what of which alert.
#[derive(Clone, Debug, Args)]
struct Person {
    /// Of the list; its beginning is enough when it is the only one.
    alert: String,
    /// Who; default: the user of this machine.
    #[arg(long, env = "USER", default_value = "unknown")]
    by: String,
    /// A reason for people; kept in the log.
    #[arg(long, default_value = "")]
    note: String,
}

type Client = OrchestratorServiceClient<MeshChannel>;

async fn all(client: &mut Client, open: bool, model: &str) -> anyhow::Result<Vec<AlertRecord>> {
    let mut found = Vec::new();
    let mut request =
        ListAlertsRequest { model_id: model.to_owned(), page_size: 1_000, ..Default::default() };
    if open {
        request.state = AlertState::Open.into();
    }
    loop {
        let page = client.list_alerts(request.clone()).await.map_err(|status| explain(&status))?.into_inner();
        found.extend(page.alerts);
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = page.next_page_token;
    }
}

/// The whole id of which this is the beginning.
async fn whole(client: &mut Client, beginning: &str) -> anyhow::Result<String> {
    if beginning.len() == 32 {
        return Ok(beginning.to_owned());
    }
    let found = all(client, false, "").await?;
    let mut fitting = found.into_iter().filter(|alert| alert.alert_id.starts_with(beginning));
    match (fitting.next(), fitting.next()) {
        (Some(alert), None) => Ok(alert.alert_id),
        (None, _) => anyhow::bail!("no alert begins with {beginning:?}; `acgs alerts list --all` shows them"),
        (Some(_), Some(_)) => anyhow::bail!("several alerts begin with {beginning:?}; give more of it"),
    }
}

fn severity(record: &AlertRecord) -> &'static str {
    match record.last_change.as_ref().map(acgs_contracts::orchestrator::v1::Alert::severity) {
        Some(Severity::Critical) => "critical",
        Some(Severity::High) => "high",
        Some(Severity::Medium) => "medium",
        _ => "low",
    }
}

fn as_json(record: &AlertRecord) -> serde_json::Value {
    let last = record.last_change.clone().unwrap_or_default();
    let window = last.window.unwrap_or_default();
    serde_json::json!({
        "alert_id": record.alert_id, "state": record.state().as_str_name(), "severity": severity(record),
        "rule": last.rule, "subject": last.subject, "message": last.message, "stream_id": window.stream_id,
        "key": window.key, "model_id": record.model_id, "service_id": record.service_id,
        "opened_at": record.opened_at, "changed_at": record.changed_at, "openings": record.openings,
        "acknowledged_by": record.acknowledged_by, "resolved_by": record.resolved_by, "note": record.note,
    })
}

impl Alerts {
    /// Does what is asked.
    ///
    /// # Errors
    /// When the orchestrator does not answer, or there is no such alert.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let address = self.address.clone().unwrap_or_else(|| probe::address(&settings, "orchestrator"));
        let mut client = Client::new(channel(&address, settings.constitution()?).await?);
        match self.what.clone().unwrap_or(What::List { all: false, model: String::new() }) {
            What::List { all: over, model } => {
                let found = all(&mut client, !over, &model).await?;
                self.print(&found);
            }
            What::Acknowledge(Person { alert, by, note }) => {
                let alert_id = whole(&mut client, &alert).await?;
                let answer = client.acknowledge_alert(AcknowledgeAlertRequest { alert_id, by, note }).await;
                self.print(answer.map_err(|status| explain(&status))?.into_inner().alert.as_slice());
            }
            What::Resolve(Person { alert, by, note }) => {
                let alert_id = whole(&mut client, &alert).await?;
                let answer = client.resolve_alert(ResolveAlertRequest { alert_id, by, note }).await;
                self.print(answer.map_err(|status| explain(&status))?.into_inner().alert.as_slice());
            }
            What::Explain { alert } => {
                let alert_id = whole(&mut client, &alert).await?;
                let answer = client.explain_alert(ExplainAlertRequest { alert_id }).await;
                let answer = answer.map_err(|status| explain(&status))?.into_inner();
                if self.json {
                    let mut json = answer.alert.as_ref().map(as_json).unwrap_or_default();
                    json["explanation"] = answer.explanation.into();
                    println!("{json}");
                } else {
                    self.print(answer.alert.as_slice());
                    answer.explanation.iter().for_each(|sentence| println!("{sentence}"));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, found: &[AlertRecord]) {
        if self.json {
            found.iter().for_each(|record| println!("{}", as_json(record)));
            return;
        }
        if found.is_empty() {
            println!("no alerts");
            return;
        }
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["alert", "severity", "state", "stream", "rule", "about", "opened", "seen by"]);
        for record in found {
            let last = record.last_change.clone().unwrap_or_default();
            let state = if record.state() == AlertState::Open { "open" } else { "over" };
            table.add_row([
                record.alert_id.chars().take(8).collect::<String>(),
                severity(record).to_owned(),
                state.to_owned(),
                last.window.map(|window| window.stream_id).unwrap_or_default(),
                last.rule,
                last.subject,
                record.opened_at.clone(),
                record.acknowledged_by.clone(),
            ]);
        }
        println!("{table}");
    }
}
