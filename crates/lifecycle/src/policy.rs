//! A model's policy: which finding triggers what, how often, how a new version is trained and judged, and how it goes
//! into service. It must not know how findings come about.

mod check;

use std::collections::BTreeMap;

use acgs_vocabulary::Severity;
use serde::{Deserialize, Serialize};

pub use crate::policy_error::PolicyError;

pub use crate::rollout::Rollout;
use crate::{capture::Capture, compliance::Principle, rollout::RolloutPlan, trigger::TriggerKind};

/// Least severity that has nothing below it.
const fn lowest() -> Severity {
    Severity::Low
}

/// What is done about a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Retrain; what passes the gates goes into service.
    Auto,
    /// Retrain; a person agrees before what passes the gates goes on.
    Approve,
    /// Write down what would have been done.
    #[default]
    Observe,
}

/// What one kind of trigger leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What is done.
    pub mode: Mode,
    /// Findings below it are left alone.
    #[serde(default = "lowest")]
    pub severity_min: Severity,
    /// Wall time in which evidence gathers before the job is queued, 0 to one hour; 0 queues at once.
    #[serde(default)]
    pub coalesce_ms: i64,
    /// Event time after a retraining in which the kind does not trigger another, 0 to one year.
    #[serde(default = "Rule::cooldown")]
    pub cooldown_ms: i64,
    /// For `scheduled` only: moments of event time in UTC, as cron has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
}

impl Rule {
    const fn cooldown() -> i64 {
        3_600_000
    }

    /// A rule with the defaults of its kind.
    #[must_use]
    pub fn new(kind: TriggerKind, mode: Mode) -> Self {
        let coalesce_ms = match kind {
            TriggerKind::DriftDetected | TriggerKind::QualityDegradation => 30_000,
            _ => 0,
        };
        let cooldown_ms = match kind {
            TriggerKind::ComplianceViolation => 0,
            _ => Self::cooldown(),
        };
        Self { mode, severity_min: lowest(), coalesce_ms, cooldown_ms, cron: None }
    }
}

/// How many retrainings a model may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Trainings that are begun, 1 to 1,000.
    pub retrainings: u32,
    /// In this much event time, one minute to ten years.
    pub period_ms: i64,
}

/// How a new version is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// What a worker has to be able to: the name of a trainer.
    pub trainer: String,
    /// Event time before the trigger from which records are taken, one minute to ten years; the held-out part is in it.
    pub window_ms: i64,
    /// The newest part of the window, held out for the gates.
    pub holdout_ms: i64,
    /// Fewest labelled records to train on.
    #[serde(default = "Training::rows")]
    pub rows_min: u64,
    /// Most records of a data set; the newest are kept.
    #[serde(default = "Training::rows_limit")]
    pub rows_max: u64,
    /// Whether a version that passed is trained once more with the held-out part, and that one serves.
    #[serde(default)]
    pub refit: bool,
    /// For the trainer, as it knows them; at most 64, of at most 1,024 bytes.
    #[serde(default)]
    pub hyperparameters: BTreeMap<String, String>,
}

impl Training {
    const fn rows() -> u64 {
        200
    }

    const fn rows_limit() -> u64 {
        1_000_000
    }
}

/// The loss of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The square of score minus label: for probabilities their mean is the Brier score.
    #[default]
    Squared,
    /// The negative logarithm of the probability of what came true; labels are 0 or 1.
    Log,
    /// The distance of score and label.
    Absolute,
}

/// A floor that every part of the records has to stay above.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// A text field of the records; each of its values is a part.
    pub field: String,
    /// Largest mean loss of a part.
    pub loss_max: f64,
    /// Parts with fewer held-out records are not judged.
    pub rows_min: u64,
}

/// What evidence of compliance is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComplianceGate {
    /// Whether a version without evidence fails; otherwise it passes as "not applicable".
    pub required: bool,
    /// Least weighted score, in [0, 1].
    #[serde(default = "ComplianceGate::score")]
    pub score_min: f64,
    /// The principles with their weights and minimums.
    #[serde(default = "Principle::defaults")]
    pub principles: Vec<Principle>,
}

