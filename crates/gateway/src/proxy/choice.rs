//! Which version a call goes to, and the wait for one of its instances. It must not know how a call is carried.

use acgs_vocabulary::{Problem, problem::Kind};
use http::HeaderMap;

use super::Gateway;
use crate::{deadline::is_past, table::Choice};

impl Gateway {
    /// Where the call goes; it waits a while for an instance where one is expected. Nobody holds a route while it waits, so what is taken back
    /// meanwhile has no call.
    pub(super) async fn choice(
        &self,
        shard: usize,
        model: &str,
        headers: &HeaderMap,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<Choice, Problem> {
        let table = &self.0.table;
        // Drawn once: what was for a candidate that is away stays the candidate's.
        let drawn = table.draw();
        loop {
            let route = table.route_of(model);
            let route = route.ok_or_else(|| Problem::missing("model", model, "UNKNOWN_MODEL"))?;
            let choice = table.choose(route, headers, drawn).ok_or_else(|| {
                let message = format!("no version of model {model:?} serves, as far as this gateway knows");
                Problem::new(Kind::Unavailable, "NOT_SERVED", message)
            })?;
            let pool = &choice.target.pools[shard];
            let Some(until) = pool.worth_waiting_until() else { return Ok(choice) };
            if deadline.is_some_and(is_past) {
                return Ok(choice);
            }
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
