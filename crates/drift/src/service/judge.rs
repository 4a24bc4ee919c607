//! The lane judge: the domain behind the lane protocol.

use std::{collections::BTreeMap, sync::Arc};

use acgs_columns::{RecordBatch, Role};
use acgs_contracts::drift::v1 as proto;
use acgs_judge_kit::{alarm::Budget, monitoring::Monitors};
use acgs_lane::{Assessment, Assessor, Carried, Epochs, Fed, Feed, PaneJudge, message::Open};
use acgs_reference::{counts::PaneCounts, message, places::Places, season::has_time_of_year};
use acgs_vocabulary::{
    Finding, Problem, VerdictStatus, Window,
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
    detect::{self, Report},
    findings,
    frozen::Frozen,
    partitions::PartitionedCounts,
    recent::{Before, Recent, Span},
    schema_changes::{self, SchemaChange},
    sequential::{Monitor, MonitorState},
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
    /// Where windows are compared with the rows before them.
    span: Option<Span>,
    has_keys: bool,
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
    /// Rows before windows, where they are compared with those.
    recent: Recent,
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
    type Pane = PartitionedCounts;
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
        let budget = if open.once { None } else { self.config.budget(open.pane_ms, monitors) };
        let span = Span::new(open.recent_ms, &reference);
        let has_keys = open.schema.index_of_role(Role::Key).is_some();
        let frozen = Frozen::new(reference);
        let against = Against { frozen, places, changes, budget, span, has_keys };
        Ok(Plan { against: Some(against), model_id })
    }

    fn pane(&self, plan: &Self::Plan, _labels_only: bool) -> Self::Pane {
        PartitionedCounts::new(plan.no_rows())
    }

    fn heap_bytes(&self, pane: &Self::Pane) -> usize {
        pane.heap_bytes()
    }

    fn fits(&self, plan: &Self::Plan, pane: &Self::Pane) -> bool {
        pane.has_the_form_of(&plan.no_rows())
    }

    fn push(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch, partition: &str) {
        match &plan.against {
            Some(against) => {
                // Where rows have keys, those are told.
                let partition = if against.has_keys { "" } else { partition };
                pane.push(&against.frozen.reference, &against.places, rows, partition);
            }
            None => pane.count(rows.rows()),
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
        carry.recent.fits(against.span, &against.no_rows())
            && carry.whole.fits(&against.frozen)
            && carry.keys.iter().all(|(key, own)| self.has_own_monitor(key) && own.fits(&against.frozen))
    }

    fn feed(&self, plan: &Self::Plan, carry: &mut Self::Carry, fed: Fed<'_, Self::Pane>) {
        let Some(Against { frozen, budget, span, .. }) = &plan.against else { return };
        if let (Some(span), Some(window)) = (span, fed.window) {
            carry.recent.take(*span, fed.key, window.end_ms, &fed.held.all());
            return;
        }
        let Some(budget) = budget else { return };
        if fed.key.is_empty() {
            carry.whole.take(&self.config, frozen, *budget, fed.held);
            return;
        }
        // Keys differ from each other: the stream is all of them together, when the watermark moves on.
        carry.keyed = true;
        carry.whole.wait_of(fed.key, &fed.held.all());
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
        let pane = &*pane.all();
        let Some(against) = &plan.against else {
            return Assessment::without(VerdictStatus::NotApplicable, "no reference");
        };
        if pane.row_count < self.config.rows_min {
            let reason = format!("{} rows, at least {}", pane.row_count, self.config.rows_min);
            return Assessment::without(VerdictStatus::Insufficient, reason);
        }
        let Some(span) = against.span else {
            let state = against.budget.map(|budget| carried.carry.state(&window.key, budget));
            return self.beside_reference(against, pane, state, window);
        };
        match carried.carry.recent.before(span, &window.key, window.start_ms, &self.config) {
            Ok(before) => self.beside_rows_before(against, pane, &before, &carried.carry.recent),
            Err(reason) => Assessment::without(VerdictStatus::Insufficient, reason),
        }
    }
}

impl DriftAssessor {
    fn beside_reference(
        &self,
        against: &Against,
        pane: &PaneCounts,
        state: Option<MonitorState>,
        window: &Window,
    ) -> Assessment {
        let reference = &against.frozen.reference;
        let mut report = detect::report(&self.config, &against.frozen, pane, |_| None);
        against.of_schema(pane, &mut report);
        let middle_ms = window.start_ms + window.end_ms.saturating_sub(window.start_ms) / 2;
        report.season_known = (reference.timed_count > 0)
            .then(|| has_time_of_year(reference.from_ms, reference.until_ms, middle_ms));
        if let Some(state) = state {
            report.monitored(&against.frozen, pane, state);
        }
        assessment(
            findings::findings(&self.config, &report),
            &report_message::report(&self.config, &report, reference),
        )
    }

    /// No evidence is gathered where what is compared with changes: alerts come from windows that are as rare as the budget has it.
    fn beside_rows_before(
        &self,
        against: &Against,
        pane: &PaneCounts,
        before: &Before,
        recent: &Recent,
    ) -> Assessment {
        let reference = &against.frozen.reference;
        let (frozen, pane) = (before.frozen(reference), before.comparable(pane));
        let judge = |alpha: f64| {
            let config = Config { alpha, ..(*self.config).clone() };
            let mut report = detect::report(&config, &frozen, &pane, |_| None);
            against.of_schema(&pane, &mut report);
            report.assume(&before.assumption(reference));
            report
        };
        let mut message = report_message::report(&self.config, &judge(self.config.alpha), reference);
        let alert_level = against.budget.map(|budget| recent.alert_level(budget));
        message.compared = Some(proto::ComparedRows {
            from_ms: before.from_ms,
            until_ms: before.until_ms,
            row_count: before.counts.row_count,
            alert_level,
        });
        let rare = judge(alert_level.unwrap_or(self.config.alpha));
        assessment(findings::findings(&self.config, &rare), &message)
    }
}

impl Plan {
    fn no_rows(&self) -> PaneCounts {
        self.against.as_ref().map_or_else(PaneCounts::default, Against::no_rows)
    }
}

impl Against {
    fn no_rows(&self) -> PaneCounts {
        PaneCounts::new(&self.frozen.reference)
    }

    fn of_schema(&self, pane: &PaneCounts, report: &mut Report) {
        report.schema_changes.clone_from(&self.changes);
        report.schema_changes.extend(schema_changes::of_values(&self.frozen.reference, &self.places, pane));
    }
}

fn assessment(findings: Vec<Finding>, report: &proto::DriftReport) -> Assessment {
    Assessment {
        status: VerdictStatus::Ok,
        reason: String::new(),
        findings,
        report: report.encode_to_vec().into(),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
