//! `acgs stream FILE`: a person's own data through a running mesh.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use acgs_columns::{Role, Schema};
use acgs_contracts::{
    common::v1::ReferenceSelector,
    drift::v1::{
        PutReferenceRequest, ReferenceHeader, drift_service_client::DriftServiceClient, put_reference_request,
    },
    orchestrator::v1::{
        AlertState, Harm, Open, TumblingWindow, WindowReport, WindowSpec, stream_windows_response,
        window_spec,
    },
};
use acgs_server::Settings;
use acgs_vocabulary::{
    Constitution,
    convert::{batch, schema},
    text::rfc3339,
};
use anyhow::{Context, bail};
use clap::Args;

use crate::{
    client::{WindowStream, channel, explain},
    input::{self, Batcher, Columns, Record},
};

/// Rows of one frame.
const FRAME_ROWS: usize = 1_024;

/// Stream a file of records and print a line for each window.
#[derive(Debug, Args)]
pub struct StreamFile {
    /// `.csv`, `.ndjson` or `.jsonl`, each perhaps with `.gz`; in order of event time, or nearly so.
    file: PathBuf,
    /// The column of event times: RFC 3339, or milliseconds since the epoch.
    #[arg(long)]
    timestamp: String,
    /// The model's probability of the positive class.
    #[arg(long)]
    score: Option<String>,
    /// The model's answer, as a class.
    #[arg(long)]
    prediction: Option<String>,
    /// The truth: 0 or 1 for a score.
    #[arg(long)]
    label: Option<String>,
    /// What names a record.
    #[arg(long)]
    id: Option<String>,
    /// Windows are kept apart by it.
    #[arg(long)]
    key: Option<String>,
    /// How long the answer took, in milliseconds.
    #[arg(long)]
    latency: Option<String>,
    /// Whether serving failed: true or false.
    #[arg(long)]
    error: Option<String>,
    /// Columns to leave out.
    #[arg(long, value_delimiter = ',')]
    ignore: Vec<String>,
    /// The schema, as JSON: `{"fields": [{"name": "price", "kind": "double", "role": "feature", "minimum": 0}]}`.
    /// Without it kinds are inferred and roles taken from the flags above. Columns that it leaves out are left out.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Length of a window: a number and ms, s, m, h or d.
    #[arg(long, default_value = "1h", value_parser = duration_ms)]
    window: i64,
    /// Out-of-orderness that is on time, like the window.
    #[arg(long, default_value = "2s", value_parser = duration_ms)]
    disorder: i64,
    /// A stored reference to measure drift from.
    #[arg(long)]
    reference: Option<String>,
    /// Do not stream: freeze the file as this reference.
    #[arg(long, value_name = "NAME", conflicts_with = "reference")]
    put_reference: Option<String>,
    /// The model.
    #[arg(long, default_value = "")]
    model: String,
    /// The stream's name; default: the file's.
    #[arg(long)]
    stream_id: Option<String>,
    /// The orchestrator.
    #[arg(long, default_value = "127.0.0.1:8013")]
    address: String,
    /// The drift service, for --put-reference.
    #[arg(long, default_value = "127.0.0.1:8011")]
    drift_address: String,
    /// Print one JSON object for each report.
    #[arg(long)]
    json: bool,
}

/// Milliseconds of text such as `90s`.
fn duration_ms(text: &str) -> Result<i64, String> {
    let at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..at].parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    let unit = match &text[at..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => return Err(format!("{other:?} is none of ms, s, m, h, d")),
    };
    number.checked_mul(unit).ok_or_else(|| format!("{text} is too long"))
}

