//! What a stream is, parsed: everything in it is well formed. It must not know protobuf.

use std::sync::Arc;

use acgs_columns::{Field, Role, Schema};
use acgs_lane::LaneConfigs;
use acgs_vocabulary::{JudgeKind, ports::StoredReference};
use acgs_windowing::WindowSpec;

/// A stream, as its first client opened it.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSpec {
    /// Its name.
    pub stream_id: Arc<str>,
    /// The judges wanted, in the order of [`JudgeKind::ALL`].
    pub judges: Vec<JudgeKind>,
    /// The columns of rows.
    pub schema: Arc<Schema>,
    /// The label field, when labels may come late.
    pub late_label: Option<Field>,
    /// How event time is cut.
    pub window: WindowSpec,
    /// How old a row may be against the newest of its partition.
    pub out_of_orderness_ms: i64,
    /// Silence after which a partition does not hold the others back.
    pub idle_timeout_ms: i64,
    /// Silence after which the clock moves event time; 0 = never.
    pub idle_advance_ms: i64,
    /// The service; may be empty.
    pub service_id: String,
    /// The model; may be empty.
    pub model_id: String,
    /// The model's version; may be empty.
    pub model_version: String,
    /// The reference, if there is one.
    pub reference: Option<StoredReference>,
    /// Drift is measured from the rows of so many milliseconds before each window; 0 = from the reference itself.
    pub recent_ms: i64,
    /// Whether frames are in the record log before they are acknowledged.
    pub recorded: bool,
}

/// What judges are told of a reference, if there is one.
#[must_use]
pub(crate) fn configs_for(reference: Option<&StoredReference>) -> LaneConfigs {
    match reference {
        Some(reference) => LaneConfigs::default().with("reference", reference.content.clone()),
        None => LaneConfigs::default(),
    }
}

impl StreamSpec {
    /// What judges of the stream may ask for.
    #[must_use]
    pub fn configs(&self) -> LaneConfigs {
        configs_for(self.reference.as_ref())
    }

    /// The column of event times.
    #[must_use]
    pub fn time_column(&self) -> Option<usize> {
        self.schema.index_of_role(Role::Timestamp)
    }

    /// Whether another client may join: it must mean the same stream.
    #[must_use]
    pub fn is_same_stream(&self, other: &Self) -> bool {
        let digest = |spec: &Self| spec.reference.as_ref().map(|reference| reference.digest);
        self.schema == other.schema
            && self.late_label == other.late_label
            && self.window == other.window
            && self.judges == other.judges
            && self.model_id == other.model_id
            && self.recorded == other.recorded
            && self.recent_ms == other.recent_ms
            && (digest(self) == digest(other) || other.reference.is_none())
    }
}
