//! The services over the life of models: models, jobs, deployments and routing. With its parts, the only place of this room that
//! names contracts and tonic; it converts and no more.

mod ask;
mod checks;
pub mod deployment;
mod deployment_message;
mod explain;
pub mod job;
mod look;
mod messages;
pub mod model;
mod route_message;
mod router_session;
pub mod routing;
mod transfer;
mod work;

use std::sync::Arc;

use acgs_lifecycle::decide::Limits;
use acgs_vocabulary::{
    AllowList,
    ports::{Blobs, Clock, records::ModelRecords},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use crate::{
    job_holds::JobHolds,
    job_preparer::JobPreparer,
    ledger_writer::LedgerWriter,
    routes::{RouteSettings, RouterRegistry},
};

/// Longest policy, in bytes.
const POLICY_BYTES_MAX: usize = 64 << 10;

/// What the services are given. Clones share it.
#[derive(Clone, Debug)]
pub struct ModelsDeps {
    /// What is known, and who decides.
    pub writer: LedgerWriter,
    /// Makes the files of a job.
    pub preparer: JobPreparer,
    /// Jobs that somebody in this process works on.
    pub holds: JobHolds,
    /// Artifacts and data sets.
    pub blobs: Arc<dyn Blobs>,
    /// Records of models.
    pub records: Arc<dyn ModelRecords>,
    /// Wall time and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// What workers are told.
    pub limits: Limits,
    /// What routers say.
    pub routers: RouterRegistry,
    /// How routers are held to what is decided.
    pub routing: RouteSettings,
    /// Addresses that endpoints may have.
    pub allowed: AllowList,
    /// Whether the home can be reached; absent when it cannot go away.
    pub home: Option<watch::Receiver<String>>,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

/// The key of an artifact in the blob home.
#[must_use]
pub fn artifact_key(digest: &str) -> String {
    format!("artifacts/{digest}")
}

type Answered<T> = Result<Response<T>, Status>;
