//! `acgs windows`: the last windows that were reported, from the log of events, and new ones as they come.

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use acgs_contracts::orchestrator::v1::{
    SubscribeRequest, orchestrator_service_client::OrchestratorServiceClient,
};
use clap::Args;
use serde_json::Value;

use super::probe;
use crate::{
    client::{channel, explain},
    settings::Settings,
};

/// The log has been read to its end when nothing more has come for this long.
const SILENCE: Duration = Duration::from_millis(500);

/// Show the last windows, with what each judge said of them.
#[derive(Debug, Args)]
pub struct Windows {
    /// How many.
    #[arg(long, short = 'n', default_value_t = 20)]
    count: usize,
    /// Only of this stream.
    #[arg(long)]
    stream: Option<String>,
    /// Go on with new ones.
    #[arg(long, short)]
    follow: bool,
    /// The orchestrator; default: as these settings have it.
    #[arg(long)]
    address: Option<String>,
    /// Print one JSON object for each.
    #[arg(long)]
    json: bool,
}

fn line(envelope: &Value) -> String {
    let payload = &envelope["payload"];
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(String::new, |number| format!("{number:.3}")),
        other => other.to_string(),
    };
    let window = &payload["window"];
    let time = |name: &str| acgs_vocabulary::text::rfc3339(window[name].as_i64().unwrap_or_default());
    format!(
        "{:<20} {:<10} {} .. {}  rows {:<7} quality {:<6} drift {:<6} harm {:<9} brier {:<6} {:<10} rev {}",
        text(&window["stream_id"]),
        text(&window["key"]),
        time("start_ms"),
        time("end_ms"),
        payload["row_count"].as_u64().unwrap_or_default(),
        text(&payload["overall_score"]),
        text(&payload["drift_detected"]),
        text(&payload["harm"]).to_lowercase(),
        text(&payload["brier"]),
        text(&payload["performance"]).trim_start_matches("PERFORMANCE_STATE_").to_lowercase(),
        payload["revision"].as_u64().unwrap_or_default(),
    )
}

impl Windows {
    /// Shows them.
    ///
    /// # Errors
    /// When the orchestrator does not answer.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let address = self.address.clone().unwrap_or_else(|| probe::address(&settings, "orchestrator"));
        let mut client = OrchestratorServiceClient::new(channel(&address, settings.constitution()?).await?);
        let request =
            SubscribeRequest { after_sequence: Some(0), subject_filter: "acgs.window.reported".into() };
        let mut events = client.subscribe(request).await.map_err(|status| explain(&status))?.into_inner();
        let mut last: VecDeque<Value> = VecDeque::new();
        let mut caught_up = false;
        loop {
            let next = match tokio::time::timeout(SILENCE, events.message()).await {
                Ok(next) => next.map_err(|status| explain(&status))?,
                Err(_) if caught_up => continue,
                Err(_) => {
                    caught_up = true;
                    last.drain(..).for_each(|envelope| self.print(&envelope));
                    if self.follow {
                        continue;
                    }
                    return Ok(ExitCode::SUCCESS);
                }
            };
            let Some(event) = next else { return Ok(ExitCode::SUCCESS) };
            let envelope: Value = serde_json::from_str(&event.envelope_json)?;
            let of = envelope["payload"]["window"]["stream_id"].as_str();
            if self.stream.is_some() && self.stream.as_deref() != of {
                continue;
            }
            if caught_up {
                self.print(&envelope);
                continue;
            }
            last.push_back(envelope);
            if last.len() > self.count {
                last.pop_front();
            }
        }
    }

    fn print(&self, envelope: &Value) {
        if self.json {
            println!("{}", envelope["payload"]);
        } else {
            println!("{}", line(envelope));
        }
    }
}
