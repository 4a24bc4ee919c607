//! Where instances are: a list, names in DNS, or whoever knows of registrations; each is a set of addresses that changes. It
//! must not know what runs there.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::{net::lookup_host, sync::watch};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tower::discover::Change;

/// `host:port` of instances.
pub type Addresses = BTreeSet<String>;
/// Addresses of one DNS name beyond this are left out.
const NAME_ADDRESSES_MAX: usize = 64;

/// A set that does not change.
#[must_use]
pub fn fixed(addresses: Addresses) -> watch::Receiver<Addresses> {
    watch::Sender::new(addresses).subscribe()
}

/// The addresses of `host:port` names, asked for again and again until `stop` is cancelled. A name that cannot be
/// resolved now keeps what it had.
#[must_use]
pub fn dns(names: Vec<String>, every: Duration, stop: CancellationToken) -> watch::Receiver<Addresses> {
    let (sender, receiver) = watch::channel(Addresses::new());
    tokio::spawn(async move {
        let mut known: Vec<Addresses> = vec![Addresses::new(); names.len()];
        let mut rounds = tokio::time::interval(every);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = stop.cancelled() => return,
            }
            for (name, known) in names.iter().zip(&mut known) {
                match lookup_host(name).await {
                    Ok(found) => {
                        *known = found.take(NAME_ADDRESSES_MAX).map(|address| address.to_string()).collect();
                    }
                    Err(error) => {
                        tracing::warn!(name, %error, "a name cannot be resolved; its addresses stay")
                    }
                }
            }
            let all: Addresses = known.iter().flatten().cloned().collect();
            sender.send_if_modified(|held| {
                let changed = *held != all;
                *held = all;
                changed
            });
        }
    });
    receiver
}

/// All addresses of several sources, until `stop` is cancelled.
#[must_use]
pub fn union(
    sources: Vec<watch::Receiver<Addresses>>,
    stop: CancellationToken,
) -> watch::Receiver<Addresses> {
    let (sender, receiver) = watch::channel(Addresses::new());
    tokio::spawn(async move {
        let mut sources = sources;
        let mut settled = Addresses::new();
        loop {
            let changing = sources.iter_mut().flat_map(|source| source.borrow_and_update().clone());
            let all: Addresses = changing.chain(settled.iter().cloned()).collect();
            sender.send_if_modified(|held| {
                let changed = *held != all;
                *held = all;
                changed
            });
            if sources.is_empty() {
                return;
            }
            let changes = sources.iter_mut().map(|source| Box::pin(source.changed()));
            let ended = tokio::select! {
                (changed, index, _) = futures_util::future::select_all(changes) => {
                    changed.is_err().then_some(index)
                }
                () = stop.cancelled() => return,
            };
            // A source whose owner is gone does not change any more, and what it has said stays.
            if let Some(index) = ended {
                settled.extend(sources.remove(index).borrow().clone());
            }
        }
    });
    receiver
}

/// What joins and leaves a set: tower's `Discover`. What stays is not touched.
#[derive(Debug)]
pub struct Changes {
    sets: WatchStream<Addresses>,
    known: Addresses,
    changes: VecDeque<Change<String, String>>,
}

impl Changes {
    /// Of this source.
    #[must_use]
    pub fn new(source: watch::Receiver<Addresses>) -> Self {
        Self { sets: WatchStream::new(source), known: Addresses::new(), changes: VecDeque::new() }
    }
}

impl Stream for Changes {
    type Item = Result<Change<String, String>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Poll::Ready(Some(Ok(change)));
            }
            let Some(now) = std::task::ready!(Pin::new(&mut self.sets).poll_next(context)) else {
                return Poll::Ready(None);
            };
            let gone: Vec<_> = self.known.difference(&now).cloned().map(Change::Remove).collect();
            let new: Vec<_> =
                now.difference(&self.known).map(|key| Change::Insert(key.clone(), key.clone())).collect();
            self.changes.extend(gone.into_iter().chain(new));
            self.known = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    fn set(names: &[&str]) -> Addresses {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn only_differences_are_told() {
        let (sender, receiver) = watch::channel(set(&["a", "b"]));
        let mut changes = Changes::new(receiver);
        for _ in 0..2 {
            assert!(matches!(changes.next().await, Some(Ok(Change::Insert(..)))));
        }
        sender.send_replace(set(&["b", "c"]));
        assert!(matches!(changes.next().await, Some(Ok(Change::Remove(key))) if key == "a"));
        assert!(matches!(changes.next().await, Some(Ok(Change::Insert(key, _))) if key == "c"));
    }

    #[tokio::test]
    async fn sources_add_up() {
        let stop = CancellationToken::new();
        let (sender, receiver) = watch::channel(set(&["a"]));
        let mut all = union(vec![receiver, fixed(set(&["x"]))], stop.clone());
        all.wait_for(|all| *all == set(&["a", "x"])).await.unwrap();
        sender.send_replace(set(&["b"]));
        all.wait_for(|all| *all == set(&["b", "x"])).await.unwrap();
        stop.cancel();
    }

    #[tokio::test]
    async fn names_are_resolved() {
        let stop = CancellationToken::new();
        let mut found = dns(vec!["localhost:1".into()], Duration::from_secs(60), stop.clone());
        let all = found.wait_for(|all| !all.is_empty()).await.unwrap().clone();
        assert!(all.contains("127.0.0.1:1") || all.contains("[::1]:1"), "{all:?}");
        stop.cancel();
    }
}
