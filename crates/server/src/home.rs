//! Which home a process has: NATS when there is a URL, else the embedded one where one process is enough, else none. It must
//! not know what is kept there.

use std::{sync::Arc, time::Duration};

use acgs_storage::{
    Durability, Embedded, HomeProbe, JetStream, Options, RecordsKept,
    blob_quota::BlobQuota,
    jetstream,
    quota::{Quota, Quotas},
};
use acgs_vocabulary::ports::{Blobs, Clock, EventLog, KeyValue, Ledger, RecordLog};
use tokio::sync::watch;

use crate::settings::{HomeDurability, Settings};

/// Keys that callers make by naming something new. Monitors, histories and alerts of streams have bounds of their own; leases of streams must
/// never be refused.
const QUOTAS: [Quota; 3] = [("reference/", 100_000), ("model_reference/", 10_000), ("sla/", 10_000)];

/// A home by its ports.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) keys: Arc<dyn KeyValue>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) records: Arc<dyn RecordLog>,
    /// Whether it takes writes.
    pub(crate) probe: Arc<dyn HomeProbe>,
    /// Whether it can be reached, where that can change.
    pub(crate) connected: Option<watch::Receiver<bool>>,
    /// For a person.
    pub(crate) label: String,
}

/// Opens the home of a process that needs one of its own (`owns`), or only shares one.
///
/// # Errors
/// When the home that is set cannot be had: there is no silent fall-back.
pub(crate) async fn open(
    settings: &Settings,
    owns: bool,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Home>> {
    let nats = &settings.nats;
    if !nats.url.is_empty() {
        let options = jetstream::Options {
            url: nats.url.clone(),
            replicas: nats.replicas,
            events_max: i64::try_from(settings.home.events_max)?,
            duplicate_window_ms: nats.duplicate_window_ms,
            records: records_kept(settings),
        };
        let home = Arc::new(JetStream::open(&options).await?);
        if owns {
            home.check_start().await?;
        }
        return Ok(Some(Home {
            label: format!("NATS JetStream at {}, shared", home.server()),
            connected: Some(home.connected()),
            log: Arc::clone(&home) as _,
            keys: Arc::new(Quotas::new(Arc::clone(&home) as _, &QUOTAS)),
            ledger: Arc::clone(&home) as _,
            probe: Arc::clone(&home) as _,
            records: Arc::clone(&home) as _,
            blobs: Arc::new(BlobQuota::new(home, settings.home.blobs_bytes_max)),
        }));
    }
    if !owns {
        return Ok(None);
    }
    let home = Arc::new(Embedded::open(Options {
        folder: settings.home.folder.clone(),
        durability: match settings.home.durability {
            HomeDurability::System => Durability::System,
            HomeDurability::Always => Durability::Always,
        },
        events_max: settings.home.events_max,
        free_bytes_min: settings.home.free_bytes_min,
        records: records_kept(settings),
        clock: Arc::clone(clock),
    })?);
    let label = format!(
        "embedded, one process, in {} (durability: {:?})",
        settings.home.folder.display(),
        settings.home.durability
    );
    Ok(Some(Home {
        label,
        connected: None,
        log: Arc::clone(&home) as _,
        keys: Arc::new(Quotas::new(Arc::clone(&home) as _, &QUOTAS)),
        ledger: Arc::clone(&home) as _,
        probe: Arc::clone(&home) as _,
        records: Arc::clone(&home) as _,
        blobs: Arc::new(BlobQuota::new(home, settings.home.blobs_bytes_max)),
    }))
}

/// What is kept of records.
pub fn records_kept(settings: &Settings) -> RecordsKept {
    RecordsKept {
        age: Duration::from_millis(settings.home.records_ms_max),
        bytes: settings.home.records_bytes_max,
    }
}
