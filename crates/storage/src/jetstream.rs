//! The JetStream home: events in one stream, state in one key-value bucket, blobs in one object store, shared by all
//! processes of a mesh. It must not know who they are.
//!
//! A NATS that cannot be reached is an error at the start and "unavailable" afterwards; there is no silent fall-back.

mod blobs;
mod codes;
mod ledger;
mod log;
mod made;
mod pages;
mod record_shares;
mod records;
mod state;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use acgs_vocabulary::ports::{EVENT_BYTES_MAX, KeyValue, PortError};
use async_nats::{
    Client, ConnectOptions, Event,
    jetstream::{self, Context, kv, object_store, stream},
};
use async_trait::async_trait;
use made::Made;
use tokio::sync::watch;

use crate::{
    embedded::RecordsKept,
    home_state::{HomeProbe, HomeState},
};

/// The stream that holds every event.
pub const STREAM: &str = "ACGS_EVENTS";
/// Under which events are handed in: the server stores them under their own subjects, and tells those who listen what it has stored, once.
pub(crate) const EVENTS_SUBJECT: &str = "acgs-events";
/// The stream that holds the ledger, from which nothing is deleted.
pub const LEDGER: &str = "ACGS_LEDGER";
pub(crate) const LEDGER_SUBJECT: &str = "acgs-ledger";
/// The stream that holds records.
pub const RECORDS: &str = "ACGS_RECORDS";
pub(crate) const RECORDS_SUBJECT: &str = "acgs-records";
/// The bucket of keys.
pub const BUCKET: &str = "acgs-state";
/// The bucket of blobs.
pub const OBJECTS: &str = "acgs-blobs";
/// Older servers lack what the home needs: per-subject sequences on consumers' filters, and buckets.
const OLDEST: (u64, u64) = (2, 10);
/// From this version on, marks of deleted keys go by themselves; before, they stay.
const EXPIRING: (u64, u64) = (2, 11);
const MARKERS_KEEP: Duration = Duration::from_secs(3_600);
/// A connection that is not there by then is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A request without an answer for this long has failed; it may have been carried out all the same.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A silent server is given up after two of these.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const RECONNECT_MAX: Duration = Duration::from_millis(500);
/// What headers and the protocol add to an event.
const FRAMING_BYTES: usize = 16 * 1024;
/// How much of the ledger was read, by anybody.
const LEDGER_SEEN: &str = "ledger/seen";
/// What a probe writes.
const PROBE: &str = "probe";

/// How a home is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// One or more servers of one cluster, by commas: `nats://user:password@host:4222`.
    pub url: String,
    /// Copies of everything: 1, 3 or 5.
    pub replicas: usize,
    /// Events kept; older ones are given up.
    pub events_max: i64,
    /// How long a repeated event is known as one, in milliseconds.
    pub duplicate_window_ms: u64,
    /// How long records are kept, and how many bytes of them.
    pub records: RecordsKept,
}

/// A home on NATS. Clones share its connection.
#[derive(Clone)]
pub struct JetStream {
    client: Client,
    context: Context,
    events: stream::Stream,
    ledger: stream::Stream,
    records: stream::Stream,
    keys: kv::Store,
    objects: object_store::ObjectStore,
    connected: watch::Receiver<bool>,
    /// How long markers of deleted keys are kept; `None` where the server keeps them for good.
    markers: Option<Duration>,
    options: Arc<Options>,
    /// Entries of the ledger that this process has seen.
    entries_seen: Arc<AtomicU64>,
    state: watch::Sender<HomeState>,
    /// How often streams were made again: what is read from them begins again, too.
    generation: watch::Sender<u64>,
}

impl fmt::Debug for JetStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JetStream").field("server", &self.server()).finish_non_exhaustive()
    }
}

/// What NATS said, as a port's error.
fn trouble(error: impl fmt::Display) -> PortError {
    PortError::Unavailable(format!("NATS failed: {error}"))
}

impl JetStream {
    /// Connects, and makes stream and buckets where they are not there.
    ///
    /// # Errors
    /// When no server answers, it is older than 2.10, has no JetStream, or takes only messages that are too small.
    pub async fn open(options: &Options) -> Result<Self, PortError> {
        let (announce, connected) = watch::channel(true);
        let client = connect(options, announce).await?;
        let info = client.server_info();
        check_version(&info.version)?;
        let needed = EVENT_BYTES_MAX + FRAMING_BYTES;
        if info.max_payload < needed {
            let message = format!(
                "the NATS server takes messages of {} bytes; set its max_payload to at least {needed}",
                info.max_payload
            );
            return Err(PortError::Invalid(message));
        }
        let mut context = jetstream::new(client.clone());
        context.set_timeout(REQUEST_TIMEOUT);
        let markers = (version_of(&info.version) >= EXPIRING).then_some(MARKERS_KEEP);
        let Made { events, ledger, records, keys, objects } = made::all(&context, options, markers).await?;
        Ok(Self {
            client,
            context,
            events,
            ledger,
            records,
            keys,
            objects,
            connected,
            markers,
            options: Arc::new(options.clone()),
            entries_seen: Arc::default(),
            state: watch::Sender::default(),
            generation: watch::Sender::new(0),
        })
    }

    /// Streams of others that hold subjects of events, too, with those subjects.
    pub async fn copies(&self) -> Vec<String> {
        let events = format!("{}.>", acgs_vocabulary::event::ROOT);
        made::in_the_way(&self.context, STREAM, &[events]).await
    }

