//! Which version a call goes to, and the wait for one of its instances. It must not know how a call is carried.

use std::sync::atomic::Ordering;

use acgs_vocabulary::{Problem, problem::Kind};
use http::request::Parts;

use super::Gateway;
use crate::{deadline::is_past, methods, stats::Stats, table::Choice};

/// So many times as many calls may be in flight as wait for an instance; more are answered at once.
const WAITING_PART: usize = 4;

/// A call that waits for an instance.
struct Waiting<'a>(&'a Stats);

impl<'a> Waiting<'a> {
    /// `None` when so many wait already.
    fn begin(stats: &'a Stats, most: usize) -> Option<Self> {
        let before = stats.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(stats);
        (before < most.max(1)).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gateway {
    /// Where the call goes; it waits a while for an instance where one is expected. Nobody holds a route while it waits, so what is taken back
    /// meanwhile has no call.
    pub(super) async fn choice(
        &self,
        shard: usize,
        model: &str,
        parts: &Parts,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<Choice, Problem> {
        let table = &self.0.table;
        // Drawn once: what was for a candidate that is away stays the candidate's.
        let drawn = table.draw();
        loop {
            let route = table.route_of(model);
            let route = route.ok_or_else(|| Problem::missing("model", model, "UNKNOWN_MODEL"))?;
            methods::check(parts.uri.path(), route.methods())?;
            let choice = table.choose(route, &parts.headers, drawn).ok_or_else(|| {
                let message = format!("no version of model {model:?} serves, as far as this gateway knows");
                Problem::new(Kind::Unavailable, "NOT_SERVED", message)
            })?;
            let pool = &choice.target.pools[shard];
            let Some(until) = pool.worth_waiting_until() else { return Ok(choice) };
            // A model without an instance does not take the places of all others.
            let waiting = Waiting::begin(&self.0.stats, self.0.config.calls_max / WAITING_PART);
            let Some(_waiting) = waiting.filter(|_| !deadline.is_some_and(is_past)) else {
                return Ok(choice);
            };
            let (pool, mut changes) = (pool.clone(), table.changes());
            drop(choice);
            tokio::select! {
                () = pool.somebody() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(deadline.map_or(until, |at| at.min(until))) => {}
            }
        }
    }
}
