//! Events that NATS did not take before a process ended: kept, and told by the next one. It must not know how events are sent.

use std::{collections::BTreeMap, sync::Arc};

use acgs_storage::{
    Outbox,
    unsent::{Left, Unsent, missing},
};
use acgs_streams::alerts::Alerts;
use acgs_vocabulary::{
    Problem,
    event::{Envelope, payload::AlertChanged},
    ports::{Clock, EventLog, EventSink},
};

use crate::{home::Home, settings::Settings};

/// Events that could not be kept either and are named in the log, at most.
const NAMED_MAX: usize = 1_000;

/// Keeps what did not reach the log. False when events are lost.
pub(crate) fn keep(unsent: Option<&Unsent>, left: &Left, now_ms: i64) -> bool {
    let events = &left.events;
    if events.is_empty() {
        return true;
    }
    let mut subjects: BTreeMap<&str, usize> = BTreeMap::new();
    events.iter().for_each(|event| *subjects.entry(&event.subject).or_default() += 1);
    let kept = unsent.map(|unsent| unsent.keep(left, now_ms));
    match kept {
        Some(Ok(file)) => {
            tracing::error!(
                events = events.len(), ?subjects, file = %file.display(),
                "events did not reach the log before the end: the next start tells them"
            );
            true
        }
        failed => {
            let why = failed.and_then(Result::err).map_or_else(String::new, |error| error.to_string());
            tracing::error!(
                events = events.len(),
                ?subjects,
                why,
                "events are lost: neither the log nor a file took them"
            );
            for event in events.iter().take(NAMED_MAX) {
                tracing::error!(
                    id = event.event_id,
                    subject = event.subject,
                    about = event.correlation_id,
                    "a lost event"
                );
            }
            false
        }
    }
}

/// Tells what former processes could not, before anything new; only events on their way to a log in another process can be left over.
pub(crate) async fn of(
    settings: &Settings,
    home: &Home,
    outbox: &Outbox,
    clock: &Arc<dyn Clock>,
) -> Option<Unsent> {
    if home.connected.is_none() || settings.home.folder.as_os_str() == "none" {
        return None;
    }
    let unsent = Unsent::beside(&settings.home.folder, &settings.nats.url);
    let alerts = Alerts::new(Arc::clone(&home.keys), Arc::clone(clock));
    tell(&unsent, &*home.log, &alerts, outbox).await;
    Some(unsent)
}

async fn tell(unsent: &Unsent, log: &dyn EventLog, alerts: &Alerts, outbox: &Outbox) {
    let kept = unsent.take().unwrap_or_else(|error| {
        tracing::error!(%error, "events of former processes cannot be read");
        Vec::new()
    });
    for (file, events) in kept {
        if let Err(problem) = note_all(alerts, &events.events).await {
            tracing::error!(%problem, file = %file.display(), "events of a former process wait for the next start");
            continue;
        }
        match missing(log, events).await {
            Ok(events) => {
                tracing::info!(events = events.len(), file = %file.display(), "events of a former process are told");
                for event in events {
                    outbox.send(event).await;
                }
                let outbox = outbox.clone();
                tokio::spawn(async move {
                    if !outbox.flushed().await {
                        // The next start tells them.
                        return;
                    }
                    if let Err(error) = std::fs::remove_file(&file) {
                        tracing::warn!(%error, file = %file.display(), "told events could not be removed");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, file = %file.display(), "events of a former process wait for the next start")
            }
        }
    }
}

/// Writes the records of alerts of streams; what can never be written is told and left out.
async fn note_all(alerts: &Alerts, events: &[Envelope]) -> Result<(), Problem> {
    for event in events {
        let Ok(changed) = event.read::<AlertChanged>() else { continue };
        // Those of calls have no records.
        if event.correlation_id.as_deref() != Some(&*changed.alert.window.stream_id) {
            continue;
        }
        match alerts.note_late(&changed.alert, &changed.model_id, &changed.service_id).await {
            Err(problem) if problem.is_passing() => return Err(problem),
            Err(problem) => {
                tracing::error!(%problem, id = event.event_id, "an alert's record was not written");
            }
            Ok(()) => {}
        }
    }
    Ok(())
}