    /// The ledger has all that this process has read of it; a bucket that outlives it knows how much that was.
    async fn check_ledger(&self, seen: u64) -> Result<(), PortError> {
        let last = self.ledger.get_info().await.map_err(trouble)?.state.last_sequence;
        if last < seen {
            return Err(self.lose(&format!("holds {last} entries, and {seen} were read")));
        }
        let known = KeyValue::get(self, LEDGER_SEEN).await?;
        let known_through =
            known.as_ref().and_then(|known| std::str::from_utf8(&known.value).ok()?.parse().ok());
        if known_through.is_none_or(|known| seen > known) {
            let revision = known.map_or(0, |known| known.revision);
            // Another that was faster knows as much.
            let _written =
                KeyValue::put(self, LEDGER_SEEN, seen.to_string().into_bytes(), Some(revision)).await;
        }
        Ok(())
    }

    /// Whether the ledger has what other processes have read of it, before anything is decided by it.
    ///
    /// # Errors
    /// `Damaged` when it was lost or emptied.
    pub async fn check_start(&self) -> Result<(), PortError> {
        let known = KeyValue::get(self, LEDGER_SEEN).await?;
        let known = known.and_then(|known| std::str::from_utf8(&known.value).ok()?.parse::<u64>().ok());
        let last = self.ledger.get_info().await.map_err(trouble)?.state.last_sequence;
        match known {
            Some(known) if last < known => {
                Err(self.lose(&format!("holds {last} entries, and {known} were read")))
            }
            _ => Ok(()),
        }
    }

    fn lose(&self, what: &str) -> PortError {
        let why = format!(
            "stream {LEDGER} {what}: with it the life of models is lost. Restore it (nats stream restore); to begin anew with what there \
             is, stop every process and delete the key {LEDGER_SEEN} of bucket {BUCKET}"
        );
        self.state.send_replace(HomeState::Lost(why.clone()));
        PortError::Damaged(why)
    }

    fn saw_entries(&self, through: u64) {
        self.entries_seen.fetch_max(through, Ordering::Relaxed);
    }

    /// The server, and its version.
    #[must_use]
    pub fn server(&self) -> String {
        let info = self.client.server_info();
        format!("{}:{} (NATS {})", info.host, info.port, info.version)
    }

    /// Whether the server can be reached, and every change of it.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Fails at once while there is no connection, instead of when the request has timed out.
    fn reachable(&self) -> Result<(), PortError> {
        if *self.connected.borrow() {
            return Ok(());
        }
        Err(PortError::Unavailable("NATS cannot be reached".into()))
    }
}

#[async_trait]
impl HomeProbe for JetStream {
    /// Streams that are gone are made again, but for a ledger that this process has read.
    async fn probe(&self) -> Result<(), PortError> {
        self.reachable()?;
        let missing = made::missing(&self.context).await?;
        if missing.contains(&LEDGER) && self.entries_seen.load(Ordering::Relaxed) > 0 {
            return Err(self.lose("is gone from NATS"));
        }
        let seen = self.entries_seen.load(Ordering::Relaxed);
        if seen > 0 && missing.is_empty() {
            self.check_ledger(seen).await?;
        }
        if !missing.is_empty() {
            made::all(&self.context, &self.options, self.markers).await?;
            tracing::warn!(
                ?missing,
                "streams were gone from NATS and were made again; what they held is lost"
            );
            self.generation.send_modify(|generation| *generation += 1);
        }
        KeyValue::put(self, PROBE, Vec::new(), None).await?;
        // What does not go now goes later: it is no reason to be unwell.
        if let Err(error) = record_shares::give_up(&self.records, self.options.records.bytes).await {
            tracing::warn!(%error, "the oldest records could not be given up yet");
        }
        Ok(())
    }

    fn state(&self) -> HomeState {
        self.state.borrow().clone()
    }
}

async fn connect(options: &Options, announce: watch::Sender<bool>) -> Result<Client, PortError> {
    let connecting = ConnectOptions::new()
        .name("acgs")
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            Duration::from_millis(50 * attempt.min(1_000) as u64).min(RECONNECT_MAX)
        })
        .event_callback(move |event| {
            match &event {
                Event::Connected => {
                    announce.send_replace(true);
                }
                Event::Disconnected | Event::Closed => {
                    announce.send_replace(false);
                }
                _ => {}
            }
            tracing::info!(%event, "nats");
            std::future::ready(())
        });
    let servers: Vec<&str> = options.url.split(',').map(str::trim).collect();
    connecting.connect(servers).await.map_err(|error| {
        PortError::Unavailable(format!("NATS cannot be reached at {}: {error}", public(&options.url)))
    })
}

fn version_of(version: &str) -> (u64, u64) {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u64>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn check_version(version: &str) -> Result<(), PortError> {
    if version_of(version) >= OLDEST {
        return Ok(());
    }
    let message = format!("the NATS server is {version}; {}.{} or newer is needed", OLDEST.0, OLDEST.1);
    Err(PortError::Invalid(message))
}

/// A URL without user and password.
fn public(url: &str) -> String {
    let without = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => url.to_owned(),
    };
    url.split(',').map(|url| without(url.trim())).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_told() {
        let told = public("nats://me:se@cret@one:4222, nats://two:4222,me:x@three");
        assert_eq!(told, "nats://one:4222,nats://two:4222,three");
    }

    #[test]
    fn old_servers_are_refused_by_name() {
        for good in ["2.10.0", "2.15.1", "3.0", "2.11.0-RC.1"] {
            assert_eq!(check_version(good), Ok(()), "{good}");
        }
        for bad in ["2.9.10", "1.4.1", "", "x.y"] {
            assert!(matches!(check_version(bad), Err(PortError::Invalid(_))), "{bad}");
        }
    }
}
