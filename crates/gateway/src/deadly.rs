//! Requests that instances went away with: one that costs a second instance goes to no other for a while, since a third would go the same
//! way. An answer acquits. It must not know pools or routes.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use acgs_mesh::pool::OnLoss;
use acgs_vocabulary::{Problem, problem::Kind};
use bytes::Bytes;

/// Instances that one request may cost before it goes to no other.
const DEATHS_MAX: usize = 2;
/// One call of a condemned request may try, this often: whoever was only on the same connection is acquitted by its answer.
const PROBE: Duration = Duration::from_secs(15);
/// After its last death a request is remembered for this long.
const HELD: Duration = Duration::from_secs(600);
/// Losses at one address within this are one death: each thread has a connection of its own.
const ONE_DEATH: Duration = Duration::from_secs(5);
/// Requests that are remembered; beyond them the oldest are forgotten.
const SUSPECTS_MAX: usize = 1_024;

/// What instances went away with.
#[derive(Debug)]
struct Suspect {
    /// Where, and when.
    deaths: Vec<(Arc<str>, Instant)>,
    last: Instant,
    tried: Instant,
}

/// What instances died of, perhaps.
#[derive(Debug)]
pub struct Deadly {
    born: Instant,
    /// Nothing is suspected from here on, in milliseconds since `born`.
    until_ms: AtomicU64,
    keys: RandomState,
    suspects: Mutex<HashMap<u64, Suspect>>,
}

impl Default for Deadly {
    fn default() -> Self {
        let (until_ms, keys) = (AtomicU64::new(0), RandomState::new());
        Self { born: Instant::now(), until_ms, keys, suspects: Mutex::default() }
    }
}

impl Deadly {
    fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.born).as_millis() as u64
    }

    fn suspects(&self) -> MutexGuard<'_, HashMap<u64, Suspect>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is suspected: true for nearly every call.
    #[must_use]
    pub fn is_clear(&self, now: Instant) -> bool {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        until_ms == 0 || self.ms(now) > until_ms
    }

    /// Whether a request may go to an instance.
    ///
    /// # Errors
    /// `DEADLY_REQUEST`. A failed precondition, since callers send what is unavailable again by themselves.
    pub fn check(&self, digest: u64, now: Instant) -> Result<(), Problem> {
        let mut suspects = self.suspects();
        let Some(suspect) = suspects.get_mut(&digest) else { return Ok(()) };
        if suspect.deaths.len() < DEATHS_MAX {
            return Ok(());
        }
        if now.saturating_duration_since(suspect.tried) >= PROBE {
            suspect.tried = now;
            return Ok(());
        }
        let message = format!(
            "{} instances went away while they answered this request; it is tried once in {} s, and goes to no other meanwhile",
            suspect.deaths.len(),
            PROBE.as_secs()
        );
        Err(Problem::new(Kind::Precondition, "DEADLY_REQUEST", message))
    }

    /// An instance went away with a request; whether it may go to another.
    pub fn died(&self, digest: u64, address: &str, now: Instant) -> bool {
        let mut suspects = self.suspects();
        suspects.retain(|_, suspect| now.saturating_duration_since(suspect.last) < HELD);
        if suspects.len() >= SUSPECTS_MAX && !suspects.contains_key(&digest) {
            let oldest = suspects.iter().min_by_key(|(_, suspect)| suspect.last).map(|(digest, _)| *digest);
            oldest.and_then(|oldest| suspects.remove(&oldest));
        }
        let none = || Suspect { deaths: Vec::new(), last: now, tried: now };
        let suspect = suspects.entry(digest).or_insert_with(none);
        let is_known = |(known, at): &(Arc<str>, Instant)| {
            **known == *address && now.saturating_duration_since(*at) < ONE_DEATH
        };
        if suspect.deaths.len() < DEATHS_MAX && !suspect.deaths.iter().any(is_known) {
            suspect.deaths.push((address.into(), now));
        }
        (suspect.last, suspect.tried) = (now, now);
        self.until_ms.store(self.ms(now + HELD).max(1), Ordering::Relaxed);
        suspect.deaths.len() < DEATHS_MAX
    }

    /// An instance answered a request and lives.
    pub fn answered(&self, digest: u64) {
        self.suspects().remove(&digest);
    }
}

