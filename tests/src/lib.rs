//! The harness: a whole mesh on free ports, clients for it, and rows to feed it. It must not know a test.

pub mod echo;
pub mod fleet;
pub mod http;
pub mod http2;
pub mod load;
pub mod models;
pub mod nats;

use std::{path::PathBuf, sync::Arc, time::Duration};

use acgs_client::{LifecycleClients, windows::Connection};
use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_contracts::{
    drift::v1::drift_service_client::DriftServiceClient,
    orchestrator::v1::{
        Open, Opened, StreamWindowsRequest, TumblingWindow, WindowReport, WindowSpec,
        orchestrator_service_client::OrchestratorServiceClient, stream_windows_request,
        stream_windows_response, window_spec,
    },
    performance::v1::performance_service_client::PerformanceServiceClient,
    quality::v1::quality_service_client::QualityServiceClient,
};
use acgs_mesh::client::{MeshChannel, connect};
use acgs_server::{Running, Settings};
use acgs_vocabulary::convert::{batch, schema};
use tonic::Status;
use tonic_types::StatusExt;

/// Nothing in a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A mesh with a home of its own.
pub struct Mesh {
    /// What runs.
    pub running: Running,
    _home: tempfile::TempDir,
}

impl Mesh {
    /// With the defaults.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With some settings, `key=value`.
    pub async fn start_with(flags: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let mut all: Vec<String> = ["quality", "drift", "performance", "orchestrator", "gateway"]
            .iter()
            .map(|service| format!("listen.{service}=0"))
            .collect();
        all.push(format!("home.folder={}", home.path().join("events").display()));
        all.push("drain.grace_ms=2000".into());
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let settings = Settings::load(None, std::iter::empty(), &all).expect("settings");
        let running = acgs_server::serve_all(&settings).await.expect("a mesh");
        Self { running, _home: home }
    }

    /// A channel that stamps and checks.
    pub async fn channel(&self, address: std::net::SocketAddr) -> MeshChannel {
        connect(&format!("http://{address}"), self.running.constitution.clone()).await.expect("connects")
    }

    /// A plain channel: no stamp.
    pub async fn plain(&self, address: std::net::SocketAddr) -> tonic::transport::Channel {
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("an address");
        endpoint.connect().await.expect("connects")
    }

    /// A client of quality.
    pub async fn quality(&self) -> QualityServiceClient<MeshChannel> {
        QualityServiceClient::new(self.channel(self.running.addresses.quality).await)
    }

    /// A client of drift.
    pub async fn drift(&self) -> DriftServiceClient<MeshChannel> {
        DriftServiceClient::new(self.channel(self.running.addresses.drift).await)
    }

    /// A client of performance.
    pub async fn performance(&self) -> PerformanceServiceClient<MeshChannel> {
        PerformanceServiceClient::new(self.channel(self.running.addresses.performance).await)
    }

    /// A client of the service of models.
    pub async fn lifecycle(&self) -> LifecycleClients<MeshChannel> {
        LifecycleClients::new(self.channel(self.running.addresses.orchestrator).await)
    }

    /// A client of the orchestrator.
    pub async fn orchestrator(&self) -> OrchestratorServiceClient<MeshChannel> {
        OrchestratorServiceClient::new(self.channel(self.running.addresses.orchestrator).await)
    }

    /// An open stream; the first answer is read.
    pub async fn stream(&self, open: Open) -> Result<Stream, Status> {
        Stream::open(self.orchestrator().await, open).await
    }
}

/// A client's stream, frame by frame: it numbers nothing and waits for no credit, so that tests can break the rules.
#[derive(Debug)]
pub struct Stream(pub Connection);

impl Stream {
    /// Opens; the first answer is read.
    pub async fn open(client: OrchestratorServiceClient<MeshChannel>, open: Open) -> Result<Self, Status> {
        Connection::over(client, open, PATIENCE).await.map(Self)
    }

    /// Opens over any channel.
    pub async fn open_over<T>(channel: T, open: Open) -> Result<Self, Status>
    where
        T: tonic::client::GrpcService<tonic::body::Body>,
        T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        <T::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        Connection::over(OrchestratorServiceClient::new(channel), open, PATIENCE).await.map(Self)
    }

    /// What the first answer said.
    pub fn opened(&self) -> &Opened {
        self.0.opened()
    }

    /// Sends; a closed stream takes nothing.
    pub async fn send(&mut self, message: stream_windows_request::Message) {
        if let Some(out) = self.0.sender() {
            let _closed = out.send(StreamWindowsRequest { message: Some(message) }).await;
        }
    }

    /// Sends rows.
    pub async fn rows(&mut self, seq: u64, rows: &RecordBatch) {
        let batch = Some(batch::to_proto(rows));
        self.send(stream_windows_request::Message::Rows(acgs_contracts::orchestrator::v1::Rows {
            seq,
            batch,
            ..Default::default()
        }))
        .await;
    }

    /// Sends labels.
    pub async fn labels(&mut self, seq: u64, rows: &RecordBatch) {
        let batch = Some(batch::to_proto(rows));
        let labels = acgs_contracts::orchestrator::v1::Labels { seq, batch };
        self.send(stream_windows_request::Message::Labels(labels)).await;
    }

    /// Ends the partition.
    pub async fn end(&mut self) {
        self.send(stream_windows_request::Message::End(acgs_contracts::orchestrator::v1::End {})).await;
    }

    /// The next answer.
    pub async fn next(&mut self) -> Result<Option<stream_windows_response::Message>, Status> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("an answer in time")
    }

    /// Everything until the stream ends, and the error if it ends in one.
    pub async fn rest(&mut self) -> (Vec<stream_windows_response::Message>, Option<Status>) {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(message)) => all.push(message),
                Ok(None) => return (all, None),
                Err(status) => return (all, Some(status)),
            }
        }
    }

    /// All reports until the stream ends well.
    pub async fn reports(&mut self) -> Vec<WindowReport> {
        let (all, status) = self.rest().await;
        assert!(status.is_none(), "{status:?}");
        reports(all)
    }
}

