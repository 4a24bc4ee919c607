//! What a chunk says of itself, as metadata of its schema, and the topic that it is in. It must not know what it holds.

use acgs_interchange::Tags;
use acgs_vocabulary::constitution::sha256_hex;

pub(crate) const STREAM: &str = "acgs.stream_id";
/// Of one life of the stream: a client that opens it anew from the start sends its frames again.
pub(crate) const INSTANCE: &str = "acgs.instance";
pub(crate) const PARTITION: &str = "acgs.partition_id";
pub(crate) const SEQ: &str = "acgs.seq";
/// A frame that is too long for one chunk has several.
pub(crate) const PART: &str = "acgs.part";
/// `rows` or `labels`.
pub(crate) const HOLDS: &str = "acgs.holds";
pub(crate) const MODEL: &str = "acgs.model_id";
pub(crate) const VERSION: &str = "acgs.model_version";
/// Of the lease under which the stream ran; absent where there are no leases.
pub(crate) const EPOCH: &str = "acgs.epoch";
pub(crate) const HASH: &str = "acgs.constitutional_hash";
pub(crate) const ROWS: &str = "rows";
pub(crate) const LABELS: &str = "labels";

/// Life of a stream, partition, frame, and part of it: a frame that was sent again has the same place.
pub(crate) fn place(tags: &Tags) -> (String, String, u64, u32) {
    let text = |name| tags.get(name).cloned().unwrap_or_default();
    let number = |name| tags.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    (text(INSTANCE), text(PARTITION), number(SEQ), number(PART) as u32)
}

/// The topic of a model's records: any id of a model makes a topic.
#[must_use]
pub(crate) fn topic(model_id: &str) -> String {
    sha256_hex(model_id.as_bytes())[..32].to_owned()
}
