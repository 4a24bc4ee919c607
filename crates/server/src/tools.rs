//! What every service is made with. It must not know any service.

use std::sync::Arc;

use acgs_vocabulary::{
    Constitution,
    ports::{Clock, FindingSink},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{doors::Sources, settings::Settings};

/// Largest message of a service: lane frames, references' batches, and unary requests.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What every service is made with.
pub(crate) struct Tools<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) constitution: &'a Constitution,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) sink: &'a Arc<dyn FindingSink>,
    pub(crate) sources: &'a Sources,
    /// Why the home takes no writes; empty while it does.
    pub(crate) home_trouble: watch::Receiver<String>,
    pub(crate) stop: &'a CancellationToken,
}
