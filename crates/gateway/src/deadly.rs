//! Requests that instances went away with: one that costs a second instance goes to no other for a while, since a third would go the same
//! way. An answer acquits. It must not know pools or routes.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use acgs_mesh::pool::OnLoss;
use acgs_vocabulary::{Problem, problem::Kind};
use bytes::Bytes;

/// Instances that one request may cost.
const DEATHS_MAX: usize = 2;
/// For so long it goes to no other.
const HELD: Duration = Duration::from_secs(60);
/// Losses at one address within this are one death: each thread has a connection of its own.
const ONE_DEATH: Duration = Duration::from_secs(5);
/// Requests that are remembered; beyond them the oldest are forgotten.
const SUSPECTS_MAX: usize = 1_024;

/// Where an instance went away, and when.
type Death = (Arc<str>, Instant);

/// What instances died of, perhaps. Shared by all versions: a candidate dies of the same.
#[derive(Debug, Default)]
pub struct Deadly {
    count: AtomicUsize,
    keys: RandomState,
    suspects: Mutex<HashMap<u64, Vec<Death>>>,
}

impl Deadly {
    /// Nothing is suspected: true for nearly every call.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether a request may go to an instance.
    ///
    /// # Errors
    /// `DEADLY_REQUEST`. A failed precondition, since callers send what is unavailable again by themselves.
    pub fn check(&self, digest: u64, now: Instant) -> Result<(), Problem> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(deaths) = suspects.get(&digest) else { return Ok(()) };
        let newest = deaths.iter().map(|(_, at)| *at).max();
        if newest.is_none_or(|at| now.saturating_duration_since(at) > HELD) {
            // One instance may try it again.
            suspects.remove(&digest);
            self.count.store(suspects.len(), Ordering::Relaxed);
            return Ok(());
        }
        if deaths.len() < DEATHS_MAX {
            return Ok(());
        }
        let message = format!(
            "{} instances went away while they answered this request; it goes to no other for {} s",
            deaths.len(),
            HELD.as_secs()
        );
        Err(Problem::new(Kind::Precondition, "DEADLY_REQUEST", message))
    }

    /// An instance went away with a request; whether it may go to another.
    pub fn died(&self, digest: u64, address: &str, now: Instant) -> bool {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if suspects.len() >= SUSPECTS_MAX && !suspects.contains_key(&digest) {
            let newest = |deaths: &[Death]| deaths.iter().map(|(_, at)| *at).max();
            let oldest = suspects.iter().min_by_key(|(_, deaths)| newest(deaths)).map(|(digest, _)| *digest);
            oldest.and_then(|oldest| suspects.remove(&oldest));
        }
        let deaths = suspects.entry(digest).or_default();
        let is_known =
            |(known, at): &Death| **known == *address && now.saturating_duration_since(*at) < ONE_DEATH;
        if deaths.len() < DEATHS_MAX && !deaths.iter().any(is_known) {
            deaths.push((address.into(), now));
        }
        let may_go_on = deaths.len() < DEATHS_MAX;
        self.count.store(suspects.len(), Ordering::Relaxed);
        may_go_on
    }

    /// An instance answered a request and lives.
    pub fn answered(&self, digest: u64) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.remove(&digest);
        self.count.store(suspects.len(), Ordering::Relaxed);
    }
}

/// A request that may be carried out twice.
#[derive(Debug)]
pub struct Asked {
    deadly: Arc<Deadly>,
    path: String,
    pieces: Vec<Bytes>,
}

impl Asked {
    /// As it was gathered: all of a small one, and the beginning of another.
    ///
    /// # Errors
    /// `DEADLY_REQUEST`.
    pub fn new(deadly: &Arc<Deadly>, path: &str, pieces: Vec<Bytes>) -> Result<Arc<Self>, Problem> {
        let asked = Self { deadly: Arc::clone(deadly), path: path.to_owned(), pieces };
        if !deadly.is_clear() {
            deadly.check(asked.digest(), Instant::now())?;
        }
        Ok(Arc::new(asked))
    }

    /// It was answered.
    pub fn answered(&self) {
        if !self.deadly.is_clear() {
            self.deadly.answered(self.digest());
        }
    }

    /// Of what the instance sees; keyed, so that nobody can make two requests that look alike.
    fn digest(&self) -> u64 {
        let bytes: Vec<u8> = self.pieces.iter().flatten().copied().collect();
        self.deadly.keys.hash_one((&self.path, bytes))
    }
}

impl OnLoss for Asked {
    fn lost(&self, address: &str) -> bool {
        self.deadly.died(self.digest(), address, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_costs_two_instances_at_most_and_an_answer_acquits() {
        let (deadly, now) = (Deadly::default(), Instant::now());
        assert!(deadly.is_clear());
        assert!(deadly.died(1, "a", now), "one instance may have been about to end anyway");
        assert!(deadly.died(1, "a", now), "another connection to the same one");
        assert!(deadly.check(1, now).is_ok());
        assert!(!deadly.died(1, "b", now));
        assert_eq!(deadly.check(1, now).unwrap_err().reason(), "DEADLY_REQUEST");
        assert!(deadly.check(2, now).is_ok(), "others go on");
        deadly.answered(1);
        assert!(deadly.check(1, now).is_ok() && deadly.is_clear());
    }

    #[test]
    fn after_a_while_one_instance_may_try_and_what_is_remembered_is_bounded() {
        let (deadly, now) = (Deadly::default(), Instant::now());
        for address in ["a", "b"] {
            deadly.died(1, address, now);
        }
        let later = now + HELD + Duration::from_secs(1);
        assert!(deadly.check(1, now).is_err() && deadly.check(1, later).is_ok());
        for digest in 0..3_000 {
            deadly.died(digest, "a", now + Duration::from_millis(digest));
        }
        assert_eq!(deadly.suspects.lock().unwrap().len(), SUSPECTS_MAX);
        assert!(deadly.suspects.lock().unwrap().contains_key(&2_999));
    }
}
