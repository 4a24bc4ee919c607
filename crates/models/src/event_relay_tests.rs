//! What the bus is told of the life of models: subjects and JSON as subscribers know them.

use acgs_vocabulary::ports::{Appended, Logged, PortError};
use tokio::sync::mpsc;

use super::*;

/// Subjects are a contract: what was published under a name stays there.
#[test]
fn steps_are_told_under_their_names() {
    let of_job = |step: JobStep| step.leads_to().map(JobState::as_str);
    let expected = [
        (JobStep::Merge, None),
        (JobStep::Suppress, Some("suppressed")),
        (JobStep::Supersede, Some("superseded")),
        (JobStep::Lease, Some("leased")),
        (JobStep::Start, Some("running")),
        (JobStep::Renew, None),
        (JobStep::BackOff, Some("backoff")),
        (JobStep::Return, Some("queued")),
        (JobStep::Requeue, Some("queued")),
        (JobStep::Evaluate, Some("evaluating")),
        (JobStep::Await, Some("awaiting_approval")),
        (JobStep::Expire, Some("expired")),
        (JobStep::Cancel, Some("cancelled")),
    ];
    for (step, told) in expected {
        assert_eq!(of_job(step), told, "{step:?}");
    }
    let phases = DeploymentStep::ALL.map(|step| deployment_kind(step).map(EventKind::subject));
    let phases: Vec<&str> = phases
        .iter()
        .map(|told| told.as_deref().map_or("", |told| told.rsplit('.').next().unwrap()))
        .collect();
    assert_eq!(
        phases,
        [
            "preparing",
            "shadowing",
            "shifting",
            "applied",
            "",
            "observed",
            "paused",
            "resumed",
            "promoting",
            "completed",
            "aborting",
            "rolled_back",
            "critical"
        ]
    );
}

/// An event of the golden file: written by hand, read as the ledger's, told, and still what was written.
#[test]
fn the_json_of_every_change_is_what_subscribers_know() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/lifecycle_events.json");
    let golden: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for told in &golden {
        let stepped: LifecycleStepped<Event> =
            serde_json::from_value(told["payload"].clone()).unwrap_or_else(|error| panic!("{error}: {told}"));
        let now = envelope(&stepped.event, "cdd01ef066bc6cf2").unwrap_or_else(|| panic!("not told: {told}"));
        assert_eq!(now.payload.to_string(), told["payload"].to_string());
        assert_eq!(now.subject, told["subject"].as_str().unwrap(), "{told}");
        assert_eq!(now.read::<LifecycleStepped<Event>>().unwrap(), stepped);
    }
    assert!(golden.len() > 50, "{}", golden.len());
}

/// A log that has one event, and says who was told what.
#[derive(Debug, Default)]
struct Told {
    newest: Option<Envelope>,
    sent: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl EventLog for Told {
    async fn append(&self, _envelope: Envelope, _expected: Option<u64>) -> Result<Appended, PortError> {
        Err(PortError::Unavailable("the relay appends nothing".into()))
    }

    async fn read(&self, _after: u64, _count: usize) -> Result<Vec<Logged>, PortError> {
        Ok(Vec::new())
    }

    async fn last(&self) -> Result<u64, PortError> {
        Ok(0)
    }

    async fn newest_of(&self, filter: &str) -> Result<Option<Logged>, PortError> {
        let newest =
            self.newest.clone().filter(|newest| acgs_vocabulary::event::matches(filter, &newest.subject));
        Ok(newest.map(|envelope| Logged { sequence: 7, envelope }))
    }

    async fn subscribe(&self, _after: u64, _filter: &str) -> Result<mpsc::Receiver<Logged>, PortError> {
        Err(PortError::Unavailable("nor does it listen".into()))
    }
}

#[async_trait]
impl EventSink for Told {
    async fn send(&self, envelope: Envelope) {
        self.sent.lock().unwrap().push(envelope.event_id);
    }

    fn offer(&self, _envelope: Envelope) -> bool {
        false
    }

    async fn flush(&self) {}
}

fn events(count: u64, since_ms: i64) -> Vec<Event> {
    let event = |number: u64| Event {
        number,
        at_ms: since_ms + number as i64,
        model_id: "m".into(),
        actor: "a".into(),
        guards: Vec::new(),
        change: Change::LoopCleared,
    };
    (1..=count).map(event).collect()
}

/// How many of five events are told when the log has this one.
async fn told_beyond(newest: Option<&Event>) -> usize {
    let newest = newest.and_then(|event| envelope(event, "cdd01ef066bc6cf2"));
    let log = Arc::new(Told { newest, ..Told::default() });
    let mut relay = EventRelay::new(Arc::<Told>::clone(&log), Arc::<Told>::clone(&log));
    let hash = "cdd01ef066bc6cf2".to_owned();
    let entry = Entry { constitutional_hash: hash, previous_digest: String::new(), events: events(5, 1_000) };
    relay.handle((1, serde_json::to_vec(&entry).unwrap())).await;
    let sent = log.sent.lock().unwrap();
    sent.len()
}

#[tokio::test]
async fn what_the_log_has_is_not_told_again() {
    let known = events(5, 1_000);
    assert_eq!(told_beyond(None).await, 5);
    assert_eq!(told_beyond(Some(&known[2])).await, 2);
    assert_eq!(told_beyond(Some(&known[4])).await, 0);
    // The log is older than the ledger, which was made anew: its numbers say nothing.
    assert_eq!(told_beyond(Some(&events(5, 0)[4])).await, 5);
}
