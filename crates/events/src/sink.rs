//! Findings of direct calls, and whatever else the mesh has to say, into the outbox. It must not know who asks.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use acgs_vocabulary::{
    Constitution, JudgeKind, Severity,
    event::{Envelope, EventKind},
    ports::{Clock, EventSink, FindingSink, Judgement},
    text,
};

/// Makes events of judgements.
#[derive(Clone, Debug)]
pub struct LogSink {
    outbox: Arc<dyn EventSink>,
    clock: Arc<dyn Clock>,
    constitution: Constitution,
    alerts: Arc<[AtomicU64; 3]>,
    trace: Trace,
}

/// Where the W3C trace context of whoever publishes now can be asked.
pub type Trace = fn() -> Option<Arc<str>>;

impl LogSink {
    /// Into this outbox.
    #[must_use]
    pub fn new(
        outbox: Arc<dyn EventSink>,
        clock: Arc<dyn Clock>,
        constitution: Constitution,
        trace: Trace,
    ) -> Self {
        Self { outbox, clock, constitution, alerts: Arc::default(), trace }
    }

    /// Alerts of calls to a judge's service.
    #[must_use]
    pub fn alerts(&self, judge: JudgeKind) -> u64 {
        self.alerts[place(judge)].load(Ordering::Relaxed)
    }
}

fn place(judge: JudgeKind) -> usize {
    match judge {
        JudgeKind::Quality => 0,
        JudgeKind::Drift => 1,
        JudgeKind::Performance => 2,
    }
}

/// The judge that an alert is of.
fn judge_of(subject: &str) -> Option<JudgeKind> {
    match subject.split('.').collect::<Vec<_>>()[..] {
        [_, "quality", "alert", _] => Some(JudgeKind::Quality),
        [_, "drift", "detected", _] => Some(JudgeKind::Drift),
        [_, "performance", "alert", _] => Some(JudgeKind::Performance),
        _ => None,
    }
}

impl FindingSink for LogSink {
    fn publish(&self, judgement: Judgement) {
        let traceparent = (self.trace)().map(|trace| trace.to_string());
        for mut envelope in envelopes(&judgement, self.clock.now_ms(), &self.constitution) {
            envelope.traceparent.clone_from(&traceparent);
            let id = judgement.id.as_str();
            if let Some(judge) = judge_of(&envelope.subject) {
                self.alerts[place(judge)].fetch_add(1, Ordering::Relaxed);
            }
            if !self.outbox.offer(envelope) {
                tracing::warn!(id, "an event was lost: the outbox is full");
            }
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
        _ => "analytics-orchestrator",
    }
}
