//! The face: `OrchestratorService` over streams. The only place of this room that names contracts and tonic, with its
//! parts; it converts and no more.

mod evidence;
pub mod lifecycle;
mod messages;
mod open;
mod services;
mod stream;

use std::{fmt, pin::Pin, sync::Arc};

use acgs_columns::{Kind as FieldKind, Role};
use acgs_contracts::orchestrator::v1 as proto;
use acgs_lane::Connector;
use acgs_statistics::harm::harm;
use acgs_vocabulary::{
    Constitution, JudgeKind, Problem, VerdictStatus, Window,
    convert::{batch, rows, schema},
    event,
    ports::{Clock, EventLog, EventSink, PortError, RecordLog, ReferenceSource},
    problem::Kind,
    text,
};
use futures_core::Stream;
use proto::orchestrator_service_server::OrchestratorService;
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, WatchStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    actor::{Input, Surroundings},
    alerts::Alerts,
    analyze::analyze,
    config::Config,
    core::{LabelCounts, labels},
    directory::Directory,
    leases::Leases,
    publish::Publisher,
    records::recorder::Place,
    registry::Registered,
    streams::Streams,
};

/// Longest id that a caller gives, in bytes.
const ID_BYTES_MAX: usize = 128;

/// What the orchestrator is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Bounds and waits.
    pub config: Config,
    /// What every answer carries.
    pub constitution: Constitution,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where judges are.
    pub connector: Arc<dyn Connector>,
    /// Where references are.
    pub references: Arc<dyn ReferenceSource>,
    /// Where events are read.
    pub log: Arc<dyn EventLog>,
    /// Where events go.
    pub outbox: Arc<dyn EventSink>,
    /// Where frames of LOG streams are kept.
    pub records: Arc<dyn RecordLog>,
    /// Alerts as they stand.
    pub alerts: Alerts,
    /// The services there are.
    pub directory: Directory,
    /// Who owns a stream, where several orchestrators run.
    pub leases: Option<Leases>,
    /// The end of everything.
    pub stop: CancellationToken,
}

/// Answers `OrchestratorService`.
#[derive(Clone)]
pub struct OrchestratorFace {
    parts: Parts,
    streams: Streams,
    publisher: Publisher,
}

impl fmt::Debug for OrchestratorFace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OrchestratorFace").finish_non_exhaustive()
    }
}

