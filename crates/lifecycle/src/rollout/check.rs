//! Whether a plan can be meant. It must not know who asks.

use super::{RolloutPlan, STEPS_MAX, Tolerance};
use crate::policy_error::{PolicyError, bound, sound, within};

const HOUR_MS: i64 = 3_600_000;

impl RolloutPlan {
    /// Bounds first, then what contradicts itself.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        let path = |field: &str| format!("deployment.{field}");
        let few = self.steps.len() <= STEPS_MAX;
        bound(path("steps"), few, format!("{} are too many", self.steps.len()))?;
        bound(path("steps"), self.steps.iter().all(|weight| (1..=100).contains(weight)), "are not 1 to 100")?;
        let rising = self.steps.windows(2).all(|pair| pair[0] < pair[1]);
        sound(path("steps"), rising, "do not rise")?;
        let ends = self.steps.last().is_none_or(|last| *last == 100);
        sound(path("steps"), ends, "do not end with 100")?;
        within("deployment.step_ms", self.step_ms, 0, 7 * 24 * HOUR_MS)?;
        within("deployment.step_limit_ms", self.step_limit_ms, 1, 30 * 24 * HOUR_MS)?;
        let room = self.step_ms < self.step_limit_ms;
        sound(path("step_ms"), room, "is not below step_limit_ms, so that no step ends in time")?;
        within("deployment.extensions", i64::from(self.extensions), 0, 10)?;
        within("deployment.no_data_ms", self.no_data_ms, 100, HOUR_MS)?;
        within("deployment.bake_ms", self.bake_ms, 0, 30 * 24 * HOUR_MS)?;
        within("deployment.prepare_ms", self.prepare_ms, 100, 24 * HOUR_MS)?;
        within("deployment.progress_ms", self.progress_ms, 1_000, 90 * 24 * HOUR_MS)?;
        within("deployment.shadow_percent", i64::from(self.shadow_percent), 0, 100)?;
        bound(path("disagreement_max"), (0.0..=1.0).contains(&self.disagreement_max), "is not in [0, 1]")?;
        let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let named = self.sticky_by.len() <= 128 && self.sticky_by.bytes().all(name);
        bound(path("sticky_by"), named, "is no name of metadata: lower-case letters, digits, `-`, `_`, `.`")?;
        self.check_analysis()
    }

    fn check_analysis(&self) -> Result<(), PolicyError> {
        let path = |field: &str| format!("deployment.analysis.{field}");
        let analysis = &self.analysis;
        let small = |value: f64| value > 0.0 && value < 0.5;
        bound(path("alpha"), small(analysis.alpha), "is not between 0 and 0.5")?;
        bound(path("beta"), small(analysis.beta), "is not between 0 and 0.5")?;
        let failing = analysis.baseline_errors_max;
        bound(path("baseline_errors_max"), failing > 0.0 && failing < 1.0, "is not between 0 and 1")?;
        within("deployment.analysis.error_block_ms", analysis.error_block_ms, 10, HOUR_MS)?;
        within("deployment.analysis.block_ms", analysis.block_ms, 10, HOUR_MS)?;
        let tolerances = [
            ("errors", analysis.errors),
            ("cancelled", analysis.cancelled),
            ("tail_p95", analysis.tail_p95),
            ("tail_p99", analysis.tail_p99),
        ];
        for (name, Tolerance { tolerated, unacceptable }) in tolerances {
            let inside = |share: f64| share > 0.0 && share < 1.0;
            bound(path(name), inside(tolerated) && inside(unacceptable), "is not between 0 and 1")?;
            sound(path(name), tolerated < unacceptable, "tolerates what is unacceptable")?;
        }
        let more = analysis.baseline_ratio.is_finite() && analysis.baseline_ratio > 1.0;
        bound(path("baseline_ratio"), more, "is not more than 1")?;
        let Some(loss) = analysis.loss else { return Ok(()) };
        let finite = [loss.tolerated, loss.unacceptable, loss.range].iter().all(|value| value.is_finite());
        bound(path("loss"), finite && loss.range > 0.0 && loss.tolerated >= 0.0, "is not 0 or more")?;
        sound(path("loss"), loss.tolerated < loss.unacceptable, "tolerates what is unacceptable")?;
        bound(path("loss.unacceptable"), loss.unacceptable < loss.range, "is not below the range")
    }
}
