//! How a validated version goes into service: which strategy, in which steps, watched how. It must not know what has happened.

mod check;

use serde::{Deserialize, Serialize};

use crate::policy_error::PolicyError;

/// Most steps of a plan.
pub const STEPS_MAX: usize = 32;
const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;

/// How a validated version goes into service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollout {
    /// At once, the old one warm behind it.
    #[default]
    Immediate,
    /// Not by itself.
    Hold,
    /// Step by step, each judged beside a baseline of the same size.
    Canary,
    /// All at once after it was seen to be well, then watched; the old one warm behind it.
    BlueGreen,
    /// In equal parts, judged like a canary's.
    Rolling,
    /// It answers copies of requests first, and nobody hears it; then all at once.
    Shadow,
}

impl Rollout {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Immediate, Self::Hold, Self::Canary, Self::BlueGreen, Self::Rolling, Self::Shadow];

    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Hold => "hold",
            Self::Canary => "canary",
            Self::BlueGreen => "blue_green",
            Self::Rolling => "rolling",
            Self::Shadow => "shadow",
        }
    }
}

/// Steps that have a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// 1, 5, 10, 25, 50, 100.
    #[default]
    Standard,
    /// 5, 10, 20, 40, 80, 100.
    Original,
}

/// What is done when a step has neither been good nor bad for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inconclusive {
    /// A person decides; weights are held.
    #[default]
    Wait,
    /// It is taken back.
    Abort,
}

/// What is done when the baseline fails more than it may, and the candidate does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineFailing {
    /// A person decides; weights are held.
    #[default]
    Hold,
    /// The candidate has all traffic.
    Promote,
}

/// What is tolerated of a frequency, and what is not acceptable: in between nothing has to be decided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Up to here, or up to the baseline's, a candidate is healthy; in (0, 1).
    pub tolerated: f64,
    /// From here on, if it is also `baseline_ratio` times the baseline's, it is bad; in (0, 1).
    pub unacceptable: f64,
}

/// What a candidate is judged by while it has traffic. Sources: docs/deployments.md.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Analysis {
    /// At most this share of healthy candidates is taken back, over all gates and looks; in (0, 0.5).
    pub alpha: f64,
    /// At most this share of bad candidates passes, for each gate; in (0, 0.5).
    pub beta: f64,
    /// Share of calls that do not end well.
    pub errors: Tolerance,
    /// Share of calls that their callers give up.
    pub cancelled: Tolerance,
    /// Share of calls slower than the baseline's 95th percentile.
    pub tail_p95: Tolerance,
    /// Share of calls slower than the baseline's 99th percentile.
    pub tail_p99: Tolerance,
    /// So many times the baseline's frequency is bad; more than 1.
    pub baseline_ratio: f64,
    /// A baseline that fails more often than this is nothing to return to; in (0, 1).
    pub baseline_errors_max: f64,
    /// Wall time of a block in which calls count as one draw, for errors and for calls that are given up: longer than what makes them fail
    /// together, such as a moment's overload.
    pub error_block_ms: i64,
    /// The same for latency: longer than a pause, a neighbour or a cold cache.
    pub block_ms: i64,
    /// How much higher the mean loss may be than the baseline's, as a share of `loss_range`; absent, loss is not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossTolerance>,
}

/// What is tolerated of the model's loss beside the baseline's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossTolerance {
    /// A mean this much higher is tolerated.
    pub tolerated: f64,
    /// A mean this much higher is bad.
    pub unacceptable: f64,
    /// The largest loss of one record: the square of a probability's error is at most 1.
    #[serde(default = "LossTolerance::one")]
    pub range: f64,
    /// Pairs of labelled records before a step may be left.
    #[serde(default)]
    pub pairs_min: u64,
}

impl LossTolerance {
    const fn one() -> f64 {
        1.0
    }
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            beta: 0.05,
            errors: Tolerance { tolerated: 0.01, unacceptable: 0.02 },
            cancelled: Tolerance { tolerated: 0.05, unacceptable: 0.15 },
            tail_p95: Tolerance { tolerated: 0.10, unacceptable: 0.20 },
            tail_p99: Tolerance { tolerated: 0.03, unacceptable: 0.06 },
            baseline_ratio: 2.0,
            baseline_errors_max: 0.10,
            error_block_ms: SECOND_MS,
            block_ms: 10 * SECOND_MS,
            loss: None,
        }
    }
}

