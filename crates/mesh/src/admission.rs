//! Who may come in: connections of the process, in all and of one peer, with a time for their first bytes. Where there is no room, one
//! that says nothing gives way. It must not know what is called.

pub mod connection;
pub mod gate;
mod pace;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use connection::{Connection, Slot};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};

/// After a listener has failed, which it does when the process has too many files open.
const PAUSE: Duration = Duration::from_millis(50);
/// A connection without a call for this long may be closed for another.
const IDLE: Duration = Duration::from_secs(2);
/// Most connections where descriptors would allow more.
const CONNECTIONS_MAX: usize = 10_000;
/// Fewest, however few descriptors there are.
const CONNECTIONS_MIN: usize = 16;

/// Bounds of what comes in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Connections of all listeners of the process; 0 = what its descriptors leave.
    pub connections_max: usize,
    /// Connections of one address (of one /64 with IPv6); 0 = three quarters of all.
    pub connections_per_peer_max: usize,
    /// A connection has said what protocol it speaks by then.
    pub first_bytes_ms: u64,
    /// A request has come by then, and a second later for each `body_bytes_per_second` that it has.
    pub body_ms: u64,
    /// Bytes that a caller sends each second, at least.
    pub body_bytes_per_second: u64,
}

/// What was refused at the door, ever.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections, for want of room.
    pub connections: AtomicU64,
    /// Connections that were closed for others.
    pub given_up: AtomicU64,
    /// Connections that could not be accepted, for want of descriptors.
    pub accepts: AtomicU64,
}

/// Lets connections in. Clones share the counts.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    connections_max: usize,
    per_peer_max: usize,
    first_bytes: Duration,
    table: Mutex<Table>,
    counts: Counts,
}

/// Who is here, the oldest first.
#[derive(Default)]
struct Table {
    last: u64,
    all: BTreeMap<u64, Arc<Connection>>,
    peers: HashMap<IpAddr, usize>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Admission").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl Admission {
    /// Within these bounds.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let all = match config.connections_max {
            0 => room(),
            some => some,
        };
        let per_peer = match config.connections_per_peer_max {
            0 => (all - all / 4).max(1),
            some => some,
        };
        Self(Arc::new(Inner {
            connections_max: all,
            per_peer_max: per_peer,
            first_bytes: Duration::from_millis(config.first_bytes_ms),
            table: Mutex::default(),
            counts: Counts::default(),
        }))
    }

    /// What was refused.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// What a connection may take to say what it wants.
    #[must_use]
    pub fn first_bytes(&self) -> Duration {
        self.0.first_bytes
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.table().all.len()
    }

    /// The next connection that may come in. It never fails: a listener without descriptors is waited for.
    pub async fn accept(&self, listener: &TcpListener) -> (TcpStream, Slot) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match self.admit(peer.ip()) {
                    Some(slot) => {
                        let _answers_are_slower = stream.set_nodelay(true);
                        return (stream, slot);
                    }
                    None => self.0.counts.connections.fetch_add(1, Ordering::Relaxed),
                },
                Err(error) => {
                    self.0.counts.accepts.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.table().give_up(None, Instant::now());
                    tokio::time::sleep(PAUSE).await;
                    0
                }
            };
        }
    }

    /// `None` when there is no room, and nobody who could be closed for it.
    fn admit(&self, peer: IpAddr) -> Option<Slot> {
        let (peer, now) = (group_of(peer), Instant::now());
        let mut table = self.table();
        let crowded = table.peers.get(&peer).is_some_and(|here| *here >= self.0.per_peer_max);
        if crowded || table.all.len() >= self.0.connections_max {
            if !table.give_up(crowded.then_some(peer), now) {
                return None;
            }
            self.0.counts.given_up.fetch_add(1, Ordering::Relaxed);
        }
        table.last += 1;
        let connection = Arc::new(Connection::new(table.last, peer, now));
        table.all.insert(connection.id, Arc::clone(&connection));
        *table.peers.entry(peer).or_insert(0) += 1;
        Some(Slot::new(connection, self.clone(), self.0.first_bytes))
    }

    fn leave(&self, connection: &Connection) {
        self.table().remove(connection.id);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Closes the oldest connection that has not spoken, else the oldest without a call; of this peer, if it is one that has too many.
    fn give_up(&mut self, of: Option<IpAddr>, now: Instant) -> bool {
        let of_peer = |connection: &&Arc<Connection>| of.is_none_or(|peer| connection.peer == peer);
        let silent = self.all.values().filter(of_peer).find(|connection| !connection.has_spoken());
        let idle = || {
            self.all
                .values()
                .filter(of_peer)
                .find(|connection| connection.idle_for(now).is_some_and(|idle| idle >= IDLE))
        };
        let Some(connection) = silent.or_else(idle).cloned() else { return false };
        self.remove(connection.id);
        connection.close();
        true
    }

    fn remove(&mut self, id: u64) {
        let Some(connection) = self.all.remove(&id) else { return };
        if let Some(here) = self.peers.get_mut(&connection.peer) {
            *here -= 1;
            if *here == 0 {
                self.peers.remove(&connection.peer);
            }
        }
    }
}

/// Who counts as one peer.
fn group_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => four.into(),
            None => Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
        },
        four => four,
    }
}

/// How many connections there may be, so that files can still be opened and others called.
fn room() -> usize {
    let open =
        ["/proc/self/fd", "/dev/fd"].iter().find_map(|folder| Some(std::fs::read_dir(folder).ok()?.count()));
    let limit = descriptors_max();
    limit.saturating_sub(open.unwrap_or(64) + reserve(limit)).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// Files that this process may have open.
#[must_use]
pub fn descriptors_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(65_536)
}

/// Allows as many open files as the system lets this process have.
pub fn raise_descriptors_max() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _stays_as_it_is = setrlimit(Resource::Nofile, raised);
}

/// Descriptors that connections leave alone: for the store, the log, and calls of our own.
#[must_use]
pub fn reserve(limit: usize) -> usize {
    (limit / 4).clamp(64, 1_024)
}

#[cfg(test)]
#[path = "admission/tests.rs"]
mod tests;