impl StreamFile {
    /// Streams, or freezes.
    ///
    /// # Errors
    /// Naming the record, or what the server said.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let constitution = settings.constitution()?;
        let mut records = input::open(&self.file)?;
        let sample = input::sample(&mut records)?;
        if sample.is_empty() {
            bail!("{} has no records", self.file.display());
        }
        let names = records.names.clone();
        let schema = match &self.schema {
            Some(path) => input::read_schema(path)?,
            None => input::infer(&names, &sample, &self.columns())?,
        };
        let batcher = Batcher::new(&schema, &names)?;
        let rows = sample.into_iter().map(Ok).chain(records);
        match &self.put_reference {
            Some(name) => self.freeze(name, constitution, &schema, batcher, rows).await,
            None => self.stream(constitution, &schema, batcher, rows).await,
        }
    }

    fn columns(&self) -> Columns {
        let named = [
            (&self.score, Role::Score),
            (&self.prediction, Role::Prediction),
            (&self.label, Role::Label),
            (&self.id, Role::Id),
            (&self.key, Role::Key),
            (&self.latency, Role::Latency),
            (&self.error, Role::Error),
        ];
        let roles = named.into_iter().filter_map(|(name, role)| Some((name.clone()?, role))).collect();
        Columns { timestamp: self.timestamp.clone(), roles, ignored: self.ignore.clone() }
    }

    async fn freeze(
        &self,
        name: &str,
        constitution: Constitution,
        fields: &Arc<Schema>,
        mut batcher: Batcher,
        rows: impl Iterator<Item = anyhow::Result<Record>>,
    ) -> anyhow::Result<ExitCode> {
        use put_reference_request::Message;
        let header = ReferenceHeader {
            name: name.to_owned(),
            model_id: self.model.clone(),
            schema: Some(schema::to_proto(fields)),
            window_ms: self.window,
        };
        let mut messages = vec![Message::Header(header)];
        for row in rows {
            batcher.push(&row?)?;
            if batcher.rows() == FRAME_ROWS {
                messages.push(Message::Batch(batch::to_proto(&batcher.finish()?)));
            }
        }
        if batcher.rows() > 0 {
            messages.push(Message::Batch(batch::to_proto(&batcher.finish()?)));
        }
        let messages = messages.into_iter().map(|message| PutReferenceRequest { message: Some(message) });
        let mut client = DriftServiceClient::new(channel(&self.drift_address, constitution).await?);
        let stored = client.put_reference(tokio_stream::iter(messages)).await;
        let reference =
            stored.map_err(|status| explain(&status))?.into_inner().reference.context("no reference")?;
        println!("reference {} version {}: {} rows", reference.name, reference.version, reference.row_count);
        Ok(ExitCode::SUCCESS)
    }

    async fn stream(
        &self,
        constitution: Constitution,
        fields: &Arc<Schema>,
        mut batcher: Batcher,
        rows: impl Iterator<Item = anyhow::Result<Record>>,
    ) -> anyhow::Result<ExitCode> {
        let stem = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let open = Open {
            stream_id: self.stream_id.clone().unwrap_or(stem),
            schema: Some(schema::to_proto(fields)),
            window: Some(WindowSpec {
                kind: Some(window_spec::Kind::Tumbling(TumblingWindow { size_ms: self.window })),
                out_of_orderness_ms: Some(self.disorder),
                ..WindowSpec::default()
            }),
            model_id: self.model.clone(),
            reference: self.reference.clone().map(|name| ReferenceSelector { name, version: 0 }),
            ..Open::default()
        };
        let mut stream = WindowStream::open(channel(&self.address, constitution).await?, open).await?;
        let mut told = Vec::new();
        for row in rows {
            batcher.push(&row?)?;
            if batcher.rows() == FRAME_ROWS {
                self.send(&mut stream, &mut batcher, &mut told).await?;
            }
        }
        if batcher.rows() > 0 {
            self.send(&mut stream, &mut batcher, &mut told).await?;
        }
        stream.end(&mut told).await?;
        while let Some(message) = stream.next().await? {
            self.print(&message);
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn send(
        &self,
        stream: &mut WindowStream,
        batcher: &mut Batcher,
        told: &mut Vec<stream_windows_response::Message>,
    ) -> anyhow::Result<()> {
        let rows = batcher.finish()?;
        stream.send_rows(batch::to_proto(&rows), rows.size_bytes(), told).await?;
        told.drain(..).for_each(|message| self.print(&message));
        Ok(())
    }

    fn print(&self, message: &stream_windows_response::Message) {
        match message {
            stream_windows_response::Message::Report(report) if self.json => {
                println!("{}", report_json(report))
            }
            stream_windows_response::Message::Report(report) => println!("{}", report_line(report)),
            stream_windows_response::Message::Closed(closed) if !self.json => {
                let dropped = closed.dropped.unwrap_or_default();
                println!(
                    "{} rows in {} windows; late {}, without a usable time {}",
                    closed.accepted_rows,
                    closed.windows,
                    dropped.late,
                    dropped.null_timestamp + dropped.timestamp_out_of_range + dropped.timestamp_in_future
                );
            }
            _ => {}
        }
    }
}

/// A report on one line, for a person.
#[must_use]
pub fn report_line(report: &WindowReport) -> String {
    let window = report.window.clone().unwrap_or_default();
    let quality =
        report.quality.as_ref().map_or("-".into(), |quality| format!("{:.3}", quality.overall_score));
    let drift = report.drift.as_ref().map_or("-".into(), |drift| {
        if drift.drift_detected { format!("yes ({})", harm_word(report.harm())) } else { "no".to_owned() }
    });
    let performance = report.performance.as_ref();
    let brier = performance.and_then(|performance| performance.brier.as_ref());
    let loss = brier.map_or("-".into(), |brier| format!("{:.3}", brier.value));
    let key = if window.key.is_empty() { String::new() } else { format!("  {}", window.key) };
    let told = |word: &str, state: AlertState| {
        let rules = report.alerts.iter().filter(|alert| alert.state() == state);
        let rules: Vec<&str> = rules.map(|alert| alert.rule.as_str()).collect();
        if rules.is_empty() { String::new() } else { format!("  {word} {}", rules.join(", ")) }
    };
    let alerts = told("ALERT", AlertState::Open) + &told("over", AlertState::Resolved);
    format!(
        "{} .. {}{key}  rows {:<7} quality {quality}  drift {drift}  brier {loss}  rev {}{alerts}",
        rfc3339(window.start_ms),
        rfc3339(window.end_ms),
        report.quality.as_ref().map_or(0, |quality| quality.row_count),
        report.revision
    )
}

/// Harm in one word.
#[must_use]
pub fn harm_word(harm: Harm) -> &'static str {
    match harm {
        Harm::None => "none",
        Harm::Harmless => "harmless",
        Harm::Harmful => "harmful",
        Harm::Unknown | Harm::Unspecified => "unknown",
    }
}

