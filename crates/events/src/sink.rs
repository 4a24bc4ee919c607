//! Findings of direct calls, and whatever else the mesh has to say, into the log. It must not know who asks.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use acgs_vocabulary::{
    Constitution, Severity,
    event::{Envelope, EventKind},
    ports::{Clock, EventLog, FindingSink, Judgement},
    text,
};
use tokio::sync::{mpsc, oneshot};

/// Judgements that wait for the log; more are dropped and counted.
const WAITING_MAX: usize = 4_096;

/// What the task is given.
#[derive(Debug)]
enum Item {
    Judgement(Judgement),
    /// Answered when all before it is written.
    Flush(oneshot::Sender<()>),
}

/// Writes judgements to the log in the background.
#[derive(Clone, Debug)]
pub struct LogSink {
    waiting: mpsc::Sender<Item>,
    dropped: Arc<AtomicU64>,
}

impl LogSink {
    /// Starts the task that writes; it ends when the last clone is gone.
    #[must_use]
    pub fn start(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, constitution: Constitution) -> Self {
        let (waiting, mut judgements) = mpsc::channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        tokio::spawn(async move {
            while let Some(item) = judgements.recv().await {
                let judgement = match item {
                    Item::Judgement(judgement) => judgement,
                    Item::Flush(done) => {
                        let _nobody_waits = done.send(());
                        continue;
                    }
                };
                for envelope in envelopes(&judgement, clock.now_ms(), &constitution) {
                    if let Err(error) = log.append(envelope, None).await {
                        lost.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(%error, id = judgement.id, "an event was lost");
                    }
                }
            }
        });
        Self { waiting, dropped }
    }

    /// Waits until all that was published is in the log.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.waiting.send(Item::Flush(done)).await.is_ok() {
            let _task_ended = written.await;
        }
    }

    /// Events that did not reach the log.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl FindingSink for LogSink {
    fn publish(&self, judgement: Judgement) {
        if self.waiting.try_send(Item::Judgement(judgement)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The judgement itself, and an alert when something graver than a note was found.
fn envelopes(judgement: &Judgement, now_ms: i64, constitution: &Constitution) -> Vec<Envelope> {
    let envelope = |kind: EventKind, id: String, payload: serde_json::Value| Envelope {
        event_id: id,
        event_type: kind.name().into(),
        subject: kind.subject(),
        timestamp: text::rfc3339(now_ms),
        source_service: source(kind).into(),
        target_service: None,
        constitutional_hash: constitution.current().to_owned(),
        priority: kind.priority().into(),
        correlation_id: Some(judgement.about.clone()).filter(|about| !about.is_empty()),
        causation_id: None,
        traceparent: None,
        payload,
        previous_digest: None,
    };
    let mut all = vec![envelope(judgement.kind, judgement.id.clone(), judgement.payload.clone())];
    let gravest = judgement.findings.iter().map(|finding| finding.severity).max();
    if let Some(severity) = gravest.filter(|severity| *severity > Severity::Low)
        && let Some(kind) = alert_of(judgement.kind, severity)
    {
        let payload = serde_json::json!({ "about": judgement.about, "findings": judgement.findings });
        let mut alert = envelope(kind, format!("{}-alert", judgement.id), payload);
        alert.causation_id = Some(judgement.id.clone());
        all.push(alert);
    }
    all
}

fn alert_of(kind: EventKind, severity: Severity) -> Option<EventKind> {
    match kind {
        EventKind::QualityAssessmentCompleted => Some(EventKind::QualityAlert(severity)),
        EventKind::DriftDetectionCompleted => Some(EventKind::DriftDetected(severity)),
        EventKind::PerformanceMetricsSubmitted => Some(EventKind::PerformanceAlert(severity)),
        _ => None,
    }
}

/// The original's name of the service that an event comes from.
fn source(kind: EventKind) -> &'static str {
    match kind {
        EventKind::QualityAssessmentCompleted | EventKind::QualityAlert(_) => "data-quality-service",
        EventKind::DriftDetectionCompleted | EventKind::DriftDetected(_) | EventKind::ReferenceStored => {
            "drift-detection-service"
        }
        EventKind::PerformanceMetricsSubmitted | EventKind::PerformanceAlert(_) => {
            "performance-monitoring-service"
        }
        EventKind::WindowReported | EventKind::ConstitutionRefused => "analytics-orchestrator",
    }
}
