//! The lane judge: the domain behind the lane protocol.

use std::sync::Arc;

use acgs_columns::{RecordBatch, Schema};
use acgs_judge_kit::monitoring::Monitors;
use acgs_lane::{Assessment, Assessor, Carried, Epochs, PaneJudge, message::Open};
use acgs_reference::message;
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
use crate::{config::Config, expected::Expected, findings, measure, pane::QualityPane, report::Freshness};

/// Says what a pane holds and what a window comes to.
#[derive(Clone, Debug)]
pub struct QualityAssessor {
    config: Config,
    monitors: Option<Monitors<Gathered>>,
}

/// The columns of a lane, and whose rows they are.
#[derive(Clone, Debug)]
pub struct Plan {
    schema: Arc<Schema>,
    service_id: String,
    /// What the reference leads to expect.
    expected: Option<Expected>,
}

/// A judge for one lane.
#[must_use]
pub fn judge(config: Config) -> PaneJudge<QualityAssessor> {
    PaneJudge::new(QualityAssessor { config, monitors: None })
}

/// A judge for one lane whose rows monitors see too, and which lanes of newer epochs end.
#[must_use]
pub fn monitored(config: Config, monitors: Monitors<Gathered>, epochs: Epochs) -> PaneJudge<QualityAssessor> {
    PaneJudge::new(QualityAssessor { config, monitors: Some(monitors) })
        .fenced(epochs)
        .within(&budget::process().of(Use::Panes))
}

impl Assessor for QualityAssessor {
    type Plan = Plan;
    type Pane = QualityPane;
    type Carry = ();

    fn plan(&self, open: &Open, configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem> {
        let reference = configs.iter().find(|(kind, _)| kind == "reference");
        let reference = reference.map(|(_, content)| message::decode(content)).transpose()?;
        let expected = reference.and_then(|reference| Expected::of(&reference, &open.schema));
        Ok(Plan { schema: Arc::clone(&open.schema), service_id: open.service_id.clone(), expected })
    }

    fn pane(&self, plan: &Self::Plan, _labels_only: bool) -> Self::Pane {
        QualityPane::new(&plan.schema)
    }

    fn heap_bytes(&self, pane: &Self::Pane) -> usize {
        pane.heap_bytes()
    }

    fn fits(&self, plan: &Self::Plan, pane: &Self::Pane) -> bool {
        pane.is_sound(plan.schema.fields().len())
    }

    fn push(&self, _plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch, _partition: &str) {
        pane.push(rows);
    }

    fn noticed(&self, plan: &Self::Plan, _pane: &Self::Pane, rows: &RecordBatch) {
        if let Some(monitors) = &self.monitors {
            monitor::gather(monitors, &plan.service_id, rows);
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
        let horizon_ms = window.end_ms.saturating_sub(window.start_ms);
        let keyed = !window.key.is_empty();
        let freshness = Freshness { until_ms: window.end_ms, horizon_ms, counts: false, keyed };
        let report = measure::report(&self.config, &plan.schema, pane, plan.expected.as_ref(), freshness);
        Assessment {
            status: VerdictStatus::Ok,
            reason: String::new(),
            findings: findings::findings(&self.config, &report),
            report: report_message::report(&report).encode_to_vec().into(),
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "faults_tests.rs"]
mod faults_tests;