/// A report as one JSON object: the numbers that programs ask for first.
#[must_use]
pub fn report_json(report: &WindowReport) -> serde_json::Value {
    let window = report.window.clone().unwrap_or_default();
    let performance = report.performance.as_ref();
    let drift = report.drift.as_ref();
    serde_json::json!({
        "type": "window",
        "start": rfc3339(window.start_ms), "end": rfc3339(window.end_ms), "key": window.key,
        "revision": report.revision,
        "rows": report.quality.as_ref().map(|quality| quality.row_count),
        "overall_score": report.quality.as_ref().map(|quality| quality.overall_score),
        "drift_detected": drift.map(|drift| drift.drift_detected),
        "score_drift": drift.map(|drift| drift.score_drift),
        "drifted_features": drift.map(|drift| drift.features.iter().filter(|feature| feature.drifted)
            .map(|feature| feature.name.clone()).collect::<Vec<_>>()),
        "harm": harm_word(report.harm()),
        "performance": performance.map(|performance| state_word(performance.state)),
        "labelled": performance.map(|performance| performance.labelled_count),
        "brier": performance.and_then(|performance| performance.brier.as_ref()).map(|brier| brier.value),
        "findings": report.findings.iter().map(|finding| finding.rule.clone()).collect::<Vec<_>>(),
        "alerts": report.alerts.iter().map(|alert| alert.rule.clone()).collect::<Vec<_>>(),
        "latency_us": report.latency_us,
    })
}

/// A performance state in one word.
#[must_use]
pub fn state_word(state: i32) -> &'static str {
    use acgs_contracts::performance::v1::PerformanceState;
    match PerformanceState::try_from(state) {
        Ok(PerformanceState::Ok) => "ok",
        Ok(PerformanceState::Decayed) => "decayed",
        _ => "unknown",
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