impl ComplianceGate {
    const fn score() -> f64 {
        0.9
    }
}

impl Default for ComplianceGate {
    fn default() -> Self {
        Self { required: false, score_min: Self::score(), principles: Principle::defaults() }
    }
}

/// What a new version has to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    /// How a record is judged.
    #[serde(default)]
    pub loss: Loss,
    /// Largest mean loss on the held-out records; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_max: Option<f64>,
    /// Least area under the curve; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc_min: Option<f64>,
    /// How much worse than what served the new version may be, in mean loss.
    pub margin: f64,
    /// Confidence of the one-sided bound, in (0.5, 1).
    #[serde(default = "Gates::confidence")]
    pub confidence: f64,
    /// Records of the same block of event time are taken as one draw; 0 takes each alone.
    #[serde(default)]
    pub block_ms: i64,
    /// Fewest held-out records with a label.
    #[serde(default = "Gates::rows")]
    pub rows_min: u64,
    /// Floors of parts.
    #[serde(default)]
    pub slices: Vec<Slice>,
    /// Evidence of compliance.
    #[serde(default)]
    pub compliance: ComplianceGate,
}

impl Gates {
    const fn confidence() -> f64 {
        0.95
    }

    const fn rows() -> u64 {
        100
    }
}

/// What one model's owner wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The kill switch: off, triggers are written down and nothing is queued or leased.
    #[serde(default = "Policy::on")]
    pub enabled: bool,
    /// Rules by kind; a kind without one is observed only, a request by a person is carried out.
    #[serde(default)]
    pub triggers: BTreeMap<TriggerKind, Rule>,
    /// How many.
    #[serde(default = "Policy::budget")]
    pub budget: Budget,
    /// Retrainings in a row that were rejected or did no better than what served; then a person has to act, 1 to 100.
    #[serde(default = "Policy::unhelpful")]
    pub unhelpful_max: u32,
    /// What a worker is given to do.
    pub training: Training,
    /// How good.
    pub gates: Gates,
    /// Where to.
    #[serde(default)]
    pub rollout: Rollout,
    /// In which steps, watched how.
    #[serde(default)]
    pub deployment: RolloutPlan,
    /// Which calls through gateways become records; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// Methods that go through gateways, each `/package.Service/Method` or `/package.Service/*`, at most 64; none means what asks by the Open
    /// Inference Protocol, and any method of other services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Wall time that an approval is waited for, one minute to 30 days.
    #[serde(default = "Policy::approval")]
    pub approval_ms: i64,
}

impl Policy {
    const fn on() -> bool {
        true
    }

    const fn budget() -> Budget {
        Budget { retrainings: 24, period_ms: 365 * 86_400_000 }
    }

    const fn unhelpful() -> u32 {
        3
    }

    const fn approval() -> i64 {
        72 * 3_600_000
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// What is wrong, with the place.
    pub fn parse(toml: &str) -> Result<Self, PolicyError> {
        let policy: Self =
            toml::from_str(toml).map_err(|error| PolicyError::Unreadable(error.to_string()))?;
        policy.check()?;
        Ok(policy)
    }

    /// As a file has it.
    ///
    /// # Errors
    /// Never for a policy that was parsed.
    pub fn to_toml(&self) -> Result<String, PolicyError> {
        toml::to_string(self).map_err(|error| PolicyError::Unreadable(error.to_string()))
    }

    /// What is done about a kind.
    #[must_use]
    pub fn rule(&self, kind: TriggerKind) -> Rule {
        self.triggers.get(&kind).cloned().unwrap_or_else(|| Rule::new(kind, Self::unruled(kind)))
    }

    /// Without a rule only a person's word is acted on.
    #[must_use]
    pub fn unruled(kind: TriggerKind) -> Mode {
        match kind {
            TriggerKind::Manual => Mode::Auto,
            _ => Mode::Observe,
        }
    }
}
