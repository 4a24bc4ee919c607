//! What the model's loss is likely to be before labels are known, and whether that can be trusted: by how its estimates of labels that are settled by now
//! came true. It must not know rows or protobuf.
//!
//! The estimate holds for as long as what an answer means has not changed, which only labels show. Its record says so late, but it says so.

use acgs_reference::{
    LossBaseline, ModelKind,
    counts::joined,
    said::{SaidCounts, SaidLosses},
};
use acgs_statistics::{
    expected_loss::{expected_accuracy, expected_classes, expected_loss},
    score::{Estimate, area},
};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Share of answers unlike any of the reference above which nothing is known of all of them.
const BEYOND_MAX: f64 = 0.05;
/// Margins that a record must be able to tell for it to speak for the estimate.
const TOLD_MARGINS: f64 = 2.0;
/// Labels of a reference below which its own error is not known well enough to judge estimates by: few enormous losses may be missing.
const REFERENCE_LABELS_MIN: u64 = 1_000;

/// Whether an estimate can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Settled labels are as they were estimated to be.
    Trusted,
    /// They are surely not, by more than the margin.
    Untrusted,
    /// Too few are settled, or answers are unlike those of the reference.
    Unknown,
}

/// Estimates of rows by what the model said.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimated {
    /// Answers.
    pub row_count: u64,
    /// Share of those that are unlike any of the reference.
    pub beyond_share: f64,
    /// The loss to be expected.
    pub loss: Estimate,
    /// Of scores: the share of right answers.
    pub accuracy: Option<Estimate>,
    /// Of scores: the area under the ROC curve.
    pub auc: Option<Estimate>,
    /// What the reference leads to expect at that time.
    pub baseline: LossBaseline,
    /// What of that can be trusted.
    pub trust: Trust,
    /// Why.
    pub reason: String,
    /// What it is told from.
    pub record: Option<Record>,
}

/// Settled rows of one look: what they were estimated by, and what they came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettledLook {
    /// What the model said of them.
    pub said: SaidCounts,
    /// Their loss.
    pub loss: f64,
    /// Their first and last time, in milliseconds since the epoch.
    pub times_ms: Option<(i64, i64)>,
}

/// How estimates came true: the loss of rows whose labels are settled, and what it was estimated to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// As it came.
    pub realised: f64,
    /// As it was expected.
    pub estimated: Estimate,
    /// What is tolerated between them.
    pub margin: f64,
    /// The last time of those rows, in milliseconds since the epoch.
    pub until_ms: Option<i64>,
}

impl Record {
    /// Of some looks; so many rows of a time vary so many times as much together as independent ones. `None` without looks.
    #[must_use]
    pub fn of<'a>(
        said: &SaidLosses,
        looks: impl Iterator<Item = &'a SettledLook>,
        margin: f64,
        design_effect: impl Fn(u64, (i64, i64)) -> f64,
    ) -> Option<Self> {
        let (mut all, mut loss, mut times_ms) = (SaidCounts::default(), 0.0, None);
        for look in looks {
            loss += look.loss * look.said.count().0 as f64;
            all.merge(&look.said);
            times_ms = joined(times_ms, look.times_ms);
        }
        let rows = all.count().0;
        let estimated = expected_loss(&said.cells, all.by_cell())?;
        let effect = design_effect(rows, times_ms.unwrap_or_default());
        Some(Self {
            realised: loss / rows as f64,
            estimated: estimated.widened(effect, (0.0, f64::INFINITY)),
            margin,
            until_ms: times_ms.map(|(_, last)| last),
        })
    }

    fn trust(&self) -> (Trust, String) {
        // The interval of what is estimated is that of what labels come to, too.
        let Estimate { value, lower, upper, .. } = self.estimated;
        let (off, error) = if self.realised >= value {
            (self.realised - value, upper - value)
        } else {
            (value - self.realised, value - lower)
        };
        let numbers = format!(
            "settled labels had {:.4} where {:.4} was estimated",
            self.realised, self.estimated.value
        );
        if off - error > self.margin {
            (Trust::Untrusted, numbers)
        } else if off + error > TOLD_MARGINS * self.margin {
            (Trust::Unknown, format!("{numbers}: too few to tell"))
        } else {
            (Trust::Trusted, numbers)
        }
    }
}

impl Estimated {
    /// Of rows by what was said of them, whose losses vary so many times as much together as independent ones.
    #[must_use]
    pub fn of(
        config: &Config,
        said: &SaidLosses,
        counts: &SaidCounts,
        (baseline, design_effect): (LossBaseline, f64),
        record: Option<Record>,
    ) -> Option<Self> {
        let cells = counts.by_cell();
        let (placed, beyond) = counts.count();
        let loss = expected_loss(&said.cells, cells)?.widened(design_effect, (0.0, f64::INFINITY));
        let of_scores = baseline.kind == ModelKind::Binary;
        let classes = || expected_classes(&said.cells, cells);
        let auc = of_scores.then(|| area(classes())).flatten();
        let accuracy = of_scores.then(|| expected_accuracy(&said.cells, cells, said.first_yes())).flatten();
        let (positives, negatives) = classes().fold((0.0, 0.0), |all, here| (all.0 + here.0, all.1 + here.1));
        // Classes that the reference never had are in no cell; numbers beyond its own are in the nearest.
        let row_count = if baseline.kind == ModelKind::Classes { placed + beyond } else { placed };
        let beyond_share = beyond as f64 / row_count.max(1) as f64;
        let (trust, reason) = match &record {
            _ if beyond_share > BEYOND_MAX => {
                let share = beyond_share * 100.0;
                (Trust::Unknown, format!("{share:.1} % of answers are unlike any of the reference"))
            }
            _ if row_count < config.labelled_min => {
                (Trust::Unknown, format!("{row_count} answers, at least {}", config.labelled_min))
            }
            _ if of_scores && positives.min(negatives) < config.positives_min as f64 => {
                let (rarer, least) = (positives.min(negatives), config.positives_min);
                let what = if positives < negatives { "positive" } else { "negative" };
                (Trust::Unknown, format!("about {rarer:.0} {what} labels to come, at least {least}"))
            }
            _ if baseline.labelled_count < REFERENCE_LABELS_MIN => {
                let count = baseline.labelled_count;
                let reason = format!("{count} labels in the reference, at least {REFERENCE_LABELS_MIN}");
                (Trust::Unknown, reason)
            }
            None => (Trust::Unknown, "no settled labels yet".to_owned()),
            Some(record) => record.trust(),
        };
        Some(Self { row_count, beyond_share, loss, accuracy, auc, baseline, trust, reason, record })
    }
}
