//! What is decided on top of a state, command by command, and not yet written. It must not know who writes.

use std::{collections::HashMap, sync::Arc};

use crate::{
    command::Command,
    decide::{Answer, Limits, Order, Refusal, View, decide},
    event::Event,
    model::Model,
    state::{Counts, State},
};

/// What is decided on top of a state and not yet written.
#[derive(Clone, Debug)]
pub struct Working {
    models: HashMap<Arc<str>, Arc<Model>>,
    counts: Counts,
    running: usize,
    known: usize,
}

impl Working {
    /// On this state: each decision sees what those before it decided.
    #[must_use]
    pub fn on(state: &State) -> Self {
        let (running, known) = (state.running(), state.models_count());
        Self { models: HashMap::new(), counts: state.counts().clone(), running, known }
    }

    /// Hands over to the state what was decided, once it is written.
    pub fn commit(self, state: &mut State) {
        state.commit(self.models, self.counts);
    }

    /// Decides a command and keeps what it makes of its model.
    ///
    /// # Errors
    /// When it is refused; then nothing has changed.
    pub fn decide(
        &mut self,
        state: &State,
        limits: &Limits,
        order: &Order,
        model_id: &str,
        command: Command,
    ) -> Result<(Vec<Event>, Answer), Refusal> {
        let known = self.models.get(model_id).or_else(|| state.model(model_id));
        let was_running = known.is_some_and(|model| model.running().is_some());
        let view = View {
            model: known.cloned(),
            counts: self.counts.clone(),
            running_elsewhere: self.running - usize::from(was_running),
            models: self.known,
        };
        let decision = decide(&view, limits, order, model_id, command)?;
        self.counts = decision.counts;
        if let Some(model) = decision.model {
            self.running = view.running_elsewhere + usize::from(model.running().is_some());
            self.known += usize::from(view.model.is_none());
            self.models.insert(decision.model_id, model);
        }
        Ok((decision.events, decision.answer))
    }
}
