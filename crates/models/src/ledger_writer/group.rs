//! The commands that wait, as many as go into one entry, decided in their order. It must not know the ledger.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher,
    sync::PoisonError,
};

use acgs_lifecycle::{Answer, Change, Event, Order, Working};
use acgs_vocabulary::Problem;

use super::{Request, Task};
use crate::refusals::problem;

/// Events of one entry; with what a command adds it stays below the ledger's bound.
const EVENTS_MAX: usize = 256;
/// Bytes of events of one entry, roughly.
const ENTRY_BYTES: usize = 128 * 1024;

/// Commands that go into one entry, decided one after another.
pub(super) struct Group {
    pub(super) working: Working,
    pub(super) events: Vec<Event>,
    /// For the first of those that wait.
    pub(super) answers: Vec<Result<Answer, Problem>>,
}

/// About how long an event is when it is written; the long ones are measured.
fn size_hint(event: &Event) -> usize {
    match &event.change {
        Change::PolicyPut { .. } | Change::VersionRegistered(_) | Change::GatesJudged { .. } => {
            serde_json::to_vec(event).map_or(0, |bytes| bytes.len())
        }
        _ => 512,
    }
}

impl Task {
    /// Decides what waits until an entry is full.
    pub(super) fn decide(&mut self, waiting: &VecDeque<Request>, now_ms: i64) -> Group {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        self.time.look(&known.state);
        let mut group = Group { working: Working::on(&known.state), events: Vec::new(), answers: Vec::new() };
        let mut bytes = 0;
        let mut actors: HashMap<&str, Order> = HashMap::new();
        for request in waiting {
            let order = actors.entry(&request.actor).or_insert_with(|| Order {
                now_ms,
                actor: request.actor.clone(),
                request_id: String::new(),
                jitter: 0.0,
                silent: false,
            });
            order.request_id.clone_from(&request.request_id);
            let seed = self.random.hash_one((self.sequence, group.answers.len()));
            order.jitter = (seed >> 11) as f64 / (1_u64 << 53) as f64;
            order.silent = self.time.is_silent(&known.state, &request.model_id, self.parts.limits.lease_ms);
            let command = request.command.clone();
            let decided =
                group.working.decide(&known.state, &self.parts.limits, order, &request.model_id, command);
            match decided {
                Ok((events, answer)) => {
                    bytes += events.iter().map(size_hint).sum::<usize>();
                    group.events.extend(events);
                    group.answers.push(Ok(answer));
                }
                Err(refusal) => group.answers.push(Err(problem(&refusal))),
            }
            if bytes > ENTRY_BYTES || group.events.len() >= EVENTS_MAX {
                break;
            }
        }
        group
    }
}

/// Answers the first of those that wait.
pub(super) fn answer_all(waiting: &mut VecDeque<Request>, answers: Vec<Result<Answer, Problem>>) {
    for (request, answer) in waiting.drain(..answers.len()).zip(answers) {
        let _caller_left = request.reply.send(answer);
    }
}

/// Refuses the first so many.
pub(super) fn refuse_all(waiting: &mut VecDeque<Request>, count: usize, problem: &Problem) {
    for request in waiting.drain(..count) {
        let _caller_left = request.reply.send(Err(problem.clone()));
    }
}
