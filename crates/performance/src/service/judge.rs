//! The lane judge: the domain behind the lane protocol.

use acgs_columns::RecordBatch;
use acgs_judge_kit::monitoring::Monitors;
use acgs_lane::{Assessment, Assessor, Carried, Epochs, PaneJudge, message::Open};
use acgs_reference::{LossBaseline, message};
use acgs_vocabulary::{
    Problem, VerdictStatus, Window,
    budget::{self, Use},
};
use bytes::Bytes;
use prost::Message;

use super::{
    monitor::{self, Gathered},
    report_message,
};
use crate::{
    config::Config,
    pane::{PerformancePane, Roles},
    report,
};

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
    baseline: Option<LossBaseline>,
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
    type Carry = ();

    fn plan(&self, open: &Open, configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem> {
        let reference = configs.iter().find(|(kind, _)| kind == "reference");
        let baseline = match reference {
            Some((_, content)) => message::decode(content)?.baseline,
            None => None,
        };
        // A loss of a few rows is nothing to be measured by.
        let baseline = baseline.filter(|baseline| baseline.labelled_count >= self.config.labelled_min);
        Ok(Plan { service_id: open.service_id.clone(), roles: Roles::new(&open.schema), baseline })
    }

    fn pane(&self, _plan: &Self::Plan, labels_only: bool) -> Self::Pane {
        PerformancePane { labels_only, ..PerformancePane::default() }
    }

    fn heap_bytes(&self, pane: &Self::Pane) -> usize {
        pane.heap_bytes()
    }

    fn fits(&self, _plan: &Self::Plan, pane: &Self::Pane) -> bool {
        let sums = pane.latency.is_sound() && pane.answers.is_sound();
        sums && pane.latency_sketch.is_sound() && pane.scores.is_sound()
    }

    fn push(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch) {
        pane.push(&plan.roles, rows);
    }

    fn noticed(&self, plan: &Self::Plan, pane: &Self::Pane, rows: &RecordBatch) {
        // The rows of such a pane were seen before; only their labels are new.
        if let Some(monitors) = self.monitors.as_ref().filter(|_| !pane.labels_only) {
            monitor::gather_rows(monitors, &plan.service_id, plan.roles, plan.baseline, rows);
        }
    }

    fn merge(&self, _plan: &Self::Plan, pane: &mut Self::Pane, other: &Self::Pane) {
        pane.merge(other);
    }

    fn evaluate(
        &self,
        plan: &Self::Plan,
        pane: &Self::Pane,
        _carried: &Carried<()>,
        window: &Window,
    ) -> Assessment {
        if !plan.roles.any() {
            let reason = "no latency, no error, and no score or prediction with labels";
            return Assessment::without(VerdictStatus::NotApplicable, reason);
        }
        let span_ms = window.end_ms.saturating_sub(window.start_ms);
        let report = report::report(&self.config, &plan.roles, pane, plan.baseline, span_ms);
        Assessment {
            status: VerdictStatus::Ok,
            reason: String::new(),
            findings: report::findings(&self.config, &report),
            report: report_message::report(&report).encode_to_vec().into(),
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "kinds_tests.rs"]
mod kinds_tests;
