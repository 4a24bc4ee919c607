//! How an instance is asked whether it takes calls: by gRPC's health service, or, where a server has none, by a question of
//! its own protocol. It must not know what that protocol means.

use std::{sync::Arc, time::Duration};

use acgs_contracts::grpc::health::v1::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use acgs_inference::framing;
use bytes::Bytes;
use http::{Request, Response, uri::PathAndQuery};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full};
use tokio::{sync::watch, time::timeout};
use tonic::{Code, body::Body};
use tower::Service;

use super::link::Link;
use crate::calls::code_of;

/// An instance that does not say how it is by then is not well.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Answers in a row that have not come in time, after which an instance is not well.
const MISSES_MAX: u32 = 3;
/// Between two questions to one that cannot be watched.
const EVERY: Duration = Duration::from_millis(500);
/// Longest answer to a question, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A unary call, and what its answer has to be.
#[derive(Clone, Debug)]
pub struct Question {
    /// `/package.Service/Method`.
    pub path: PathAndQuery,
    /// The encoded message.
    pub message: Bytes,
    /// Whether an encoded answer says that calls are taken.
    pub is_well: fn(&[u8]) -> bool,
}

/// How instances are asked.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The service that health is watched for; empty for the whole server.
    pub service: Arc<str>,
    /// For servers without health; one that does not know this either is well while it is connected.
    pub otherwise: Option<Question>,
    /// When fewer than so many percent of those that answer are well, all of them share the calls (Envoy's panic threshold); 0 = never.
    pub panic_percent: usize,
}

/// Passes on what the instance says of its health, until it says no more. True when it had been well.
pub(super) async fn watch_health(link: &Link, probe: &Probe, said: &watch::Sender<Option<bool>>) -> bool {
    // One late answer is no verdict; a peer that is gone is found by the connection.
    for _ in 0..MISSES_MAX {
        match watch_once(link, probe, said).await {
            Watched::Late => {}
            Watched::Over { was_well } => return was_well,
            Watched::Unknown => return ask_again(link, probe.otherwise.as_ref(), said).await,
        }
    }
    false
}

/// How a watch ended.
enum Watched {
    /// Nothing was said in time.
    Late,
    Over {
        was_well: bool,
    },
    /// The server does not know of health.
    Unknown,
}

async fn watch_once(link: &Link, probe: &Probe, said: &watch::Sender<Option<bool>>) -> Watched {
    let mut client = HealthClient::new(link.clone());
    let request = HealthCheckRequest { service: probe.service.to_string() };
    let answer = match timeout(TIMEOUT, client.watch(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) if status.code() == Code::Unimplemented => return Watched::Unknown,
        Ok(Err(_)) => return Watched::Over { was_well: false },
        Err(_) => return Watched::Late,
    };
    let mut states = answer.into_inner();
    let Ok(first) = timeout(TIMEOUT, states.message()).await else { return Watched::Late };
    let mut state = first;
    let mut was_well = false;
    loop {
        match state {
            Ok(Some(answer)) => {
                let well = answer.status() == ServingStatus::Serving;
                was_well |= well;
                tell(well, said);
            }
            // Some say so only in the trailers.
            Err(status) if status.code() == Code::Unimplemented && !was_well => return Watched::Unknown,
            _ => return Watched::Over { was_well },
        }
        state = states.message().await;
    }
}

fn tell(well: bool, said: &watch::Sender<Option<bool>>) {
    said.send_if_modified(|held| held.replace(well) != Some(well));
}

async fn ask_again(link: &Link, question: Option<&Question>, said: &watch::Sender<Option<bool>>) -> bool {
    let (mut was_well, mut well, mut misses) = (false, false, 0);
    loop {
        let answer = match question {
            None => Some(true),
            Some(question) => {
                let mut link = link.clone();
                let asked = unary(&mut link, question.path.clone(), question.message.clone());
                match timeout(TIMEOUT, asked).await {
                    Ok(Ok(answer)) => Some((question.is_well)(&answer)),
                    Ok(Err(code)) => Some(code == Code::Unimplemented),
                    Err(_) => None,
                }
            }
        };
        misses = if answer.is_some() { 0 } else { misses + 1 };
        // One that was well is so until several answers have not come.
        well = answer.unwrap_or(well && misses < MISSES_MAX);
        was_well |= well;
        if well || answer.is_some() || was_well {
            tell(well, said);
        }
        if link.is_closed() {
            return was_well;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Calls a unary method with encoded messages.
///
/// # Errors
/// The code that it ends with; `UNAVAILABLE` when the connection breaks.
pub async fn unary<S, B>(service: &mut S, path: PathAndQuery, message: Bytes) -> Result<Bytes, Code>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let framed = framing::framed(&message).ok_or(Code::InvalidArgument)?;
    let request = Request::post(http::Uri::from(path))
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .body(Body::new(Full::new(framed).map_err(|never| match never {})))
        .map_err(|_| Code::InvalidArgument)?;
    let response = service.call(request).await.map_err(|_| Code::Unavailable)?;
    if let Some(code) = code_of(response.headers()).filter(|code| *code != Code::Ok) {
        return Err(code);
    }
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = Box::pin(body.collect()).await.map_err(|_| Code::Unavailable)?;
    if let Some(code) = collected.trailers().and_then(code_of).filter(|code| *code != Code::Ok) {
        return Err(code);
    }
    framing::message(collected.to_bytes()).ok_or(Code::Internal)
}
