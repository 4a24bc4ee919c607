//! What the columns of a batch are called, hold and mean. It must not know any value.

use std::{collections::HashMap, sync::Arc};

/// Most fields of one schema.
pub const FIELDS_MAX: usize = 1024;
/// Longest name of a field, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IEEE 754 double.
    Double,
    /// Signed 64-bit integer.
    Int64,
    /// True or false.
    Boolean,
    /// UTF-8 text.
    Text,
    /// Milliseconds since the epoch, UTC.
    Timestamp,
}

/// What a field means to the judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Carried, not judged.
    None,
    /// An input of the model.
    Feature,
    /// The model's answer.
    Prediction,
    /// The model's probability of the positive class.
    Score,
    /// The truth.
    Label,
    /// Names the record.
    Id,
    /// Event time.
    Timestamp,
    /// Windows are kept apart by it.
    Key,
    /// How long the answer took, in milliseconds.
    Latency,
    /// True when serving failed.
    Error,
}

/// What numbers of a field mean, where that does not follow from its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Names.
    Nominal,
    /// Amounts.
    Numeric,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Unique in the schema.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// What it means.
    pub role: Role,
    /// Smallest valid value.
    pub minimum: Option<f64>,
    /// Largest valid value.
    pub maximum: Option<f64>,
    /// Whether a null is invalid rather than missing.
    pub required: bool,
    /// Of a label: the value that says yes, as text.
    pub positive: Option<Arc<str>>,
    /// What its numbers mean; `None` for what follows from its kind.
    pub scale: Option<Scale>,
}

impl Field {
    /// A field without range or requirement.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind, role: Role) -> Self {
        Self {
            name: name.into(),
            kind,
            role,
            minimum: None,
            maximum: None,
            required: false,
            positive: None,
            scale: None,
        }
    }
}

/// Why fields make no schema.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// Without fields, or with too many.
    #[error("a schema has 1 to {FIELDS_MAX} fields, this one {0}")]
    FieldCount(usize),
    /// A name is empty or too long.
    #[error("name of field {0} is empty, over {NAME_BYTES_MAX} bytes or has control characters")]
    Name(usize),
    /// The value that says yes is too long.
    #[error("the value of field {0:?} that says yes is over {NAME_BYTES_MAX} bytes")]
    Positive(String),
    /// Two fields share a name.
    #[error("field name {0:?} appears twice")]
    DuplicateName(String),
    /// A role wants another kind.
    #[error("field {name:?} with role {role:?} cannot be of kind {kind:?}")]
    RoleKind {
        /// The field.
        name: String,
        /// Its role.
        role: Role,
        /// Its kind.
        kind: Kind,
    },
    /// A role that may appear once appears twice.
    #[error("role {0:?} appears on two fields")]
    DuplicateRole(Role),
    /// A field of this kind and role is not measured so.
    #[error("field {0:?} cannot be {1:?}: its kind or role says otherwise")]
    Scale(String, Scale),
    /// A range on a field that has no order, or upside down, or not finite.
    #[error("range of field {0:?} is not two ordered finite numbers on a numeric kind")]
    Range(String),
}

/// Fields in column order.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    fields: Vec<Field>,
    by_name: HashMap<String, usize>,
}

impl Schema {
    /// Checks names, roles and ranges.
    ///
    /// # Errors
    /// The first rule that the fields break.
    pub fn new(fields: Vec<Field>) -> Result<Self, SchemaError> {
        if fields.is_empty() || fields.len() > FIELDS_MAX {
            return Err(SchemaError::FieldCount(fields.len()));
        }
        let mut by_name = HashMap::with_capacity(fields.len());
        for (index, field) in fields.iter().enumerate() {
            let plain = !field.name.chars().any(char::is_control);
            if field.name.is_empty() || field.name.len() > NAME_BYTES_MAX || !plain {
                return Err(SchemaError::Name(index));
            }
            if by_name.insert(field.name.clone(), index).is_some() {
                return Err(SchemaError::DuplicateName(field.name.clone()));
            }
            if field.positive.as_ref().is_some_and(|positive| positive.len() > NAME_BYTES_MAX) {
                return Err(SchemaError::Positive(field.name.clone()));
            }
            check_role(field)?;
            check_range(field)?;
            check_scale(field)?;
            let once = !matches!(field.role, Role::None | Role::Feature);
            if once && fields[..index].iter().any(|other| other.role == field.role) {
                return Err(SchemaError::DuplicateRole(field.role));
            }
        }
        Ok(Self { fields, by_name })
    }

    /// The fields in column order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The column of a name.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The column of a role that appears at most once; the first one for others.
    #[must_use]
    pub fn index_of_role(&self, role: Role) -> Option<usize> {
        self.fields.iter().position(|field| field.role == role)
    }
}

fn check_role(field: &Field) -> Result<(), SchemaError> {
    let fits = match field.role {
        Role::None | Role::Feature | Role::Prediction => true,
        Role::Score => field.kind == Kind::Double,
        Role::Label => field.kind != Kind::Timestamp,
        Role::Id | Role::Key => matches!(field.kind, Kind::Int64 | Kind::Text),
        Role::Timestamp => field.kind == Kind::Timestamp,
        Role::Latency => matches!(field.kind, Kind::Double | Kind::Int64),
        Role::Error => field.kind == Kind::Boolean,
    };
    if fits {
        Ok(())
    } else {
        Err(SchemaError::RoleKind { name: field.name.clone(), role: field.role, kind: field.kind })
    }
}

fn check_scale(field: &Field) -> Result<(), SchemaError> {
    let is_answer = matches!(field.role, Role::Prediction | Role::Label);
    let fits = match field.scale {
        None => true,
        Some(Scale::Nominal) => {
            is_answer
                || matches!(field.role, Role::None | Role::Feature)
                    && matches!(field.kind, Kind::Int64 | Kind::Text)
        }
        Some(Scale::Numeric) => {
            matches!(field.kind, Kind::Int64 | Kind::Double) || is_answer && field.kind == Kind::Text
        }
    };
    match field.scale {
        Some(scale) if !fits => Err(SchemaError::Scale(field.name.clone(), scale)),
        _ => Ok(()),
    }
}

fn check_range(field: &Field) -> Result<(), SchemaError> {
    if field.minimum.is_none() && field.maximum.is_none() {
        return Ok(());
    }
    let numeric = matches!(field.kind, Kind::Double | Kind::Int64 | Kind::Timestamp);
    let finite = field.minimum.is_none_or(f64::is_finite) && field.maximum.is_none_or(f64::is_finite);
    let ordered = match (field.minimum, field.maximum) {
        (Some(minimum), Some(maximum)) => minimum <= maximum,
        _ => true,
    };
    if numeric && finite && ordered { Ok(()) } else { Err(SchemaError::Range(field.name.clone())) }
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;
