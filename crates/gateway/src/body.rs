//! Bodies on their way through: not changed, but measured. Messages have a bound, exchanges that somebody wants are noted,
//! and the end of an answer ends the call. It must not know what is in a message.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use acgs_mesh::{calls::code_of, pool::PoolBody};
use acgs_vocabulary::{Problem, problem::Kind};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use crate::{
    counts::End,
    deadline::{is_past, late},
    framing::Framing,
};

/// What is noted of a request while it goes through.
#[derive(Debug, Default)]
pub struct Noted {
    pieces: Mutex<Vec<Bytes>>,
    over: AtomicBool,
    too_large: AtomicBool,
}

impl Noted {
    /// The whole request; `None` when it was too large, or is not over.
    #[must_use]
    pub fn whole(&self) -> Option<Vec<Bytes>> {
        let complete = self.over.load(Ordering::Acquire) && !self.too_large.load(Ordering::Acquire);
        complete.then(|| self.pieces.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What a caller has done: it is not the version's fault.
#[derive(Debug, Default)]
pub struct Fault {
    too_large: AtomicBool,
    broke_off: AtomicBool,
}

impl Fault {
    /// A message is beyond the bound.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.too_large.load(Ordering::Acquire)
    }

    /// It went before its request was over.
    #[must_use]
    pub fn has_broken_off(&self) -> bool {
        self.broke_off.load(Ordering::Acquire)
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct RequestBody {
    first: VecDeque<Bytes>,
    rest: Option<Incoming>,
    framing: Framing,
    noted: Option<(Arc<Noted>, usize)>,
    /// Told when the caller is at fault.
    fault: Arc<Fault>,
    /// The answer is over: nobody reads the rest.
    answered: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl RequestBody {
    /// What was read already, and the rest. `noted` comes with the bytes that it may still take.
    #[must_use]
    pub fn new(
        first: VecDeque<Bytes>,
        rest: Option<Incoming>,
        bytes_max: usize,
        noted: Option<(Arc<Noted>, usize)>,
        fault: Arc<Fault>,
    ) -> Self {
        Self { first, rest, framing: Framing::new(bytes_max), noted, fault, answered: None }
    }

    /// Ends when what comes back is dropped: a request that goes on would keep the stream to the server open. To a server that does
    /// not read, and has no room for more, it stays open until it reads: hyper asks a body only when there is room.
    pub fn until_answered(&mut self) -> DropGuard {
        let answered = CancellationToken::new();
        self.answered = Some(Box::pin(answered.clone().cancelled_owned()));
        answered.drop_guard()
    }

    fn pass(&mut self, data: Bytes) -> Result<Frame<Bytes>, Status> {
        if let Err(length) = self.framing.take(&data) {
            self.fault.too_large.store(true, Ordering::Release);
            return Err(too_large(length).into());
        }
        if let Some((noted, room)) = &mut self.noted {
            match room.checked_sub(data.len()) {
                Some(left) => {
                    *room = left;
                    noted.pieces.lock().unwrap_or_else(PoisonError::into_inner).push(data.clone());
                }
                None => noted.too_large.store(true, Ordering::Release),
            }
        }
        if self.is_end_stream() {
            self.ended();
        }
        Ok(Frame::data(data))
    }

    fn ended(&self) {
        if let Some((noted, _)) = &self.noted {
            noted.over.store(true, Ordering::Release);
        }
    }
}

/// A message beyond the bound.
#[must_use]
pub fn too_large(length: u64) -> Problem {
    Problem::new(
        Kind::Exhausted,
        "MESSAGE_TOO_LARGE",
        format!("a message has {length} bytes, more than the gateway takes"),
    )
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.pop_front() {
            return Poll::Ready(Some(self.pass(first)));
        }
        let Some(rest) = &mut self.rest else {
            self.ended();
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(rest).poll_frame(context) else {
            let answered = self.answered.as_mut().is_some_and(|over| over.as_mut().poll(context).is_ready());
            return match answered {
                true => Poll::Ready(Some(Err(Status::cancelled("the answer is over")))),
                false => Poll::Pending,
            };
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Some(self.pass(data)),
                Err(other) => Some(Ok(other)),
            },
            Some(Err(error)) => {
                self.fault.broke_off.store(true, Ordering::Release);
                Some(Err(Status::cancelled(error.to_string())))
            }
            None => {
                self.ended();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// What happens when an answer is over.
pub trait Ending: Send {
    /// How it ended, and what was noted of it, piece by piece.
    fn ended(&mut self, end: End, noted: Option<Vec<Bytes>>);
}

/// An answer on its way.
pub struct AnswerBody {
    inner: Option<PoolBody>,
    framing: Framing,
    deadline: Option<Pin<Box<Sleep>>>,
    ending: Option<Box<dyn Ending>>,
    noted: Option<(Vec<Bytes>, usize)>,
    /// Dropped at the end, so that a request that is still on its way ends too.
    request: Option<DropGuard>,
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AnswerBody").finish_non_exhaustive()
    }
}

impl AnswerBody {
    /// `note_max` is how many bytes are noted; 0 notes nothing. `request` is dropped at the end.
    #[must_use]
    pub fn new(
        inner: PoolBody,
        bytes_max: usize,
        deadline: Option<Pin<Box<Sleep>>>,
        ending: Box<dyn Ending>,
        note_max: usize,
        request: Option<DropGuard>,
    ) -> Self {
        let noted = (note_max > 0).then(|| (Vec::new(), note_max));
        let framing = Framing::new(bytes_max);
        Self { inner: Some(inner), framing, deadline, ending: Some(ending), noted, request }
    }

    fn end(&mut self, end: End) {
        self.inner = None;
        self.deadline = None;
        self.request = None;
        if let Some(mut ending) = self.ending.take() {
            ending.ended(end, self.noted.take().map(|(pieces, _)| pieces));
        }
    }

    /// The answer ends here, and says why.
    fn cut(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.end(End::Said(status.code()));
        Poll::Ready(Some(Ok(Frame::trailers(trailers(status)))))
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    trailers
}

/// Pieces as one.
#[must_use]
pub fn joined(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [only] => only.clone(),
        pieces => pieces.concat().into(),
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = match Pin::new(inner).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let is_late =
                    self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
                if is_late {
                    return self.cut(&late());
                }
                return Poll::Pending;
            }
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if let Err(length) = self.framing.take(data) {
                        return self.cut(&too_large(length).into());
                    }
                    if let Some((pieces, room)) = &mut self.noted {
                        match room.checked_sub(data.len()) {
                            Some(left) => {
                                *room = left;
                                pieces.push(data.clone());
                            }
                            None => self.noted = None,
                        }
                    }
                } else if let Some(code) =
                    frame.trailers_ref().map(|trailers| code_of(trailers).unwrap_or(Code::Unknown))
                {
                    // A server with a timer of its own may be a moment earlier, and calls it a cancellation.
                    if code == Code::Cancelled
                        && self.deadline.as_ref().is_some_and(|sleep| is_past(sleep.deadline()))
                    {
                        return self.cut(&late());
                    }
                    self.end(End::Said(code));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let problem = Problem::new(
                    Kind::Unavailable,
                    "INSTANCE_LOST",
                    format!("the answer broke off: {error}"),
                );
                self.cut(&problem.into())
            }
            None => {
                // An answer without trailers has ended nowhere.
                self.end(End::Said(Code::Unknown));
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // The caller went before the end.
        self.end(End::Left);
    }
}

/// What the gateway answers with.
#[derive(Debug)]
pub enum GatewayBody {
    /// A version's answer.
    Answer(AnswerBody),
    /// The gateway's own.
    Own(axum::body::Body),
}

/// Why an answer breaks off.
pub type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl Body for GatewayBody {
    type Data = Bytes;
    type Error = Boxed;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Boxed>>> {
        match self.get_mut() {
            Self::Answer(body) => Pin::new(body).poll_frame(context).map_err(Boxed::from),
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(Boxed::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Answer(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Answer(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
