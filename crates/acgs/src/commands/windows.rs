//! `acgs windows`: the last windows that were reported, from the log of events, and new ones as they come.

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use acgs_contracts::{
    common::v1::ModelKind,
    orchestrator::v1::{SubscribeRequest, orchestrator_service_client::OrchestratorServiceClient},
};
use acgs_server::Settings;
use acgs_vocabulary::{
    event::{
        Envelope, EventKind,
        payload::{HarmFound, ModelKindFound, PerformanceFound, WhyNot, WindowReported},
    },
    text,
};
use clap::Args;

use super::probe;
use acgs_console::{
    connect::{channel, explain},
    render,
};

/// The log has been read to its end when nothing more has come for this long.
const SILENCE: Duration = Duration::from_millis(500);

/// Earlier reports of a window that are shown.
const BEFORE_MAX: usize = 8;

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

/// Who was asked and did not answer: that is not who has found nothing.
fn absent(reported: &WindowReported) -> String {
    let silent = reported.not_judged.iter().filter(|judge| judge.status == WhyNot::Unavailable);
    render::absent(&silent.map(|judge| judge.judge.as_str().to_owned()).collect::<Vec<_>>())
}

fn line(reported: &WindowReported) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let window = &reported.window;
    format!(
        "{:<20} {:<10} {} .. {}  rows {:<7} quality {:<6} drift {:<6} harm {:<9} {:<12} {:<10} rev {}{}{}",
        window.stream_id,
        window.key,
        text::rfc3339(window.start_ms),
        text::rfc3339(window.end_ms),
        reported.row_count.map_or_else(|| "-".to_owned(), |rows| rows.to_string()),
        number(reported.overall_score),
        match reported.drift_detected {
            None => "-".to_owned(),
            Some(false) => "no".to_owned(),
            Some(true) if reported.drifted_features.is_empty() => "yes".to_owned(),
            Some(true) => reported.drifted_features.join(","),
        },
        match reported.harm {
            HarmFound::None => "none",
            HarmFound::Harmless => "harmless",
            HarmFound::Harmful => "harmful",
            HarmFound::Decay => "decay",
            HarmFound::Unknown => "unknown",
        },
        loss(reported),
        match reported.performance {
            None => "-",
            Some(PerformanceFound::Unspecified) => "unspecified",
            Some(PerformanceFound::Unknown) => "unknown",
            Some(PerformanceFound::Ok) => "ok",
            Some(PerformanceFound::Decayed) => "decayed",
        },
        reported.revision,
        match reported.performance_reason.as_str() {
            "" => String::new(),
            reason => format!("  ({reason})"),
        },
        absent(reported),
    )
}

/// The loss by its name.
fn loss(reported: &WindowReported) -> String {
    let Some(loss) = reported.loss else {
        return reported.brier.map_or_else(|| "loss -".to_owned(), |brier| format!("brier {brier:.3}"));
    };
    let kind = match loss.model_kind {
        ModelKindFound::Unspecified => ModelKind::Unspecified,
        ModelKindFound::Binary => ModelKind::Binary,
        ModelKindFound::Classes => ModelKind::Classes,
        ModelKindFound::Regression => ModelKind::Regression,
    };
    render::named_loss(kind, loss.quantile.is_some(), loss.value)
}

/// A window as it was told last, and what was said of it before.
struct Shown {
    newest: WindowReported,
    /// Oldest first.
    before: Vec<WindowReported>,
}

/// Takes a report: one of a window that was told before takes its place, and comes last.
fn take(shown: &mut VecDeque<Shown>, reported: WindowReported) {
    let known = shown.iter().position(|known| known.newest.window == reported.window);
    let mut before = Vec::new();
    if let Some(known) = known.and_then(|place| shown.remove(place)) {
        before = known.before;
        before.push(known.newest);
        if before.len() > BEFORE_MAX {
            before.remove(0);
        }
    }
    shown.push_back(Shown { newest: reported, before });
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
        let mut last: VecDeque<Shown> = VecDeque::new();
        let mut caught_up = false;
        loop {
            let next = match tokio::time::timeout(SILENCE, events.message()).await {
                Ok(next) => next.map_err(|status| explain(&status))?,
                Err(_) if caught_up => continue,
                Err(_) => {
                    caught_up = true;
                    last.drain(..).try_for_each(|shown| self.print(&shown))?;
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
                self.print(&Shown { newest: reported, before: Vec::new() })?;
                continue;
            }
            take(&mut last, reported);
            if last.len() > self.count {
                last.pop_front();
            }
        }
    }

    fn print(&self, shown: &Shown) -> anyhow::Result<()> {
        let reported = &shown.newest;
        if self.json {
            let mut told = serde_json::to_value(reported)?;
            if !shown.before.is_empty() {
                told["history"] = serde_json::to_value(&shown.before)?;
            }
            println!("{told}");
            return Ok(());
        }
        // A window is told again when late rows or labels revise it, and when its stream is opened anew from the start.
        let anew = shown.before.iter().rfind(|before| before.life != reported.life);
        match anew.map(|before| before.overall_score) {
            Some(Some(score)) => println!("{}  told before with quality {score:.3}", line(reported)),
            Some(None) => println!("{}  told before", line(reported)),
            None => println!("{}", line(reported)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use acgs_vocabulary::{JudgeKind, Window, event::payload::NotJudged};

    use super::*;

    #[test]
    fn a_window_that_is_told_again_takes_its_own_place() {
        let reported = |start_ms: i64, life: &str, score: f64| WindowReported {
            row_count: Some(10),
            overall_score: Some(score),
            drift_detected: None,
            score_drift: None,
            drifted_features: Vec::new(),
            drift_kinds: Vec::new(),
            loss: None,
            performance_reason: String::new(),
            labels_awaited: 0,
            brier: None,
            performance: None,
            harm: HarmFound::None,
            window: Window { stream_id: "s".into(), key: "".into(), start_ms, end_ms: start_ms + 10 },
            revision: 0,
            model_id: String::new(),
            service_id: String::new(),
            quality_severity: None,
            epoch: 0,
            life: life.into(),
            not_judged: Vec::new(),
        };
        let mut shown = VecDeque::new();
        for (start_ms, life, score) in [(0, "a", 0.5), (10, "a", 0.9), (0, "b", 0.8)] {
            take(&mut shown, reported(start_ms, life, score));
        }
        let told: Vec<_> =
            shown.iter().map(|it| (it.newest.window.start_ms, it.newest.overall_score)).collect();
        assert_eq!(told, [(10, Some(0.9)), (0, Some(0.8))]);
        assert_eq!(shown[1].before[0].overall_score, Some(0.5));
        let mut alone = reported(0, "a", 0.5);
        assert!(line(&alone).ends_with("rev 0"));
        for (judge, status) in
            [(JudgeKind::Drift, WhyNot::Unavailable), (JudgeKind::Performance, WhyNot::NotApplicable)]
        {
            alone.not_judged.push(NotJudged { judge, status, reason: "gone".into() });
        }
        assert!(line(&alone).ends_with("rev 0  ABSENT drift"), "{}", line(&alone));
    }
}