impl OrchestratorFace {
    /// Without streams.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let publisher = Publisher::start(
            Arc::clone(&parts.outbox),
            parts.alerts.clone(),
            Arc::clone(&parts.clock),
            parts.constitution.clone(),
        );
        let around = Surroundings {
            config: parts.config,
            clock: Arc::clone(&parts.clock),
            connector: Arc::clone(&parts.connector),
            publisher: publisher.clone(),
            records: Arc::clone(&parts.records),
            constitution: parts.constitution.clone(),
            stop: parts.stop.clone(),
        };
        let streams = Streams::new(around, evidence::read, parts.leases.clone());
        Self { streams, parts, publisher }
    }

    /// Waits until every stream has ended and its events are in the log.
    pub async fn drained(&self) {
        self.streams.ended().await;
        if let Some(leases) = &self.parts.leases {
            leases.settled().await;
        }
        self.publisher.flush().await;
    }

    async fn analyze_now(&self, request: proto::AnalyzeRequest) -> Result<proto::AnalyzeResponse, Problem> {
        let (now_ms, started_us) = (self.parts.clock.now_ms(), self.parts.clock.monotonic_us());
        for (path, value) in [("service_id", &request.service_id), ("model_id", &request.model_id)] {
            if value.len() > ID_BYTES_MAX {
                return Err(Problem::field(path, "TOO_LONG", format!("is longer than {ID_BYTES_MAX} bytes")));
            }
        }
        let judges: Vec<JudgeKind> = match request.analysis_type.as_str() {
            "" => JudgeKind::ALL.to_vec(),
            wanted => JudgeKind::ALL.into_iter().filter(|judge| judge.as_str() == wanted).collect(),
        };
        if judges.is_empty() {
            let message = format!("{:?} is none of quality, drift, performance", request.analysis_type);
            return Err(Problem::field("analysis_type", "UNKNOWN_ANALYSIS", message));
        }
        let schema = match &request.schema {
            Some(fields) => schema::schema(fields).map_err(|problem| problem.within("schema"))?,
            None => rows::infer(&request.data, rows::NamedRoles::default(), "data")?,
        };
        let batches = rows::batches(&request.data, &schema, "data")?;
        let reference = match &request.reference {
            Some(selector) => {
                Some(self.parts.references.find(&selector.name, selector.version, &request.model_id).await?)
            }
            None => None,
        };
        let analysis_id = text::unique_id("analysis-", now_ms);
        let times = schema.index_of_role(Role::Timestamp);
        let times = times.into_iter().flat_map(|index| {
            batches.iter().flat_map(move |batch| {
                (0..batch.rows()).filter_map(move |row| batch.columns()[index].integer(row))
            })
        });
        let (start_ms, end_ms) =
            times.fold((i64::MAX, i64::MIN), |(start, end), time_ms| (start.min(time_ms), end.max(time_ms)));
        let (start_ms, end_ms) =
            if start_ms <= end_ms { (start_ms, end_ms.saturating_add(1)) } else { (now_ms, now_ms) };
        let window = Window { stream_id: analysis_id.as_str().into(), key: "".into(), start_ms, end_ms };
        let connector = &self.parts.connector;
        let parts = analyze(connector, &judges, &schema, &batches, &window, reference.as_ref()).await?;
        let evidence = evidence::read(&parts);
        let elapsed_us = self.parts.clock.monotonic_us().saturating_sub(started_us);
        let services_used = parts
            .iter()
            .filter(|part| part.status() == VerdictStatus::Ok)
            .map(|part| part.judge.as_str().to_owned())
            .collect();
        let findings =
            parts.iter().flat_map(|part| part.verdict.iter().flat_map(|verdict| &verdict.findings));
        let findings = findings.map(Into::into).collect();
        let (quality, drift, performance) = messages::reports(&parts);
        Ok(proto::AnalyzeResponse {
            analysis_id,
            analysis_type: request.analysis_type,
            verdicts: parts.iter().map(messages::verdict).collect(),
            quality,
            drift,
            performance,
            harm: messages::harm(harm(evidence.drifted, evidence.risk)).into(),
            findings,
            processing_time_ms: elapsed_us as f64 / 1_000.0,
            services_used,
            constitutional_hash: self.parts.constitution.current().to_owned(),
            timestamp: text::rfc3339(now_ms),
        })
    }

    async fn submit(
        &self,
        mut incoming: Streaming<proto::SubmitLabelsRequest>,
    ) -> Result<proto::SubmitLabelsResponse, Status> {
        use proto::submit_labels_request::Message;
        let first = incoming.next().await.transpose()?.and_then(|message| message.message);
        let Some(Message::Header(header)) = first else {
            return Err(Problem::field("message", "HEADER_FIRST", "the first message is the header").into());
        };
        let fields = header.schema.unwrap_or_default();
        let schema = open::label_schema(&fields).map_err(|problem| problem.within("header.schema"))?;
        let unknown = || {
            let name = if header.stream_id.is_empty() { &header.model_id } else { &header.stream_id };
            Problem::missing("stream", name.clone(), "UNKNOWN_STREAM")
        };
        let streams = match (header.stream_id.as_str(), header.model_id.as_str()) {
            ("", model_id) if !model_id.is_empty() => self.streams.of_model(model_id).await,
            (stream_id, _) => self.streams.find(stream_id).await.into_iter().collect(),
        };
        if streams.is_empty() {
            return Err(unknown().into());
        }
        let mut total = LabelCounts::default();
        let (source, mut seq) = (text::unique_id("labels-", self.parts.clock.now_ms()), 0);
        while let Some(message) = incoming.next().await {
            let Some(Message::Batch(message)) = message?.message else {
                return Err(Problem::field("message", "HEADER_FIRST", "after the header come batches").into());
            };
            let batch = batch::batch(message, &schema).map_err(|problem| problem.within("batch"))?;
            seq += 1;
            // Labels are joined by record over all streams of a model: once is enough.
            if let Some(recorder) = streams.iter().find_map(|stream| stream.recorder.as_ref()) {
                recorder.labels(Place { partition: &source, seq }, &batch).await?;
            }
            let mut taken = false;
            for stream in &streams {
                let (reply, counts) = tokio::sync::oneshot::channel();
                let input = Input::SubmitLabels { labels: labels(&schema, &batch), reply };
                // One that has just ended has nothing to label any more.
                if stream.inputs.send(input).await.is_err() {
                    continue;
                }
                let Ok(counts) = counts.await else { continue };
                taken = true;
                total.matched += counts.matched;
                total.waiting += counts.waiting;
                total.dropped += counts.dropped;
            }
            if !taken {
                return Err(unknown().into());
            }
        }
        Ok(proto::SubmitLabelsResponse {
            matched: total.matched,
            waiting: total.waiting,
            dropped: total.dropped,
        })
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl OrchestratorService for OrchestratorFace {
    type StreamWindowsStream = stream::Answers;

    async fn stream_windows(
        &self,
        request: Request<Streaming<proto::StreamWindowsRequest>>,
    ) -> Result<Response<Self::StreamWindowsStream>, Status> {
        let trace = request.extensions().get::<event::TraceParent>().map(|trace| Arc::clone(&trace.0));
        let answers = stream::run(&self.parts, &self.streams, request.into_inner(), trace).await?;
        Ok(Response::new(answers))
    }

    async fn submit_labels(
        &self,
        request: Request<Streaming<proto::SubmitLabelsRequest>>,
    ) -> Result<Response<proto::SubmitLabelsResponse>, Status> {
        Ok(Response::new(self.submit(request.into_inner()).await?))
    }

    async fn analyze(
        &self,
        request: Request<proto::AnalyzeRequest>,
    ) -> Result<Response<proto::AnalyzeResponse>, Status> {
        Ok(Response::new(self.analyze_now(request.into_inner()).await?))
    }

    type SubscribeStream = Answers<proto::SubscribeResponse>;

    async fn subscribe(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let filter = if request.subject_filter.is_empty() { ">" } else { &request.subject_filter };
        if !event::is_filter(filter) {
            let message = "is not tokens by dots, `*` for one, a last `>` for the rest";
            return Err(Problem::field("subject_filter", "BAD_FILTER", message).into());
        }
        let after = match request.after_sequence {
            Some(sequence) => sequence,
            None => self.parts.log.last().await.map_err(Problem::from)?,
        };
        let events = self.parts.log.subscribe(after, filter).await.map_err(Problem::from)?;
        let stop = self.parts.stop.clone();
        let answers = ReceiverStream::new(events).map(|logged| {
            let envelope_json = serde_json::to_string(&logged.envelope)
                .map_err(|error| Problem::from(PortError::Unavailable(error.to_string())))?;
            let subject = logged.envelope.subject;
            Ok(proto::SubscribeResponse { sequence: logged.sequence, subject, envelope_json })
        });
        Ok(Response::new(Box::pin(stream::until(answers, stop))))
    }

    async fn register_service(
        &self,
        request: Request<proto::RegisterServiceRequest>,
    ) -> Result<Response<proto::RegisterServiceResponse>, Status> {
        Ok(Response::new(self.register(request.into_inner())?))
    }

    async fn heartbeat(
        &self,
        request: Request<proto::HeartbeatRequest>,
    ) -> Result<Response<proto::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        self.parts.directory.heartbeat(&request.service_id, !request.draining, request.load)?;
        Ok(Response::new(proto::HeartbeatResponse { lease_ms: self.parts.directory.lease_ms() }))
    }

    async fn deregister_service(
        &self,
        request: Request<proto::DeregisterServiceRequest>,
    ) -> Result<Response<proto::DeregisterServiceResponse>, Status> {
        let was_registered = self.parts.directory.deregister(&request.into_inner().service_id);
        Ok(Response::new(proto::DeregisterServiceResponse { was_registered }))
    }

    async fn list_services(
        &self,
        request: Request<proto::ListServicesRequest>,
    ) -> Result<Response<proto::ListServicesResponse>, Status> {
        Ok(Response::new(self.list_known(&request.into_inner().capability)))
    }

    async fn discover_services(
        &self,
        request: Request<proto::DiscoverServicesRequest>,
    ) -> Result<Response<proto::DiscoverServicesResponse>, Status> {
        Ok(Response::new(self.discover(&request.into_inner().capability)))
    }

    type WatchServicesStream = Answers<proto::WatchServicesResponse>;

    async fn watch_services(
        &self,
        request: Request<proto::WatchServicesRequest>,
    ) -> Result<Response<Self::WatchServicesStream>, Status> {
        let capability = request.into_inner().capability;
        let changes = WatchStream::new(self.parts.directory.watch()).map(move |known| {
            let able = |known: &&Registered| {
                capability.is_empty() || known.service.capabilities.contains(&capability)
            };
            let services = known.iter().filter(able).map(services::info).collect();
            Ok(proto::WatchServicesResponse { services })
        });
        let stop = self.parts.stop.clone();
        Ok(Response::new(Box::pin(stream::until(changes, stop))))
    }

    async fn list_alerts(
        &self,
        request: Request<proto::ListAlertsRequest>,
    ) -> Result<Response<proto::ListAlertsResponse>, Status> {
        Ok(Response::new(self.list_alerts_now(request.into_inner()).await?))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<proto::AcknowledgeAlertRequest>,
    ) -> Result<Response<proto::AcknowledgeAlertResponse>, Status> {
        Ok(Response::new(self.acknowledge(request.into_inner()).await?))
    }

    async fn resolve_alert(
        &self,
        request: Request<proto::ResolveAlertRequest>,
    ) -> Result<Response<proto::ResolveAlertResponse>, Status> {
        Ok(Response::new(self.resolve(request.into_inner()).await?))
    }

    async fn explain_alert(
        &self,
        request: Request<proto::ExplainAlertRequest>,
    ) -> Result<Response<proto::ExplainAlertResponse>, Status> {
        Ok(Response::new(self.explain(request.into_inner()).await?))
    }
}

/// Whether a field can be an id or a label of late labels.
fn is_label_field(role: Role, kind: FieldKind) -> bool {
    match role {
        Role::Id => matches!(kind, FieldKind::Int64 | FieldKind::Text),
        Role::Label => kind != FieldKind::Timestamp,
        _ => true,
    }
}

/// A refusal for what this version does not have.
fn not_yet(reason: &'static str, message: &str) -> Problem {
    Problem::new(Kind::Unimplemented, reason, message)
}
