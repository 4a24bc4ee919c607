//! Findings of direct calls, and whatever else the mesh has to say, into the outbox. It must not know who asks.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use acgs_vocabulary::{
    Alert, AlertState, AlertSubject, Constitution, JudgeKind, Severity, Window,
    event::{Envelope, EventKind, Origin, payload::AlertChanged},
    ports::{Clock, EventSink, FindingSink, Judged, Judgement},
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

impl FindingSink for LogSink {
    fn publish(&self, judgement: Judgement) {
        let traceparent = (self.trace)();
        let id = judgement.id.clone();
        for (judge, envelope) in envelopes(&judgement, self.clock.now_ms(), &self.constitution) {
            if let Some(judge) = judge {
                self.alerts[place(judge)].fetch_add(1, Ordering::Relaxed);
            }
            if !self.outbox.offer(envelope.traced(traceparent.as_deref())) {
                tracing::warn!(id, "an event was lost: the outbox is full");
            }
        }
    }
}

/// The judgement itself, and an alert, with its judge, when something graver than a note was found.
fn envelopes(
    judgement: &Judgement,
    now_ms: i64,
    constitution: &Constitution,
) -> Vec<(Option<JudgeKind>, Envelope)> {
    let origin = Origin {
        service: source(&judgement.judged),
        at_ms: now_ms,
        constitutional_hash: constitution.current(),
    };
    let id = judgement.id.clone();
    let first = match &judgement.judged {
        Judged::Quality(said) => Envelope::new(EventKind::QualityAssessmentCompleted, id, origin, said),
        Judged::Drift(said) => Envelope::new(EventKind::DriftDetectionCompleted, id, origin, said),
        Judged::Performance(said) => Envelope::new(EventKind::PerformanceMetricsSubmitted, id, origin, said),
        Judged::Reference(said) => Envelope::new(EventKind::ReferenceStored, id, origin, said),
        Judged::Constitution(said) => Envelope::new(EventKind::ConstitutionRefused, id, origin, said),
    };
    let mut all = vec![(None, first.about(&judgement.about))];
    if let Some((judge, changed)) = alert(judgement, now_ms) {
        let kind = EventKind::alert(judge, changed.alert.severity);
        let alert = Envelope::new(kind, format!("{}-alert", judgement.id), origin, &changed);
        all.push((Some(judge), alert.about(&judgement.about).caused_by(&judgement.id)));
    }
    all
}

/// One alert for a call, by the gravest finding.
fn alert(judgement: &Judgement, now_ms: i64) -> Option<(JudgeKind, AlertChanged)> {
    let judge = match judgement.judged {
        Judged::Quality(_) => JudgeKind::Quality,
        Judged::Drift(_) => JudgeKind::Drift,
        Judged::Performance(_) => JudgeKind::Performance,
        Judged::Reference(_) | Judged::Constitution(_) => return None,
    };
    let finding = judgement.findings.iter().rev().max_by_key(|finding| finding.severity)?;
    if finding.severity == Severity::Low {
        return None;
    }
    let window =
        Window { stream_id: judgement.id.as_str().into(), key: "".into(), start_ms: now_ms, end_ms: now_ms };
    let subject = AlertSubject {
        judge,
        rule: finding.rule.clone(),
        subject: finding.subject.clone(),
        key: String::new(),
    };
    let alert = Alert {
        alert_id: subject.change(&window, finding.severity, AlertState::Open),
        judge,
        rule: subject.rule,
        subject: subject.subject,
        severity: finding.severity,
        state: AlertState::Open,
        window,
        message: finding.description.clone(),
        occurrences: 1,
        finding: finding.clone(),
    };
    let model_id = match &judgement.judged {
        Judged::Drift(said) => said.model_id.clone(),
        _ => String::new(),
    };
    let service_id = match &judgement.judged {
        Judged::Quality(_) | Judged::Performance(_) => judgement.about.clone(),
        _ => String::new(),
    };
    let (about, findings) = (judgement.about.clone(), judgement.findings.clone());
    Some((judge, AlertChanged { alert, model_id, service_id, about, findings, epoch: 0 }))
}

/// The original's name of the service that an event comes from.
fn source(judged: &Judged) -> &'static str {
    match judged {
        Judged::Quality(_) => "data-quality-service",
        Judged::Drift(_) | Judged::Reference(_) => "drift-detection-service",
        Judged::Performance(_) => "performance-monitoring-service",
        Judged::Constitution(_) => "analytics-orchestrator",
    }
}