/// The reports among answers.
pub fn reports(all: Vec<stream_windows_response::Message>) -> Vec<WindowReport> {
    let report = |message| match message {
        stream_windows_response::Message::Report(report) => Some(report),
        _ => None,
    };
    all.into_iter().filter_map(report).collect()
}

/// The reason and the field of a refusal.
pub fn reason(status: &Status) -> (String, String) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let field = details.bad_request().and_then(|bad| bad.field_violations.first());
    (reason, field.map(|violation| violation.field.clone()).unwrap_or_default())
}

/// Event time, id, one feature, a category, a score.
pub fn row_schema() -> Arc<Schema> {
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("id", Kind::Int64, Role::Id),
        Field::new("x", Kind::Double, Role::Feature),
        Field::new("city", Kind::Text, Role::Feature),
        Field::new("p", Kind::Double, Role::Score),
    ];
    Arc::new(Schema::new(fields).expect("a schema"))
}

/// Id and label.
pub fn label_schema() -> Arc<Schema> {
    let fields = vec![Field::new("id", Kind::Int64, Role::Id), Field::new("y", Kind::Double, Role::Label)];
    Arc::new(Schema::new(fields).expect("a schema"))
}

/// Rows at these times; ids go on from `first_id`, `x` moves by `shift`.
pub fn rows(first_id: i64, times_ms: &[i64], shift: f64) -> RecordBatch {
    let mut builder = BatchBuilder::new(row_schema());
    for (place, &time_ms) in times_ms.iter().enumerate() {
        let id = first_id + place as i64;
        let unit = |step: f64| (id as f64 * step).fract().abs();
        let city = ["lga", "jfk", "ewr"][(unit(0.754_877_666) * 3.0) as usize];
        let cells = [
            Cell::Integer(time_ms),
            Cell::Integer(id),
            Cell::Number(unit(0.618_034) * 4.0 + shift),
            Cell::Text(city),
            Cell::Number(unit(0.569_84)),
        ];
        builder.push(&cells).expect("a row");
    }
    builder.finish().expect("a batch")
}

/// Labels by id.
pub fn labels(of: &[(i64, f64)]) -> RecordBatch {
    let mut builder = BatchBuilder::new(label_schema());
    for (id, label) in of {
        builder.push(&[Cell::Integer(*id), Cell::Number(*label)]).expect("a label");
    }
    builder.finish().expect("a batch")
}

/// Tumbling windows of these rows, with labels to come.
pub fn open(stream_id: &str, size_ms: i64) -> Open {
    Open {
        stream_id: stream_id.into(),
        schema: Some(schema::to_proto(&row_schema())),
        label_schema: Some(schema::to_proto(&label_schema())),
        window: Some(WindowSpec {
            kind: Some(window_spec::Kind::Tumbling(TumblingWindow { size_ms })),
            out_of_orderness_ms: Some(0),
            label_horizon_ms: Some(60_000),
            ..WindowSpec::default()
        }),
        ..Open::default()
    }
}

/// A policy that retrains when asked, and when performance or drift call for it.
pub const POLICY: &str = r#"
[triggers.performance_degradation]
mode = "auto"
cooldown_ms = 0
[triggers.drift_detected]
mode = "auto"
coalesce_ms = 0
cooldown_ms = 0
[triggers.manual]
mode = "auto"
cooldown_ms = 0
[triggers.compliance_violation]
mode = "approve"
cooldown_ms = 0
[budget]
retrainings = 1000
period_ms = 86400000
[training]
trainer = "logistic"
window_ms = 600000
holdout_ms = 60000
rows_min = 10
[gates]
margin = 0.5
rows_min = 10
"#;

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// The binary, as `cargo build` left it beside this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let path = test.parent().and_then(|deps| deps.parent()).expect("a target folder").join("acgs");
    assert!(path.exists(), "{} is missing: run `cargo build` (cargo xtask test does)", path.display());
    path
}
