//! `acgs watch`: events as they come.

use std::process::ExitCode;

use acgs_contracts::orchestrator::v1::{
    SubscribeRequest, orchestrator_service_client::OrchestratorServiceClient,
};
use acgs_server::Settings;
use acgs_vocabulary::event::{Envelope, payload::AlertChanged};
use clap::Args;

use acgs_console::connect::{channel, explain};

/// Print events as they come, until Ctrl-C.
#[derive(Debug, Args)]
pub struct Watch {
    /// The orchestrator.
    #[arg(long, default_value = "127.0.0.1:8013")]
    address: String,
    /// Subjects: tokens by dots, `*` is one, a last `>` the rest; for example `acgs.*.alert.*`.
    #[arg(long, default_value = ">")]
    subject: String,
    /// Begin after this sequence; 0 begins with the oldest kept. Without it only new events are printed.
    #[arg(long)]
    after: Option<u64>,
    /// Print each envelope as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Watch {
    /// Prints events.
    ///
    /// # Errors
    /// When the orchestrator cannot be reached or refuses.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let channel = channel(&self.address, settings.constitution()?).await?;
        let mut client = OrchestratorServiceClient::new(channel);
        let request = SubscribeRequest { after_sequence: self.after, subject_filter: self.subject };
        let mut events = client.subscribe(request).await.map_err(|status| explain(&status))?.into_inner();
        loop {
            let event = tokio::select! {
                event = events.message() => event.map_err(|status| explain(&status))?,
                _ = tokio::signal::ctrl_c() => None,
            };
            let Some(event) = event else { return Ok(ExitCode::SUCCESS) };
            if self.json {
                println!("{}", event.envelope_json);
                continue;
            }
            let envelope: Envelope = serde_json::from_str(&event.envelope_json)?;
            let said = match envelope.read::<AlertChanged>() {
                Ok(changed) => changed.alert.message,
                Err(_not_an_alert) => envelope.payload.to_string(),
            };
            println!("{:>8}  {}  {:<34}  {said}", event.sequence, envelope.timestamp, event.subject);
        }
    }
}
