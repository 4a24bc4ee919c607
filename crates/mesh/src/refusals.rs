//! The audit of refused requests: one event for each peer and minute, not one for each request. It must not know why
//! a request was refused beyond the reason.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use acgs_vocabulary::{
    event::payload::ConstitutionRefused,
    ports::{Clock, FindingSink, Judged, Judgement},
    text,
};
use tokio_util::sync::CancellationToken;

/// Peers told apart in one minute; the others are counted together.
const PEERS_MAX: usize = 1_024;
const MINUTE: Duration = Duration::from_secs(60);

/// Refusals since the last event.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: Mutex<HashMap<(Option<IpAddr>, String), u64>>,
}

impl Refusals {
    /// Counts one.
    pub fn record(&self, peer: Option<IpAddr>, reason: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = (peer, reason.to_owned());
        if counts.len() >= PEERS_MAX && !counts.contains_key(&counted) {
            counted.0 = None;
        }
        *counts.entry(counted).or_default() += 1;
    }

    /// Publishes what was counted, and starts again.
    pub fn publish(&self, sink: &dyn FindingSink, now_ms: i64) {
        let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        for ((peer, reason), count) in counts {
            let peer = peer.map_or_else(|| "others".to_owned(), |peer| peer.to_string());
            sink.publish(Judgement {
                id: text::unique_id("refused-", now_ms),
                about: peer.clone(),
                judged: Judged::Constitution(ConstitutionRefused { peer, reason, refused: count }),
                findings: Vec::new(),
            });
        }
    }

    /// Publishes every minute until the token is cancelled, and once more then.
    pub async fn run(
        self: Arc<Self>,
        sink: Arc<dyn FindingSink>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) {
        let mut minutes = tokio::time::interval(MINUTE);
        loop {
            tokio::select! {
                _ = minutes.tick() => {}
                () = stop.cancelled() => break,
            }
            self.publish(&*sink, clock.now_ms());
        }
        self.publish(&*sink, clock.now_ms());
    }
}
