//! `Analyze`: a request as a question, what the judges found as an answer.

use acgs_contracts::orchestrator::v1 as proto;
use acgs_vocabulary::{
    JudgeKind, Problem, VerdictStatus,
    convert::{rows, schema},
    names, text,
};

use super::{ID_BYTES_MAX, messages};
use crate::analyze::{Analyzed, Analyzer, Question, ReferenceName};

fn judges(analysis_type: &str) -> Result<Vec<JudgeKind>, Problem> {
    if analysis_type.is_empty() {
        return Ok(JudgeKind::ALL.to_vec());
    }
    let judges: Vec<_> = JudgeKind::ALL.into_iter().filter(|judge| judge.as_str() == analysis_type).collect();
    if judges.is_empty() {
        let message = format!("{analysis_type:?} is none of quality, drift, performance");
        return Err(Problem::field("analysis_type", "UNKNOWN_ANALYSIS", message));
    }
    Ok(judges)
}

fn question(request: &proto::AnalyzeRequest) -> Result<Question, Problem> {
    for (path, value) in [("service_id", &request.service_id), ("model_id", &request.model_id)] {
        names::check_short(path, value, ID_BYTES_MAX)?;
    }
    let judges = judges(&request.analysis_type)?;
    let schema = match &request.schema {
        Some(fields) => schema::schema(fields).map_err(|problem| problem.within("schema"))?,
        None => rows::infer(&request.data, rows::NamedRoles::default(), "data")?,
    };
    let batches = rows::batches(&request.data, &schema, "data")?;
    let reference = request.reference.as_ref().map(|selector| ReferenceName {
        name: selector.name.clone(),
        version: selector.version,
        model_id: request.model_id.clone(),
    });
    Ok(Question { judges, schema, batches, reference })
}

/// Answers a request.
///
/// # Errors
/// The first thing that is wrong, naming the field; or a judge's refusal.
pub(super) async fn answer(
    analyzer: &Analyzer,
    request: proto::AnalyzeRequest,
) -> Result<proto::AnalyzeResponse, Problem> {
    let Analyzed { analysis_id, parts, harm, drift_kinds, now_ms, elapsed_us } =
        analyzer.analyze(question(&request)?).await?;
    let judged = parts.iter().filter(|part| part.status() == VerdictStatus::Ok);
    let services_used = judged.map(|part| part.judge.as_str().to_owned()).collect();
    let findings = parts.iter().flat_map(|part| part.verdict.iter().flat_map(|verdict| &verdict.findings));
    let findings = findings.map(Into::into).collect();
    let (quality, drift, performance) = messages::reports(&parts);
    Ok(proto::AnalyzeResponse {
        analysis_id,
        analysis_type: request.analysis_type,
        verdicts: parts.iter().map(messages::verdict).collect(),
        quality,
        drift,
        performance,
        harm: messages::harm(harm).into(),
        findings,
        processing_time_ms: elapsed_us as f64 / 1_000.0,
        services_used,
        constitutional_hash: analyzer.constitution.current().to_owned(),
        timestamp: text::rfc3339(now_ms),
        drift_kinds: messages::drift_kinds(&drift_kinds),
    })
}
