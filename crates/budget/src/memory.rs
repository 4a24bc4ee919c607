//! Memory that callers make grow: one budget of the process, in shares. Whoever holds bytes for a caller has reserved them, and gives them
//! back by dropping what says so. It must not know what the bytes are.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// A share is this many times what everybody may hold in any case.
const LEAST_PART: usize = 2_048;

/// The shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Calls that are read.
    Calls,
    /// Panes of judges, and what monitors gather.
    Panes,
    /// Frames that wait or may be told to a judge again, and snapshots of judges.
    Frames,
    /// Reports that clients have not taken.
    Reports,
    /// Predictions and labels that wait for each other.
    Labels,
    /// Files and references on their way.
    Files,
}

impl Use {
    /// All of them, in the order of the settings.
    pub const ALL: [Self; 6] =
        [Self::Calls, Self::Panes, Self::Frames, Self::Reports, Self::Labels, Self::Files];

    /// As the settings have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Panes => "panes",
            Self::Frames => "frames",
            Self::Reports => "reports",
            Self::Labels => "labels",
            Self::Files => "files",
        }
    }
}

/// What a process may hold. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<[Share; 6]>);

impl Budget {
    /// Of `bytes_max`, with so many percent for each share, in the order of [`Use::ALL`].
    #[must_use]
    pub fn new(bytes_max: usize, percent: [u8; 6]) -> Self {
        let budget = Self(Arc::new(std::array::from_fn(|place| Share::of(Use::ALL[place], 0))));
        budget.resize(bytes_max, percent);
        budget
    }

    /// One that refuses nothing: for tools and tests.
    #[must_use]
    pub fn unbounded() -> Self {
        Self(Arc::new(std::array::from_fn(|place| Share::of(Use::ALL[place], usize::MAX))))
    }

    /// Has other bounds from now on; what is held stays.
    pub fn resize(&self, bytes_max: usize, percent: [u8; 6]) {
        for (share, percent) in self.0.iter().zip(percent) {
            share.0.bytes_max.store(bytes_max / 100 * usize::from(percent), Ordering::Relaxed);
            share.0.alone_max.store(bytes_max / 2, Ordering::Relaxed);
        }
    }

    /// A share.
    #[must_use]
    pub fn of(&self, usage: Use) -> Share {
        self.0[usage as usize].clone()
    }

    /// All shares.
    pub fn shares(&self) -> impl Iterator<Item = &Share> {
        self.0.iter()
    }
}

static PROCESS: LazyLock<Budget> = LazyLock::new(Budget::unbounded);

/// The budget of this process: without bounds until it is resized.
#[must_use]
pub fn process() -> &'static Budget {
    &PROCESS
}

/// A part of the budget. Clones are the same share.
#[derive(Clone)]
pub struct Share(Arc<Inner>);

struct Inner {
    name: &'static str,
    bytes_max: AtomicUsize,
    /// Whether one that holds alone may have more than the share, and how much.
    may_exceed: bool,
    alone_max: AtomicUsize,
    held: AtomicUsize,
    refused: AtomicU64,
}

/// A share has no room for so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has no room for {wanted} bytes more: it holds {held} of {bytes_max} (memory.{share})")]
pub struct Spent {
    /// Which.
    pub share: &'static str,
    /// Bytes that were asked for.
    pub wanted: usize,
    /// Bytes that are held.
    pub held: usize,
    /// The bound.
    pub bytes_max: usize,
    /// Whether it would have no room if nobody else held anything.
    pub never: bool,
}

impl Share {
    /// What is done with once it is told, a call or a file, may take half of the budget while it is alone: on a small machine it would never
    /// have room.
    fn of(usage: Use, bytes_max: usize) -> Self {
        Self::new(usage.as_str(), bytes_max, matches!(usage, Use::Calls | Use::Files))
    }

