//! Gates: what a new version has to show before it may serve, with everything that was looked at. It must not know models:
//! scores, labels and names come in, results go out.

use acgs_statistics::{paired::mean_bounds, score::area_exact};
use serde::{Deserialize, Serialize};

use crate::{
    compliance::{ComplianceEvidence, weigh},
    loss::loss,
    policy::{Gates, Slice},
    words::words,
};

/// Parts of a slice that are judged; the largest first.
const PARTS_MAX: usize = 256;

words! {
    /// How a gate came out.
    pub enum Outcome {
        /// Good enough.
        Passed = "passed",
        /// Not good enough.
        Failed = "failed",
        /// Nothing to judge by, and the policy does not ask for it.
        NotApplicable = "not_applicable",
    }
}

/// One gate with its inputs and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// Its name.
    pub gate: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was measured, by name.
    pub measured: Vec<(String, f64)>,
    /// What it was held against; absent when it is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// One sentence.
    pub description: String,
}

/// The held-out records, column by column, all of one length.
#[derive(Clone, Debug, Default)]
pub struct Holdout {
    /// Event times, ascending or not.
    pub times_ms: Vec<i64>,
    /// The truth.
    pub labels: Vec<f64>,
    /// The new version's scores; not finite where it gave none.
    pub challenger: Vec<f64>,
    /// Scores as they were served; `None` where nothing served.
    pub served: Vec<Option<f64>>,
    /// Text fields by name, for slices.
    pub slices: Vec<(String, Vec<Option<String>>)>,
}

/// What is judged beside the records.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// Scores that came back.
    pub scores: usize,
    /// Records that were to be scored.
    pub expected_scores: usize,
    /// The constitution that the artifact was made under.
    pub constitutional_hash: String,
    /// The ones in force.
    pub constitutions: Vec<String>,
    /// What is known about principles.
    pub evidence: Vec<ComplianceEvidence>,
}

/// What the gates come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Each gate, in order.
    pub results: Vec<GateResult>,
    /// Whether none failed.
    pub passed: bool,
    /// Whether the new version did better than what served on the held-out records, or nothing served them.
    pub helped: bool,
}

fn result(gate: &str, outcome: Outcome, description: impl Into<String>) -> GateResult {
    let (measured, bound) = (Vec::new(), None);
    GateResult { gate: gate.into(), outcome, measured, bound, description: description.into() }
}

fn pass(fine: bool) -> Outcome {
    if fine { Outcome::Passed } else { Outcome::Failed }
}

/// Judges a candidate; a gate that cannot be judged fails unless the policy does not ask for it.
#[must_use]
pub fn judge(gates: &Gates, holdout: &Holdout, candidate: &Candidate) -> Judged {
    let mut results = vec![schema(holdout, candidate), constitution(candidate)];
    let mut helped = false;
    if results[0].outcome == Outcome::Passed {
        let losses: Vec<f64> = holdout
            .challenger
            .iter()
            .zip(&holdout.labels)
            .map(|(score, label)| loss(gates.loss, *score, *label))
            .collect();
        results.push(enough(gates, losses.len()));
        results.extend(hard_metrics(gates, holdout, &losses));
        let (compared, better) = champion(gates, holdout, &losses);
        helped = better;
        results.push(compared);
        results.extend(gates.slices.iter().map(|slice| floor(slice, holdout, &losses)));
    }
    results.push(compliance(gates, candidate));
    // What is no number says nothing, and could not be read again where it is kept.
    for result in &mut results {
        result.measured.retain(|(_, value)| value.is_finite());
    }
    let passed = results.iter().all(|result| result.outcome != Outcome::Failed);
    Judged { results, passed, helped: helped && passed }
}

/// Every held-out record has a score, and each is a number.
fn schema(holdout: &Holdout, candidate: &Candidate) -> GateResult {
    let bad = holdout.challenger.iter().filter(|score| !score.is_finite()).count();
    let fine = candidate.scores == candidate.expected_scores && bad == 0;
    let description = format!(
        "{} scores for {} held-out records, {bad} of them no number",
        candidate.scores, candidate.expected_scores
    );
    let mut result = result("schema", pass(fine), description);
    result.measured = vec![("scores".into(), candidate.scores as f64), ("not_finite".into(), bad as f64)];
    result.bound = Some(candidate.expected_scores as f64);
    result
}

fn constitution(candidate: &Candidate) -> GateResult {
    let known = candidate.constitutions.contains(&candidate.constitutional_hash);
    let description = match (known, candidate.constitutional_hash.is_empty()) {
        (true, _) => "made under the constitution in force".to_owned(),
        (false, true) => "it does not say under which constitution it was made".to_owned(),
        (false, false) => "made under another constitution than the one in force".to_owned(),
    };
    result("constitution", pass(known), description)
}

