//! A request's body that has to come: time is counted while its caller is waited for, and not while we are busy. It must not know what
//! the body is.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use acgs_vocabulary::{Problem, problem::Kind};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tower::BoxError;

/// How fast a request has to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// What a caller may keep us waiting for, however little comes.
    pub(super) patience: Duration,
    pub(super) bytes_per_second: u64,
}

/// A body that ends with an error when its caller is too slow.
pub(super) struct Paced<B> {
    body: B,
    pace: Pace,
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, pace: Pace) -> Self {
        Self { body, pace, bytes: 0, waited: Duration::ZERO, since: None, sleep: None }
    }

    /// What of the caller's time is left.
    fn left(&self) -> Duration {
        let earned =
            Duration::from_millis(self.bytes.saturating_mul(1_000) / self.pace.bytes_per_second.max(1));
        (self.pace.patience + earned).saturating_sub(self.waited)
    }
}

fn slow() -> Status {
    let message = "the rest of the request did not come in time (admission.body_ms)";
    Problem::new(Kind::TooLate, "SLOW_BODY", message).into()
}

impl<B> Body for Paced<B>
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
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some(since) = this.since.take() {
                    this.waited += since.elapsed();
                }
                if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                    this.bytes += data.len() as u64;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                if this.since.is_none() {
                    let now = Instant::now();
                    this.since = Some(now);
                    let by = now + this.left();
                    match &mut this.sleep {
                        Some(sleep) => sleep.as_mut().reset(by),
                        None => this.sleep = Some(Box::pin(tokio::time::sleep_until(by))),
                    }
                }
                let over = this.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
                if over { Poll::Ready(Some(Err(slow().into()))) } else { Poll::Pending }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
