//! Gives up what jobs leave in the blob home: data sets and scores that no open job needs. The record log makes data sets
//! again, byte for byte, while it has the records. It must not know what is in them.
//!
//! Artifacts stay: versions refer to them for as long as the ledger does.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use acgs_lifecycle::State;
use acgs_vocabulary::ports::{Blobs, PortError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    job_files::{DATASETS, SCORES, dataset_key, digests, job_of_scores},
    job_holds::JobHolds,
    ledger_writer::LedgerWriter,
};

/// Between two sweeps. What is unused at two in a row goes: a data set is there some moments before its job says so.
const SWEEP: Duration = Duration::from_secs(600);
/// From a change of the ledger to a look at which jobs have ended.
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
    /// Jobs that are being prepared: their data may be there before the ledger says so.
    pub holds: JobHolds,
}

/// What open jobs need.
#[derive(Debug, Default)]
struct Used {
    jobs: HashMap<u64, Vec<String>>,
    digests: HashSet<String>,
}

impl Used {
    fn by(state: &State) -> Self {
        let open = state.jobs_before(0).map(|(_, job)| job).filter(|job| job.state.is_open());
        let mut used = Self::default();
        for job in open {
            let files = digests(job);
            used.digests.extend(files.iter().cloned());
            used.jobs.insert(job.number, files);
        }
        used
    }

    /// Whether a blob is needed; one whose name says nothing is left alone.
    fn holds(&self, name: &str) -> bool {
        if let Some(digest) = name.strip_prefix(DATASETS) {
            return self.digests.contains(digest);
        }
        job_of_scores(name).is_none_or(|job| self.jobs.contains_key(&job))
    }
}

/// The data of jobs that have ended since they were looked at last.
#[derive(Debug, Default)]
struct Ended {
    /// Jobs that were open, and their data.
    open: HashMap<u64, Vec<String>>,
    leftovers: Vec<String>,
}

impl Ended {
    fn look(&mut self, used: &Used) {
        let ended = self.open.iter().filter(|(job, _)| !used.jobs.contains_key(job));
        self.leftovers.extend(ended.flat_map(|(_, files)| files).cloned());
        self.open.clone_from(&used.jobs);
    }
}

impl BlobRetention {
    /// Gives up until everything ends.
    pub async fn run(self, stop: CancellationToken) {
        let (mut unused, mut ended) = (HashSet::new(), Ended::default());
        ended.look(&self.writer.look(Used::by));
        let mut changed = self.writer.changed();
        let (mut is_changed, mut swept_at) = (false, Instant::now());
        loop {
            let pause = if is_changed || !ended.leftovers.is_empty() { SOON } else { SWEEP };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                told = changed.changed(), if !is_changed => match told {
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
            ended.look(&used);
            if let Err(error) = self.give_up(&mut ended.leftovers).await {
                tracing::warn!(%error, "data of jobs that are over could not be given up yet");
            }
            if swept_at.elapsed() < SWEEP {
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

    /// Deletes what no open job needs now, while no job is being prepared: the same data may be another's too.
    async fn give_up(&self, leftovers: &mut Vec<String>) -> Result<(), PortError> {
        while !self.holds.any() {
            let Some(digest) = leftovers.last() else { return Ok(()) };
            if !self.writer.look(Used::by).digests.contains(digest) {
                self.blobs.delete(&dataset_key(digest)).await?;
            }
            leftovers.pop();
        }
        Ok(())
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
    use crate::job_files::scores_key;

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
        let used = Used { jobs: jobs(&[7]), digests: HashSet::from(["d7".to_owned()]) };
        let mut unused = HashSet::new();
        assert_eq!(sweep(&blobs, &used, &mut unused).await, Ok(0));
        // One that is needed by then stays.
        let used = Used { jobs: jobs(&[7, 8]), digests: HashSet::from(["d7".to_owned()]) };
        assert_eq!(sweep(&blobs, &used, &mut unused).await, Ok(2 * 2_500 - 3));
        let left: Vec<String> = blobs.0.lock().unwrap().keys().cloned().collect();
        assert_eq!(left, ["artifacts/d1", "datasets/d7", "scores/7-70", "scores/8-80", "scores/odd"]);
        assert_eq!(sweep(&blobs, &used, &mut unused).await, Ok(0));
    }

    fn jobs(open: &[u64]) -> HashMap<u64, Vec<String>> {
        open.iter().map(|job| (*job, vec![format!("d{job}"), "shared".to_owned()])).collect()
    }

    #[test]
    fn the_data_of_jobs_that_have_ended_are_known_once() {
        let used = |open: &[u64]| Used { jobs: jobs(open), digests: HashSet::new() };
        let mut ended = Ended::default();
        ended.look(&used(&[1, 2]));
        ended.look(&used(&[2, 3]));
        assert_eq!(ended.leftovers, ["d1", "shared"], "shared ones are looked at again before they go");
        ended.look(&used(&[2, 3]));
        assert_eq!(ended.leftovers.len(), 2);
    }
}
