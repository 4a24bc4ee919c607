//! Reports and alerts into the event log. It must not know what home the log has.

use std::{sync::Arc, time::Duration};

use acgs_statistics::{harm::Harm, kinds::DriftKind};
use acgs_vocabulary::{
    Alert, Constitution, JudgeKind, VerdictStatus,
    constitution::sha256_hex,
    event::{
        Envelope, EventKind, Origin,
        payload::{AlertChanged, DriftKindFound, HarmFound, NotJudged, WhyNot, WindowReported},
    },
    ports::{Clock, EventSink},
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    alerts::Alerts,
    core::{Part, Report},
};

/// Changes of alerts that wait for their records; streams wait when it is full.
const WAITING_MAX: usize = 4_096;
/// Between attempts while the home cannot be reached.
const RETRY: Duration = Duration::from_millis(250);

/// What a stream says to the log.
#[derive(Clone, Debug)]
pub enum Said {
    /// A report, with the changes of alerts that it brings.
    Report(Arc<Report>),
    /// It is over: what stood is closed.
    End(Arc<[Alert]>),
}

/// What is said, and whose it is.
#[derive(Clone, Debug)]
pub struct Publication {
    /// What is said.
    pub said: Said,
    /// The stream.
    pub stream_id: Arc<str>,
    /// The model; may be empty.
    pub model_id: Arc<str>,
    /// The service; may be empty.
    pub service_id: Arc<str>,
    /// Of the lease under which the stream runs; 0 where there are no leases.
    pub epoch: u64,
    /// Unique to one life of the stream.
    pub life: Arc<str>,
    /// The trace that the stream was opened in, if any.
    pub traceparent: Option<Arc<str>>,
}

impl Publication {
    fn alerts(&self) -> &[Alert] {
        match &self.said {
            Said::Report(report) => &report.alerts,
            Said::End(alerts) => alerts,
        }
    }
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
        if !publication.alerts().is_empty() && self.records.send(Item::Alerts(publication)).await.is_err() {
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
        for alert in publication.alerts() {
            while let Err(problem) = alerts.note(alert, &publication.model_id, &publication.service_id).await
            {
                if !problem.is_passing() {
                    tracing::error!(%problem, id = alert.alert_id.as_str(), "an alert's record was not written");
                    break;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn envelopes(publication: &Publication, now_ms: i64, constitution: &Constitution) -> Vec<Envelope> {
    let origin = Origin {
        service: "analytics-orchestrator",
        at_ms: now_ms,
        constitutional_hash: constitution.current(),
    };
    let traceparent = publication.traceparent.as_deref();
    let mut all = Vec::new();
    let mut cause = None;
    if let Said::Report(report) = &publication.said {
        let id = report_id(report, &publication.life);
        let told =
            Envelope::new(EventKind::WindowReported, id.clone(), origin, &reported(publication, report));
        all.push(told.about(&publication.stream_id).traced(traceparent));
        cause = Some(id);
    }
    all.extend(publication.alerts().iter().map(|alert| {
        let changed = AlertChanged {
            alert: alert.clone(),
            model_id: publication.model_id.to_string(),
            service_id: publication.service_id.to_string(),
            about: publication.stream_id.to_string(),
            findings: vec![alert.finding.clone()],
            epoch: publication.epoch,
        };
        // An alert's end is told where its beginning was.
        let kind = EventKind::alert(alert.judge, alert.severity);
        let told = Envelope::new(kind, alert.alert_id.to_string(), origin, &changed);
        let told = told.about(&publication.stream_id).traced(traceparent);
        match &cause {
            Some(id) => told.caused_by(id),
            None => told,
        }
    }));
    all
}

/// The same for the same report of the same window in one life of its stream.
fn report_id(report: &Report, life: &str) -> String {
    let window = &report.window;
    let name = format!(
        "window\n{}\n{}\n{}\n{}\n{}\n{life}",
        window.stream_id, window.key, window.start_ms, window.end_ms, report.revision
    );
    sha256_hex(name.as_bytes())
}

fn reported(publication: &Publication, report: &Report) -> WindowReported {
    let summary = &report.summary;
    let of_quality = report.findings.iter().filter(|(judge, _)| *judge == JudgeKind::Quality);
    WindowReported {
        row_count: summary.row_count,
        overall_score: summary.overall_score,
        drift_detected: summary.drift_detected,
        score_drift: summary.score_drift,
        drifted_features: summary.drifted_features.clone(),
        drift_kinds: report.drift_kinds.iter().map(kind).collect(),
        brier: summary.brier,
        loss: summary.loss,
        performance: summary.performance,
        performance_reason: summary.performance_reason.clone(),
        labels_awaited: summary.labels_awaited,
        harm: match report.harm {
            Harm::None => HarmFound::None,
            Harm::Harmless => HarmFound::Harmless,
            Harm::Harmful => HarmFound::Harmful,
            Harm::Decay => HarmFound::Decay,
            Harm::Unknown => HarmFound::Unknown,
        },
        window: report.window.clone(),
        revision: report.revision,
        model_id: publication.model_id.to_string(),
        service_id: publication.service_id.to_string(),
        quality_severity: of_quality.map(|(_, finding)| finding.severity).max(),
        epoch: publication.epoch,
        life: publication.life.to_string(),
        not_judged: report.parts.iter().filter_map(not_judged).collect(),
    }
}

fn kind(kind: &DriftKind) -> DriftKindFound {
    match kind {
        DriftKind::Covariate => DriftKindFound::Covariate,
        DriftKind::Score => DriftKindFound::Score,
        DriftKind::Prior => DriftKindFound::Prior,
        DriftKind::Concept => DriftKindFound::Concept,
    }
}

fn not_judged(part: &Part) -> Option<NotJudged> {
    let status = match part.status() {
        VerdictStatus::Ok => return None,
        VerdictStatus::NotApplicable => WhyNot::NotApplicable,
        VerdictStatus::Insufficient => WhyNot::Insufficient,
        VerdictStatus::Unavailable => WhyNot::Unavailable,
    };
    let reason = part
        .verdict
        .as_ref()
        .map_or_else(|| "no answer in time".to_owned(), |verdict| verdict.reason.clone());
    Some(NotJudged { judge: part.judge, status, reason })
}
