//! `Open`, parsed: what comes out of here is a stream that can be served.

use std::sync::Arc;

use acgs_columns::{Role, Schema};
use acgs_contracts::{common::v1 as common, orchestrator::v1 as proto};
use acgs_vocabulary::{JudgeKind, Problem, convert::schema, names, ports::ReferenceSource};
use acgs_windowing::{WindowKind, WindowSpec, spec::SpecError};

use super::{ID_BYTES_MAX, is_label_field};
use crate::spec::StreamSpec;

const OUT_OF_ORDERNESS_MS: i64 = 2_000;
const LABEL_HORIZON_MS: i64 = 86_400_000;
const IDLE_TIMEOUT_MS: i64 = 60_000;
/// As long as a window may be.
const RECENT_MS_MAX: i64 = 366 * 86_400_000;
/// Thirty days: longer silence or disorder is a mistake in the unit.
const WAIT_MS_MAX: i64 = 30 * 86_400_000;

/// The stream that an `Open` describes.
///
/// # Errors
/// The first thing that is wrong, naming the field.
pub(super) async fn spec(
    open: &proto::Open,
    references: &dyn ReferenceSource,
) -> Result<StreamSpec, Problem> {
    names::check("stream_id", &open.stream_id, 1)?;
    let all = [
        ("partition_id", &open.partition_id),
        ("service_id", &open.service_id),
        ("model_id", &open.model_id),
        ("model_version", &open.model_version),
    ];
    all.iter().try_for_each(|(path, name)| names::check_short(path, name, ID_BYTES_MAX))?;
    let recorded = open.durability() == proto::Durability::Log;
    if recorded && open.model_id.is_empty() {
        let message = "is empty; records are kept for a model";
        return Err(Problem::field("model_id", "MISSING", message));
    }
    let fields = open.schema.as_ref().ok_or_else(|| Problem::field("schema", "MISSING", "is missing"))?;
    let rows = schema::schema(fields).map_err(|problem| problem.within("schema"))?;
    if rows.index_of_role(Role::Timestamp).is_none() {
        let message = "has no field with the role TIMESTAMP, which windows are cut by";
        return Err(Problem::field("schema.fields", "BAD_SCHEMA", message));
    }
    let late_label = match &open.label_schema {
        Some(fields) => {
            let labels = label_schema(fields).map_err(|problem| problem.within("label_schema"))?;
            Some(check_labels(&rows, &labels)?)
        }
        None => None,
    };
    let message = open.window.as_ref().ok_or_else(|| Problem::field("window", "MISSING", "is missing"))?;
    let window = window(message, late_label.is_some()).map_err(|problem| problem.within("window"))?;
    let wait = |path: &'static str, value: Option<i64>, default: i64| {
        let value = value.unwrap_or(default);
        if (0..=WAIT_MS_MAX).contains(&value) {
            return Ok(value);
        }
        Err(Problem::field(
            format!("window.{path}"),
            "BAD_WINDOW",
            format!("is {value}, not 0 to {WAIT_MS_MAX}"),
        ))
    };
    let reference = match &open.reference {
        Some(selector) => Some(references.find(&selector.name, selector.version, &open.model_id).await?),
        None => None,
    };
    let recent_ms = match &open.comparison {
        Some(comparison) => recent_ms(comparison, window.size_ms(), reference.is_some())
            .map_err(|problem| problem.within("comparison"))?,
        None => 0,
    };
    Ok(StreamSpec {
        stream_id: Arc::from(open.stream_id.as_str()),
        judges: judges(open)?,
        schema: rows,
        late_label,
        window,
        out_of_orderness_ms: wait("out_of_orderness_ms", message.out_of_orderness_ms, OUT_OF_ORDERNESS_MS)?,
        idle_timeout_ms: wait("idle_timeout_ms", message.idle_timeout_ms, IDLE_TIMEOUT_MS)?,
        idle_advance_ms: wait("idle_advance_ms", Some(message.idle_advance_ms), 0)?,
        service_id: open.service_id.clone(),
        model_id: open.model_id.clone(),
        model_version: open.model_version.clone(),
        reference,
        recent_ms,
        recorded,
    })
}

