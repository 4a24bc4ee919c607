//! Schemas from and to protobuf.

use std::sync::Arc;

use acgs_columns::{Field, Kind, Role, Scale, Schema, schema::SchemaError};
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
        });
    }
    Schema::new(fields).map(Arc::new).map_err(|error| {
        let path = match &error {
            SchemaError::Name(index) => format!("fields[{index}].name"),
            _ => "fields".into(),
        };
        Problem::field(path, "BAD_SCHEMA", error)
    })
}

/// What numbers mean.
#[must_use]
pub fn scale(scale: proto::Scale) -> Option<Scale> {
    match scale {
        proto::Scale::Unspecified => None,
        proto::Scale::Nominal => Some(Scale::Nominal),
        proto::Scale::Numeric => Some(Scale::Numeric),
    }
}

/// The message of a schema.
#[must_use]
pub fn to_proto(schema: &Schema) -> proto::Schema {
    proto::Schema { fields: schema.fields().iter().map(field_to_proto).collect() }
}

/// The message of a field.
#[must_use]
pub fn field_to_proto(field: &Field) -> proto::Field {
    let kind = match field.kind {
        Kind::Double => proto::FieldKind::Double,
        Kind::Int64 => proto::FieldKind::Int64,
        Kind::Boolean => proto::FieldKind::Boolean,
        Kind::Text => proto::FieldKind::String,
        Kind::Timestamp => proto::FieldKind::Timestamp,
    };
    proto::Field {
        name: field.name.clone(),
        kind: kind.into(),
        role: role_to_proto(field.role).into(),
        minimum: field.minimum,
        maximum: field.maximum,
        required: field.required,
        positive: field.positive.as_deref().unwrap_or_default().to_owned(),
        scale: match field.scale {
            None => proto::Scale::Unspecified,
            Some(Scale::Nominal) => proto::Scale::Nominal,
            Some(Scale::Numeric) => proto::Scale::Numeric,
        }
        .into(),
    }
}

/// A kind; `None` when it is not said.
#[must_use]
pub fn kind(kind: proto::FieldKind) -> Option<Kind> {
    Some(match kind {
        proto::FieldKind::Unspecified => return None,
        proto::FieldKind::Double => Kind::Double,
        proto::FieldKind::Int64 => Kind::Int64,
        proto::FieldKind::Boolean => Kind::Boolean,
        proto::FieldKind::String => Kind::Text,
        proto::FieldKind::Timestamp => Kind::Timestamp,
    })
}

/// A role.
#[must_use]
pub fn role(role: proto::FieldRole) -> Role {
    match role {
        proto::FieldRole::Unspecified => Role::None,
        proto::FieldRole::Feature => Role::Feature,
        proto::FieldRole::Prediction => Role::Prediction,
        proto::FieldRole::Score => Role::Score,
        proto::FieldRole::Label => Role::Label,
        proto::FieldRole::Id => Role::Id,
        proto::FieldRole::Timestamp => Role::Timestamp,
        proto::FieldRole::Key => Role::Key,
        proto::FieldRole::Latency => Role::Latency,
        proto::FieldRole::Error => Role::Error,
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
