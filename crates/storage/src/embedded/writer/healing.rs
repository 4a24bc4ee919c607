//! What the writer does when the engine takes no writes any more: it opens the store again, in place. It must not know what is written.

use std::{
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use acgs_vocabulary::ports::PortError;
use tokio::sync::mpsc;

use super::{
    super::{Shared, job::Job, open_parts},
    Writer,
};
use crate::home_state::HomeState;

/// Who reads a store that has failed is done by then.
const READERS: Duration = Duration::from_secs(20);
/// Between looks at them, and between attempts to open the store again.
const LOOK: Duration = Duration::from_millis(5);
const AGAIN: Duration = Duration::from_millis(500);

/// A thread that ends without having been asked to has lost the store.
pub(super) struct Guard(pub(super) Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state.send_replace(HomeState::Lost("the thread that writes has ended".into()));
        }
    }
}

impl Writer {
    /// Opens the store again, in place: what was acknowledged is in it. The engine takes no writes after one that failed.
    pub(super) fn heal(self, jobs: &mut mpsc::Receiver<Job>, error: &PortError) -> Option<Self> {
        let Self { shared, parts, options, changes, .. } = self;
        let failing = |why: String| shared.state.send_replace(HomeState::Failing(why));
        let lost = |why: String| {
            tracing::error!(why, "the store is lost; the process has to end");
            shared.state.send_replace(HomeState::Lost(why));
        };
        tracing::error!(%error, folder = %options.folder.display(), "the store failed and is opened again");
        failing(error.to_string());
        drop(shared.parts.write().unwrap_or_else(PoisonError::into_inner).take());
        let old = Arc::downgrade(&parts);
        drop(parts);
        let since = Instant::now();
        while old.strong_count() > 0 {
            if since.elapsed() > READERS {
                lost(format!("somebody still reads the store that failed: {error}"));
                return None;
            }
            thread::sleep(LOOK);
        }
        loop {
            while let Ok(job) = jobs.try_recv() {
                job.refuse(PortError::Unavailable("the embedded store failed and is opened again".into()));
            }
            let opened = open_parts(&options.folder);
            match opened
                .and_then(|parts| Self::recover(&shared, Arc::new(parts), options.clone(), changes.clone()))
            {
                Ok(healed) => {
                    tracing::info!(after_ms = since.elapsed().as_millis() as u64, "the store is open again");
                    return Some(healed);
                }
                Err(error @ PortError::Damaged(_)) => {
                    lost(error.to_string());
                    return None;
                }
                Err(error) => failing(error.to_string()),
            };
            if jobs.is_closed() && jobs.is_empty() {
                return None;
            }
            thread::sleep(AGAIN);
        }
    }
}
