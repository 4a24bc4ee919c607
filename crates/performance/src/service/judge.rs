//! The lane judge: the domain behind the lane protocol.

use acgs_columns::RecordBatch;
use acgs_judge_kit::{alarm::Budget, monitoring::Monitors};
use acgs_lane::{Assessment, Assessor, Carried, Epochs, Fed, Feed, PaneJudge, message::Open};
use acgs_reference::{answers::declared_kind, message, season::Season};
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
    beside::Beside,
    config::Config,
    estimated::Estimated,
    findings,
    pane::PerformancePane,
    report,
    roles::Roles,
    sequential::{Expected, Monitor},
    sliced,
};

/// Moves of the watermark after which a key of which nothing is heard tells no more.
const TELLER_TICKS: u64 = 16;

/// Says what a pane holds and what a window comes to.
#[derive(Clone, Debug)]
pub struct PerformanceAssessor {
    config: Config,
    monitors: Option<Monitors<Gathered>>,
}

/// Which columns matter, and the reference's loss.
#[derive(Clone, Debug)]
pub struct Plan {
    service_id: String,
    roles: Roles,
    expected: Option<Expected>,
    /// `None` when nothing is monitored.
    budget: Option<Budget>,
}

/// The monitor of a lane's stream: all keys together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carry {
    monitor: Monitor,
    /// Whether anything has come since the last look.
    waits: bool,
    /// Whether the stream has keys.
    keyed: bool,
    /// Times that the watermark has moved.
    ticks: u64,
    /// The key whose windows tell of the whole stream, and when it was heard of last.
    teller: Option<(String, u64)>,
}

/// A judge for one lane.
#[must_use]
pub fn judge(config: Config) -> PaneJudge<PerformanceAssessor> {
    PaneJudge::new(PerformanceAssessor { config, monitors: None })
}

/// A judge for one lane whose rows monitors see too, and which lanes of newer epochs end.
#[must_use]
pub fn monitored(
    config: Config,
    monitors: Monitors<Gathered>,
    epochs: Epochs,
) -> PaneJudge<PerformanceAssessor> {
    PaneJudge::new(PerformanceAssessor { config, monitors: Some(monitors) })
        .fenced(epochs)
        .within(&budget::process().of(Use::Panes))
}

impl Assessor for PerformanceAssessor {
    type Plan = Plan;
    type Pane = PerformancePane;
    type Carry = Carry;

    const FEED: Feed = Feed::Settled;

