//! What a chunk says of itself, as metadata of its schema, and the topic that it is in. It must not know what it holds.

use acgs_interchange::Tags;
use acgs_vocabulary::{constitution::sha256_hex, ports::records::KeptPlace};

pub(crate) const STREAM: &str = "acgs.stream_id";
/// Of one life of the stream: a client that opens it anew from the start sends its frames again.
pub(crate) const INSTANCE: &str = "acgs.instance";
pub(crate) const PARTITION: &str = "acgs.partition_id";
pub(crate) const SEQ: &str = "acgs.seq";
/// A frame that is too long for one chunk has several.
pub(crate) const PART: &str = "acgs.part";
/// Which client of the partition sent it, and what had been accepted when that one joined; absent in records of versions before.
pub(crate) const JOIN: &str = "acgs.join";
pub(crate) const JOINED_AFTER: &str = "acgs.joined_after";
/// `rows`, `labels` or `nothing`.
pub(crate) const HOLDS: &str = "acgs.holds";
pub(crate) const MODEL: &str = "acgs.model_id";
pub(crate) const VERSION: &str = "acgs.model_version";
/// Of the lease under which the stream ran; absent where there are no leases.
pub(crate) const EPOCH: &str = "acgs.epoch";
pub(crate) const HASH: &str = "acgs.constitutional_hash";
pub(crate) const ROWS: &str = "rows";
pub(crate) const LABELS: &str = "labels";
pub(crate) const NOTHING: &str = "nothing";

/// One life of a stream, and a partition of it.
pub(crate) type Life = (String, String);

/// Where a chunk belongs.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) life: Life,
    pub(crate) kept: KeptPlace,
    pub(crate) joined_after: u64,
}

/// Where a chunk belongs: one that was written again has the same place.
pub(crate) fn place(tags: &Tags) -> Place {
    let text = |name| tags.get(name).cloned().unwrap_or_default();
    let number = |name| tags.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    Place {
        life: (text(INSTANCE), text(PARTITION)),
        kept: KeptPlace {
            epoch: number(EPOCH),
            join: number(JOIN),
            seq: number(SEQ),
            part: number(PART) as u32,
        },
        joined_after: number(JOINED_AFTER),
    }
}

/// The topic of a model's records: any id of a model makes a topic.
#[must_use]
pub(crate) fn topic(model_id: &str) -> String {
    sha256_hex(model_id.as_bytes())[..32].to_owned()
}
