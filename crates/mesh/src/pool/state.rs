//! What is known of an instance. It must not know who asks.

use tokio::sync::watch;

use super::link::Link;

/// A connection to an instance that has said how it is.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) link: Link,
    pub(super) well: bool,
}

/// What is known of an address. Who holds `asking` watches it, over a connection of its own; the others listen.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) said: watch::Sender<Option<bool>>,
    pub(super) asking: tokio::sync::Mutex<()>,
}