    fn new(name: &'static str, bytes_max: usize, may_exceed: bool) -> Self {
        Self(Arc::new(Inner {
            name,
            bytes_max: AtomicUsize::new(bytes_max),
            may_exceed,
            alone_max: AtomicUsize::new(bytes_max),
            held: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// One that refuses nothing.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::new("unbounded", usize::MAX, false)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Nothing yet; it can grow.
    #[must_use]
    pub fn nothing(&self) -> Reservation {
        Reservation { share: self.clone(), bytes: 0 }
    }

    /// So many bytes.
    ///
    /// # Errors
    /// When there is no room.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, Spent> {
        let mut room = self.nothing();
        room.resize(bytes)?;
        Ok(room)
    }

    /// So many bytes, whatever the bound: for little without which nothing goes on.
    #[must_use]
    pub fn force(&self, bytes: usize) -> Reservation {
        let mut room = self.nothing();
        room.force(bytes);
        room
    }

    /// Bytes that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// The bound.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max.load(Ordering::Relaxed)
    }

    /// So little that whoever holds less may go on when others have spent the share: what goes on is what gives back.
    #[must_use]
    pub fn least(&self) -> usize {
        self.bytes_max() / LEAST_PART
    }

    /// How often it had no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// The most that one may hold while nobody else does.
    fn alone_max(&self) -> usize {
        let most = self.bytes_max();
        if self.0.may_exceed { most.max(self.0.alone_max.load(Ordering::Relaxed)) } else { most }
    }

    fn spent(&self, wanted: usize, in_all: usize) -> Spent {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        let never = in_all > self.alone_max();
        Spent { share: self.0.name, wanted, held: self.held(), bytes_max: self.bytes_max(), never }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Share")
            .field("name", &self.0.name)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

/// Bytes of a share, until it is dropped.
#[derive(Debug)]
pub struct Reservation {
    share: Share,
    bytes: usize,
}

impl Reservation {
    /// How many.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The share that it is of.
    #[must_use]
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// Whether all holders together hold more than there is.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.share.held() > self.share.bytes_max()
    }

    /// Holds so much from now on. Less always succeeds; when more does not, nothing has changed.
    ///
    /// # Errors
    /// When there is no room.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Spent> {
        let Some(more) = bytes.checked_sub(self.bytes) else {
            self.force(bytes);
            return Ok(());
        };
        let (own, most, alone_max) = (self.bytes, self.share.bytes_max(), self.share.alone_max());
        let fits = |held: usize| {
            let bound = if held == own { alone_max } else { most };
            held.checked_add(more).filter(|now| *now <= bound)
        };
        match self.share.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes = bytes;
                Ok(())
            }
            Err(_) => Err(self.share.spent(more, bytes)),
        }
    }

    /// Holds so much, whatever the bound: what is there already counts.
    pub fn force(&mut self, bytes: usize) {
        let held = &self.share.0.held;
        if bytes > self.bytes {
            held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.force(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_given_back() {
        let budget = Budget::new(1_000, [10, 20, 30, 10, 10, 20]);
        let share = budget.of(Use::Calls);
        let mut room = share.reserve(60).unwrap();
        assert_eq!(share.reserve(50).unwrap_err().held, 60);
        assert_eq!((share.held(), share.refused()), (60, 1));
        room.resize(100).unwrap();
        assert!(room.resize(501).is_err_and(|spent| spent.never) && room.bytes() == 100);
        room.resize(400).unwrap();
        assert!(share.reserve(1).is_err_and(|spent| !spent.never), "one alone may have more than the share");
        let mut panes = budget.of(Use::Panes).reserve(200).unwrap();
        assert!(panes.resize(201).is_err(), "but not of what stays");
        drop(panes);
        room.resize(10).unwrap();
        room.force(500);
        assert!(share.reserve(1).is_err());
        drop(room);
        assert_eq!((share.held(), budget.of(Use::Panes).bytes_max()), (0, 200));
        assert!(Budget::unbounded().of(Use::Files).reserve(usize::MAX / 2).is_ok());
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is() {
        let share = Share::new("x", 1_000, false);
        let takers: Vec<_> = (0..8)
            .map(|_| {
                let share = share.clone();
                std::thread::spawn(move || {
                    for step in 0..10_000_usize {
                        let room = share.reserve(step % 400);
                        assert!(share.held() <= 1_000);
                        drop(room);
                    }
                })
            })
            .collect();
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(share.held(), 0);
    }
}
