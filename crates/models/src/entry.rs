//! An entry of the ledger: events that were decided together, under which constitution, chained to the entry before. It must
//! not know what the events say.

use acgs_lifecycle::Event;
use acgs_vocabulary::{
    constitution::{hex, sha256},
    ports::ENTRY_BYTES_MAX,
};
use serde::{Deserialize, Serialize};

/// What the first entry follows.
pub const BEGINNING: &str = "";

/// Events of one write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The identifier in force when it was written.
    pub constitutional_hash: String,
    /// SHA-256 of the bytes of the entry before, hex; empty for the first.
    pub previous_digest: String,
    /// In order; at least one.
    pub events: Vec<Event>,
}

/// An entry that cannot be read or is not in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {sequence} of the ledger {why}")]
pub struct BadEntry {
    /// Its sequence number in the ledger.
    pub sequence: u64,
    /// What is wrong.
    pub why: String,
}

/// The SHA-256 that the next entry names.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

impl Entry {
    /// As it is written; `None` when it is too long for one.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok().filter(|bytes| bytes.len() <= ENTRY_BYTES_MAX)
    }

    /// Reads an entry that follows one with this digest.
    ///
    /// # Errors
    /// When it is no entry, or follows another.
    pub fn decode(sequence: u64, bytes: &[u8], previous_digest: &str) -> Result<Self, BadEntry> {
        let bad = |why: String| BadEntry { sequence, why };
        let entry: Self =
            serde_json::from_slice(bytes).map_err(|error| bad(format!("cannot be read: {error}")))?;
        if entry.previous_digest != previous_digest {
            return Err(bad("does not follow the entry before it: something was changed".into()));
        }
        Ok(entry)
    }
}
