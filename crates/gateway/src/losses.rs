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
/// Models, versions and reasons that are told apart; calls of others count in all.
const KINDS_MAX: usize = 1_000;
/// Characters of what a loss was about.
const DETAIL_MAX: usize = 256;

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
type Kind = (Arc<str>, Arc<str>, Reason);

#[derive(Debug)]
struct Counted {
    calls: u64,
    detail: String,
    told: Instant,
}

/// Calls of a version that became no records for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The model.
    pub model_id: Arc<str>,
    /// The version.
    pub version: Arc<str>,
    /// Why.
    pub reason: Reason,
    /// How many, since the process began.
    pub calls: u64,
    /// What the last of them was about.
    pub detail: String,
}

/// Counts of calls that became no records.
#[derive(Debug, Default)]
pub struct Losses {
    counts: [AtomicU64; Reason::ALL.len()],
    kinds: Mutex<HashMap<Kind, Counted>>,
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

    /// What was lost, by model, version and reason.
    #[must_use]
    pub fn kinds(&self) -> Vec<Loss> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let loss = |((model_id, version, reason), counted): (&Kind, &Counted)| Loss {
            model_id: Arc::clone(model_id),
            version: Arc::clone(version),
            reason: *reason,
            calls: counted.calls,
            detail: counted.detail.clone(),
        };
        kinds.iter().map(loss).collect()
    }

    /// Counts calls of a version, and says so once.
    pub(crate) fn lost(&self, model_id: &Arc<str>, version: &Arc<str>, dropped: &Dropped, calls: u64) {
        let Dropped(reason, detail) = dropped;
        if calls == 0 {
            return;
        }
        self.counts[*reason as usize].fetch_add(calls, Ordering::Relaxed);
        let key = (Arc::clone(model_id), Arc::clone(version), *reason);
        let detail: String = detail.escape_debug().take(DETAIL_MAX).collect();
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = kinds.len() >= KINDS_MAX;
        let is_told = match kinds.get_mut(&key) {
            Some(known) => {
                known.calls += calls;
                known.detail.clone_from(&detail);
                known.told.elapsed() < AGAIN || {
                    known.told = Instant::now();
                    false
                }
            }
            None if is_full => true,
            None => {
                kinds.insert(key, Counted { calls, detail: detail.clone(), told: Instant::now() });
                false
            }
        };
        drop(kinds);
        if !is_told {
            let reason = reason.as_str();
            tracing::warn!(%model_id, %version, reason, detail, "captured calls become no records");
        }
    }
}
