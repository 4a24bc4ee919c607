//! Why a call becomes no record: counted by reason, and told once a day for each version. It must not know tensors or streams.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The same is told again after so long.
const AGAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Models, versions and reasons that are remembered as told.
const TOLD_MAX: usize = 10_000;

/// Why a call becomes no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// More calls wait than there is room for.
    NoRoom,
    /// The exchange is larger than `gateway.capture_bytes_max`, or of many messages.
    TooLarge,
    /// A message is compressed in a way that is not read, or is none.
    Encoding,
    /// A message is not of the protocol.
    NotInference,
    /// A tensor cannot be read.
    Tensor,
    /// A text is longer than a record may have.
    TextTooLong,
    /// The answer has no score for each row, by the policy's name for it.
    Score,
    /// A tensor cannot be what the policy says it is.
    Meaning,
    /// Too many versions are captured.
    Streams,
    /// The stream refused it for good.
    Refused,
    /// The process ended before the stream had it.
    NotAccepted,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NoRoom,
        Self::TooLarge,
        Self::Encoding,
        Self::NotInference,
        Self::Tensor,
        Self::TextTooLong,
        Self::Score,
        Self::Meaning,
        Self::Streams,
        Self::Refused,
        Self::NotAccepted,
    ];

    /// As counters name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::TooLarge => "too_large",
            Self::Encoding => "encoding",
            Self::NotInference => "not_inference",
            Self::Tensor => "tensor",
            Self::TextTooLong => "text_too_long",
            Self::Score => "score",
            Self::Meaning => "meaning",
            Self::Streams => "streams",
            Self::Refused => "refused",
            Self::NotAccepted => "not_accepted",
        }
    }
}

/// A reason, and what it is about, for people.
#[derive(Debug)]
pub(crate) struct Dropped(pub(crate) Reason, pub(crate) String);

impl Dropped {
    pub(crate) fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self(reason, detail.to_string())
    }
}

/// Model, version and reason.
type Told = (Arc<str>, Arc<str>, Reason);

/// Counts of calls that became no records.
#[derive(Debug, Default)]
pub struct Losses {
    counts: [AtomicU64; Reason::ALL.len()],
    told: Mutex<HashMap<Told, Instant>>,
}

impl Losses {
    /// So many calls, of all reasons.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// So many calls, by reason.
    pub fn each(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|reason| (*reason, self.counts[*reason as usize].load(Ordering::Relaxed)))
    }

    /// Counts calls of a version, and says so once.
    pub(crate) fn lost(&self, model_id: &Arc<str>, version: &Arc<str>, dropped: &Dropped, calls: u64) {
        let Dropped(reason, detail) = dropped;
        if calls == 0 {
            return;
        }
        self.counts[*reason as usize].fetch_add(calls, Ordering::Relaxed);
        let key = (Arc::clone(model_id), Arc::clone(version), *reason);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(&key).is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(key, Instant::now());
        drop(told);
        let reason = reason.as_str();
        tracing::warn!(%model_id, %version, reason, detail, "captured calls become no records");
    }
}
