//! One call: whose it is, where it goes, and its way there and back. It must not know where routes come from.

mod call;
mod choice;
mod request;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use acgs_inference::peek::{self, INFERENCE, Peeked};
use acgs_mesh::{admission::connection::OpenCall, calls::code_of, constitution::sent, pool::Repeatable};
use acgs_vocabulary::{Constitution, Problem, constitution::HEADER, problem::Kind};
use bytes::Bytes;
use call::{Call, InFlight, Unheard};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request::Parts};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use request::{caller_gone, dispatch, encoding_of, gather};
use tokio_util::sync::DropGuard;
use tonic::{Code, Status, body::Body};
use tower::Service;

use crate::{
    Config,
    body::{AnswerBody, Ending, GatewayBody, Noted, RequestBody, too_large},
    capture::{Captured, Captures},
    counts::End,
    deadline::{deadline_of, is_past, late, silent},
    deadly::{Asked, Deadly},
    methods::{self, is_repeatable},
    shadow::{Copies, Shadowed},
    stats::Stats,
    table::{Choice, Table},
};

/// Metadata that names the model, for calls of any protocol.
pub const MODEL_HEADER: HeaderName = HeaderName::from_static("x-acgs-model-id");
/// Metadata that names the version that a call went to.
pub const VERSION_HEADER: HeaderName = HeaderName::from_static("x-acgs-model-version");
/// The method whose calls can be captured.
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const HASH_HEADER: HeaderName = HeaderName::from_static(HEADER);

/// The gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    table: Arc<Table>,
    constitution: Constitution,
    stamp: HeaderValue,
    stats: Arc<Stats>,
    copies: Copies,
    captures: Captures,
    deadly: Arc<Deadly>,
}

/// An answer of the gateway itself.
fn own(status: Status) -> Response<GatewayBody> {
    status.into_http::<axum::body::Body>().map(GatewayBody::Own)
}

