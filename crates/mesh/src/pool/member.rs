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
use tokio::{sync::watch, task::AbortHandle};
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, body::Body};
use tower::{Service, load::Load};

use super::{
    body::{InFlight, PoolBody},
    gauge::Gauge,
    keeper,
    link::Link,
    probe::Probe,
    replay,
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
    states: WatchStream<Option<Link>>,
    link: Option<Link>,
    pub(super) gauge: Arc<Gauge>,
    address: Arc<str>,
    keeper: AbortHandle,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Member {
    pub(super) fn new(address: String, probe: Probe) -> Self {
        let (ready, states) = watch::channel(None);
        let gauge = Arc::new(Gauge::new());
        let known = Arc::from(address.as_str());
        let keeper = tokio::spawn(keeper::keep(address, probe, Arc::clone(&gauge), ready)).abort_handle();
        Self { states: WatchStream::new(states), link: None, gauge, address: known, keeper }
    }
}

impl Load for Member {
    type Metric = f64;

    fn load(&self) -> f64 {
        self.gauge.cost()
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
                Some(link) => self.link = link,
                None => {
                    self.link = None;
                    break;
                }
            }
        }
        match &self.link {
            Some(link) if !link.is_closed() => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Sending {
        let mut call = InFlight::begin(Arc::clone(&self.gauge));
        // Ready said that there is one.
        let sending = self.link.as_mut().map(|link| link.send(request));
        let address = Arc::clone(&self.address);
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
