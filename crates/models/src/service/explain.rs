//! Events of a job for programs and for people.

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{Change, Event, Guard, event::DeploymentMoved};
use acgs_vocabulary::text;

fn guard(guard: &Guard) -> proto::Guard {
    proto::Guard {
        name: guard.name.clone(),
        holds: guard.holds,
        found: guard.found.clone(),
        bound: guard.bound.clone(),
    }
}

/// The message of an event.
pub(super) fn event(event: &Event) -> proto::LifecycleEvent {
    proto::LifecycleEvent {
        number: event.number,
        at: text::rfc3339(event.at_ms),
        actor: event.actor.clone(),
        what: event.change.happened(),
        guards: event.guards.iter().map(guard).collect(),
        detail_json: serde_json::to_string(&event.change).unwrap_or_default(),
    }
}

/// What belongs to a step of a deployment.
fn moved_deployment(moved: &DeploymentMoved) -> String {
    match moved {
        DeploymentMoved::Shift { at, weight, .. } => format!(": step {at}, {weight} %"),
        DeploymentMoved::Apply { epoch, confirmed, fenced, .. } if fenced.is_empty() => {
            format!(": epoch {epoch} at {}", confirmed.join(", "))
        }
        DeploymentMoved::Apply { epoch, confirmed, fenced, .. } => {
            format!(": epoch {epoch} at {}; PARTIAL, fenced: {}", confirmed.join(", "), fenced.join(", "))
        }
        DeploymentMoved::Observe { counts, .. } => format!(": {} calls", counts.calls()),
        DeploymentMoved::Pause { reason, why } => format!(": {}, {why}", reason.as_str()),
        DeploymentMoved::Abort { cause, why, .. } | DeploymentMoved::Withdraw { cause, why } => {
            format!(": {}, {why}", cause.as_str())
        }
        DeploymentMoved::Fail { why } => format!(": {why}"),
        _ => String::new(),
    }
}

/// A line for each event, and one for each condition that it looked at.
pub(super) fn lines(events: &[Event]) -> Vec<String> {
    let mut lines = Vec::new();
    for event in events {
        let why = match &event.change {
            Change::JobObserved(observed) => {
                format!(": {}, {}", observed.kind.as_str(), observed.evidence.description)
            }
            Change::VersionRegistered(new) => format!(": {}", new.version),
            Change::VersionMoved { version, why, .. } if why.is_empty() => format!(": {version}"),
            Change::VersionMoved { version, why, .. } => format!(": {version}, {why}"),
            Change::StaleRefused { worker, what, .. } => format!(": a {what} of worker {worker}"),
            Change::DeploymentStarted(new) => format!(
                ": {} of {}, {}, steps {:?}; {}",
                new.strategy.as_str(),
                new.version,
                if new.baseline.is_empty() {
                    "beside nothing".to_owned()
                } else {
                    format!("beside {}", new.baseline)
                },
                new.plan.steps,
                new.why
            ),
            Change::DeploymentMoved { moved, .. } => moved_deployment(moved),
            Change::JobMoved { moved, .. } => serde_json::to_value(moved)
                .ok()
                .and_then(|moved| moved["why"].as_str().map(|why| format!(": {why}")))
                .unwrap_or_default(),
            _ => String::new(),
        };
        lines.push(format!(
            "{}  {} by {}{why}",
            text::rfc3339(event.at_ms),
            event.change.happened(),
            event.actor
        ));
        for guard in &event.guards {
            let held = if guard.holds { "holds" } else { "FAILS" };
            lines.push(format!("    {held}  {}: {}, asked for {}", guard.name, guard.found, guard.bound));
        }
        if let Change::GatesJudged { results, .. } = &event.change {
            for result in results {
                let outcome = result.outcome.as_str().to_uppercase();
                lines.push(format!("    {outcome}  gate {}: {}", result.gate, result.description));
            }
        }
    }
    lines
}
