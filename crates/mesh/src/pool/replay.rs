//! Calls that can be sent again: small ones whose whole body is there at once, as unary calls are. And whether a call that
//! failed was surely not looked at. It must not know instances.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, request::Parts};
use http_body::{Body as _, Frame};
use tonic::{Status, body::Body};

/// Bytes of a body that is kept to be sent again.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// A copy of a small call.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    parts: Parts,
    data: Bytes,
}

impl Copy {
    /// The call again.
    pub(super) fn request(self) -> Request<Body> {
        let Self { parts, data } = self;
        let first = VecDeque::from([Ok(Frame::data(data))]);
        Request::from_parts(parts, Body::new(Begun { first, rest: None }))
    }
}

/// A body of which the first frames were taken.
struct Begun {
    first: VecDeque<Result<Frame<Bytes>, Status>>,
    rest: Option<Body>,
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.pop_front() {
            return Poll::Ready(Some(first));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}

/// The call, and a copy of it when it is small and whole.
pub(super) fn copy(request: Request<Body>) -> (Request<Body>, Option<Copy>) {
    let (parts, mut body) = request.into_parts();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = VecDeque::new();
    let mut rest = None;
    // One frame and the end, or two. What is asked for here and is not there is asked for again by the connection, with a
    // waker that counts.
    for _ in 0..2 {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(frame)) => first.push_back(frame),
            Poll::Ready(None) => break,
            Poll::Pending => {
                rest = Some(body);
                return (Request::from_parts(parts, Body::new(Begun { first, rest })), None);
            }
        }
    }
    if let [Ok(frame)] = first.make_contiguous()
        && let Some(data) = frame.data_ref().filter(|data| data.len() <= KEPT_BYTES_MAX).cloned()
    {
        let copy = Copy { parts, data };
        return (copy.clone().request(), Some(copy));
    }
    if first.len() > 1 {
        rest = Some(body);
    }
    (Request::from_parts(parts, Body::new(Begun { first, rest })), None)
}

/// Whether the peer has surely not looked at the call: it said that it takes no more, or refused the stream (RFC 9113,
/// sections 6.8 and 8.7; gRFC A6, transparent retries).
pub(super) fn is_unseen(error: &hyper::Error) -> bool {
    protocol_error(error).is_some_and(|error| {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let going = error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
        refused || going
    })
}

/// Whether the peer ended this call alone; its connection stands.
pub(super) fn is_reset(error: &hyper::Error) -> bool {
    protocol_error(error).is_some_and(h2::Error::is_reset)
}

fn protocol_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            return Some(error);
        }
        source = cause.source();
    }
    None
}
