//! `acgs stream FILE`: a person's own data through a running mesh.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use acgs_client::WindowSession;
use acgs_columns::{Role, Scale, Schema};
use acgs_console::{
    connect::{channel, explain, gone, stream},
    input::{self, Batcher, Columns, Record},
    render::{report_json, report_line},
};
use acgs_contracts::{
    common::v1::ReferenceSelector,
    drift::v1::{
        PutReferenceRequest, ReferenceHeader, drift_service_client::DriftServiceClient, put_reference_request,
    },
    orchestrator::v1::{
        Comparison, Open, PreviousWindow, RecentRows, TumblingWindow, WindowSpec, comparison,
        stream_windows_response, window_spec,
    },
};
use acgs_server::Settings;
use acgs_vocabulary::{
    Constitution,
    convert::{batch, schema},
};
use anyhow::{Context, bail};
use clap::Args;

/// A connection that breaks is made again for this long.
const RECONNECT: Duration = Duration::from_secs(30);

/// What a prediction is.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PredictionKind {
    /// One of some classes.
    Classes,
    /// An amount.
    Regression,
}

/// Stream a file of records and print a line for each window.
#[derive(Debug, Args)]
pub struct StreamFile {
    /// `.csv`, `.ndjson` or `.jsonl`, each perhaps with `.gz`; in order of event time, or nearly so.
    file: PathBuf,
    /// The column of event times: RFC 3339, or milliseconds since the epoch.
    #[arg(long)]
    timestamp: String,
    /// The model's probability of the positive class; or, of several classes, the columns of all their probabilities, which are named after their
    /// class, such as `p_cat,p_dog`.
    #[arg(long, value_delimiter = ',')]
    score: Vec<String>,
    /// The model's answer, as a class.
    #[arg(long)]
    prediction: Option<String>,
    /// The truth: 0 or 1 for a score.
    #[arg(long)]
    label: Option<String>,
    /// The label that says yes, such as `churn`; all others say no. Without it they are read as they are: 1, true and yes beside 0, -1, false and no.
    #[arg(long, value_name = "LABEL", requires = "label")]
    positive: Option<String>,
    /// What the prediction is: one of some classes, or an amount. Without it the values show it: fractions, or more than 20 of them, are amounts.
    #[arg(long, value_enum, requires = "prediction")]
    model_kind: Option<PredictionKind>,
    /// The share of labels that the prediction, an amount, means to be above: it is judged as that quantile.
    #[arg(long, value_name = "SHARE", requires = "prediction")]
    quantile: Option<f64>,
    /// Columns of names, such as a country, by whose values losses are told, too; at most 4.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS", requires = "label")]
    slice: Vec<String>,
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
    /// What drift is measured from: `previous`, the window before, or a duration such as `7d`, the rows of that time before each window. Without
    /// it the reference itself, which is needed in any case.
    #[arg(long, value_name = "ROWS", requires = "reference", value_parser = rows_before)]
    compare: Option<Comparison>,
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

/// Rows before a window, of text.
fn rows_before(text: &str) -> Result<Comparison, String> {
    let rows = match text {
        "previous" => comparison::Rows::PreviousWindow(PreviousWindow {}),
        span => comparison::Rows::Recent(RecentRows { span_ms: duration_ms(span)? }),
    };
    Ok(Comparison { rows: Some(rows) })
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
        let schema = self.declared(schema)?;
        let batcher = Batcher::new(&schema, &names)?;
        let rows = sample.into_iter().map(Ok).chain(records);
        match &self.put_reference {
            Some(name) => self.freeze(name, constitution, &schema, batcher, rows).await,
            None => self.stream(constitution, &schema, batcher, rows).await,
        }
    }

    /// With what the flags declare.
    fn declared(&self, schema: Arc<Schema>) -> anyhow::Result<Arc<Schema>> {
        let mut fields = schema.fields().to_vec();
        if let Some(name) = self.slice.iter().find(|name| schema.index_of(name).is_none()) {
            bail!("there is no column {name:?} to tell losses by");
        }
        for field in &mut fields {
            if let (Role::Label, Some(positive)) = (field.role, &self.positive) {
                field.positive = Some(positive.as_str().into());
            }
            field.slice |= self.slice.contains(&field.name);
            if field.role == Role::Prediction {
                field.quantile = self.quantile.or(field.quantile);
            }
            if let (Role::Label | Role::Prediction, Some(kind)) = (field.role, self.model_kind) {
                field.scale = Some(match kind {
                    PredictionKind::Classes => Scale::Nominal,
                    PredictionKind::Regression => Scale::Numeric,
                });
            }
        }
        Ok(Arc::new(Schema::new(fields)?))
    }

    fn columns(&self) -> Columns {
        let named = [
            (&self.prediction, Role::Prediction),
            (&self.label, Role::Label),
            (&self.id, Role::Id),
            (&self.key, Role::Key),
            (&self.latency, Role::Latency),
            (&self.error, Role::Error),
        ];
        let scores = self.score.iter().map(|name| (name.clone(), Role::Score));
        let named = named.into_iter().filter_map(|(name, role)| Some((name.clone()?, role)));
        let roles = scores.chain(named).collect();
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
            if batcher.is_full() {
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
            comparison: self.compare,
            ..Open::default()
        };
        let mut stream = stream(&self.address, constitution, open, RECONNECT).await?;
        for row in rows {
            batcher.push(&row?)?;
            if batcher.is_full() {
                self.send(&mut stream, &mut batcher).await?;
            }
        }
        if batcher.rows() > 0 {
            self.send(&mut stream, &mut batcher).await?;
        }
        stream.end().await.map_err(|error| gone(&error))?;
        while let Some(message) = stream.next().await.map_err(|error| gone(&error))? {
            self.print(&message);
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn send(&self, stream: &mut WindowSession, batcher: &mut Batcher) -> anyhow::Result<()> {
        let rows = batcher.finish()?;
        let sent = stream.send_rows(batch::to_proto(&rows), rows.size_bytes()).await;
        while let Some(message) = stream.heard() {
            self.print(&message);
        }
        sent.map_err(|error| gone(&error))?;
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
