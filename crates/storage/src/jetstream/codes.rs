//! What the codes of JetStream's errors mean. It must not know who asked.

use std::error::Error;

use acgs_vocabulary::ports::PortError;
use async_nats::jetstream;

/// Another wrote first: of a stream, of a key in a cluster, of a message that is on its way.
const RACES: [u64; 3] = [10_071, 10_164, 10_070];
/// JetStream is switched off, by a setting or since its disk was full; the account has none.
const OFF: [u64; 2] = [10_076, 10_039];
/// No room: storage, account, or places for copies.
const FULL: [u64; 3] = [10_023, 10_047, 10_002];

/// The code of JetStream in an error, wherever it stands in it.
pub(super) fn code(error: &(dyn Error + 'static)) -> Option<u64> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(error) = error.downcast_ref::<jetstream::Error>() {
            return Some(error.error_code().0);
        }
        at = error.source();
    }
    None
}

/// Whether another wrote first.
pub(super) fn is_race(error: &(dyn Error + 'static)) -> bool {
    code(error).is_some_and(|code| RACES.contains(&code))
}

/// What a code says, as a port's error; `told` is what NATS said.
pub(super) fn meaning(code: Option<u64>, told: &str) -> PortError {
    match code {
        Some(code) if OFF.contains(&code) => PortError::Unavailable(format!(
            "JetStream is off ({told}): start nats-server with --jetstream; it switches it off itself when its disk was full, and comes \
             back with a restart"
        )),
        Some(code) if FULL.contains(&code) => PortError::Full(format!(
            "NATS has no room ({told}): give JetStream more storage, or keep less (home.records_bytes_max, home.events_max, home.blobs_bytes_max)"
        )),
        _ => PortError::Unavailable(format!("NATS failed: {told}")),
    }
}