/// Milliseconds before a window whose rows it is compared with.
fn recent_ms(comparison: &proto::Comparison, size_ms: i64, has_reference: bool) -> Result<i64, Problem> {
    use proto::comparison::Rows;
    if !has_reference {
        let message = "needs a reference beside it, which gives cells and tolerances";
        return Err(Problem::field("rows", "BAD_COMPARISON", message));
    }
    match &comparison.rows {
        Some(Rows::PreviousWindow(_)) => Ok(size_ms),
        Some(Rows::Recent(recent)) if (size_ms..=RECENT_MS_MAX).contains(&recent.span_ms) => {
            Ok(recent.span_ms)
        }
        Some(Rows::Recent(recent)) => {
            let message =
                format!("is {}, not the window's size of {size_ms} to {RECENT_MS_MAX}", recent.span_ms);
            Err(Problem::field("recent.span_ms", "BAD_COMPARISON", message))
        }
        None => Err(Problem::field("rows", "MISSING", "is neither previous_window nor recent")),
    }
}

fn judges(open: &proto::Open) -> Result<Vec<JudgeKind>, Problem> {
    if open.judges.is_empty() {
        return Ok(JudgeKind::ALL.to_vec());
    }
    let mut wanted = Vec::new();
    for (index, judge) in open.judges.iter().enumerate() {
        let judge = match proto::Judge::try_from(*judge) {
            Ok(proto::Judge::Quality) => JudgeKind::Quality,
            Ok(proto::Judge::Drift) => JudgeKind::Drift,
            Ok(proto::Judge::Performance) => JudgeKind::Performance,
            Ok(proto::Judge::Unspecified) | Err(_) => {
                return Err(Problem::field(
                    format!("judges[{index}]"),
                    "UNKNOWN_JUDGE",
                    "is none that there is",
                ));
            }
        };
        if !wanted.contains(&judge) {
            wanted.push(judge);
        }
    }
    wanted.sort_unstable();
    Ok(wanted)
}

/// A schema with one id and one label.
///
/// # Errors
/// `BAD_SCHEMA`, naming the field.
pub(super) fn label_schema(fields: &common::Schema) -> Result<Arc<Schema>, Problem> {
    let labels = schema::schema(fields)?;
    for role in [Role::Id, Role::Label] {
        let field = labels.index_of_role(role).map(|index| &labels.fields()[index]);
        if field.is_none_or(|field| !is_label_field(role, field.kind)) {
            let message =
                format!("has no field with the role {}", if role == Role::Id { "ID" } else { "LABEL" });
            return Err(Problem::field("fields", "BAD_SCHEMA", message));
        }
    }
    Ok(labels)
}

/// Rows and labels must name records alike, and agree on what a label is.
fn check_labels(rows: &Schema, labels: &Schema) -> Result<acgs_columns::Field, Problem> {
    let field =
        |schema: &Schema, role| schema.index_of_role(role).map(|index| schema.fields()[index].clone());
    let bad = |message: &str| Err(Problem::field("label_schema.fields", "BAD_SCHEMA", message));
    let (Some(row_id), Some(label_id)) = (field(rows, Role::Id), field(labels, Role::Id)) else {
        return bad("late labels need a field with the role ID in the rows too");
    };
    if row_id.kind != label_id.kind {
        return bad("the ID of labels and the ID of rows are of different kinds");
    }
    let Some(label) = field(labels, Role::Label) else { return bad("has no field with the role LABEL") };
    match field(rows, Role::Label) {
        Some(in_rows) if in_rows.kind != label.kind => {
            bad("the LABEL of labels and of rows are of different kinds")
        }
        _ => Ok(label),
    }
}

fn window(message: &proto::WindowSpec, labels: bool) -> Result<WindowSpec, Problem> {
    use proto::window_spec::Kind;
    let kind = match &message.kind {
        Some(Kind::Tumbling(window)) => WindowKind::Tumbling { size_ms: window.size_ms },
        Some(Kind::Sliding(window)) => {
            WindowKind::Sliding { size_ms: window.size_ms, slide_ms: window.slide_ms }
        }
        None => return Err(Problem::field("kind", "MISSING", "is neither tumbling nor sliding")),
    };
    let horizon_ms = message.label_horizon_ms.unwrap_or(LABEL_HORIZON_MS);
    let horizon_ms = (labels || message.label_horizon_ms.is_some()).then_some(horizon_ms);
    WindowSpec::new(kind, message.offset_ms, message.lateness_ms, horizon_ms).map_err(|error| {
        let path = match error {
            SpecError::Size(_) => "size_ms",
            SpecError::Slide(_) => "slide_ms",
            SpecError::Lateness(_) => "lateness_ms",
            SpecError::LabelHorizon(_) => "label_horizon_ms",
        };
        Problem::field(path, "BAD_WINDOW", error)
    })
}
