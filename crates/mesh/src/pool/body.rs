//! The body of an answer, with what is to be told to the gauge: the first data ends the wait, the end ends the call. It must
//! not know what is in it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::gauge::Gauge;

/// A call in flight: counted from here to its drop.
#[derive(Debug)]
pub(super) struct InFlight {
    gauge: Arc<Gauge>,
    since: Instant,
    waiting: bool,
}

impl InFlight {
    pub(super) fn begin(gauge: Arc<Gauge>) -> Self {
        gauge.begin();
        Self { gauge, since: Instant::now(), waiting: true }
    }

    /// The first answer is there.
    pub(super) fn answered(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.gauge.observe(self.since.elapsed());
        }
    }

    /// There will be none.
    pub(super) fn failed(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.gauge.fail();
        }
    }

    /// It was not sent: the instance is not to blame.
    pub(super) fn unsent(&mut self) {
        self.waiting = false;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // A caller that waits no more has waited this long at least.
        self.answered();
        self.gauge.end();
    }
}

/// A body that is counted.
#[derive(Debug)]
pub struct PoolBody {
    inner: Incoming,
    call: InFlight,
}

impl PoolBody {
    pub(super) fn new(inner: Incoming, call: InFlight) -> Self {
        Self { inner, call }
    }
}

impl http_body::Body for PoolBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Err(_)) => self.call.failed(),
            Some(Ok(_)) | None => self.call.answered(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
