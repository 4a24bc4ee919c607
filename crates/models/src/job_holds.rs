//! Which jobs somebody in this process prepares or judges: nobody else here does the same work. It must not know what work.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The jobs that are held. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct JobHolds(Arc<Mutex<HashSet<u64>>>);

/// Lets a job go again.
#[derive(Debug)]
pub struct JobHold {
    job: u64,
    holds: JobHolds,
}

impl JobHolds {
    /// Whether any job is held.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes a job; `None` when somebody has it.
    #[must_use]
    pub fn take(&self, job: u64) -> Option<JobHold> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
        taken.then(|| JobHold { job, holds: self.clone() })
    }
}

impl Drop for JobHold {
    fn drop(&mut self) {
        self.holds.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_held_once_until_it_is_let_go() {
        let holds = JobHolds::default();
        let held = holds.take(7);
        assert!(held.is_some() && holds.take(7).is_none() && holds.take(8).is_some());
        drop(held);
        assert!(holds.take(7).is_some());
    }
}
