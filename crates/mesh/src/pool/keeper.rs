//! An instance that is wanted: connected, asked for its health, watched, connected again. It must not know what is called on it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;

use super::{
    gauge::Gauge,
    link::{Link, connect},
    probe::{Probe, watch_health},
};

/// Between two attempts; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Keeps a connection to an instance for as long as somebody wants it, and says when it takes calls.
pub(super) async fn keep(
    address: String,
    probe: Probe,
    gauge: Arc<Gauge>,
    ready: watch::Sender<Option<Link>>,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        match connect(&address).await {
            Ok((link, over)) => {
                gauge.forget();
                let served = tokio::select! {
                    served = watch_health(&link, &probe, &ready) => served,
                    _ = over => true,
                };
                let was_ready = ready.send_replace(None).is_some();
                if was_ready {
                    pause = PAUSE_FIRST;
                    tracing::info!(address, "an instance is gone");
                }
                if served {
                    pause = PAUSE_FIRST;
                }
            }
            Err(error) => tracing::debug!(address, error, "an instance cannot be reached"),
        }
        // Somewhere between half of it and all of it, so that many do not come at once.
        let share = RandomState::new().hash_one(0_u8) % 500;
        tokio::time::sleep(pause * (500 + share as u32) / 1_000).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
