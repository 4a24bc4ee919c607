//! Reports and alerts into the event log. It must not know what home the log has.

use std::{sync::Arc, time::Duration};

use acgs_vocabulary::{
    Constitution, JudgeKind,
    constitution::sha256_hex,
    event::{Envelope, EventKind},
    ports::{Clock, EventSink},
    problem::Kind,
    text,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    alerts::Alerts,
    core::Report,
    desk::{Alert, AlertState},
};

/// Changes of alerts that wait for their records; streams wait when it is full.
const WAITING_MAX: usize = 4_096;
/// Between attempts while the home cannot be reached.
const RETRY: Duration = Duration::from_millis(250);

/// A report, and whose it is.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The report.
    pub report: Arc<Report>,
    /// The model; may be empty.
    pub model_id: Arc<str>,
    /// The service; may be empty.
    pub service_id: Arc<str>,
    /// The trace that the stream was opened in, if any.
    pub traceparent: Option<Arc<str>>,
}

/// What the task that keeps alerts is given.
#[derive(Debug)]
enum Item {
    Alerts(Publication),
    /// Answered when all before it is written.
    Flush(oneshot::Sender<()>),
}

/// Makes events of reports and hands them to the outbox, and keeps the alerts' records.
#[derive(Clone, Debug)]
pub struct Publisher {
    outbox: Arc<dyn EventSink>,
    records: mpsc::Sender<Item>,
    clock: Arc<dyn Clock>,
    constitution: Constitution,
}

impl Publisher {
    /// Into this outbox and these records. The task that writes records ends when the last clone is gone.
    #[must_use]
    pub fn start(
        outbox: Arc<dyn EventSink>,
        alerts: Alerts,
        clock: Arc<dyn Clock>,
        constitution: Constitution,
    ) -> Self {
        let (records, items) = mpsc::channel(WAITING_MAX);
        tokio::spawn(keep(alerts, items));
        Self { outbox, records, clock, constitution }
    }

    /// Waits until all that was published is in the log, and every alert's record is written.
    pub async fn flush(&self) {
        self.outbox.flush().await;
        let (done, written) = oneshot::channel();
        if self.records.send(Item::Flush(done)).await.is_ok() {
            let _task_ended = written.await;
        }
    }

    /// Waits when the log is behind.
    pub async fn publish(&self, publication: Publication) {
        for envelope in envelopes(&publication, self.clock.now_ms(), &self.constitution) {
            self.outbox.send(envelope).await;
        }
        if !publication.report.alerts.is_empty()
            && self.records.send(Item::Alerts(publication)).await.is_err()
        {
            tracing::error!("the task that keeps alerts has ended");
        }
    }
}

/// Writes the records of alerts, in order; waits while the home cannot be reached.
async fn keep(alerts: Alerts, mut items: mpsc::Receiver<Item>) {
    while let Some(item) = items.recv().await {
        let publication = match item {
            Item::Alerts(publication) => publication,
            Item::Flush(done) => {
                let _nobody_waits = done.send(());
                continue;
            }
        };
        for alert in &publication.report.alerts {
            while let Err(problem) = alerts.note(alert, &publication.model_id, &publication.service_id).await
            {
                if problem.kind() != Kind::Unavailable {
                    tracing::error!(%problem, id = alert.alert_id, "an alert's record was not written");
                    break;
                }
                tokio::time::sleep(RETRY).await;
            }
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
            traceparent: publication.traceparent.as_deref().map(str::to_owned),
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
    let quality = report.findings.iter().filter(|(judge, _)| *judge == JudgeKind::Quality);
    payload["quality_severity"] = serde_json::json!(quality.map(|(_, finding)| finding.severity).max());
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
