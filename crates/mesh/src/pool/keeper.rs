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
    state::{Health, State},
};

/// Between two attempts; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Keeps a connection to an instance for as long as somebody wants it, and says how the instance is.
pub(super) async fn keep(
    address: String,
    probe: Probe,
    gauge: Arc<Gauge>,
    health: Arc<Health>,
    ready: watch::Sender<Option<State>>,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        match connect(&address).await {
            Ok((link, over)) => {
                gauge.forget();
                let served = tokio::select! {
                    served = ask(&link, &probe, &health) => served,
                    () = listen(&link, &health, &ready) => true,
                    _ = over => true,
                };
                let was_there = ready.send_replace(None).is_some();
                if was_there {
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

/// Watches its health when nobody else does.
async fn ask(link: &Link, probe: &Probe, health: &Health) -> bool {
    let _turn = health.asking.lock().await;
    let _forget = Forget(health);
    watch_health(link, probe, &health.said).await
}

/// Who watched is gone: who watches next finds out anew.
struct Forget<'a>(&'a Health);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.said.send_replace(None);
    }
}

/// Passes on what is said of the instance, with this connection to it.
async fn listen(link: &Link, health: &Health, ready: &watch::Sender<Option<State>>) {
    let mut said = health.said.subscribe();
    loop {
        let well = *said.borrow_and_update();
        ready.send_if_modified(|held| {
            let changed = held.as_ref().map(|state| state.well) != well;
            if changed {
                *held = well.map(|well| State { link: link.clone(), well });
            }
            changed
        });
        if said.changed().await.is_err() {
            return;
        }
    }
}
