//! Reports and alerts into the event log. It must not know what home the log has.

use std::sync::Arc;

use acgs_vocabulary::{
    Constitution, JudgeKind,
    constitution::sha256_hex,
    event::{Envelope, EventKind},
    ports::{Clock, EventLog},
    text,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    core::Report,
    desk::{Alert, AlertState},
};

/// Reports that wait for the log; streams wait when it is full.
const WAITING_MAX: usize = 4_096;

/// A report, and whose it is.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The report.
    pub report: Arc<Report>,
    /// The model; may be empty.
    pub model_id: Arc<str>,
    /// The service; may be empty.
    pub service_id: Arc<str>,
}

/// What the task is given.
#[derive(Debug)]
enum Item {
    Publication(Publication),
    /// Answered when all before it is written.
    Flush(oneshot::Sender<()>),
}

/// Hands reports to the task that writes them.
#[derive(Clone, Debug)]
pub struct Publisher {
    waiting: mpsc::Sender<Item>,
}

impl Publisher {
    /// Starts the task; it ends when the last clone is gone and all is written.
    #[must_use]
    pub fn start(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, constitution: Constitution) -> Self {
        let (waiting, mut publications) = mpsc::channel::<Item>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(item) = publications.recv().await {
                let publication = match item {
                    Item::Publication(publication) => publication,
                    Item::Flush(done) => {
                        let _nobody_waits = done.send(());
                        continue;
                    }
                };
                for envelope in envelopes(&publication, clock.now_ms(), &constitution) {
                    let id = envelope.event_id.clone();
                    if let Err(error) = log.append(envelope, None).await {
                        tracing::error!(%error, id, "an event was lost");
                    }
                }
            }
        });
        Self { waiting }
    }

    /// Waits until all that was published is in the log.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.waiting.send(Item::Flush(done)).await.is_ok() {
            let _task_ended = written.await;
        }
    }

    /// Waits when the log is behind.
    pub async fn publish(&self, publication: Publication) {
        if self.waiting.send(Item::Publication(publication)).await.is_err() {
            tracing::error!("the log's task has ended; an event was lost");
        }
    }
}

fn envelopes(publication: &Publication, now_ms: i64, constitution: &Constitution) -> Vec<Envelope> {
    let report = &publication.report;
    let window = &report.window;
    let envelope =
        |kind: EventKind, id: String, payload: serde_json::Value, causation_id: Option<String>| Envelope {
            event_id: id,
            event_type: kind.name().into(),
            subject: kind.subject(),
            timestamp: text::rfc3339(now_ms),
            source_service: "analytics-orchestrator".into(),
            target_service: None,
            constitutional_hash: constitution.current().to_owned(),
            priority: kind.priority().into(),
            correlation_id: Some(window.stream_id.to_string()),
            causation_id,
            traceparent: None,
            payload,
            previous_digest: None,
        };
    let name = format!(
        "window\n{}\n{}\n{}\n{}\n{}",
        window.stream_id, window.key, window.start_ms, window.end_ms, report.revision
    );
    let id = sha256_hex(name.as_bytes());
    let mut payload = report.summary.clone();
    payload["window"] = serde_json::json!(window);
    payload["revision"] = report.revision.into();
    payload["model_id"] = publication.model_id.to_string().into();
    payload["service_id"] = publication.service_id.to_string().into();
    let alerts = report.alerts.iter().map(|alert| {
        let mut payload = serde_json::json!(alert);
        payload["model_id"] = publication.model_id.to_string().into();
        payload["service_id"] = publication.service_id.to_string().into();
        envelope(alert_kind(alert), alert.alert_id.clone(), payload, Some(id.clone()))
    });
    let alerts: Vec<Envelope> = alerts.collect();
    let mut all = vec![envelope(EventKind::WindowReported, id.clone(), payload, None)];
    all.extend(alerts);
    all
}

/// An alert's end is told where its beginning was.
fn alert_kind(alert: &Alert) -> EventKind {
    debug_assert!(matches!(alert.state, AlertState::Open | AlertState::Resolved));
    match alert.judge {
        JudgeKind::Quality => EventKind::QualityAlert(alert.severity),
        JudgeKind::Drift => EventKind::DriftDetected(alert.severity),
        JudgeKind::Performance => EventKind::PerformanceAlert(alert.severity),
    }
}
