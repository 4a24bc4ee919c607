//! The lane judge: the domain behind the lane protocol.

use std::{collections::BTreeMap, sync::Arc};

use acgs_columns::RecordBatch;
use acgs_judge_kit::monitoring::Monitors;
use acgs_lane::{Assessment, Assessor, Carried, Epochs, Fed, Feed, PaneJudge, message::Open};
use acgs_reference::{counts::PaneCounts, message, places::Places, season::has_time_of_year};
use acgs_vocabulary::{
    Problem, VerdictStatus, Window,
    budget::{self, Use},
};
use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::{
    monitor::{self, Gathered},
    report_message,
};
use crate::{
    config::{Config, MONITOR_KEYS_MAX},
    detect, findings,
    frozen::Frozen,
    schema_changes::{self, SchemaChange},
    sequential::{Budget, Monitor, MonitorState},
};

/// Says what a pane holds and what a window comes to.
#[derive(Clone, Debug)]
pub struct DriftAssessor {
    config: Arc<Config>,
    monitors: Option<Monitors<Gathered>>,
}

/// What a lane is judged by.
#[derive(Debug)]
pub struct Plan {
    /// `None` when the lane has no reference.
    against: Option<Against>,
    model_id: String,
}

/// A reference, where its features are in the rows, and what the schema says by itself.
#[derive(Debug)]
struct Against {
    frozen: Frozen,
    places: Places,
    changes: Vec<SchemaChange>,
    /// `None` when nothing is monitored.
    budget: Option<Budget>,
}

/// Monitors of a lane: of the whole stream, and of the keys that have their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carry {
    whole: Monitor,
    keys: BTreeMap<String, Monitor>,
    /// The first of the keys since the watermark moved, and of those before: its windows tell of the whole stream.
    teller: Option<String>,
    next_teller: Option<String>,
    /// Whether the stream has keys.
    keyed: bool,
}

/// A judge for one lane.
#[must_use]
pub fn judge(config: Config) -> PaneJudge<DriftAssessor> {
    PaneJudge::new(DriftAssessor { config: Arc::new(config), monitors: None })
}

/// A judge for one lane whose rows monitors see too, and which lanes of newer epochs end.
#[must_use]
pub fn monitored(
    config: Arc<Config>,
    monitors: Monitors<Gathered>,
    epochs: Epochs,
) -> PaneJudge<DriftAssessor> {
    PaneJudge::new(DriftAssessor { config, monitors: Some(monitors) })
        .fenced(epochs)
        .within(&budget::process().of(Use::Panes))
}

impl DriftAssessor {
    fn has_own_monitor(&self, key: &str) -> bool {
        !key.is_empty() && self.config.monitor_keys.iter().take(MONITOR_KEYS_MAX).any(|own| own == key)
    }
}

impl Carry {
    /// What the monitor of a window's rows says.
    fn state(&self, key: &str, budget: Budget) -> MonitorState {
        match self.keys.get(key) {
            Some(own) => own.state(budget, true),
            None => self.whole.state(budget, !self.keyed || self.teller.as_deref() == Some(key)),
        }
    }
}

impl Assessor for DriftAssessor {
    type Plan = Plan;
    type Pane = PaneCounts;
    type Carry = Carry;

    const FEED: Feed = Feed::OnTime;

