//! Schemas from and to protobuf.

use std::sync::Arc;

use acgs_columns::{Field, Kind, Role, Scale, Schema};
use acgs_contracts::common::v1 as proto;

use crate::problem::Problem;

/// A schema from a message, the field paths beginning with `fields`.
///
/// # Errors
/// `BAD_SCHEMA`, naming the field.
pub fn schema(message: &proto::Schema) -> Result<Arc<Schema>, Problem> {
    let mut fields = Vec::with_capacity(message.fields.len().min(acgs_columns::schema::FIELDS_MAX));
    for (index, field) in message.fields.iter().enumerate().take(acgs_columns::schema::FIELDS_MAX + 1) {
        let Some(kind) = kind(field.kind()) else {
            let path = format!("fields[{index}].kind");
            return Err(Problem::field(path, "BAD_SCHEMA", "is not a known kind"));
        };
        fields.push(Field {
            name: field.name.clone(),
            kind,
            role: role(field.role()),
            minimum: field.minimum,
            maximum: field.maximum,
            required: field.required,
            positive: (!field.positive.is_empty()).then(|| field.positive.as_str().into()),
            scale: scale(field.scale()),
            class: (!field.class_name.is_empty()).then(|| field.class_name.as_str().into()),
            quantile: field.quantile,
            slice: field.slice,
        });
    }
    Schema::new(fields).map(Arc::new).map_err(|error| Problem::field(error.path(), "BAD_SCHEMA", error))
}

/// The message of a schema.
#[must_use]
pub fn to_proto(schema: &Schema) -> proto::Schema {
    proto::Schema { fields: schema.fields().iter().map(field_to_proto).collect() }
}

/// The message of a field.
#[must_use]
pub fn field_to_proto(field: &Field) -> proto::Field {
    proto::Field {
        name: field.name.clone(),
        kind: kind_to_proto(field.kind).into(),
        role: role_to_proto(field.role).into(),
        minimum: field.minimum,
        maximum: field.maximum,
        required: field.required,
        positive: field.positive.as_deref().unwrap_or_default().to_owned(),
        scale: field.scale.map_or(0, |scale| scale_to_proto(scale).into()),
        class_name: field.class.as_deref().unwrap_or_default().to_owned(),
        quantile: field.quantile,
        slice: field.slice,
    }
}

/// A kind; `None` when it is not said.
#[must_use]
pub fn kind(kind: proto::FieldKind) -> Option<Kind> {
    use Kind::{Boolean, Double, Int64, Text, Timestamp};
    [Double, Int64, Boolean, Text, Timestamp].into_iter().find(|own| kind_to_proto(*own) == kind)
}

/// What numbers mean; `None` when it is not said.
#[must_use]
pub fn scale(scale: proto::Scale) -> Option<Scale> {
    [Scale::Nominal, Scale::Numeric].into_iter().find(|own| scale_to_proto(*own) == scale)
}

/// A role.
#[must_use]
pub fn role(role: proto::FieldRole) -> Role {
    use Role::{Error, Feature, Id, Key, Label, Latency, None, Prediction, Score, Timestamp};
    let all = [Feature, Prediction, Score, Label, Id, Timestamp, Key, Latency, Error];
    all.into_iter().find(|own| role_to_proto(*own) == role).unwrap_or(None)
}

fn kind_to_proto(kind: Kind) -> proto::FieldKind {
    match kind {
        Kind::Double => proto::FieldKind::Double,
        Kind::Int64 => proto::FieldKind::Int64,
        Kind::Boolean => proto::FieldKind::Boolean,
        Kind::Text => proto::FieldKind::String,
        Kind::Timestamp => proto::FieldKind::Timestamp,
    }
}

fn scale_to_proto(scale: Scale) -> proto::Scale {
    match scale {
        Scale::Nominal => proto::Scale::Nominal,
        Scale::Numeric => proto::Scale::Numeric,
    }
}

/// The message of a role.
#[must_use]
pub fn role_to_proto(role: Role) -> proto::FieldRole {
    match role {
        Role::None => proto::FieldRole::Unspecified,
        Role::Feature => proto::FieldRole::Feature,
        Role::Prediction => proto::FieldRole::Prediction,
        Role::Score => proto::FieldRole::Score,
        Role::Label => proto::FieldRole::Label,
        Role::Id => proto::FieldRole::Id,
        Role::Timestamp => proto::FieldRole::Timestamp,
        Role::Key => proto::FieldRole::Key,
        Role::Latency => proto::FieldRole::Latency,
        Role::Error => proto::FieldRole::Error,
    }
}
