//! What clients are told, how long reports are kept for them, and how they are let go. It must not know lanes.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use acgs_vocabulary::Problem;
use tokio::time::timeout;

use super::{Actor, DRAIN_US, client::Client, messages::Told};
use crate::core::Report;

/// Bytes of reports that a stream keeps for its clients, at most, and those that it may have whatever others keep.
const KEPT_BYTES_MAX: usize = 16 << 20;
const KEPT_BYTES_MIN: usize = 256 << 10;
/// A stream that never took anything has nothing to come back to.
const EMPTY_KEEP_US: u64 = 2_000_000;

impl Actor {
    /// Tells clients what they have not been told; `idle` says that no input waits, so that answers are due.
    pub(super) fn tell(&mut self, idle: bool) {
        let now_us = self.now_us();
        let (kept, totals) = (&self.kept, self.core.totals());
        let worth = self.deps.config.credit_bytes / 4;
        self.clients.retain_mut(|client| client.tell(kept, totals, idle, worth, now_us));
        self.detached_since_us = match (self.clients.is_empty(), self.detached_since_us) {
            (false, _) => None,
            (true, since_us) => since_us.or(Some(now_us)),
        };
        let _given_up = self.standing.say(self.detached_since_us, self.core.is_new());
        self.forget();
    }

    /// Gives up reports that all clients have, and the oldest beyond the bound.
    pub(super) fn forget(&mut self) {
        let most = self.deps.config.reports_kept;
        let acked = self.acked.values().copied().min().unwrap_or(0);
        let handed = |client: &Client| client.end.handed.load(Ordering::Relaxed);
        let told = self.clients.iter().map(handed).min().unwrap_or(u64::MAX);
        while let Some(oldest) = self.kept.front() {
            let much = self.kept.len() > most || self.keeps_much();
            let over = much && oldest.report_seq <= told;
            if oldest.report_seq > acked && !over {
                return;
            }
            self.forgotten_through = oldest.report_seq;
            let bytes = self.kept_room.bytes().saturating_sub(oldest.weight());
            self.kept.pop_front();
            self.kept_room.force(bytes);
        }
    }

    /// Whether reports take more than a stream, or all streams together, may have for them.
    fn keeps_much(&self) -> bool {
        let bytes = self.kept_room.bytes();
        bytes > KEPT_BYTES_MAX || (bytes > KEPT_BYTES_MIN && self.kept_room.is_over())
    }

    /// A client that does not take its reports holds the stream, until it is let go.
    pub(super) fn is_blocked(&self) -> bool {
        self.kept.len() > self.deps.config.reports_kept || self.keeps_much()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        let mut keep_us = self.deps.config.detached_keep_ms * 1_000;
        if self.core.is_new() {
            keep_us = keep_us.min(EMPTY_KEEP_US);
        }
        let is_old = |since_us| self.now_us().saturating_sub(since_us) > keep_us;
        self.detached_since_us.is_some_and(|since_us| self.standing.is_given_up() || is_old(since_us))
    }

    pub(super) fn farewell(&mut self, problem: &Problem) {
        for client in self.clients.drain(..) {
            let _first_word_stands = client.end.farewell.set(problem.clone());
        }
    }

    /// Tells all clients what they have not been told, all at once, in so much time.
    pub(super) async fn tell_rest(clients: &[Client], kept: &VecDeque<Arc<Report>>, patience: Duration) {
        let told = clients.iter().map(|client| async {
            let rest = kept.iter().filter(|report| report.report_seq > client.told_through);
            for report in rest {
                if client.end.out.send(Told::Report(Arc::clone(report))).await.is_err() {
                    return;
                }
            }
        });
        let _those_who_do_not_listen = timeout(patience, futures_util::future::join_all(told)).await;
    }

    /// Tells the rest, and that it is over.
    pub(super) async fn finish(&mut self) {
        let totals = self.core.totals();
        let mut patience = Duration::from_millis(self.deps.config.stalled_client_ms);
        if self.deps.stop.is_cancelled() {
            patience = patience.min(Duration::from_micros(DRAIN_US));
        }
        Self::tell_rest(&self.clients, &self.kept, patience).await;
        let over = self.clients.drain(..).map(|client| async move {
            let accepted = Told::Accepted {
                through_seq: client.accepted_through,
                credit_bytes: client.owed_bytes,
                totals,
            };
            client.end.out.send(accepted).await?;
            client.end.out.send(Told::Closed(totals)).await
        });
        let _nor_those_who_do_not_listen = timeout(patience, futures_util::future::join_all(over)).await;
    }
}