    fn plan(&self, open: &Open, configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem> {
        let model_id = open.model_id.clone();
        let Some((_, content)) = configs.iter().find(|(kind, _)| kind == "reference") else {
            return Ok(Plan { against: None, model_id });
        };
        let reference = Arc::new(message::decode(content)?);
        let places = Places::new(&reference, &open.schema);
        let changes = schema_changes::of_schema(&reference, &places, &open.schema);
        let monitors = 1 + self.config.monitor_keys.len().min(MONITOR_KEYS_MAX);
        let budget = Budget::new(&self.config, open.pane_ms, monitors);
        let against = Against { frozen: Frozen::new(reference), places, changes, budget };
        Ok(Plan { against: Some(against), model_id })
    }

    fn pane(&self, plan: &Self::Plan, _labels_only: bool) -> Self::Pane {
        let against = plan.against.as_ref();
        against.map_or_else(PaneCounts::default, |against| PaneCounts::new(&against.frozen.reference))
    }

    fn heap_bytes(&self, pane: &Self::Pane) -> usize {
        pane.heap_bytes()
    }

    fn fits(&self, plan: &Self::Plan, pane: &Self::Pane) -> bool {
        pane.has_the_form_of(&self.pane(plan, false))
    }

    fn push(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch) {
        match &plan.against {
            Some(against) => pane.push_at(&against.frozen.reference, &against.places, rows),
            None => pane.row_count += rows.rows() as u64,
        }
    }

    fn noticed(&self, plan: &Self::Plan, _pane: &Self::Pane, rows: &RecordBatch) {
        if let (Some(monitors), Some(against)) = (&self.monitors, &plan.against) {
            monitor::gather(monitors, &plan.model_id, &against.frozen.reference, rows);
        }
    }

    fn merge(&self, _plan: &Self::Plan, pane: &mut Self::Pane, other: &Self::Pane) {
        pane.merge(other);
    }

    fn carries(&self, plan: &Self::Plan, carry: &Self::Carry) -> bool {
        let Some(against) = &plan.against else { return *carry == Carry::default() };
        carry.whole.fits(&against.frozen)
            && carry.keys.iter().all(|(key, own)| self.has_own_monitor(key) && own.fits(&against.frozen))
    }

    fn feed(&self, plan: &Self::Plan, carry: &mut Self::Carry, fed: Fed<'_, Self::Pane>) {
        let Some(Against { frozen, budget: Some(budget), .. }) = &plan.against else { return };
        if fed.key.is_empty() {
            carry.whole.take(&self.config, frozen, *budget, fed.held);
            return;
        }
        // Keys differ from each other: the stream is all of them together, when the watermark moves on.
        carry.keyed = true;
        carry.whole.wait(fed.held);
        if carry.next_teller.as_deref().is_none_or(|teller| fed.key < teller) {
            carry.next_teller = Some(fed.key.to_owned());
        }
        if self.has_own_monitor(fed.key) {
            let own = carry.keys.entry(fed.key.to_owned()).or_default();
            own.take(&self.config, frozen, *budget, fed.held);
        }
    }

    fn tick(&self, plan: &Self::Plan, carry: &mut Self::Carry, _watermark_ms: i64) {
        let Some(Against { frozen, budget: Some(budget), .. }) = &plan.against else { return };
        if carry.next_teller.is_some() {
            carry.teller = carry.next_teller.take();
            carry.whole.look_when_enough(&self.config, frozen, *budget);
        }
    }

    fn evaluate(
        &self,
        plan: &Self::Plan,
        pane: &Self::Pane,
        carried: &Carried<Self::Carry>,
        window: &Window,
    ) -> Assessment {
        let Some(Against { frozen, places, changes, budget }) = &plan.against else {
            return Assessment::without(VerdictStatus::NotApplicable, "no reference");
        };
        if pane.row_count < self.config.rows_min {
            let reason = format!("{} rows, at least {}", pane.row_count, self.config.rows_min);
            return Assessment::without(VerdictStatus::Insufficient, reason);
        }
        let mut report = detect::report(&self.config, frozen, pane, |_| None);
        report.schema_changes.clone_from(changes);
        report.schema_changes.extend(schema_changes::of_values(&frozen.reference, places, pane));
        let reference = &frozen.reference;
        let middle_ms = window.start_ms + window.end_ms.saturating_sub(window.start_ms) / 2;
        report.season_known = (reference.timed_count > 0)
            .then(|| has_time_of_year(reference.from_ms, reference.until_ms, middle_ms));
        if let Some(budget) = budget {
            report.monitored(frozen, pane, carried.carry.state(&window.key, *budget));
        }
        let message = report_message::report(&self.config, &report, &frozen.reference);
        Assessment {
            status: VerdictStatus::Ok,
            reason: String::new(),
            findings: findings::findings(&self.config, &report),
            report: message.encode_to_vec().into(),
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
