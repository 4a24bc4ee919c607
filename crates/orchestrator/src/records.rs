//! The record log: what a stream with durability LOG is sent, kept for its model, and read again as a data set with its labels.
//! A chunk of the log is one Arrow IPC stream that says where it comes from, so that anything that reads Arrow reads it. It
//! must not know protobuf or what home the log has.

pub mod dataset;

pub mod recorder;

pub use dataset::{Dataset, Selection};
pub use recorder::Recorder;

/// What a chunk says of itself, as metadata of its schema.
pub(crate) mod tag {
    use acgs_interchange::Tags;

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
    pub(crate) const HASH: &str = "acgs.constitutional_hash";
    pub(crate) const ROWS: &str = "rows";
    pub(crate) const LABELS: &str = "labels";

    /// Life of a stream, partition, frame, and part of it: a frame that was sent again has the same place.
    pub(crate) fn place(tags: &Tags) -> (String, String, u64, u32) {
        let text = |name| tags.get(name).cloned().unwrap_or_default();
        let number = |name| tags.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        (text(INSTANCE), text(PARTITION), number(SEQ), number(PART) as u32)
    }
}
