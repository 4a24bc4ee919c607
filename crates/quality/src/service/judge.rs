//! The lane judge: the domain behind the lane protocol.

use std::sync::Arc;

use acgs_columns::{RecordBatch, Schema};
use acgs_lane::{Assessment, Assessor, PaneJudge, message::Open};
use acgs_vocabulary::{Problem, VerdictStatus, Window};
use bytes::Bytes;
use prost::Message;

use super::report_message;
use crate::{
    config::Config,
    pane::QualityPane,
    report::{self, Freshness},
};

/// Says what a pane holds and what a window comes to.
#[derive(Clone, Copy, Debug)]
pub struct QualityAssessor {
    config: Config,
}

/// A judge for one lane.
#[must_use]
pub fn judge(config: Config) -> PaneJudge<QualityAssessor> {
    PaneJudge::new(QualityAssessor { config })
}

impl Assessor for QualityAssessor {
    type Plan = Arc<Schema>;
    type Pane = QualityPane;

    fn plan(&self, open: &Open, _configs: &[(String, Bytes)]) -> Result<Self::Plan, Problem> {
        Ok(Arc::clone(&open.schema))
    }

    fn pane(&self, plan: &Self::Plan, _labels_only: bool) -> Self::Pane {
        QualityPane::new(plan)
    }

    fn pane_bytes(&self, plan: &Self::Plan) -> usize {
        plan.fields().len() * size_of::<crate::pane::ColumnPane>() + 256
    }

    fn fits(&self, plan: &Self::Plan, pane: &Self::Pane) -> bool {
        pane.columns.len() == plan.fields().len()
            && pane.columns.iter().all(|column| column.sketch.is_sound())
    }

    fn push(&self, _plan: &Self::Plan, pane: &mut Self::Pane, rows: &RecordBatch) {
        pane.push(rows);
    }

    fn merge(&self, _plan: &Self::Plan, pane: &mut Self::Pane, other: &Self::Pane) {
        pane.merge(other);
    }

    fn evaluate(&self, plan: &Self::Plan, pane: &Self::Pane, window: &Window) -> Assessment {
        let freshness =
            Freshness { until_ms: window.end_ms, horizon_ms: window.end_ms.saturating_sub(window.start_ms) };
        let report = report::report(&self.config, plan, pane, freshness);
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
