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
    /// What is held beside the message, such as the form that it came in.
    beside: AtomicU64,
}

impl Weight {
    /// Nothing yet.
    pub(crate) fn new() -> Arc<Self> {
        let room = Mutex::new(budget::process().of(Use::Calls).nothing());
        Arc::new(Self { room, heap: AtomicU64::new(0), beside: AtomicU64::new(0) })
    }

    /// Bytes that decoding takes.
    pub(crate) fn heap(&self) -> u64 {
        self.heap.load(Ordering::Relaxed)
    }

    /// Holds so many bytes beside the message.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(crate) fn hold_beside(&self, bytes: u64) -> Result<(), Problem> {
        self.beside.store(bytes, Ordering::Relaxed);
        self.hold(0)
    }

    /// Holds so many bytes for the message.
    ///
    /// # Errors
    /// `MEMORY`.
    pub(crate) fn hold(&self, bytes: u64) -> Result<(), Problem> {
        let bytes = bytes.saturating_add(self.beside.load(Ordering::Relaxed));
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(room.resize(usize::try_from(bytes).unwrap_or(usize::MAX))?)
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
            if !self.streams && scan.messages > 1 {
                let message = "a call of this method has one message";
                return Err(Problem::field("message", "BAD_MESSAGE", message));
            }
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
        // Messages that came together are decoded together: it is less again when all are.
        if wanted >= self.told + STEP {
            self.weight.hold(wanted)?;
            self.told = wanted;
        }
        Ok(())
    }

    /// Who asks for more of a stream has decoded what was whole.
    fn is_asked(&mut self) {
        let between = self.scan.as_ref().is_some_and(Scan::is_between);
        if self.streams && between && self.told > 0 && self.weight.hold(0).is_ok() {
            (self.told, self.wire) = (0, 0);
        }
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
        self.is_asked();
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

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::poll_fn};

    use acgs_contracts::{orchestrator::v1::StreamWindowsRequest, quality::v1::AssessRequest};
    use prost::Message;

    use super::{
        super::{Plan, Scan},
        *,
    };
    use crate::descriptors;

    struct Pieces(VecDeque<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn measured(path: &str, streams: bool, messages: &[Vec<u8>]) -> (Measured<Pieces>, Arc<Weight>) {
        let plan = Arc::new(Plan::new(&descriptors::pool().unwrap()));
        let scan = Scan::new(&plan, plan.input(path).unwrap());
        let framed = |message: &Vec<u8>| {
            Bytes::from([&[0][..], &(message.len() as u32).to_be_bytes(), message].concat())
        };
        let weight = Weight::new();
        let body = Pieces(messages.iter().map(framed).collect());
        (Measured::new(body, Some(scan), streams, Arc::clone(&weight)), weight)
    }

    async fn next(body: &mut Measured<Pieces>) -> Option<Result<(), BoxError>> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.map(|frame| frame.map(|_| ()))
    }

    #[tokio::test]
    async fn a_stream_that_rests_holds_nothing() {
        use acgs_contracts::orchestrator::v1::{Labels, stream_windows_request::Message as Of};
        let labels = Labels { seq: 1, ..Default::default() };
        let mut message = StreamWindowsRequest { message: Some(Of::Labels(labels)) }.encode_to_vec();
        // A field that nobody knows, so long.
        message.extend([0xfa, 0x3e, 0x80, 0x80, 0x40]);
        message.extend(vec![0; 1 << 20]);
        let path = "/acgs.orchestrator.v1.OrchestratorService/StreamWindows";
        let (mut body, weight) = measured(path, true, &[message]);
        assert!(next(&mut body).await.unwrap().is_ok());
        assert!(weight.room.lock().unwrap().bytes() >= 1 << 20, "it is decoded now");
        assert!(next(&mut body).await.is_none());
        assert_eq!(weight.room.lock().unwrap().bytes(), 0, "whoever asks for more has decoded it");
    }

    #[tokio::test]
    async fn a_second_message_of_one_call_does_not_give_back_what_the_first_takes() {
        let message = AssessRequest::default().encode_to_vec();
        let path = "/acgs.quality.v1.QualityService/Assess";
        let (mut body, _weight) = measured(path, false, &[message.clone(), message]);
        assert!(next(&mut body).await.unwrap().is_ok());
        let refused = next(&mut body).await.unwrap().unwrap_err();
        let status = refused.downcast_ref::<Status>().unwrap();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }
}