    fn plan(&self, open: &Open, configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem> {
        let reference = configs.iter().find(|(kind, _)| kind == "reference");
        let reference = reference.map(|(_, content)| message::decode(content)).transpose()?;
        let declared = reference.as_ref().and_then(|reference| reference.positive_label.clone());
        let said = reference
            .as_ref()
            .and_then(|reference| Some((reference.baseline.as_ref()?.kind, reference.said_losses.clone())));
        let expected = reference.and_then(|reference| {
            // A loss of a few rows is nothing to be measured by.
            let is_sound = |it: f64| it.is_finite() && it >= 0.0;
            let enough = reference.baseline.filter(|it| {
                let is_quantile = it.quantile.is_none_or(|quantile| quantile > 0.0 && quantile < 1.0);
                let sound = is_sound(it.loss) && is_sound(it.loss_standard_error) && is_quantile;
                it.labelled_count >= self.config.labelled_min && sound
            });
            let declared = declared_kind(&open.schema);
            let (phases, slices) = (reference.loss_phases, reference.slices);
            enough.map(|baseline| Expected { baseline, phases, declared, slices })
        });
        let season = expected.as_ref().map_or(Season::None, |expected| expected.phases.season);
        let quantile = expected.as_ref().and_then(|expected| expected.baseline.quantile);
        let roles = Roles::new(&open.schema).in_season(season).or_declared(declared, quantile);
        let same_quantile = expected.as_ref().is_some_and(|it| roles.same_quantile(&it.baseline));
        let same_kind = |kind| same_quantile && roles.declared().is_none_or(|declared| declared == kind);
        let roles = match said.filter(|(kind, _)| expected.is_some() && same_kind(*kind)) {
            Some((kind, said)) => roles.clone().with_said(kind, said),
            None => roles.clone(),
        };
        let can_be_measured =
            expected.as_ref().filter(|it| it.baseline.loss > 0.0 && same_kind(it.baseline.kind));
        let budget = can_be_measured.filter(|_| !open.once).and_then(|_| self.config.budget(open.pane_ms));
        Ok(Plan { service_id: open.service_id.clone(), roles, expected, budget })
    }

    fn pane(&self, _plan: &Self::Plan, labels_only: bool) -> Self::Pane {
        PerformancePane { labels_only, ..PerformancePane::default() }
    }

    fn heap_bytes(&self, pane: &Self::Pane) -> usize {
        pane.heap_bytes()
    }

    fn fits(&self, plan: &Self::Plan, pane: &Self::Pane) -> bool {
        pane.is_sound(&plan.roles)
    }

    fn carries(&self, plan: &Self::Plan, carry: &Self::Carry) -> bool {
        carry.monitor.fits(plan.roles.said_cells(), |labelled| labelled.is_sound(&plan.roles))
    }

    fn bears_labels(&self, _plan: &Self::Plan, pane: &Self::Pane) -> bool {
        pane.bears_labels()
    }

    fn feed(&self, plan: &Self::Plan, carry: &mut Self::Carry, fed: Fed<'_, Self::Pane>) {
        if plan.budget.is_none() {
            return;
        }
        carry.monitor.wait(fed.held);
        carry.waits = true;
        if !fed.key.is_empty() {
            carry.keyed = true;
            if fed.window.is_some() {
                carry.heard(fed.key);
            }
        }
    }

    fn given(&self, plan: &Self::Plan, carry: &mut Self::Carry) {
        // The stream is all keys together, when the watermark moves on.
        if !carry.keyed {
            self.look(plan, carry);
        }
    }

    fn tick(&self, plan: &Self::Plan, carry: &mut Self::Carry, _watermark_ms: i64) {
        carry.ticks += 1;
        self.look(plan, carry);
    }

    fn push(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch, _partition: &str) {
        pane.push(&plan.roles, rows);
    }

    fn retract(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch) {
        pane.retract(&plan.roles, rows);
    }

    fn noticed(&self, plan: &Self::Plan, pane: &Self::Pane, rows: &RecordBatch) {
        // The rows of such a pane were seen before; only their labels are new.
        if let Some(monitors) = self.monitors.as_ref().filter(|_| !pane.labels_only) {
            let baseline = plan.expected.as_ref().map(|expected| expected.baseline);
            monitor::gather_rows(monitors, &plan.service_id, &plan.roles, baseline, rows);
        }
    }

    fn merge(&self, _plan: &Self::Plan, pane: &mut Self::Pane, other: &Self::Pane) {
        pane.merge(other);
    }

    fn evaluate(
        &self,
        plan: &Self::Plan,
        pane: &Self::Pane,
        carried: &Carried<Self::Carry>,
        window: &Window,
    ) -> Assessment {
        if !plan.roles.any() {
            let reason = "no latency, no error, and no score or prediction with labels";
            return Assessment::without(VerdictStatus::NotApplicable, reason);
        }
        let span_ms = window.end_ms.saturating_sub(window.start_ms);
        let standing = pane.standing();
        let beside = plan.expected.as_ref().zip(standing.as_deref());
        let beside = beside.map_or_else(Beside::default, |(expected, labelled)| expected.beside(labelled));
        let mut report = report::report(&self.config, &plan.roles, pane, beside, span_ms);
        report.monitor = plan.expected.as_ref().zip(plan.budget).map(|(expected, budget)| {
            let tells = carried.carry.tells(&window.key);
            carried.carry.monitor.state(&self.config, expected, budget, tells)
        });
        if let (Some(kind), Some(labelled)) = (report.kind, standing.as_deref()) {
            let known = plan.expected.as_ref().map_or(&[] as &[_], |expected| &expected.slices);
            report.slices = sliced::slices(&self.config, &plan.roles.slices, labelled, (beside, kind), known);
        }
        report.estimated = plan.roles.said().zip(plan.expected.as_ref()).and_then(|(said, expected)| {
            let record = carried.carry.monitor.record(&self.config, expected, said);
            let time = (window.start_ms, window.end_ms);
            let reference = (expected.at(time), expected.design_effect(pane.row_count, time));
            Estimated::of(&self.config, said, &pane.said, reference, record)
        });
        Assessment {
            status: VerdictStatus::Ok,
            reason: String::new(),
            findings: findings::findings(&self.config, &report),
            report: report_message::report(&report).encode_to_vec().into(),
        }
    }
}

impl PerformanceAssessor {
    fn look(&self, plan: &Plan, carry: &mut Carry) {
        let (Some(expected), Some(budget)) = (&plan.expected, plan.budget) else { return };
        if std::mem::take(&mut carry.waits) {
            carry.monitor.look_when_enough(&self.config, expected, plan.roles.said(), budget);
        }
    }
}

impl Carry {
    /// Whether the windows of a key tell of the whole stream.
    fn tells(&self, key: &str) -> bool {
        !self.keyed || self.teller.as_ref().is_some_and(|(teller, _)| teller == key)
    }

    /// A window of a key is settled and about to be judged: it tells of the stream when the one that did has gone.
    fn heard(&mut self, key: &str) {
        match &mut self.teller {
            Some((teller, last)) if teller == key => *last = self.ticks,
            Some((_, last)) if self.ticks.saturating_sub(*last) <= TELLER_TICKS => {}
            teller => *teller = Some((key.to_owned(), self.ticks)),
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "kinds_tests.rs"]
mod kinds_tests;

#[cfg(test)]
#[path = "decay_tests.rs"]
mod decay_tests;

#[cfg(test)]
#[path = "estimated_tests.rs"]
mod estimated_tests;

#[cfg(test)]
#[path = "outputs_tests.rs"]
mod outputs_tests;
