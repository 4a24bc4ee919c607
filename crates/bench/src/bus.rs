//! From a finding to NATS's acknowledgement of its alert, as a judge's service publishes it: open loop, 500 findings a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use acgs_mesh::clock::SystemClock;
use acgs_server::home::records_kept;
use acgs_storage::{JetStream, LogSink, Outbox, jetstream};
use acgs_vocabulary::{
    Finding, Severity,
    event::{Envelope, payload::QualityAssessed},
    ports::{Appended, Clock, EventLog, EventSink, FindingSink, Judged, Judgement, Logged, PortError},
};
use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use super::{Figure, processes::Process};
use acgs_server::Settings;

const PER_SECOND: u64 = 500;

/// Notes when an alert is acknowledged.
#[derive(Debug)]
struct Timed {
    home: JetStream,
    since: Mutex<HashMap<String, Instant>>,
    took: Mutex<Histogram<u64>>,
}

#[async_trait::async_trait]
impl EventLog for Timed {
    async fn append(&self, envelope: Envelope, expected: Option<u64>) -> Result<Appended, PortError> {
        let id = envelope.event_id.clone();
        let appended = self.home.append(envelope, expected).await?;
        if let Some(since) = self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            let took_us = since.elapsed().as_micros() as u64;
            let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
            took.saturating_record(took_us);
        }
        Ok(appended)
    }

    async fn read(&self, after: u64, count: usize) -> Result<Vec<Logged>, PortError> {
        self.home.read(after, count).await
    }

    async fn last(&self) -> Result<u64, PortError> {
        self.home.last().await
    }

    async fn newest_of(&self, filter: &str) -> Result<Option<Logged>, PortError> {
        self.home.newest_of(filter).await
    }

    async fn subscribe(&self, after: u64, filter: &str) -> Result<mpsc::Receiver<Logged>, PortError> {
        self.home.subscribe(after, filter).await
    }
}

/// Measures for so many seconds.
pub(super) async fn measure(settings: &Settings, seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let nats = Process::nats(folder.path()).await?;
    let options = jetstream::Options {
        url: nats.address.clone(),
        replicas: 1,
        events_max: 1_000_000,
        duplicate_window_ms: settings.nats.duplicate_window_ms,
        records: records_kept(settings),
    };
    let log = Arc::new(Timed {
        home: JetStream::open(&options).await?,
        since: Mutex::default(),
        took: Mutex::new(Histogram::new(3)?),
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let outbox =
        Outbox::start(Arc::clone(&log) as Arc<dyn EventLog>, Arc::clone(&clock), settings.nats.outbox_max);
    let sink = LogSink::new(Arc::new(outbox.clone()), Arc::clone(&clock), settings.constitution()?, || None);
    let started = Instant::now();
    for number in 0..seconds * PER_SECOND {
        let due = Duration::from_micros(number * 1_000_000 / PER_SECOND);
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        let id = format!("bench-{number}");
        let since = Instant::now();
        log.since.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{id}-alert"), since);
        sink.publish(judgement(id));
    }
    outbox.flush().await;
    let took = log.took.lock().unwrap_or_else(PoisonError::into_inner);
    let ms = |quantile| took.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(vec![
        Figure::new("finding to NATS acknowledgement, p50", ms(0.5), "ms"),
        Figure::new("finding to NATS acknowledgement, p99", ms(0.99), "ms").at_most(5.0),
        Figure::new("  findings", took.len() as f64, ""),
    ])
}

fn judgement(id: String) -> Judgement {
    Judgement {
        id,
        about: "bench".into(),
        judged: Judged::Quality(QualityAssessed {
            overall_score: 0.5,
            missing_value_rate: 0.5,
            outlier_rate: 0.0,
            freshness_score: 1.0,
            record_count: 1_000,
        }),
        findings: vec![Finding {
            rule: "missing_values".into(),
            subject: String::new(),
            severity: Severity::High,
            value: 0.5,
            threshold: 0.1,
            description: "50 % of the cells are missing".into(),
        }],
    }
}
