//! Whether a policy can be meant: bounds, and what contradicts itself.

use acgs_vocabulary::names;

use super::{Mode, Policy};
use crate::{
    policy_error::{PolicyError, bound, sound, within},
    schedule,
    trigger::TriggerKind,
};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
const YEAR_MS: i64 = 366 * 24 * HOUR_MS;
const HYPERPARAMETERS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 1_024;
const SLICES_MAX: usize = 16;
const METHODS_MAX: usize = 64;

impl Policy {
    /// Bounds first, then what contradicts itself.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_rules()?;
        self.check_training()?;
        self.check_gates()?;
        self.deployment.check()?;
        self.check_capture()?;
        self.check_methods()?;
        within("budget.retrainings", i64::from(self.budget.retrainings), 1, 1_000)?;
        within("budget.period_ms", self.budget.period_ms, MINUTE_MS, 10 * YEAR_MS)?;
        within("unhelpful_max", i64::from(self.unhelpful_max), 1, 100)?;
        within("approval_ms", self.approval_ms, MINUTE_MS, 30 * 24 * HOUR_MS)
    }

    fn check_rules(&self) -> Result<(), PolicyError> {
        for (kind, rule) in &self.triggers {
            let path = |field: &str| format!("triggers.{}.{field}", kind.as_str());
            within(&path("coalesce_ms"), rule.coalesce_ms, 0, HOUR_MS)?;
            within(&path("cooldown_ms"), rule.cooldown_ms, 0, YEAR_MS)?;
            match (&rule.cron, kind) {
                (Some(cron), TriggerKind::Scheduled) => {
                    let next = schedule::next_after(cron, 0);
                    let told = next.as_ref().err().cloned().unwrap_or_default();
                    bound(path("cron"), next.is_ok(), format!("{cron:?} is not a cron expression: {told}"))?;
                    let never = "names no moment that ever comes";
                    sound(path("cron"), next.is_ok_and(|next| next.is_some()), never)?;
                }
                (Some(_), _) => sound(path("cron"), false, "only `scheduled` has moments")?,
                (None, TriggerKind::Scheduled) => {
                    sound(path("cron"), rule.mode == Mode::Observe, "is missing: when is it to happen?")?;
                }
                (None, _) => {}
            }
            let endless = rule.mode == Mode::Observe || rule.cooldown_ms <= self.budget.period_ms;
            sound(path("cooldown_ms"), endless, "is longer than budget.period_ms, which then means nothing")?;
        }
        Ok(())
    }

    fn check_training(&self) -> Result<(), PolicyError> {
        let training = &self.training;
        let named = names::check("training.trainer", &training.trainer, 1).is_ok();
        bound("training.trainer", named, "is the name of a trainer, 1 to 128 bytes")?;
        within("training.window_ms", training.window_ms, MINUTE_MS, 10 * YEAR_MS)?;
        within("training.holdout_ms", training.holdout_ms, 1, 10 * YEAR_MS)?;
        let holds = training.holdout_ms < training.window_ms;
        sound("training.holdout_ms", holds, "leaves nothing of training.window_ms to train on")?;
        bound("training.rows_min", training.rows_min >= 1, "is 0")?;
        bound("training.rows_max", training.rows_max <= 5_000_000, "is more than 5000000")?;
        let fits = training.rows_min <= training.rows_max;
        sound("training.rows_min", fits, "is more than training.rows_max lets in")?;
        let given = training.hyperparameters.len();
        bound("training.hyperparameters", given <= HYPERPARAMETERS_MAX, format!("{given} are too many"))?;
        let long = training
            .hyperparameters
            .iter()
            .find(|(name, value)| name.len().max(value.len()) > TEXT_BYTES_MAX);
        bound("training.hyperparameters", long.is_none(), "one is longer than 1024 bytes")
    }

    fn check_gates(&self) -> Result<(), PolicyError> {
        let gates = &self.gates;
        let finite = |value: Option<f64>| value.is_none_or(f64::is_finite);
        bound("gates.margin", gates.margin.is_finite() && gates.margin >= 0.0, "is not 0 or more")?;
        bound("gates.loss_max", finite(gates.loss_max), "is not a number")?;
        let area = gates.auc_min.is_none_or(|area| (0.0..=1.0).contains(&area));
        bound("gates.auc_min", area, "is not in [0, 1]")?;
        let confident = gates.confidence > 0.5 && gates.confidence < 1.0;
        bound("gates.confidence", confident, "is not between 0.5 and 1")?;
        within("gates.block_ms", gates.block_ms, 0, YEAR_MS)?;
        let blocks = gates.block_ms == 0 || gates.block_ms * 2 <= self.training.holdout_ms;
        sound("gates.block_ms", blocks, "leaves fewer than two blocks in training.holdout_ms")?;
        bound("gates.rows_min", gates.rows_min >= 2, "is less than 2")?;
        let slices = gates.slices.len();
        bound("gates.slices", slices <= SLICES_MAX, format!("{slices} are too many"))?;
        for (place, slice) in gates.slices.iter().enumerate() {
            let path = |field: &str| format!("gates.slices[{place}].{field}");
            bound(path("field"), !slice.field.is_empty(), "is empty")?;
            bound(path("loss_max"), slice.loss_max.is_finite(), "is not a number")?;
            bound(path("rows_min"), slice.rows_min >= 1, "is 0")?;
        }
        self.check_compliance()
    }

    fn check_methods(&self) -> Result<(), PolicyError> {
        let count = self.methods.len();
        bound("methods", count <= METHODS_MAX, format!("{count} are too many"))?;
        for (place, method) in self.methods.iter().enumerate() {
            let parts: Vec<&str> = method.split('/').collect();
            let sound = matches!(parts[..], ["", service, name] if !service.is_empty() && !name.is_empty())
                && method.len() <= 256
                && method
                    .strip_suffix("/*")
                    .unwrap_or(method)
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'*');
            let told = "is no `/package.Service/Method` or `/package.Service/*`";
            bound(format!("methods[{place}]"), sound, told)?;
        }
        Ok(())
    }

    fn check_capture(&self) -> Result<(), PolicyError> {
        let Some(capture) = &self.capture else { return Ok(()) };
        let some = capture.percent > 0.0 && capture.percent <= 100.0;
        bound("capture.percent", some, "is not more than 0 and at most 100")?;
        let names = [
            ("timestamp", &capture.timestamp),
            ("id", &capture.id),
            ("score", &capture.score),
            ("label", &capture.label),
            ("reference", &capture.reference),
        ];
        for (field, name) in names {
            bound(format!("capture.{field}"), name.len() <= 128, "is longer than 128 bytes")?;
        }
        bound("capture.score", !capture.score.is_empty(), "is empty")?;
        let joined = capture.label.is_empty() || !capture.id.is_empty();
        sound("capture.label", joined, "cannot be joined without capture.id")?;
        within("capture.window_ms", capture.window_ms, 1_000, YEAR_MS)?;
        within("capture.out_of_orderness_ms", capture.out_of_orderness_ms, 0, 30 * 24 * HOUR_MS)?;
        within("capture.label_horizon_ms", capture.label_horizon_ms, 0, 30 * 24 * HOUR_MS)
    }

    fn check_compliance(&self) -> Result<(), PolicyError> {
        let gate = &self.gates.compliance;
        bound("gates.compliance.score_min", (0.0..=1.0).contains(&gate.score_min), "is not in [0, 1]")?;
        let mut weights = 0.0;
        for (place, principle) in gate.principles.iter().enumerate() {
            let path = format!("gates.compliance.principles[{place}]");
            let fine = (0.0..=1.0).contains(&principle.weight) && (0.0..=1.0).contains(&principle.minimum);
            bound(&path, fine, "has a weight or a minimum outside [0, 1]")?;
            let twice = gate.principles[..place].iter().any(|other| other.name == principle.name);
            sound(&path, !twice, format!("{:?} is there twice", principle.name))?;
            weights += principle.weight;
        }
        let whole = gate.principles.is_empty() || (weights - 1.0_f64).abs() < 1e-6;
        sound("gates.compliance.principles", whole, format!("weights add up to {weights}, not 1"))?;
        let asks = !(gate.required && gate.principles.is_empty());
        sound("gates.compliance.required", asks, "asks for evidence of no principle")
    }
}