/// A request that may be carried out twice.
#[derive(Debug)]
pub struct Asked {
    deadly: Arc<Deadly>,
    /// Version and method: another version may be the one that bears it.
    whose: (Arc<str>, Arc<str>, String),
    /// All of it; none of what asks for no answer of the model, which no instance dies of.
    data: Option<Vec<Bytes>>,
    digest: OnceLock<u64>,
}

impl Asked {
    /// A whole request to a version.
    ///
    /// # Errors
    /// `DEADLY_REQUEST`.
    pub fn new(
        deadly: &Arc<Deadly>,
        whose: (Arc<str>, Arc<str>, String),
        data: Option<Vec<Bytes>>,
    ) -> Result<Arc<Self>, Problem> {
        let asked = Self { deadly: Arc::clone(deadly), whose, data, digest: OnceLock::new() };
        let now = Instant::now();
        if !deadly.is_clear(now)
            && let Some(digest) = asked.digest()
        {
            deadly.check(digest, now)?;
        }
        Ok(Arc::new(asked))
    }

    /// It was answered.
    pub fn answered(&self) {
        if !self.deadly.is_clear(Instant::now())
            && let Some(digest) = self.digest()
        {
            self.deadly.answered(digest);
        }
    }

    /// Of what the instance sees; keyed, so that nobody can make two requests that look alike. Only asked for when anything is suspected.
    fn digest(&self) -> Option<u64> {
        let data = self.data.as_ref()?;
        Some(*self.digest.get_or_init(|| {
            let mut hasher = self.deadly.keys.build_hasher();
            self.whose.hash(&mut hasher);
            data.iter().for_each(|piece| hasher.write(piece));
            hasher.finish()
        }))
    }
}

impl OnLoss for Asked {
    fn lost(&self, address: &str) -> bool {
        self.digest().is_none_or(|digest| self.deadly.died(digest, address, Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_costs_two_instances_at_most_and_an_answer_acquits() {
        let (deadly, now) = (Deadly::default(), Instant::now());
        assert!(deadly.is_clear(now));
        assert!(deadly.died(1, "a", now), "one instance may have been about to end anyway");
        assert!(deadly.died(1, "a", now), "another connection to the same one");
        assert!(deadly.check(1, now).is_ok());
        assert!(!deadly.died(1, "b", now));
        assert_eq!(deadly.check(1, now).unwrap_err().reason(), "DEADLY_REQUEST");
        assert!(deadly.check(2, now).is_ok(), "others go on");
        deadly.answered(1);
        assert!(deadly.check(1, now).is_ok());
        assert!(!deadly.is_clear(now) && deadly.is_clear(now + HELD + PROBE));
    }

    #[test]
    fn after_a_while_one_instance_may_try_and_what_is_remembered_is_bounded() {
        let (deadly, now) = (Deadly::default(), Instant::now());
        for address in ["a", "b"] {
            deadly.died(1, address, now);
        }
        let later = now + PROBE;
        assert!(deadly.check(1, now).is_err() && deadly.check(1, later).is_ok());
        assert!(deadly.check(1, later).is_err(), "one at a time");
        assert!(!deadly.died(1, "c", later), "and it goes to no other");
        assert!(deadly.check(1, later + Duration::from_secs(1)).is_err());
        for digest in 0..3_000 {
            deadly.died(digest, "a", later + Duration::from_millis(digest));
        }
        assert_eq!(deadly.suspects().len(), SUSPECTS_MAX);
        assert!(deadly.suspects().contains_key(&2_999));
        deadly.died(7, "a", later + HELD * 2);
        assert_eq!(deadly.suspects().len(), 1, "what is old is forgotten");
    }
}
