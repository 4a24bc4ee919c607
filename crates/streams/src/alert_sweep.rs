//! Alerts whose stream nobody runs any more, since its process was killed: they are closed when the stream could not be resumed either; and
//! records of alerts that are long over, which are forgotten. It must not know how an alert opens.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use acgs_vocabulary::{
    Alert, AlertState, Problem,
    alert::AlertSubject,
    ports::{Clock, PortError},
    steady::Steady,
    text,
};
use tokio_util::sync::CancellationToken;

use crate::{
    alerts::{Alerts, Record},
    leases::Leases,
    publish::{Publication, Publisher, Said},
    streams::Streams,
};

/// Between two looks, at most.
const EVERY_MS: u64 = 300_000;
/// And at least.
const EVERY_MS_MIN: u64 = 200;
/// Records looked at together.
const PAGE: usize = 64;
/// Between two pages.
const PAUSE: Duration = Duration::from_millis(100);
/// A record is kept for so long after its alert is over: 30 days.
const KEEP_MS: i64 = 30 * 86_400_000;
/// How fast a clock that has jumped is followed.
const CATCH_UP: u32 = 24;

/// What the sweep needs.
#[derive(Debug)]
pub struct AlertSweep {
    /// The records.
    pub alerts: Alerts,
    /// Those that run here.
    pub streams: Streams,
    /// Who runs others.
    pub leases: Option<Leases>,
    /// Where the end is told.
    pub publisher: Publisher,
    /// Steady time.
    pub clock: Arc<dyn Clock>,
    /// How long a stream may be without anybody who runs it.
    pub absent_ms_max: u64,
    /// Ends it.
    pub stop: CancellationToken,
}

impl AlertSweep {
    /// Looks again and again.
    pub async fn run(self) {
        let every = Duration::from_millis((self.absent_ms_max / 2).clamp(EVERY_MS_MIN, EVERY_MS));
        // Streams with open alerts that nobody runs, and since when.
        let mut absent: HashMap<String, i64> = HashMap::new();
        let mut time = Steady::new(self.clock.now_ms(), self.clock.monotonic_us(), CATCH_UP);
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.stop.cancelled() => return,
            }
            let now_ms = time.look(self.clock.now_ms(), self.clock.monotonic_us());
            if let Err(problem) = self.look(&mut absent, now_ms - KEEP_MS).await {
                tracing::debug!(%problem, "alerts without a stream could not be looked for");
            }
        }
    }

    async fn look(&self, absent: &mut HashMap<String, i64>, old_ms: i64) -> Result<(), Problem> {
        let mut seen = HashSet::new();
        for (place, alert_id) in self.alerts.ids().await?.into_iter().enumerate() {
            if place % PAGE == PAGE - 1 {
                tokio::time::sleep(PAUSE).await;
            }
            let Some(record) = self.alerts.find(&alert_id).await? else { continue };
            let Some(alert) = record.last() else { continue };
            if record.state == AlertState::Resolved {
                if text::parse_rfc3339(&record.changed_at).is_some_and(|at_ms| at_ms < old_ms) {
                    self.alerts.forget(&record).await?;
                }
                continue;
            }
            let stream_id = &*alert.window.stream_id;
            // Asked for each: one that is opened again meanwhile keeps what its new owner says.
            if self.is_run(stream_id).await? {
                absent.remove(stream_id);
                continue;
            }
            seen.insert(stream_id.to_owned());
            let now_ms = self.clock.monotonic_ms();
            let since_ms = *absent.entry(stream_id.to_owned()).or_insert(now_ms);
            if now_ms - since_ms >= self.absent_ms_max as i64 {
                self.close(&record, alert).await;
            }
        }
        absent.retain(|stream_id, _| seen.contains(stream_id));
        Ok(())
    }

    async fn is_run(&self, stream_id: &str) -> Result<bool, PortError> {
        if self.streams.find(stream_id).await.is_some() {
            return Ok(true);
        }
        match &self.leases {
            Some(leases) => leases.is_run(stream_id).await,
            None => Ok(false),
        }
    }

    async fn close(&self, record: &Record, open: &Alert) {
        let subject = AlertSubject {
            judge: open.judge,
            rule: open.rule.clone(),
            subject: open.subject.clone(),
            key: open.window.key.to_string(),
        };
        let alert = Alert {
            alert_id: subject.change(&open.window, open.severity, AlertState::Resolved),
            state: AlertState::Resolved,
            message: "nobody runs its stream any more".to_owned(),
            ..open.clone()
        };
        tracing::info!(id = record.alert_id, stream = %open.window.stream_id, "an alert is closed: nobody runs its stream any more");
        let publication = Publication {
            said: Said::End([alert].into()),
            stream_id: Arc::clone(&open.window.stream_id),
            model_id: record.model_id.as_str().into(),
            service_id: record.service_id.as_str().into(),
            epoch: 0,
            life: "".into(),
            traceparent: None,
        };
        self.publisher.publish(publication).await;
    }
}