fn enough(gates: &Gates, rows: usize) -> GateResult {
    let fine = rows as u64 >= gates.rows_min;
    let description =
        format!("{rows} held-out records have a label; at least {} are asked for", gates.rows_min);
    let mut result = result("holdout_rows", pass(fine), description);
    result.measured = vec![("rows".into(), rows as f64)];
    result.bound = Some(gates.rows_min as f64);
    result
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn hard_metrics(gates: &Gates, holdout: &Holdout, losses: &[f64]) -> Vec<GateResult> {
    let mut results = Vec::new();
    if let Some(loss_max) = gates.loss_max {
        let found = mean(losses);
        let description =
            format!("mean loss {found:.4} on {} held-out records, at most {loss_max}", losses.len());
        let mut judged = result("loss", pass(!losses.is_empty() && found <= loss_max), description);
        judged.measured = vec![("loss".into(), found)];
        judged.bound = Some(loss_max);
        results.push(judged);
    }
    if let Some(auc_min) = gates.auc_min {
        let labels: Vec<bool> = holdout.labels.iter().map(|label| *label > 0.5).collect();
        let area = area_exact(&holdout.challenger, &labels).map(|area| area.value);
        let description = match area {
            Some(area) => format!("area under the curve {area:.4}, at least {auc_min}"),
            None => "the held-out labels are all alike: there is no area under the curve".to_owned(),
        };
        let mut judged = result("auc", pass(area.is_some_and(|area| area >= auc_min)), description);
        judged.measured = area.map(|area| ("auc".to_owned(), area)).into_iter().collect();
        judged.bound = Some(auc_min);
        results.push(judged);
    }
    results
}

/// The new version against what was served on the same records, pair by pair. Also says whether it did better.
fn champion(gates: &Gates, holdout: &Holdout, losses: &[f64]) -> (GateResult, bool) {
    let mut pairs = Vec::with_capacity(losses.len());
    for (row, loss_now) in losses.iter().enumerate() {
        if let Some(served) = holdout.served[row] {
            let before = loss(gates.loss, served, holdout.labels[row]);
            pairs.push((holdout.times_ms[row], loss_now - before));
        }
    }
    if pairs.is_empty() {
        let description = "nothing served the held-out records: there is nothing to compare with";
        return (result("champion", Outcome::NotApplicable, description), true);
    }
    let Some(bound) = mean_bounds(&pairs, gates.block_ms, gates.confidence) else {
        let description = format!("{} compared records are too few for an interval", pairs.len());
        return (result("champion", Outcome::Failed, description), false);
    };
    let fine = bound.upper <= gates.margin;
    let description = format!(
        "mean loss {} by {:.4} than what was served on {} records, at the most {:+.4} with confidence {}; {} is borne",
        if bound.mean < 0.0 { "lower" } else { "higher" },
        bound.mean.abs(),
        pairs.len(),
        bound.upper,
        gates.confidence,
        gates.margin
    );
    let mut judged = result("champion", pass(fine), description);
    judged.measured = vec![
        ("difference".into(), bound.mean),
        ("upper".into(), bound.upper),
        ("records".into(), pairs.len() as f64),
        ("draws".into(), bound.draws as f64),
    ];
    judged.bound = Some(gates.margin);
    (judged, bound.mean < 0.0)
}

/// No part of the records may do worse than a floor.
fn floor(slice: &Slice, holdout: &Holdout, losses: &[f64]) -> GateResult {
    let name = format!("slice:{}", slice.field);
    let Some((_, values)) = holdout.slices.iter().find(|(field, _)| *field == slice.field) else {
        let description = format!("the records have no text field {:?}", slice.field);
        return result(&name, Outcome::Failed, description);
    };
    let mut parts: std::collections::HashMap<&str, (f64, u64)> = std::collections::HashMap::new();
    for (value, loss) in values.iter().zip(losses) {
        let part = parts.entry(value.as_deref().unwrap_or("")).or_default();
        part.0 += loss;
        part.1 += 1;
    }
    let mut judged: Vec<(&str, f64, u64)> = parts
        .into_iter()
        .filter(|(_, (_, rows))| *rows >= slice.rows_min)
        .map(|(part, (sum, rows))| (part, sum / rows as f64, rows))
        .collect();
    if judged.is_empty() {
        let description = format!("no part of {:?} has {} held-out records", slice.field, slice.rows_min);
        return result(&name, Outcome::NotApplicable, description);
    }
    judged.sort_by_key(|(_, _, rows)| std::cmp::Reverse(*rows));
    judged.truncate(PARTS_MAX);
    judged.sort_by(|one, other| other.1.total_cmp(&one.1));
    let (worst, loss, rows) = judged[0];
    let description = format!(
        "the worst of {} parts of {:?} is {worst:?}: mean loss {loss:.4} on {rows} records, at most {}",
        judged.len(),
        slice.field,
        slice.loss_max
    );
    let mut gate = result(&name, pass(loss <= slice.loss_max), description);
    gate.measured = vec![("loss".into(), loss), ("records".into(), rows as f64)];
    gate.bound = Some(slice.loss_max);
    gate
}

fn compliance(gates: &Gates, candidate: &Candidate) -> GateResult {
    let gate = &gates.compliance;
    let found = weigh(&gate.principles, &candidate.evidence);
    let (outcome, description) = match found.score {
        _ if !found.violated.is_empty() => {
            (Outcome::Failed, format!("below the minimum: {}", found.violated.join(", ")))
        }
        Some(score) => {
            let description = format!("weighted score {score:.3}, at least {}", gate.score_min);
            (pass(score >= gate.score_min - 1e-12), description)
        }
        None if gate.required => {
            (Outcome::Failed, format!("no evidence was supplied of: {}", found.missing.join(", ")))
        }
        None => {
            let description =
                format!("the policy asks for none, and none was supplied of: {}", found.missing.join(", "));
            (Outcome::NotApplicable, description)
        }
    };
    let mut judged = result("compliance", outcome, description);
    judged.measured = candidate
        .evidence
        .iter()
        .filter(|piece| gate.principles.iter().any(|principle| principle.name == piece.principle))
        .map(|piece| (piece.principle.clone(), piece.score))
        .chain(found.score.map(|score| ("weighted".to_owned(), score)))
        .collect();
    judged.bound = Some(gate.score_min);
    judged
}

#[cfg(test)]
#[path = "gates/tests.rs"]
mod tests;
