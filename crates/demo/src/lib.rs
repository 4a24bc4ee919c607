//! `acgs demo`: a year of real flights, scored by a real model, over real gRPC, with labels when the flights land.
//! It must never know more of the mesh than a client does.
//!
//! Reading order: [`Demo`], `flights` (the data), `months` (what is told), `managed` (the year with a model that is looked after).

mod flights;
mod managed;
mod months;

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use acgs_columns::Schema;
use acgs_console::{
    Progress,
    connect::{channel, explain, stream},
    render::report_json,
};
use acgs_contracts::{
    common::v1::{ReferenceSelector, Severity},
    drift::v1::{
        PutReferenceRequest, Reference, ReferenceHeader, drift_service_client::DriftServiceClient,
        put_reference_request,
    },
    orchestrator::v1::{
        Alert, AlertState, Open, TumblingWindow, WindowReport, WindowSpec, stream_windows_response,
        window_spec,
    },
};
use acgs_server::{Running, Settings};
use acgs_vocabulary::{
    convert::{batch, schema},
    text::{parse_rfc3339, rfc3339},
};
use anyhow::Context;
use clap::{Args, Subcommand};

use flights::Flight;
use months::Months;

const HOUR_MS: i64 = 3_600_000;
const WEEK_MS: i64 = 168 * HOUR_MS;
/// Flights of one frame of the reference.
const FRAME_ROWS: usize = 256;
const NAME: &str = "flights-lga-2013";

/// Stream a year of real flights through a mesh of its own and tell what the judges find.
#[derive(Debug, Args)]
pub struct Demo {
    /// Print one JSON object a line, the last one a summary by month.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The year again with a model that is looked after: it answers through the gateway, is retrained when its loss is surely worse,
    /// and what passes the gates takes traffic step by step. A bad version is planted, and has to be taken back.
    Loop,
}

impl Demo {
    /// Runs it.
    ///
    /// # Errors
    /// When the mesh cannot be started or refuses something.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let home = tempfile::tempdir().context("cannot make a folder for the demo's events")?;
        let settings = settings.alone(home.path());
        if matches!(self.what, Some(What::Loop)) {
            return managed::run(&settings, self.json).await;
        }
        let running = acgs_server::serve_all(&settings).await?;
        let told = self.tell(&running).await;
        running.stop().await?;
        told.map(|()| ExitCode::SUCCESS)
    }

    async fn tell(&self, running: &Running) -> anyhow::Result<()> {
        let flights = flights::load()?;
        let until_ms = parse_rfc3339(flights::REFERENCE_END).context("the reference's end")?;
        let split = flights.partition_point(|flight| flight.time_ms < until_ms);
        let (before, after) = flights.split_at(split);
        self.say(&format!(
            "A mesh of four services runs in this process; its orchestrator listens on {}.\n\
             {} flights from LaGuardia in 2013, each with a model's probability of landing late.",
            running.addresses.orchestrator,
            flights.len()
        ));
        let reference = put_reference(running, before, flights::SHIPPED_SCORE).await?;
        let baseline = reference.baseline.context("the reference has labels")?;
        self.say(&format!(
            "January and February are the reference: {} flights, Brier score {:.3}.\n\
             The rest is streamed in event time, in windows of 7 days; a label comes when its flight has landed.\n",
            reference.row_count, baseline.brier
        ));
        let reports = self.stream(running, after).await?;
        let mut last: BTreeMap<i64, &WindowReport> = BTreeMap::new();
        for report in &reports {
            last.insert(report.window.as_ref().map_or(0, |window| window.start_ms), report);
        }
        let months = Months::gather(last.into_values(), reports.iter());
        if self.json {
            println!("{}", months.json());
            return Ok(());
        }
        println!("\n{}\n", months.table());
        for chapter in months.chapters() {
            println!("  {chapter}");
        }
        println!(
            "\nWhat to look at next:\n  acgs serve all                      the same mesh on ports 8010 to 8014\n  \
             acgs stream FILE --timestamp COLUMN your own records, a line for each window\n  \
             acgs watch                          events and alerts as they come\n  \
             README.md                           ten lines of Python, and grpcurl"
        );
        Ok(())
    }

    fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    async fn stream(&self, running: &Running, flights: &[Flight]) -> anyhow::Result<Vec<WindowReport>> {
        let (rows, labels) = (flights::row_schema(flights::SHIPPED_SCORE)?, flights::label_schema()?);
        let address = running.addresses.orchestrator.to_string();
        let constitution = running.constitution.clone();
        let mut stream = stream(&address, constitution, open(&rows, &labels), Duration::ZERO).await?;
        let mut progress = Progress::new(flights.len() as u64, "flights", self.json);
        let mut landing: Vec<&Flight> = flights.iter().filter(|flight| flight.landed_ms.is_some()).collect();
        landing.sort_by_key(|flight| flight.landed_ms);
        let (mut landed, mut reports) = (0, Vec::new());
        // Frames of one hour: labels of flights that have landed go before the departures that follow them.
        for frame in flights.chunk_by(|one, next| one.time_ms / HOUR_MS == next.time_ms / HOUR_MS) {
            let now_ms = frame[0].time_ms;
            let known = landing[landed..].partition_point(|flight| flight.landed_ms <= Some(now_ms));
            if known > 0 {
                let data = flights::batch(&labels, landing[landed..landed + known].iter().copied())?;
                stream.send_labels(batch::to_proto(&data), data.size_bytes()).await?;
                landed += known;
            }
            let data = flights::batch(&rows, frame.iter())?;
            stream.send_rows(batch::to_proto(&data), data.size_bytes()).await?;
            while let Some(message) = stream.heard() {
                self.take(message, &mut reports, &progress);
            }
            progress.advance(frame.len() as u64, rfc3339(now_ms).get(..10).unwrap_or(""));
        }
        for rest in landing[landed..].chunks(FRAME_ROWS) {
            let data = flights::batch(&labels, rest.iter().copied())?;
            stream.send_labels(batch::to_proto(&data), data.size_bytes()).await?;
        }
        stream.end().await?;
        while let Some(message) = stream.next().await? {
            self.take(message, &mut reports, &progress);
        }
        progress.finish();
        Ok(reports)
    }

    fn take(
        &self,
        message: stream_windows_response::Message,
        reports: &mut Vec<WindowReport>,
        progress: &Progress,
    ) {
        let stream_windows_response::Message::Report(report) = message else { return };
        if self.json {
            println!("{}", report_json(&report));
        } else {
            report.alerts.iter().for_each(|alert| progress.line(&alert_line(alert)));
        }
        reports.push(report);
    }
}

