//! A call while it lasts, and what its end tells. It must not know where it goes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use acgs_mesh::admission::connection::OpenCall;
use acgs_vocabulary::Problem;
use bytes::Bytes;
use tonic::Code;

use crate::{
    body::{Ending, Fault},
    capture::{Captured, Captures},
    counts::{Arm, End},
    deadline::is_past,
    shadow::{Copies, Shadowed},
    stats::Stats,
};

/// Calls that have said nothing yet, for each that may be in flight.
const UNHEARD_FACTOR: usize = 4;
/// When a busy gateway may be asked again.
const BUSY_MS: u64 = 100;

/// A call in flight, and its part of its connection.
#[derive(Debug)]
pub(super) struct InFlight {
    stats: Arc<Stats>,
    _open: OpenCall,
}

impl InFlight {
    /// A call that has said what it asks for takes its place.
    pub(super) fn begin(stats: &Arc<Stats>, most: usize, open: OpenCall) -> Result<Self, Problem> {
        let before = stats.in_flight.fetch_add(1, Ordering::Relaxed);
        let in_flight = Self { stats: Arc::clone(stats), _open: open };
        if before >= most {
            return Err(Problem::exhausted("GATEWAY_BUSY", format!("{most} calls are in flight"), BUSY_MS));
        }
        Ok(in_flight)
    }
}

/// A call that has said nothing yet.
#[derive(Debug)]
pub(super) struct Unheard(Arc<Stats>);

impl Unheard {
    /// It takes no place of those that have said what they ask for, but there is an end to them, too.
    pub(super) fn begin(stats: &Arc<Stats>, calls_max: usize) -> Result<Self, Problem> {
        let most = calls_max.saturating_mul(UNHEARD_FACTOR);
        let before = stats.unheard.fetch_add(1, Ordering::Relaxed);
        let unheard = Self(Arc::clone(stats));
        if before >= most {
            return Err(Problem::exhausted(
                "GATEWAY_BUSY",
                format!("{most} calls have said nothing yet"),
                BUSY_MS,
            ));
        }
        Ok(unheard)
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        self.0.unheard.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.stats.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the end of a call tells.
pub(super) struct Call {
    pub(super) _in_flight: InFlight,
    pub(super) arm: Option<Arc<Arm>>,
    pub(super) since: Instant,
    pub(super) shadowed: Option<(Copies, Shadowed)>,
    pub(super) captured: Option<(Captures, Captured)>,
    pub(super) deadline: Option<tokio::time::Instant>,
    pub(super) fault: Arc<Fault>,
    pub(super) over: bool,
}

impl Call {
    /// How the answer may be compressed.
    pub(super) fn is_answered_in(&mut self, encoding: Option<String>) {
        if let Some((_, captured)) = &mut self.captured {
            captured.answer_encoding.clone_from(&encoding);
        }
        if let Some((_, shadowed)) = &mut self.shadowed {
            shadowed.answer_encoding = encoding;
        }
    }
}

impl Ending for Call {
    fn ended(&mut self, end: End, noted: Option<Vec<Bytes>>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        // A client has a timer of its own, which may be a moment earlier than ours.
        let late = self.deadline.is_some_and(is_past);
        let end = match end {
            End::Said(Code::Ok) => end,
            _ if self.fault.is_too_large() => End::Void,
            End::Left if late => End::Said(Code::DeadlineExceeded),
            End::Said(_) if self.fault.has_broken_off() => End::Left,
            _ => end,
        };
        let took = self.since.elapsed();
        if let Some(arm) = &self.arm {
            arm.called(end, took);
        }
        // A caller that waits no more says nothing about the answer.
        let End::Said(code) = end else { return };
        if let Some((captures, captured)) = self.captured.take() {
            captures.take(captured, code, noted.clone(), took.as_secs_f64() * 1_000.0);
        }
        if let Some((copies, shadowed)) = self.shadowed.take() {
            copies.send(shadowed, code, noted);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Its caller went before there was an answer.
        self.ended(End::Left, None);
    }
}
