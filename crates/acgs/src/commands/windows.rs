//! `acgs windows`: the last windows that were reported, from the log of events, and new ones as they come.

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use acgs_contracts::orchestrator::v1::{
    SubscribeRequest, orchestrator_service_client::OrchestratorServiceClient,
};
use acgs_server::Settings;
use acgs_vocabulary::{
    event::{
        Envelope, EventKind,
        payload::{HarmFound, PerformanceFound, WindowReported},
    },
    text,
};
use clap::Args;

use super::probe;
use acgs_console::connect::{channel, explain};

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

fn line(reported: &WindowReported) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let window = &reported.window;
    format!(
        "{:<20} {:<10} {} .. {}  rows {:<7} quality {:<6} drift {:<6} harm {:<9} brier {:<6} {:<10} rev {}",
        window.stream_id,
        window.key,
        text::rfc3339(window.start_ms),
        text::rfc3339(window.end_ms),
        reported.row_count.unwrap_or_default(),
        number(reported.overall_score),
        reported.drift_detected.map_or("-", |drifted| if drifted { "true" } else { "false" }),
        match reported.harm {
            HarmFound::None => "none",
            HarmFound::Harmless => "harmless",
            HarmFound::Harmful => "harmful",
            HarmFound::Unknown => "unknown",
        },
        number(reported.brier),
        match reported.performance {
            None => "-",
            Some(PerformanceFound::Unspecified) => "unspecified",
            Some(PerformanceFound::Unknown) => "unknown",
            Some(PerformanceFound::Ok) => "ok",
            Some(PerformanceFound::Decayed) => "decayed",
        },
        reported.revision,
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
            SubscribeRequest { after_sequence: Some(0), subject_filter: EventKind::WindowReported.subject() };
        let mut events = client.subscribe(request).await.map_err(|status| explain(&status))?.into_inner();
        let mut last: VecDeque<WindowReported> = VecDeque::new();
        let mut caught_up = false;
        loop {
            let next = match tokio::time::timeout(SILENCE, events.message()).await {
                Ok(next) => next.map_err(|status| explain(&status))?,
                Err(_) if caught_up => continue,
                Err(_) => {
                    caught_up = true;
                    last.drain(..).try_for_each(|reported| self.print(&reported))?;
                    if self.follow {
                        continue;
                    }
                    return Ok(ExitCode::SUCCESS);
                }
            };
            let Some(event) = next else { return Ok(ExitCode::SUCCESS) };
            let envelope: Envelope = serde_json::from_str(&event.envelope_json)?;
            let reported: WindowReported = envelope.read()?;
            if self.stream.as_deref().is_some_and(|wanted| *wanted != *reported.window.stream_id) {
                continue;
            }
            if caught_up {
                self.print(&reported)?;
                continue;
            }
            last.push_back(reported);
            if last.len() > self.count {
                last.pop_front();
            }
        }
    }

    fn print(&self, reported: &WindowReported) -> anyhow::Result<()> {
        let shown = if self.json { serde_json::to_string(reported)? } else { line(reported) };
        println!("{shown}");
        Ok(())
    }
}
