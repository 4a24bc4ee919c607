//! A call's request before it is sent, and its way to a connection. It must not know routes.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use acgs_vocabulary::{Problem, problem::Kind};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use crate::body::joined;

/// Bytes of a request that is gathered before it goes on, so that it can be sent again.
const GATHERED_MAX: usize = 64 << 10;

/// How a message may be compressed.
pub(super) fn encoding_of(headers: &HeaderMap) -> Option<String> {
    headers.get("grpc-encoding").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Waits for the rest of a small request, so that it can be sent again.
pub(super) async fn gather(incoming: &mut Incoming, first: &mut VecDeque<Bytes>) -> Result<(), Problem> {
    let mut held: usize = first.iter().map(Bytes::len).sum();
    while held <= GATHERED_MAX && !incoming.is_end_stream() {
        match incoming.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    held += data.len();
                    first.push_back(data);
                }
            }
            Some(Err(error)) => return Err(caller_gone(&error)),
            None => break,
        }
    }
    first.retain(|piece| !piece.is_empty());
    if first.len() > 1 && incoming.is_end_stream() {
        *first = [joined(first.make_contiguous())].into();
    }
    Ok(())
}

pub(super) fn caller_gone(error: &hyper::Error) -> Problem {
    Problem::new(Kind::Unavailable, "CALLER_GONE", error.to_string())
}

/// Lets a route go when the call is on its way: polled once, it has been given to a connection.
pub(super) async fn dispatch<F: Future>(call: F, route: Arc<crate::table::Route>) -> F::Output {
    let mut call = pin!(call);
    let mut route = Some(route);
    poll_fn(move |context| {
        let polled = Pin::new(&mut call).poll(context);
        drop(route.take());
        match polled {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
