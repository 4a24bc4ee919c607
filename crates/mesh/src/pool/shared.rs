//! What pools share: on one runtime a connection to each address, and in the process one watch of its health. It must not know what is
//! called.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{sync::watch, task::AbortHandle};

use super::{
    gauge::Gauge,
    keeper,
    probe::Probe,
    state::{Health, State},
};

/// One address on one runtime: who lets it go last ends its keeper, and with it the connection.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) states: watch::Receiver<Option<State>>,
    pub(super) gauge: Arc<Gauge>,
    pub(super) address: Arc<str>,
    keeper: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

type Known<T> = Arc<Mutex<HashMap<String, Weak<T>>>>;

/// Connections that pools of one runtime share, and health that those of all runtimes share. Clones are the same. All pools of it ask in the
/// same way.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    kept: Known<Kept>,
    health: Known<Health>,
}

/// What is held under a key, made when nobody holds it.
fn held<T>(known: &Known<T>, key: &str, make: impl FnOnce() -> T) -> Arc<T> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(held) = known.get(key).and_then(Weak::upgrade) {
        return held;
    }
    known.retain(|_, held| held.strong_count() > 0);
    let made = Arc::new(make());
    known.insert(key.to_owned(), Arc::downgrade(&made));
    made
}

impl Connections {
    /// For pools on another runtime: connections of their own, the same health.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { kept: Known::default(), health: Arc::clone(&self.health) }
    }

    /// Must be called on the runtime whose pools these are.
    pub(super) fn kept(&self, address: &str, probe: &Probe) -> Arc<Kept> {
        let health = held(&self.health, address, || Health {
            said: watch::Sender::new(None),
            asking: tokio::sync::Mutex::default(),
        });
        held(&self.kept, address, || {
            let (ready, states) = watch::channel(None);
            let gauge = Arc::new(Gauge::new());
            let keep = keeper::keep(address.to_owned(), probe.clone(), Arc::clone(&gauge), health, ready);
            Kept { states, gauge, address: address.into(), keeper: tokio::spawn(keep).abort_handle() }
        })
    }
}
