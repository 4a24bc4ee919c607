//! A request's body that is measured as it comes, and what is held for its call. It must not know who reads it.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use acgs_vocabulary::{
    Problem,
    budget::{self, Reservation, Use},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tower::BoxError;

use super::scan::Scan;

/// Bytes that a call may have without asking, and between two questions.
const STEP: u64 = 64 << 10;
/// Most that one message of a stream takes when it is decoded.
const STREAM_BYTES_MAX: u64 = 96 << 20;

/// What a call holds. Shared by its body and whoever waits for its answer.
#[derive(Debug)]
pub(crate) struct Weight {
    room: Mutex<Reservation>,
    heap: AtomicU64,
}

impl Weight {
    /// Nothing yet.
    pub(crate) fn new() -> Arc<Self> {
        let room = Mutex::new(budget::process().of(Use::Calls).nothing());
        Arc::new(Self { room, heap: AtomicU64::new(0) })
    }

    /// Bytes that decoding takes.
    pub(crate) fn heap(&self) -> u64 {
        self.heap.load(Ordering::Relaxed)
    }

    /// Holds so many bytes.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(crate) fn hold(&self, bytes: u64) -> Result<(), Problem> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(room.resize(usize::try_from(bytes).unwrap_or(usize::MAX))?)
    }

    /// Measures a message that is there, in gRPC's framing, beside what is held for it already.
    ///
    /// # Errors
    /// `TOO_MANY_ROWS` or `MEMORY`.
    pub(crate) fn measure(&self, mut scan: Scan, bytes: &[u8], beside: u64) -> Result<(), Problem> {
        scan.take(bytes)?;
        self.heap.fetch_max(scan.heap, Ordering::Relaxed);
        self.hold(beside + bytes.len() as u64 + scan.heap)
    }
}

/// A body that is measured.
pub(crate) struct Measured<B> {
    body: B,
    /// `None` for what is no message: only its bytes count.
    scan: Option<Scan>,
    streams: bool,
    weight: Arc<Weight>,
    wire: u64,
    told: u64,
    messages: u64,
}

impl<B> Measured<B> {
    pub(crate) fn new(body: B, scan: Option<Scan>, streams: bool, weight: Arc<Weight>) -> Self {
        Self { body, scan, streams, weight, wire: 0, told: 0, messages: 0 }
    }

    fn take(&mut self, data: &Bytes) -> Result<(), Problem> {
        self.wire += data.len() as u64;
        let mut heap = 0;
        if let Some(scan) = &mut self.scan {
            scan.take(data)?;
            if self.streams && scan.messages != self.messages {
                // What came before is with whoever asked for it.
                self.messages = scan.messages;
                self.wire = data.len() as u64;
            }
            heap = scan.heap;
            self.weight.heap.fetch_max(heap, Ordering::Relaxed);
        }
        let wanted = self.wire + heap;
        if self.streams && heap > STREAM_BYTES_MAX {
            let message = format!("takes more than {STREAM_BYTES_MAX} bytes when it is read");
            return Err(Problem::field("message", "FRAME_TOO_LARGE", message));
        }
        if wanted >= self.told + STEP || wanted + STEP < self.told {
            self.weight.hold(if wanted < STEP { 0 } else { wanted })?;
            self.told = wanted;
        }
        Ok(())
    }
}

impl<B> Body for Measured<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Poll::Ready(Some(Ok(frame))) = polled else {
            return polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        };
        match frame.data_ref().cloned().map(|data| self.take(&data)) {
            Some(Err(problem)) => Poll::Ready(Some(Err(Status::from(problem).into()))),
            Some(Ok(())) | None => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