fn alert_line(alert: &Alert) -> String {
    let window = alert.window.clone().unwrap_or_default();
    let day = |time_ms: i64| rfc3339(time_ms).get(..10).unwrap_or("").to_owned();
    let word = match (alert.state(), alert.severity()) {
        (AlertState::Resolved, _) => "over    ",
        (_, Severity::Critical) => "CRITICAL",
        (_, Severity::High) => "HIGH    ",
        (_, Severity::Medium) => "medium  ",
        _ => "low     ",
    };
    format!(
        "{word}  {} .. {}  {:<18} {}",
        day(window.start_ms),
        day(window.end_ms),
        alert.rule,
        alert.message
    )
}

fn open(rows: &Schema, labels: &Schema) -> Open {
    Open {
        stream_id: NAME.to_owned(),
        schema: Some(schema::to_proto(rows)),
        label_schema: Some(schema::to_proto(labels)),
        window: Some(WindowSpec {
            kind: Some(window_spec::Kind::Tumbling(TumblingWindow { size_ms: WEEK_MS })),
            ..WindowSpec::default()
        }),
        service_id: "lga-gate".to_owned(),
        model_id: NAME.to_owned(),
        model_version: "1".to_owned(),
        reference: Some(ReferenceSelector { name: NAME.to_owned(), version: 0 }),
        ..Open::default()
    }
}

async fn put_reference(running: &Running, flights: &[Flight], score: &str) -> anyhow::Result<Reference> {
    use put_reference_request::Message;
    let fields = flights::reference_schema(score)?;
    let header = ReferenceHeader {
        name: NAME.to_owned(),
        model_id: NAME.to_owned(),
        schema: Some(schema::to_proto(&fields)),
        window_ms: WEEK_MS,
    };
    let mut messages = vec![Message::Header(header)];
    for rows in flights.chunks(FRAME_ROWS) {
        messages.push(Message::Batch(batch::to_proto(&flights::batch(&Arc::clone(&fields), rows.iter())?)));
    }
    let messages = messages.into_iter().map(|message| PutReferenceRequest { message: Some(message) });
    let channel = channel(&running.addresses.drift.to_string(), running.constitution.clone()).await?;
    let stored = DriftServiceClient::new(channel).put_reference(tokio_stream::iter(messages)).await;
    stored.map_err(|status| explain(&status))?.into_inner().reference.context("no reference came back")
}
