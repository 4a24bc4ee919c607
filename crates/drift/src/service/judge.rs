//! The lane judge: the domain behind the lane protocol.

use std::sync::Arc;

use acgs_columns::RecordBatch;
use acgs_judge_kit::monitoring::Monitors;
use acgs_lane::{Assessment, Assessor, Carried, Epochs, PaneJudge, message::Open};
use acgs_reference::{
    Reference,
    counts::{PaneCounts, Places},
    message,
};
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
use crate::{config::Config, detect};

/// Says what a pane holds and what a window comes to.
#[derive(Clone, Debug)]
pub struct DriftAssessor {
    config: Config,
    monitors: Option<Monitors<Gathered>>,
}

/// The reference of a lane, and where its features are in the rows (`None` when the lane has no reference), and whose
/// rows they are.
#[derive(Debug)]
pub struct Plan(Option<(Arc<Reference>, Places)>, String);

/// A judge for one lane.
#[must_use]
pub fn judge(config: Config) -> PaneJudge<DriftAssessor> {
    PaneJudge::new(DriftAssessor { config, monitors: None })
}

/// A judge for one lane whose rows monitors see too, and which lanes of newer epochs end.
#[must_use]
pub fn monitored(config: Config, monitors: Monitors<Gathered>, epochs: Epochs) -> PaneJudge<DriftAssessor> {
    PaneJudge::new(DriftAssessor { config, monitors: Some(monitors) })
        .fenced(epochs)
        .within(&budget::process().of(Use::Panes))
}

impl Assessor for DriftAssessor {
    type Plan = Plan;
    type Pane = PaneCounts;
    type Carry = ();

    fn plan(&self, open: &Open, configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem> {
        let Some((_, content)) = configs.iter().find(|(kind, _)| kind == "reference") else {
            return Ok(Plan(None, open.model_id.clone()));
        };
        let reference = message::decode(content)?;
        let places = Places::new(&reference, &open.schema);
        Ok(Plan(Some((Arc::new(reference), places)), open.model_id.clone()))
    }

    fn pane(&self, plan: &Self::Plan, _labels_only: bool) -> Self::Pane {
        plan.0.as_ref().map_or_else(PaneCounts::default, |(reference, _)| PaneCounts::new(reference))
    }

    fn heap_bytes(&self, pane: &Self::Pane) -> usize {
        pane.heap_bytes()
    }

    fn fits(&self, plan: &Self::Plan, pane: &Self::Pane) -> bool {
        let fresh = self.pane(plan, false);
        let cells = |pane: &PaneCounts| -> Vec<usize> {
            pane.features.iter().map(|feature| feature.cells.counts.len()).collect()
        };
        cells(&fresh) == cells(pane)
    }

    fn push(&self, plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch) {
        match &plan.0 {
            Some((reference, places)) => pane.push_at(reference, places, rows),
            None => pane.row_count += rows.rows() as u64,
        }
    }

    fn noticed(&self, plan: &Self::Plan, _pane: &Self::Pane, rows: &RecordBatch) {
        if let (Some(monitors), Some((reference, _))) = (&self.monitors, &plan.0) {
            monitor::gather(monitors, &plan.1, reference, rows);
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
        _window: &Window,
    ) -> Assessment {
        let Some((reference, places)) = &plan.0 else {
            return Assessment::without(VerdictStatus::NotApplicable, "no reference");
        };
        if !places.any() {
            return Assessment::without(
                VerdictStatus::NotApplicable,
                "no feature of the reference is in the stream",
            );
        }
        if pane.row_count < self.config.rows_min {
            let reason = format!("{} rows, at least {}", pane.row_count, self.config.rows_min);
            return Assessment::without(VerdictStatus::Insufficient, reason);
        }
        let report = detect::report(&self.config, reference, pane, |_| None);
        let message = report_message::report(&self.config, &report, &reference.name, reference.version);
        Assessment {
            status: VerdictStatus::Ok,
            reason: String::new(),
            findings: detect::findings(&self.config, &report),
            report: message.encode_to_vec().into(),
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
