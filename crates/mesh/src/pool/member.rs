//! One instance of a pool: its connection as its keeper has it, and the calls that it is given. It must not know the others.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use http::{Request, Response};
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, body::Body};
use tower::{Service, load::Load};

use super::{
    body::{InFlight, PoolBody},
    gauge::Gauge,
    replay,
    shared::Kept,
    state::State,
};
use crate::calls::code_of;

/// A call that an instance was given, and what became of it. The service itself never fails: that would end the instance.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<Outcome, Infallible>> + Send>>;
pub(super) type Outcome = Result<Response<PoolBody>, Undone>;

/// Why a call was not answered.
#[derive(Debug)]
pub(super) enum Undone {
    /// It did not leave the process.
    Unsent(Box<Request<Body>>, hyper::Error),
    /// It may have been carried out.
    Lost(hyper::Error, Arc<str>),
}

/// An instance.
#[derive(Debug)]
pub(super) struct Member {
    states: WatchStream<Option<State>>,
    state: Option<State>,
    kept: Arc<Kept>,
    /// Whether it takes calls also when it says that it is not well, should too few be.
    panics: bool,
}

impl Member {
    pub(super) fn new(kept: Arc<Kept>, panics: bool) -> Self {
        Self { states: WatchStream::new(kept.states.clone()), state: None, kept, panics }
    }

    pub(super) fn gauge(&self) -> &Gauge {
        &self.kept.gauge
    }

    pub(super) fn is_well(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.well)
    }
}

impl Load for Member {
    type Metric = f64;

    fn load(&self) -> f64 {
        self.kept.gauge.cost()
    }
}

impl Service<Request<Body>> for Member {
    type Response = Outcome;
    type Error = Infallible;
    type Future = Sending;

    /// Pending while there is no connection.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        while let Poll::Ready(state) = Pin::new(&mut self.states).poll_next(context) {
            match state {
                Some(state) => self.state = state,
                None => {
                    self.state = None;
                    break;
                }
            }
        }
        match &self.state {
            Some(state) if !state.link.is_closed() && (state.well || self.panics) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Sending {
        let mut call = InFlight::begin(Arc::clone(&self.kept.gauge));
        // Ready said that there is one.
        let sending = self.state.as_mut().map(|state| state.link.send(request));
        let address = Arc::clone(&self.kept.address);
        Box::pin(async move {
            let Some(sending) = sending else { std::future::pending().await };
            Ok(match sending.await {
                Ok(response) => {
                    if code_of(response.headers()) == Some(Code::Unavailable) {
                        call.failed();
                    }
                    Ok(response.map(|inner| PoolBody::new(inner, call)))
                }
                Err(mut error) => match error.take_message() {
                    Some(request) => {
                        call.unsent();
                        Err(Undone::Unsent(Box::new(request), error.into_error()))
                    }
                    None => {
                        let error = error.into_error();
                        if replay::is_unseen(&error) {
                            call.unsent()
                        } else {
                            call.failed()
                        }
                        Err(Undone::Lost(error, address))
                    }
                },
            })
        })
    }
}