/// How a deployment goes: steps as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutPlan {
    /// Steps by name; `steps` goes before it.
    pub profile: Profile,
    /// Percent of traffic, ascending, the last 100; empty takes the profile's, or the strategy's.
    pub steps: Vec<u32>,
    /// Least wall time on a step.
    pub step_ms: i64,
    /// Calls of the candidate on a step before it may be left; 0 asks for none.
    pub samples_min: u64,
    /// Wall time after which a step without an outcome is extended, and then given up.
    pub step_limit_ms: i64,
    /// How often it is extended, each time twice as long.
    pub extensions: u32,
    /// What is done then.
    pub inconclusive: Inconclusive,
    /// What is done when the baseline fails.
    pub baseline_failing: BaselineFailing,
    /// Without a call of the candidate for this long it is paused.
    pub no_data_ms: i64,
    /// Wall time for which the candidate has all traffic before it is the champion.
    pub bake_ms: i64,
    /// Wall time in which its endpoints have to be there and well.
    pub prepare_ms: i64,
    /// Wall time for all of it, what a person paused not counted.
    pub progress_ms: i64,
    /// Percent of requests that a shadow answers too.
    pub shadow_percent: u32,
    /// Answers that are compared before it may go on.
    pub shadow_samples: u64,
    /// Share of those that may differ.
    pub disagreement_max: f64,
    /// Metadata by whose value callers stay with a version; empty draws for each request.
    pub sticky_by: String,
    /// What it is judged by.
    pub analysis: Analysis,
}

impl Default for RolloutPlan {
    fn default() -> Self {
        Self {
            profile: Profile::Standard,
            steps: Vec::new(),
            step_ms: 2 * MINUTE_MS,
            samples_min: 100,
            step_limit_ms: 30 * MINUTE_MS,
            extensions: 2,
            inconclusive: Inconclusive::Wait,
            baseline_failing: BaselineFailing::Hold,
            no_data_ms: 30 * SECOND_MS,
            bake_ms: 5 * MINUTE_MS,
            prepare_ms: 10 * MINUTE_MS,
            progress_ms: 24 * 60 * MINUTE_MS,
            shadow_percent: 0,
            shadow_samples: 200,
            disagreement_max: 0.01,
            sticky_by: String::new(),
            analysis: Analysis::default(),
        }
    }
}

impl RolloutPlan {
    /// Reads what a policy has under `[deployment]`.
    ///
    /// # Errors
    /// What is wrong, with the place.
    pub fn parse(toml: &str) -> Result<Self, PolicyError> {
        let plan: Self = toml::from_str(toml).map_err(|error| PolicyError::Unreadable(error.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// As a policy has it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// As a strategy takes it: the steps below 100, and whether there is a shadow first. `endpoints` is how many the
    /// candidate has: a rolling deployment takes one at a time where there are fewer than four.
    #[must_use]
    pub fn of(&self, strategy: Rollout, endpoints: usize) -> Self {
        let mut plan = self.clone();
        let parts = if endpoints == 0 { 4 } else { endpoints.min(4) as u32 };
        plan.steps = match strategy {
            Rollout::Canary | Rollout::Hold if self.steps.is_empty() => match self.profile {
                Profile::Standard => vec![1, 5, 10, 25, 50, 100],
                Profile::Original => vec![5, 10, 20, 40, 80, 100],
            },
            Rollout::Canary | Rollout::Hold => self.steps.clone(),
            Rollout::Rolling if self.steps.is_empty() => (1..=parts).map(|part| 100 * part / parts).collect(),
            Rollout::Rolling => self.steps.clone(),
            Rollout::Immediate | Rollout::BlueGreen | Rollout::Shadow => vec![100],
        };
        plan.steps.retain(|weight| *weight < 100);
        match strategy {
            Rollout::Immediate => (plan.samples_min, plan.bake_ms, plan.shadow_percent) = (0, 0, 0),
            Rollout::Shadow if plan.shadow_percent == 0 => plan.shadow_percent = 100,
            _ => {}
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_data() {
        let plan = RolloutPlan::default();
        assert_eq!(plan.of(Rollout::Canary, 1).steps, [1, 5, 10, 25, 50]);
        let original = RolloutPlan { profile: Profile::Original, ..plan.clone() };
        assert_eq!(original.of(Rollout::Canary, 1).steps, [5, 10, 20, 40, 80]);
        assert_eq!(plan.of(Rollout::Rolling, 8).steps, [25, 50, 75]);
        assert_eq!(plan.of(Rollout::Rolling, 3).steps, [33, 66]);
        assert_eq!(plan.of(Rollout::Rolling, 0).steps, [25, 50, 75]);
        assert!(plan.of(Rollout::Rolling, 1).steps.is_empty());
        assert!(plan.of(Rollout::BlueGreen, 4).steps.is_empty());
        assert_eq!(plan.of(Rollout::Shadow, 4).shadow_percent, 100);
        assert_eq!(plan.of(Rollout::Immediate, 4).bake_ms, 0);
    }
}
