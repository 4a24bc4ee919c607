//! A connection that was let in: its place, its first bytes, its calls. It must not know who waits for the place.

use std::{
    fmt, io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tonic::transport::server::Connected;

use super::Admission;

/// What HTTP/2 begins with; a connection that begins otherwise speaks HTTP/1, whose heads have a time of their own.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is known of an open connection.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) peer: IpAddr,
    since: Instant,
    spoken: AtomicBool,
    calls: AtomicU32,
    /// When the last call ended, in milliseconds after `since`.
    idle_ms: AtomicU64,
    closed: AtomicBool,
    reader: AtomicWaker,
}

impl Connection {
    pub(super) fn new(id: u64, peer: IpAddr, since: Instant) -> Self {
        Self {
            id,
            peer,
            since,
            spoken: AtomicBool::new(false),
            calls: AtomicU32::new(0),
            idle_ms: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        }
    }

    pub(super) fn has_spoken(&self) -> bool {
        self.spoken.load(Ordering::Relaxed)
    }

    /// How long it has had no call; `None` while it has one.
    pub(super) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let idle = || Duration::from_millis(self.idle_ms.load(Ordering::Relaxed));
        (self.calls.load(Ordering::Acquire) == 0)
            .then(|| now.saturating_duration_since(self.since).saturating_sub(idle()))
    }

    /// Its reader finds the end, as if the peer had closed it.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// A peer that does not read is not waited for when its place was given away.
    fn check(&self) -> io::Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

/// A place among the connections; it is free again when this is dropped.
pub struct Slot {
    connection: Arc<Connection>,
    admission: Admission,
    first_bytes: Duration,
}

impl Slot {
    pub(super) fn new(connection: Arc<Connection>, admission: Admission, first_bytes: Duration) -> Self {
        Self { connection, admission, first_bytes }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.leave(&self.connection);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Slot").field("id", &self.connection.id).finish_non_exhaustive()
    }
}

/// Whose connection a request came on: an extension of every request.
#[derive(Clone)]
pub struct Peer(Arc<Connection>);

impl Peer {
    /// Its address; with IPv6 the /64 that it is in.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.0.peer
    }

    /// A call begins on its connection, and is over when this is dropped.
    #[must_use]
    pub fn call(&self) -> OpenCall {
        self.0.calls.fetch_add(1, Ordering::AcqRel);
        OpenCall(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Peer").field(&self.0.peer).finish()
    }
}

/// A call that is open on a connection, which is not closed for others meanwhile.
pub struct OpenCall(Arc<Connection>);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.idle_ms.store(self.0.since.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for OpenCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("OpenCall").field(&self.0.id).finish()
    }
}

/// What is missing of a connection's first bytes, and by when they come.
struct First {
    seen: usize,
    by: Pin<Box<Sleep>>,
}

impl First {
    /// Whether these bytes say what protocol it is.
    fn takes(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.seen..];
        let same = bytes.iter().zip(rest).take_while(|(one, other)| one == other).count();
        self.seen += same;
        // The preface is whole, or this is another protocol.
        self.seen == PREFACE.len() || same < bytes.len()
    }
}

/// The bytes of a connection that was let in.
pub struct Admitted {
    inner: TcpStream,
    slot: Slot,
    first: Option<First>,
}

impl Admitted {
    /// To be made on the runtime that serves it.
    #[must_use]
    pub fn new(inner: TcpStream, slot: Slot) -> Self {
        let by = Box::pin(tokio::time::sleep(slot.first_bytes));
        Self { inner, slot, first: Some(First { seen: 0, by }) }
    }

    /// Whose it is.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer(Arc::clone(&self.slot.connection))
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Admitted").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl Connected for Admitted {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer()
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        let this = &mut *self;
        match &read {
            Poll::Ready(Ok(())) => {
                let bytes = &buffer.filled()[before..];
                if this.first.as_mut().is_some_and(|first| first.takes(bytes)) {
                    this.first = None;
                    this.slot.connection.spoken.store(true, Ordering::Relaxed);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                this.slot.connection.reader.register(context.waker());
                if this.slot.connection.closed.load(Ordering::Acquire) {
                    return Poll::Ready(Ok(()));
                }
                if this.first.as_mut().is_some_and(|first| first.by.as_mut().poll(context).is_ready()) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        read
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.slot.connection.check()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.slot.connection.check()?;
        Pin::new(&mut self.inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
pub(super) mod tests_only {
    use super::*;

    pub(crate) fn begin(slot: &Slot) -> OpenCall {
        slot.connection.spoken.store(true, Ordering::Relaxed);
        Peer(Arc::clone(&slot.connection)).call()
    }
}
