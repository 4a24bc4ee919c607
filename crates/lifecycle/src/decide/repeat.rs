//! Wishes that come again: a retried call, two people with one thought. They are answered as before and do nothing. It must not know
//! what a wish does.

use std::sync::Arc;

use super::{Answer, Refusal, draft::Draft};
use crate::{
    command::Command,
    deployment::{Deployment, Phase},
    event::{Answered, Change},
    model::Kept,
};

/// Within this time two hands had one thought; later it is another wish.
const REPEAT_MS: i64 = 600_000;

/// A wish that moves traffic, a stage or what is in force.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    name: &'static str,
    about: String,
    /// The same is a repetition until traffic has moved.
    is_once: bool,
}

impl Draft<'_> {
    pub(super) fn wish(&self, command: &Command) -> Option<Wish> {
        let is_once = command.is_once(&self.order.request_id);
        command.moves().map(|(name, about)| Wish { name, about, is_once })
    }

    /// What was answered when the wish came before.
    pub(super) fn answered(&self, wish: &Option<Wish>) -> Result<Option<Answer>, Refusal> {
        let Some(wish) = wish else { return Ok(None) };
        let (id, model) = (&self.order.request_id, &self.model);
        let is_same = |kept: &&Kept| kept.answered.command == wish.name && kept.answered.about == wish.about;
        let by_id = model.answers.iter().rev().find(|kept| !id.is_empty() && kept.answered.request_id == *id);
        if let Some(other) = by_id.filter(|kept| !is_same(kept)) {
            let was = format!("{} {}", other.answered.command, other.answered.about);
            return Err(Refusal::RequestReused { id: id.clone(), was: was.trim_end().to_owned() });
        }
        // What is open and not on its way back is what a rollback is for.
        let is_for_it = |open: &Arc<Deployment>| wish.name == "rollback" && open.phase != Phase::Aborting;
        let stands = |kept: &&Kept| {
            kept.champion == model.champion
                && kept.newest_deployment == model.newest_deployment()
                && self.order.now_ms.saturating_sub(kept.at_ms) < REPEAT_MS
                && !model.deployment().is_some_and(is_for_it)
        };
        let last = || model.answers.iter().rev().filter(|_| wish.is_once).find(is_same).filter(stands);
        let kept = by_id.or_else(last);
        Ok(kept.map(|kept| match kept.answered.deployment {
            0 => Answer::Done,
            number => Answer::Deployment(number),
        }))
    }

    /// Remembers a wish that was granted. What was refused may be asked again.
    pub(super) fn remember(&mut self, wish: Option<Wish>, answer: &Answer) -> Result<(), Refusal> {
        let Some(wish) = wish.filter(|wish| wish.is_once || !self.order.request_id.is_empty()) else {
            return Ok(());
        };
        let deployment = if let Answer::Deployment(number) = answer { *number } else { 0 };
        let answered = Answered {
            request_id: self.order.request_id.clone(),
            command: wish.name.to_owned(),
            about: wish.about,
            deployment,
        };
        self.push(Change::Answered(Box::new(answered)), Vec::new())
    }
}