impl Gateway {
    /// Over routes.
    #[must_use]
    pub fn new(
        config: Config,
        table: Arc<Table>,
        constitution: Constitution,
        stats: Arc<Stats>,
        captures: Captures,
    ) -> Self {
        let stamp = HeaderValue::from_str(constitution.current());
        let stamp = stamp.unwrap_or_else(|_| HeaderValue::from_static(""));
        let copies = Copies::new(config.shadows_max, Arc::clone(&stats), constitution.clone());
        let deadly = Arc::default();
        Self(Arc::new(Inner { config, table, constitution, stamp, stats, copies, captures, deadly }))
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.0.stats)
    }

    /// Its routes.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.0.table
    }

    /// Carries a call on the thread that it came to.
    pub async fn carry(
        &self,
        shard: usize,
        open: OpenCall,
        request: Request<Incoming>,
    ) -> Response<GatewayBody> {
        match self.try_carry(shard, open, request).await {
            Ok(response) => response,
            Err(status) => self.refusal(*status),
        }
    }

    /// A refusal of the gateway itself, counted.
    #[must_use]
    pub fn refusal(&self, status: Status) -> Response<GatewayBody> {
        self.0.stats.refused.fetch_add(1, Ordering::Relaxed);
        self.stamped(own(status))
    }

    fn stamped(&self, mut response: Response<GatewayBody>) -> Response<GatewayBody> {
        response.headers_mut().insert(HASH_HEADER, self.0.stamp.clone());
        response
    }

    /// An answer of the gateway's own to a question with these headers: under the same constitution as those that it carries.
    #[must_use]
    pub fn answer(&self, headers: &HeaderMap, answer: Response<GatewayBody>) -> Response<GatewayBody> {
        match self.check_hash(headers) {
            Ok(()) => self.stamped(answer),
            Err(problem) => self.refusal(problem.into()),
        }
    }

    /// A third party's protocol may come without the hash, and goes on with it; a wrong one goes nowhere.
    fn check_hash(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(sent) = sent(headers) else {
            self.0.stats.unstamped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        self.0.constitution.check(Some(sent))
    }

    async fn try_carry(
        &self,
        shard: usize,
        open: OpenCall,
        request: Request<Incoming>,
    ) -> Result<Response<GatewayBody>, Box<Status>> {
        let boxed = |problem: Problem| Box::new(Status::from(problem));
        let since = Instant::now();
        let heard = Unheard::begin(&self.0.stats, self.0.config.calls_max).map_err(boxed)?;
        let (parts, mut incoming) = request.into_parts();
        self.check_hash(&parts.headers).map_err(boxed)?;
        // Of other methods the message names something else: only metadata say whose they are.
        if !parts.headers.contains_key(&MODEL_HEADER) {
            methods::check(parts.uri.path(), &[]).map_err(boxed)?;
        }
        let deadline = deadline_of(&parts.headers, since).map_err(boxed)?;
        let mut first = VecDeque::new();
        let model = async {
            let model = self.model_of(&parts, &mut incoming, &mut first).await?;
            if is_repeatable(parts.uri.path()) {
                gather(&mut incoming, &mut first).await?;
            }
            Ok(model)
        };
        // A caller that says nothing holds no place for long, whatever deadline it has.
        let after = |ms| tokio::time::Instant::from_std(since) + Duration::from_millis(ms);
        let silent_at = after(self.0.config.first_message_ms);
        let said = tokio::time::timeout_at(deadline.map_or(silent_at, |at| at.min(silent_at)), model).await;
        let model = said.map_err(|_| Box::new(silent(deadline)))?.map_err(boxed)?;
        drop(heard);
        let in_flight = InFlight::begin(&self.0.stats, self.0.config.calls_max, open).map_err(boxed)?;
        // Nor does a server that never answers.
        let limited =
            is_repeatable(parts.uri.path()).then_some(self.0.config.deadline_ms).filter(|ms| *ms > 0);
        let deadline = deadline.or(limited.map(after));
        let choice = self.choice(shard, &model, &parts, deadline).await.map_err(boxed)?;
        self.0.stats.calls.fetch_add(1, Ordering::Relaxed);
        let call = Call {
            _in_flight: in_flight,
            arm: choice.arm.clone(),
            since,
            shadowed: None,
            captured: None,
            deadline,
            fault: Arc::default(),
            over: false,
        };
        self.send(shard, choice, parts, (first, incoming), deadline, call).await
    }

    /// The model that is asked for, reading as much of the request as that takes.
    async fn model_of(
        &self,
        parts: &Parts,
        incoming: &mut Incoming,
        first: &mut VecDeque<Bytes>,
    ) -> Result<String, Problem> {
        let named = parts.headers.get(&MODEL_HEADER).and_then(|value| value.to_str().ok());
        let inference = parts.uri.path().starts_with(INFERENCE);
        let missing = || {
            let message = "is neither in the metadata nor, by the Open Inference Protocol, in the message";
            Problem::field(MODEL_HEADER.as_str(), "MODEL_MISSING", message)
        };
        // A name that is known needs no message, unless all of it is gathered anyway.
        if !inference || (named.is_some() && !is_repeatable(parts.uri.path())) {
            return named.map(str::to_owned).ok_or_else(missing);
        }
        let encoding = encoding_of(&parts.headers);
        let encoding = encoding.as_deref();
        let mut seen = Vec::new();
        loop {
            let frame = incoming.frame().await;
            let over = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        first.push_back(data);
                        incoming.is_end_stream()
                    }
                    Err(_) => true,
                },
                Some(Err(error)) => {
                    return Err(caller_gone(&error));
                }
                None => true,
            };
            if let Some(named) = named {
                return Ok(named.to_owned());
            }
            let bytes = match (seen.is_empty(), first.back()) {
                (true, Some(only)) if first.len() == 1 => &only[..],
                (_, Some(last)) => {
                    if seen.is_empty() {
                        seen.extend(first.iter().take(first.len() - 1).flatten());
                    }
                    seen.extend_from_slice(last);
                    &seen[..]
                }
                (_, None) => &[],
            };
            match peek::peek(bytes, encoding, over) {
                Peeked::Name(name) => return Ok(name),
                Peeked::More if !over => {}
                Peeked::More | Peeked::Nothing => return Err(missing()),
            }
        }
    }

    async fn send(
        &self,
        shard: usize,
        choice: Choice,
        parts: Parts,
        (first, incoming): (VecDeque<Bytes>, Incoming),
        deadline: Option<tokio::time::Instant>,
        mut call: Call,
    ) -> Result<Response<GatewayBody>, Box<Status>> {
        let Choice { target, shadow, capture, route, .. } = choice;
        let config = &self.0.config;
        let rest = (!incoming.is_end_stream()).then_some(incoming);
        let mut note_max = 0;
        // Most calls are neither captured nor copied.
        let capture = capture.filter(|_| parts.uri.path() == INFER);
        let note = (capture.is_some() || shadow.is_some()).then(|| Arc::new(Noted::default()));
        if let (Some((model_id, spec)), Some(note)) = (capture, &note) {
            note_max = config.capture_bytes_max;
            let captures = self.0.captures.clone();
            let (version, received_ms) = (Arc::clone(&target.version), captures.now_ms());
            let captured = Captured {
                spec,
                model_id,
                version,
                request: Arc::clone(note),
                encoding: encoding_of(&parts.headers),
                answer_encoding: None,
                received_ms,
            };
            call.captured = Some((captures, captured));
        }
        if let (Some((target, arm)), Some(note)) = (shadow, &note) {
            note_max = note_max.max(config.shadow_bytes_max);
            let headers = self.onward(&parts.headers, &target.header);
            let shadowed = Shadowed {
                target,
                shard,
                arm,
                path: parts.uri.clone(),
                headers,
                request: Arc::clone(note),
                answer_encoding: None,
            };
            call.shadowed = Some((self.0.copies.clone(), shadowed));
        }
        let noted = note.map(|note| (note, note_max));
        let asked = match is_repeatable(parts.uri.path()) && rest.is_none() {
            true => {
                let data = (parts.uri.path() == INFER).then(|| first.iter().cloned().collect());
                let whose =
                    (Arc::clone(&route.model_id), Arc::clone(&target.version), parts.uri.path().to_owned());
                Asked::new(&self.0.deadly, whose, data).map(Some)
            }
            false => Ok(None),
        };
        let asked = asked.map_err(|problem| {
            // The gateway's own word says nothing about the version.
            call.ended(End::Void, None);
            Box::new(Status::from(problem))
        })?;
        let goes_on = rest.is_some();
        let mut body =
            RequestBody::new(first, rest, config.message_bytes_max, noted, Arc::clone(&call.fault));
        let request_ends = goes_on.then(|| body.until_answered());
        let mut request = Request::new(Body::new(body));
        *request.method_mut() = parts.method;
        *request.headers_mut() = self.onward(&parts.headers, &target.header);
        if let Some(asked) = asked.clone() {
            request.extensions_mut().insert(Repeatable(asked));
        }
        *request.uri_mut() = parts.uri;
        let mut pool = target.pools[shard].clone();
        let answer = dispatch(pool.call(request), route);
        let answered = match deadline {
            Some(at) => match tokio::time::timeout_at(at, answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    call.ended(End::Said(Code::DeadlineExceeded), None);
                    return Err(Box::new(late()));
                }
            },
            None => answer.await,
        };
        let response = match answered {
            Ok(response) => {
                if let Some(asked) = &asked {
                    asked.answered();
                }
                response
            }
            Err(error) => {
                let status = if call.fault.is_too_large() {
                    Status::from(too_large(config.message_bytes_max as u64 + 1))
                } else {
                    Status::try_from_error(error)
                        .unwrap_or_else(|error| Status::unavailable(error.to_string()))
                };
                call.ended(End::Said(status.code()), None);
                return Err(Box::new(status));
            }
        };
        self.back(response, &target.header, deadline, call, (note_max, request_ends))
    }

    /// The metadata that goes on.
    fn onward(&self, headers: &HeaderMap, version: &HeaderValue) -> HeaderMap {
        let mut headers = headers.clone();
        headers.insert(HASH_HEADER, self.0.stamp.clone());
        headers.insert(VERSION_HEADER, version.clone());
        headers
    }

    /// The answer, on its way to the caller.
    fn back(
        &self,
        response: Response<acgs_mesh::pool::PoolBody>,
        version: &HeaderValue,
        deadline: Option<tokio::time::Instant>,
        mut call: Call,
        (note_max, request_ends): (usize, Option<DropGuard>),
    ) -> Result<Response<GatewayBody>, Box<Status>> {
        let (mut parts, inner) = response.into_parts();
        if sent(&parts.headers).is_some_and(|sent| !self.0.constitution.accepts(sent)) {
            self.0.stats.breaches.fetch_add(1, Ordering::Relaxed);
            if let Some(arm) = &call.arm {
                arm.breached();
            }
            call.ended(End::Said(Code::PermissionDenied), None);
            let message = format!("the version's answer is not under an accepted `{HEADER}`");
            let problem = Problem::new(Kind::Denied, "CONSTITUTION_MISMATCH", message);
            return Err(Box::new(problem.into()));
        }
        parts.headers.insert(HASH_HEADER, self.0.stamp.clone());
        parts.headers.insert(VERSION_HEADER, version.clone());
        if let Some(code) = code_of(&parts.headers) {
            if code == Code::Cancelled && deadline.is_some_and(is_past) {
                call.ended(End::Said(Code::DeadlineExceeded), None);
                return Err(Box::new(late()));
            }
            call.ended(End::Said(code), None);
            return Ok(Response::from_parts(parts, GatewayBody::Own(axum::body::Body::empty())));
        }
        call.is_answered_in(encoding_of(&parts.headers));
        let sleep = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        let bytes_max = self.0.config.message_bytes_max;
        let body = AnswerBody::new(inner, bytes_max, sleep, Box::new(call), note_max, request_ends);
        Ok(Response::from_parts(parts, GatewayBody::Answer(body)))
    }
}
