//! What every event carries around its payload, in the original's names. It must not know what a payload says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventKind, Payload};
use crate::text;

/// An event as it is on the bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique: a repeat of the same change has the same one.
    pub event_id: String,
    /// [`EventKind::name`].
    pub event_type: String,
    /// [`EventKind::subject`].
    pub subject: String,
    /// RFC 3339 in UTC.
    pub timestamp: String,
    /// One of [`Origin`]'s services.
    pub source_service: String,
    /// Null for all.
    pub target_service: Option<String>,
    /// The identifier in force when it happened.
    pub constitutional_hash: String,
    /// LOW, NORMAL, HIGH or CRITICAL.
    pub priority: String,
    /// The stream, model or call that it belongs to.
    pub correlation_id: Option<String>,
    /// `event_id` of the event that led to it.
    pub causation_id: Option<String>,
    /// W3C trace context; null without a trace.
    pub traceparent: Option<String>,
    /// One of [`super::payload`], by `event_type`.
    pub payload: Value,
    /// SHA-256 of the event before it in the log, hex; set by a log that has one writer, null in others.
    pub previous_digest: Option<String>,
}

/// Where and when an event came to be.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The original's name of the service, such as `data-quality-service`.
    pub service: &'static str,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// The identifier in force.
    pub constitutional_hash: &'a str,
}

/// A payload that is not what its kind says.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The caller asked for the payload of another kind.
    #[error("an event of the type {0:?} does not carry what was asked for")]
    Type(String),
    /// It was written by another version, or by hand.
    #[error("the payload of an event of the type {event_type:?} cannot be read: {error}")]
    Form {
        /// The event's type.
        event_type: String,
        /// What is wrong.
        error: serde_json::Error,
    },
}

impl Envelope {
    /// The one way to make an event.
    #[must_use]
    pub fn new<P: Payload>(kind: EventKind, event_id: String, origin: Origin<'_>, payload: &P) -> Self {
        debug_assert!(P::EVENT_TYPES.contains(&kind.name()), "{} is not what {kind:?} carries", P::NAME);
        Self {
            event_id,
            event_type: kind.name().into(),
            subject: kind.subject(),
            timestamp: text::rfc3339(origin.at_ms),
            source_service: origin.service.into(),
            target_service: None,
            constitutional_hash: origin.constitutional_hash.to_owned(),
            priority: kind.priority().into(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            // Payloads are structs of names, numbers and texts: nothing in them can fail.
            payload: serde_json::to_value(payload).unwrap_or_default(),
            previous_digest: None,
        }
    }

    /// With what it belongs to; an empty id is none.
    #[must_use]
    pub fn about(mut self, correlation_id: &str) -> Self {
        self.correlation_id = Some(correlation_id.to_owned()).filter(|id| !id.is_empty());
        self
    }

    /// With the event that led to it; an empty id is none.
    #[must_use]
    pub fn caused_by(mut self, event_id: &str) -> Self {
        self.causation_id = Some(event_id.to_owned()).filter(|id| !id.is_empty());
        self
    }

    /// With the trace that it happened in.
    #[must_use]
    pub fn traced(mut self, traceparent: Option<&str>) -> Self {
        self.traceparent = traceparent.map(str::to_owned);
        self
    }

    /// Whether this is one of a payload's events.
    #[must_use]
    pub fn carries<P: Payload>(&self) -> bool {
        P::EVENT_TYPES.contains(&self.event_type.as_str())
    }

    /// What it says.
    ///
    /// # Errors
    /// When it is of another kind, or cannot be read.
    pub fn read<P: Payload>(&self) -> Result<P, PayloadError> {
        if !self.carries::<P>() {
            return Err(PayloadError::Type(self.event_type.clone()));
        }
        P::deserialize(&self.payload)
            .map_err(|error| PayloadError::Form { event_type: self.event_type.clone(), error })
    }
}

/// The W3C trace context of a call, `00-<trace>-<span>-<flags>`: what the events that the call leads to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(pub Arc<str>);
