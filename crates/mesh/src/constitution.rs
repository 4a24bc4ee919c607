//! The constitution on the wire: a layer that checks what comes in and stamps what goes out, and its twin for clients.
//! It must not know which RPC it guards.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use acgs_vocabulary::{Constitution, Problem, constitution::HEADER, problem::Kind};
use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::Status;
use tower::{Layer, Service};

use crate::{admission::connection::Peer, refusals::Refusals, telemetry};

/// Packages of third parties' protocols.
const THIRD_PARTIES: [&str; 1] = ["/inference."];

/// What the metadata says: exactly one value, or it is wrong; `None` when it says nothing.
#[must_use]
pub fn sent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(HEADER).iter();
    let first = values.next()?;
    // Two values are no identifier: an empty one is never accepted.
    if values.next().is_some() { Some("") } else { Some(first.to_str().unwrap_or("")) }
}

fn stamp(constitution: &Constitution, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(constitution.current()) {
        headers.insert(HEADER, value);
    }
}

/// Refuses requests without an accepted identifier, and stamps every response with the current one.
#[derive(Clone, Debug)]
pub struct ConstitutionLayer {
    constitution: Constitution,
    refusals: Arc<Refusals>,
}

impl ConstitutionLayer {
    /// Checks against this constitution, and audits refusals.
    #[must_use]
    pub fn new(constitution: Constitution, refusals: Arc<Refusals>) -> Self {
        Self { constitution, refusals }
    }
}

impl<S> Layer<S> for ConstitutionLayer {
    type Service = ConstitutionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConstitutionService { inner, layer: self.clone() }
    }
}

/// A service behind [`ConstitutionLayer`].
#[derive(Clone, Debug)]
pub struct ConstitutionService<S> {
    inner: S,
    layer: ConstitutionLayer,
}

impl<S, B, R> Service<Request<B>> for ConstitutionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let constitution = self.layer.constitution.clone();
        let sent = sent(request.headers());
        // Clients of a third party's protocol do not know of it: absent is let in, wrong is not.
        let foreign = THIRD_PARTIES.iter().any(|package| request.uri().path().starts_with(package));
        let checked = if foreign && sent.is_none() { Ok(()) } else { constitution.check(sent) };
        if let Err(problem) = checked {
            self.layer.refusals.record(peer(&request), problem.reason());
            // Not stamped: a refusal does not tell what would have been right.
            return Box::pin(async move { Ok(Status::from(problem).into_http::<R>()) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            stamp(&constitution, response.headers_mut());
            Ok(response)
        })
    }
}

fn peer<B>(request: &Request<B>) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(Peer::address)
}

/// Stamps requests, and refuses responses that are not stamped with an accepted identifier.
#[derive(Clone, Debug)]
pub struct ClientLayer {
    constitution: Constitution,
}

impl ClientLayer {
    /// Under this constitution.
    #[must_use]
    pub fn new(constitution: Constitution) -> Self {
        Self { constitution }
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientService { inner, constitution: self.constitution.clone() }
    }
}

/// A client behind [`ClientLayer`].
#[derive(Clone, Debug)]
pub struct ClientService<S> {
    inner: S,
    constitution: Constitution,
}

impl<S, B, R> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<R>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        stamp(&self.constitution, request.headers_mut());
        telemetry::inject(request.headers_mut());
        let (answer, constitution) = (self.inner.call(request), self.constitution.clone());
        Box::pin(async move {
            let response = answer.await.map_err(Into::into)?;
            // A server's own refusal tells more than a missing stamp would.
            let refused = response.headers().get("grpc-status").is_some_and(|code| code != "0");
            let accepted = sent(response.headers()).is_some_and(|sent| constitution.accepts(sent));
            if refused || accepted {
                return Ok(response);
            }
            let message = format!("the server did not answer with an accepted `{HEADER}`");
            Err(Status::from(Problem::new(Kind::Denied, "CONSTITUTION_MISMATCH", message)).into())
        })
    }
}
