//! Gives up what jobs leave in the blob home: data sets and scores that no open job needs. The record log makes data sets
//! again, byte for byte, while it has the records. It must not know what is in them.
//!
//! Artifacts stay: versions refer to them for as long as the ledger does.

use std::{collections::HashSet, sync::Arc, time::Duration};

use acgs_lifecycle::State;
use acgs_vocabulary::ports::{Blobs, PortError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    job_files::{DATASETS, SCORES, digests, job_of_scores},
    ledger_writer::LedgerWriter,
};

/// Between two sweeps when no job has ended. What is unused at two in a row goes: a data set is there some moments before
/// its job says so.
const SWEEP: Duration = Duration::from_secs(600);
/// From a change of the ledger to a look at which jobs are open, and between the two sweeps after one has ended.
const SOON: Duration = Duration::from_secs(1);
/// Names read at once.
const PAGE: usize = 1_000;
/// Names that are remembered from one sweep to the next; more wait for a later one.
const UNUSED_MAX: usize = 100_000;

/// What it works with.
#[derive(Clone, Debug)]
pub struct BlobRetention {
    /// Which jobs are open.
    pub writer: LedgerWriter,
    /// What is swept.
    pub blobs: Arc<dyn Blobs>,
}

/// What open jobs need.
#[derive(Debug, Default)]
struct Used {
    jobs: HashSet<u64>,
    digests: HashSet<String>,
}

impl Used {
    fn by(state: &State) -> Self {
        let open = state.jobs_before(0).map(|(_, job)| job).filter(|job| job.state.is_open());
        let mut used = Self::default();
        for job in open {
            used.jobs.insert(job.number);
            used.digests.extend(digests(job));
        }
        used
    }

    /// Whether a blob is needed; one whose name says nothing is left alone.
    fn holds(&self, name: &str) -> bool {
        if let Some(digest) = name.strip_prefix(DATASETS) {
            return self.digests.contains(digest);
        }
        job_of_scores(name).is_none_or(|job| self.jobs.contains(&job))
    }
}

/// When there is something to sweep.
#[derive(Debug)]
struct Due {
    /// Jobs that were open when it was looked last.
    open: HashSet<u64>,
    /// Sweeps that the end of a job still asks for.
    sweeps: u32,
}

impl Due {
    /// Whether to sweep now, so long after the last sweep.
    fn look(&mut self, open: &HashSet<u64>, since_last: Duration) -> bool {
        if self.open.iter().any(|job| !open.contains(job)) {
            self.sweeps = 2;
        }
        self.open.clone_from(open);
        let due = self.sweeps > 0 || since_last >= SWEEP;
        self.sweeps = self.sweeps.saturating_sub(1);
        due
    }
}

impl BlobRetention {
    /// Sweeps until everything ends.
    pub async fn run(self, stop: CancellationToken) {
        let mut unused = HashSet::new();
        let mut changed = self.writer.changed();
        let mut due = Due { open: self.writer.look(Used::by).jobs, sweeps: 0 };
        let (mut is_changed, mut swept_at) = (false, Instant::now());
        loop {
            let pause = if is_changed || due.sweeps > 0 { SOON } else { SWEEP };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                ended = changed.changed(), if !is_changed => match ended {
                    Ok(()) => {
                        is_changed = true;
                        continue;
                    }
                    Err(_) => return,
                },
                () = stop.cancelled() => return,
            }
            is_changed = false;
            let used = self.writer.look(Used::by);
            if !due.look(&used.jobs, swept_at.elapsed()) {
                continue;
            }
            swept_at = Instant::now();
            match sweep(&*self.blobs, &used, &mut unused).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "blobs of jobs that are over were given up"),
                Err(error) => tracing::warn!(%error, "blobs could not be swept; the next sweep tries again"),
            }
        }
    }
}

/// Deletes what was unused at the last sweep and is now, and remembers what is unused now; how many were deleted.
async fn sweep(blobs: &dyn Blobs, used: &Used, unused: &mut HashSet<String>) -> Result<usize, PortError> {
    let (mut now, mut deleted) = (HashSet::new(), 0);
    for prefix in [DATASETS, SCORES] {
        let mut after = String::new();
        loop {
            let page = blobs.list(prefix, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(last);
            for name in page.into_iter().filter(|name| !used.holds(name)) {
                if unused.contains(&name) {
                    blobs.delete(&name).await?;
                    deleted += 1;
                } else if now.len() < UNUSED_MAX {
                    now.insert(name);
                }
            }
        }
    }
    *unused = now;
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use async_trait::async_trait;

    use super::*;
    use crate::job_files::{dataset_key, scores_key};

    #[derive(Debug, Default)]
    struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

    #[async_trait]
    impl Blobs for Memory {
        async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), PortError> {
            self.0.lock().unwrap().insert(name.to_owned(), bytes);
            Ok(())
        }

        async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
            Ok(self.0.lock().unwrap().get(name).cloned())
        }

        async fn delete(&self, name: &str) -> Result<(), PortError> {
            self.0.lock().unwrap().remove(name);
            Ok(())
        }

        async fn list(&self, prefix: &str, after: &str, count: usize) -> Result<Vec<String>, PortError> {
            let held = self.0.lock().unwrap();
            let names = held.keys().filter(|name| name.starts_with(prefix) && name.as_str() > after);
            Ok(names.take(count).cloned().collect())
        }
    }

    #[tokio::test]
    async fn what_no_open_job_needs_goes_at_the_second_look_however_much_there_is() {
        let blobs = Memory::default();
        for job in 1..=2_500 {
            blobs.put(&scores_key(job, 10 * job), vec![1]).await.unwrap();
            blobs.put(&dataset_key(&format!("d{job}")), vec![1]).await.unwrap();
        }
        blobs.put("artifacts/d1", vec![1]).await.unwrap();
        blobs.put("scores/odd", vec![1]).await.unwrap();
        let used = Used { jobs: HashSet::from([7]), digests: HashSet::from(["d7".to_owned()]) };
        let mut unused = HashSet::new();
        assert_eq!(sweep(&blobs, &used, &mut unused).await, Ok(0));
        // One that is needed by then stays.
        let used = Used { jobs: HashSet::from([7, 8]), digests: HashSet::from(["d7".to_owned()]) };
        assert_eq!(sweep(&blobs, &used, &mut unused).await, Ok(2 * 2_500 - 3));
        let left: Vec<String> = blobs.0.lock().unwrap().keys().cloned().collect();
        assert_eq!(left, ["artifacts/d1", "datasets/d7", "scores/7-70", "scores/8-80", "scores/odd"]);
        assert_eq!(sweep(&blobs, &used, &mut unused).await, Ok(0));
    }

    #[test]
    fn a_job_that_has_ended_is_looked_after_twice_and_at_once() {
        let mut due = Due { open: HashSet::from([1, 2]), sweeps: 0 };
        let one = HashSet::from([1]);
        assert!(!due.look(&HashSet::from([1, 2, 3]), SOON), "nothing has ended");
        assert!(
            due.look(&one, SOON) && due.look(&one, SOON),
            "what was seen unused once goes the second time"
        );
        assert!(!due.look(&one, SOON) && due.look(&one, SWEEP));
    }
}
