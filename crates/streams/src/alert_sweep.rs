//! Alerts whose stream nobody runs any more, since its process was killed, or runs anew without them: they are closed when the stream could
//! not be resumed either; and records of alerts that are long over, which are forgotten. It must not know how an alert opens.

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
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    actor::Input,
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
/// How long a stream is waited for that is asked.
const PATIENCE: Duration = Duration::from_secs(1);
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
        // Alerts that nobody looks at, and since when.
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
            // Asked for each: one that is opened again meanwhile keeps what its new owner says.
            let Some(why) = self.why_over(alert).await? else {
                absent.remove(&alert_id);
                continue;
            };
            let now_ms = self.clock.monotonic_ms();
            let since_ms = *absent.entry(alert_id.clone()).or_insert(now_ms);
            if now_ms - since_ms >= self.absent_ms_max as i64 {
                self.close(&record, alert, why).await;
            }
            seen.insert(alert_id);
        }
        absent.retain(|alert_id, _| seen.contains(alert_id));
        Ok(())
    }

    /// Why an alert is over; `None` while somebody looks at what it is about and has not said so.
    async fn why_over(&self, alert: &Alert) -> Result<Option<&'static str>, PortError> {
        let stream_id = &*alert.window.stream_id;
        if let Some(stream) = self.streams.find(stream_id).await {
            let (reply, stands) = oneshot::channel();
            // One that has no time for it is asked again later.
            let asked = stream.inputs.try_send(Input::Stands { subject: subject_of(alert), reply });
            let answer = tokio::time::timeout(PATIENCE, stands);
            let stands = asked.is_err() || !matches!(answer.await, Ok(Ok(false)));
            return Ok((!stands).then_some("its stream began anew, and it does not stand there"));
        }
        let is_run = match &self.leases {
            Some(leases) => leases.is_run(stream_id).await?,
            None => false,
        };
        Ok((!is_run).then_some("nobody runs its stream any more"))
    }

    async fn close(&self, record: &Record, open: &Alert, why: &str) {
        let subject = subject_of(open);
        let alert = Alert {
            alert_id: subject.change(&open.window, open.severity, AlertState::Resolved),
            state: AlertState::Resolved,
            message: why.to_owned(),
            ..open.clone()
        };
        tracing::info!(id = record.alert_id, stream = %open.window.stream_id, why, "an alert is closed");
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

fn subject_of(alert: &Alert) -> AlertSubject {
    AlertSubject {
        judge: alert.judge,
        rule: alert.rule.clone(),
        subject: alert.subject.clone(),
        key: alert.window.key.to_string(),
    }
}
