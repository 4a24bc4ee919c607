//! The newest epoch of each stream that this process has judged for: an orchestrator that has lost a stream cannot go on
//! with it here. Who may open lanes may so end those of others: `Judge` is for orchestrators. It must not know leases.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use acgs_vocabulary::{Problem, problem::Kind};

/// Streams that are remembered after their last lane has ended.
const STREAMS_REMEMBERED: usize = 1 << 16;

/// Epochs by stream, shared by all lanes of a judge.
#[derive(Clone, Debug, Default)]
pub struct Epochs(Arc<Mutex<Newest>>);

#[derive(Debug, Default)]
struct Newest {
    streams: HashMap<Arc<str>, Arc<AtomicU64>>,
    /// Streams at which those without a lane are forgotten.
    full_at: usize,
}

/// A lane's leave to go on.
#[derive(Debug)]
pub(crate) struct Tenure {
    epochs: Epochs,
    stream_id: Arc<str>,
    newest: Arc<AtomicU64>,
    epoch: u64,
}

impl Drop for Tenure {
    /// A stream without leases leaves nothing to remember.
    fn drop(&mut self) {
        if self.newest.load(Ordering::Acquire) > 0 {
            return;
        }
        let mut newest = self.epochs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = newest.streams.get(&self.stream_id).is_some_and(|known| Arc::strong_count(known) == 2);
        if last && self.newest.load(Ordering::Acquire) == 0 {
            newest.streams.remove(&self.stream_id);
        }
    }
}

/// The reason of a lane that is refused or ended because the stream has a newer owner.
const OLDER_EPOCH: &str = "OLDER_EPOCH";

/// Whether a lane was lost because the stream has a newer owner.
#[must_use]
pub fn is_outdated(problem: &Problem) -> bool {
    problem.reason() == OLDER_EPOCH
}

fn older(epoch: u64, newest: u64) -> Problem {
    let message = format!("the stream has another owner: its epoch is {newest}, the lane's {epoch}");
    Problem::new(Kind::Precondition, OLDER_EPOCH, message)
}

impl Epochs {
    /// A lane of a stream begins; lanes of older epochs are over from now on.
    ///
    /// # Errors
    /// `OLDER_EPOCH` when a newer one was seen.
    pub(crate) fn begin(&self, stream_id: &Arc<str>, epoch: u64) -> Result<Tenure, Problem> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.streams.len() >= newest.full_at.max(STREAMS_REMEMBERED) {
            newest.streams.retain(|_, epoch| Arc::strong_count(epoch) > 1);
            newest.full_at = 2 * newest.streams.len();
        }
        let known = Arc::clone(newest.streams.entry(Arc::clone(stream_id)).or_default());
        match known.fetch_max(epoch, Ordering::AcqRel) {
            seen if seen > epoch => Err(older(epoch, seen)),
            _ => Ok(Tenure { epochs: self.clone(), stream_id: Arc::clone(stream_id), newest: known, epoch }),
        }
    }
}

impl Tenure {
    /// Whether no newer epoch has begun.
    ///
    /// # Errors
    /// `OLDER_EPOCH`.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        match self.newest.load(Ordering::Acquire) {
            newest if newest > self.epoch => Err(older(self.epoch, newest)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_epoch_ends_older_lanes_of_its_stream_alone() {
        let epochs = Epochs::default();
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        let former = epochs.begin(&one, 3).unwrap();
        let beside = epochs.begin(&one, 3).unwrap();
        let other = epochs.begin(&two, 1).unwrap();
        assert!(former.check().is_ok() && beside.check().is_ok());
        let newer = epochs.begin(&one, 4).unwrap();
        assert_eq!(former.check().unwrap_err().reason(), "OLDER_EPOCH");
        assert_eq!(beside.check().unwrap_err().reason(), "OLDER_EPOCH");
        assert!(newer.check().is_ok() && other.check().is_ok());
        assert_eq!(epochs.begin(&one, 3).unwrap_err().reason(), "OLDER_EPOCH");
        drop((former, beside, newer));
        assert_eq!(epochs.begin(&one, 0).unwrap_err().reason(), "OLDER_EPOCH", "also without a lane");
    }

    #[test]
    fn what_has_no_epoch_is_forgotten_with_its_last_lane() {
        let epochs = Epochs::default();
        let (one, two) = (epochs.begin(&"s".into(), 0).unwrap(), epochs.begin(&"s".into(), 0).unwrap());
        drop(one);
        assert_eq!(epochs.0.lock().unwrap().streams.len(), 1);
        drop(two);
        assert!(epochs.0.lock().unwrap().streams.is_empty());
    }

    #[test]
    fn streams_without_lanes_do_not_pile_up() {
        let epochs = Epochs::default();
        let held = epochs.begin(&"held".into(), 2).unwrap();
        for number in 0..3 * STREAMS_REMEMBERED {
            epochs.begin(&format!("s{number}").into(), 1).unwrap();
        }
        assert!(epochs.0.lock().unwrap().streams.len() <= STREAMS_REMEMBERED);
        epochs.begin(&"held".into(), 3).unwrap();
        assert!(held.check().is_err(), "a stream with a lane is never forgotten");
    }
}
