//! What the passing of time does to a stream: silence, standstill, and whether it is still this process's own. It must not know event time.

use std::sync::atomic::Ordering;

use acgs_vocabulary::{Problem, problem::Kind};

use super::{Actor, TICK};
use crate::core::Action;

/// A tick that comes later than this after the one before is late: nobody was listened to meanwhile.
const LATE_TICK_US: u64 = 750_000;

impl Actor {
    /// Whether the stream is still this process's own, when that is known; before, nothing is taken, told or acknowledged. Its clients are let
    /// go when it is not.
    pub(super) async fn is_owner(&mut self) -> bool {
        let Some(lease) = self.lease.as_ref().filter(|lease| !lease.is_sure()) else { return true };
        tokio::select! {
            () = lease.sure() => {}
            () = self.deps.stop.cancelled() => {}
        }
        if lease.is_sure() {
            return true;
        }
        let problem = match lease.lost().is_cancelled() {
            true => Problem::new(Kind::Precondition, "NOT_OWNER", super::MOVED),
            false => Problem::new(Kind::Unavailable, "DRAINING", super::DRAINING),
        };
        self.farewell(&problem);
        false
    }

    /// What was in the middle of being taken, was not heard by partitions meanwhile.
    pub(super) fn note_busy(&mut self) {
        match (self.core.is_busy(), self.busy_since_us) {
            (true, None) => self.busy_since_us = Some(self.now_us()),
            (false, Some(since_us)) => {
                let span_us = self.now_us().saturating_sub(since_us);
                if span_us > LATE_TICK_US {
                    self.unheard_us += span_us - TICK.as_micros() as u64;
                }
                self.busy_since_us = None;
            }
            _ => {}
        }
    }

    /// `holds` says that something waits which cannot be taken now: it may be of a client that comes back, so partitions without one are not
    /// silent meanwhile.
    pub(super) fn on_tick(&mut self, holds: bool) -> Vec<Action> {
        let now_us = self.now_us();
        let passed_us = now_us.saturating_sub(std::mem::replace(&mut self.ticked_us, now_us));
        let late_us = if passed_us > LATE_TICK_US { passed_us - TICK.as_micros() as u64 } else { 0 };
        let unheard_us = match self.core.is_busy() {
            true => 0,
            false => late_us.max(std::mem::take(&mut self.unheard_us)),
        };
        let stalled_us = self.deps.config.stalled_client_ms * 1_000;
        for client in self.clients.extract_if(.., |client| client.has_stalled(stalled_us, now_us)) {
            let message = "the client took no reports for too long; open the stream again to resume";
            let problem = Problem::exhausted("STALLED_CLIENT", message, 1_000);
            self.deps.stalled_clients.fetch_add(1, Ordering::Relaxed);
            let _first_word_stands = client.end.farewell.set(problem);
        }
        self.lanes.let_go_of_silent();
        let clients = &self.clients;
        let waits = |partition: &str| {
            let mut own = clients.iter().filter(|client| client.end.partition == partition).peekable();
            (holds && own.peek().is_none()) || own.any(|client| client.end.waiting.any())
        };
        self.core.tick(now_us, unheard_us, waits)
    }
}
