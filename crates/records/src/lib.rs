//! The record log: what a stream with durability LOG is sent, kept for its model, and read again as a data set with its labels.
//! A chunk of the log is one Arrow IPC stream that says where it comes from, so that anything that reads Arrow reads it. It
//! must never know who asks, protobuf, or what home the log has.
//!
//! Reading order: [`tag`], [`recorder`], [`joins`], [`dataset`], [`frames`].

mod tag;

mod joins;

pub mod recorder;

pub mod dataset;

mod frames;

use std::sync::Arc;

use acgs_vocabulary::{
    Constitution, Problem,
    ports::{
        PortError, RecordLog,
        records::{Dataset, FrameLog, FramePage, FrameRecorder, FrameSource, ModelRecords, Selection},
    },
};
use async_trait::async_trait;

use recorder::Recorder;
use tag::topic;

/// The records of all models in one log. Clones share it.
#[derive(Clone, Debug)]
pub struct Records {
    log: Arc<dyn RecordLog>,
    constitution: Constitution,
}

impl Records {
    /// In this log; what is written carries the identifier that is in force then.
    #[must_use]
    pub fn new(log: Arc<dyn RecordLog>, constitution: Constitution) -> Self {
        Self { log, constitution }
    }
}

impl FrameLog for Records {
    fn recorder(&self, source: FrameSource) -> Arc<dyn FrameRecorder> {
        Arc::new(Recorder::new(Arc::clone(&self.log), &source, self.constitution.current()))
    }
}

#[async_trait]
impl ModelRecords for Records {
    async fn dataset(&self, model_id: &str, selection: Selection) -> Result<Dataset, Problem> {
        dataset::read(&*self.log, &topic(model_id), selection).await
    }

    async fn frames(&self, model_id: &str, after: u64) -> Result<FramePage, Problem> {
        frames::read(&*self.log, &topic(model_id), after).await
    }

    async fn last_sequence(&self, model_id: &str) -> Result<u64, PortError> {
        self.log.last_chunk(&topic(model_id)).await
    }
}
