//! What time it is for decisions, and how long workers have been silent. It must not know the ledger.

use std::{collections::HashMap, sync::Arc};

use acgs_lifecycle::State;
use acgs_vocabulary::{ports::Clock, steady::Steady};

/// How fast a clock that has jumped is followed: a bake of ten minutes takes five then, and not none.
const CATCH_UP: u32 = 2;
/// What is told of clocks that are further apart.
const APART_MS: i64 = 5_000;
/// Between two lines about clocks.
const TOLD_EVERY_MS: i64 = 60_000;

/// A worker's lease, as it was seen.
#[derive(Clone, Copy, Debug)]
struct Heard {
    deadline_ms: i64,
    /// When it had this deadline for the first time, by steady time.
    since_ms: i64,
}

/// The time of one process.
#[derive(Debug)]
pub(super) struct Time {
    clock: Arc<dyn Clock>,
    steady: Steady,
    /// By the number of the job.
    heard: HashMap<u64, Heard>,
    told_at_ms: Option<i64>,
}

impl Time {
    /// By a clock, and no earlier than this: what was decided before lies in the past.
    pub(super) fn new(clock: Arc<dyn Clock>, newest_ms: i64) -> Self {
        let steady = Steady::new(clock.now_ms().max(newest_ms), clock.monotonic_us(), CATCH_UP);
        Self { clock, steady, heard: HashMap::new(), told_at_ms: None }
    }

    /// Milliseconds since the epoch: the wall clock, unless it was set.
    pub(super) fn now_ms(&mut self) -> i64 {
        let wall_ms = self.clock.now_ms();
        let now_ms = self.steady.look(wall_ms, self.clock.monotonic_us());
        let behind_ms = wall_ms.saturating_sub(now_ms);
        if behind_ms.abs() > APART_MS && self.may_tell() {
            tracing::warn!(behind_ms, "the wall clock was set: what is due by time follows it slowly");
        }
        now_ms
    }

    /// Another process has decided something then.
    pub(super) fn compare(&mut self, at_ms: i64) {
        let apart_ms = at_ms - self.clock.now_ms();
        // What was read late says nothing; what lies ahead does.
        if apart_ms > APART_MS && self.may_tell() {
            tracing::warn!(apart_ms, "the clocks of orchestrators differ");
        }
    }

    fn may_tell(&mut self) -> bool {
        let now_ms = self.clock.monotonic_ms();
        let may = self.told_at_ms.is_none_or(|told_ms| now_ms - told_ms >= TOLD_EVERY_MS);
        if may {
            self.told_at_ms = Some(now_ms);
        }
        may
    }

    /// Looks at the leases of all workers.
    pub(super) fn look(&mut self, state: &State) {
        let now_ms = self.clock.monotonic_ms();
        let heard = &mut self.heard;
        let mut seen = HashMap::with_capacity(heard.len());
        for (_, job) in state.jobs_in_work() {
            let Some(lease) = &job.lease else { continue };
            let known = heard.get(&job.number).filter(|known| known.deadline_ms == lease.deadline_ms);
            let now = Heard { deadline_ms: lease.deadline_ms, since_ms: now_ms };
            seen.insert(job.number, known.copied().unwrap_or(now));
        }
        *heard = seen;
    }

    /// Whether the worker of a model's job has not been heard of for so long.
    pub(super) fn is_silent(&self, state: &State, model_id: &str, lease_ms: i64) -> bool {
        let job = state.model(model_id).and_then(|model| model.running());
        let heard = job.and_then(|job| self.heard.get(&job.number));
        heard.is_some_and(|heard| self.clock.monotonic_ms() - heard.since_ms >= lease_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Wall time and steady time.
    #[derive(Debug, Default)]
    struct Told(AtomicI64, AtomicI64);

    impl Clock for Told {
        fn now_ms(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }

        fn monotonic_us(&self) -> u64 {
            self.1.load(Ordering::Relaxed) as u64 * 1_000
        }
    }

    #[test]
    fn a_jump_is_not_believed_at_once() {
        let clock = Arc::new(Told::default());
        let mut time = Time::new(Arc::<Told>::clone(&clock), 500);
        assert_eq!(time.now_ms(), 500, "no earlier than what was decided");
        clock.0.store(2 * 365 * 86_400_000, Ordering::Relaxed);
        clock.1.store(60_000, Ordering::Relaxed);
        assert_eq!(time.now_ms(), 120_500);
        clock.0.store(-1, Ordering::Relaxed);
        assert_eq!(time.now_ms(), 120_500);
    }
}
