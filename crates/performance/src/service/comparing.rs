//! `CompareModels`: from a request to rows, and from a comparison to an answer.

use acgs_columns::Cell;
use acgs_contracts::performance::v1 as proto;
use acgs_reference::labels;
use acgs_statistics::score::probability;
use acgs_vocabulary::{
    Problem,
    names::{self, NAME_BYTES_MAX},
};

use super::report_message::estimate;
use crate::comparison::{Comparison, PairedLoss, Rows, Terms, Verdict, classes_of, compare};

/// Most rows of a comparison.
const ROWS_MAX: usize = 500_000;
/// When the request does not say.
const CONFIDENCE: f64 = 0.95;

fn bad(field: impl Into<String>, reason: &'static str, message: impl Into<String>) -> Problem {
    Problem::field(field.into(), reason, message.into())
}

/// Answers a request.
///
/// # Errors
/// As the contract says.
pub(super) fn answer(request: &proto::CompareModelsRequest) -> Result<proto::CompareModelsResponse, Problem> {
    names::check_short("model_id", &request.model_id, NAME_BYTES_MAX)?;
    let terms = terms(request)?;
    let rows = rows(request, terms.loss)?;
    Ok(response(&rows, &terms, &compare(&rows, &terms)))
}

fn terms(request: &proto::CompareModelsRequest) -> Result<Terms, Problem> {
    let confidence = if request.confidence == 0.0 { CONFIDENCE } else { request.confidence };
    if !(confidence > 0.5 && confidence < 1.0) {
        return Err(bad("confidence", "OUT_OF_RANGE", "is not above 0.5 and below 1"));
    }
    if !(request.margin.is_finite() && request.margin >= 0.0) {
        return Err(bad("margin", "OUT_OF_RANGE", "is not at least 0"));
    }
    if request.block_ms < 0 || request.block_ms > 0 && request.times_ms.is_empty() {
        return Err(bad("block_ms", "OUT_OF_RANGE", "is not at least 0, or without times"));
    }
    let loss = match request.loss() {
        proto::PairedLoss::Unspecified | proto::PairedLoss::Squared => PairedLoss::Squared,
        proto::PairedLoss::Log => PairedLoss::Log,
        proto::PairedLoss::Absolute => PairedLoss::Absolute,
        proto::PairedLoss::Wrong => PairedLoss::Wrong,
    };
    Ok(Terms { loss, block_ms: request.block_ms, margin: request.margin, confidence })
}

fn rows(request: &proto::CompareModelsRequest, loss: PairedLoss) -> Result<Rows, Problem> {
    let count = request.first_scores.len();
    if count == 0 || count > ROWS_MAX {
        let reason = if count == 0 { "EMPTY_DATA" } else { "TOO_MANY_ROWS" };
        return Err(bad("first_scores", reason, format!("holds {count} values, not 1 to {ROWS_MAX}")));
    }
    let times = request.times_ms.len();
    let lengths = [
        ("second_scores", request.second_scores.len()),
        ("labels", request.labels.len()),
        ("times_ms", if times == 0 { count } else { times }),
    ];
    if let Some((name, length)) = lengths.into_iter().find(|(_, length)| *length != count) {
        return Err(bad(name, "LENGTH_MISMATCH", format!("holds {length} values for {count} scores")));
    }
    let numbers = [
        ("first_scores", &request.first_scores),
        ("second_scores", &request.second_scores),
        ("labels", &request.labels),
    ];
    for (name, values) in numbers {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(bad(format!("{name}[{index}]"), "NOT_FINITE", "is not a finite number"));
        }
    }
    let shares =
        |scores: &[f64]| scores.iter().map(|score| probability(*score)).collect::<Option<Vec<f64>>>();
    let both = shares(&request.first_scores).zip(shares(&request.second_scores));
    let said: Vec<_> = request.labels.iter().map(|label| labels::class(Cell::Number(*label))).collect();
    let classes = classes_of(&said).zip(both);
    if classes.is_none() && matches!(loss, PairedLoss::Log | PairedLoss::Wrong) {
        let message = "are not 0 and 1, -1 and 1, or 1 and 2 beside scores in [0, 1], which this loss needs";
        return Err(bad("labels", "OUT_OF_RANGE", message));
    }
    let times_ms = if times == 0 { vec![0; count] } else { request.times_ms.clone() };
    Ok(match classes {
        Some((classes, (first, second))) => Rows {
            scores: [first, second],
            labels: classes.iter().map(|yes| f64::from(u8::from(*yes))).collect(),
            classes: Some(classes),
            times_ms,
        },
        None => Rows {
            scores: [request.first_scores.clone(), request.second_scores.clone()],
            labels: request.labels.clone(),
            classes: None,
            times_ms,
        },
    })
}

fn response(rows: &Rows, terms: &Terms, found: &Comparison) -> proto::CompareModelsResponse {
    let (verdict, words) = match found.verdict {
        Verdict::Better => (proto::PairedVerdict::Better, "surely loses less"),
        Verdict::NotWorse => (proto::PairedVerdict::NotWorse, "surely does not lose more than the margin"),
        Verdict::Worse => (proto::PairedVerdict::Worse, "surely loses more than the margin"),
        Verdict::Undecided => (proto::PairedVerdict::Undecided, "cannot be told from the first yet"),
    };
    let [first, second] = found.losses;
    let description = format!(
        "the second {words}: mean loss {second:.4} beside {first:.4} on {} rows, margin {}, confidence {}",
        rows.labels.len(),
        terms.margin,
        terms.confidence
    );
    proto::CompareModelsResponse {
        verdict: verdict.into(),
        description,
        row_count: rows.labels.len() as u64,
        first_loss: first,
        second_loss: second,
        difference: found.bounds.map(|bounds| proto::Estimate {
            value: bounds.mean,
            standard_error: bounds.standard_error,
            lower: bounds.lower,
            upper: bounds.upper,
        }),
        draws: found.bounds.map_or(0, |bounds| bounds.draws as u64),
        bootstrap_lower: found.bootstrap.map(|(lower, _)| lower),
        bootstrap_upper: found.bootstrap.map(|(_, upper)| upper),
        only_first_right: found.rights.map(|(only_first, ..)| only_first),
        only_second_right: found.rights.map(|(_, only_second, _)| only_second),
        mcnemar_p_value: found.rights.map(|(.., chance)| chance),
        auc_difference: found.auc_difference.map(estimate),
        ln_worse: found.ln_evidence.map(|(worse, _)| worse),
        ln_better: found.ln_evidence.map(|(_, better)| better),
    }
}
