//! What the columns of a batch are called, hold and mean. It must not know any value.

use std::{collections::HashMap, sync::Arc};

/// Most fields of one schema.
pub const FIELDS_MAX: usize = 1024;
/// Longest name of a field, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Most scores of one schema.
pub const SCORES_MAX: usize = 256;
/// Most fields of one schema by whose values losses are told.
pub const SLICES_MAX: usize = 4;

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
    /// The model's probability of the positive class; of several, each of one class.
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
    /// Of one of several scores: the class that it is the probability of, as labels name it; `None` for what its name says.
    pub class: Option<Arc<str>>,
    /// Of a prediction that is an amount: the share of labels that it means to be above, in (0, 1); `None` for a mean or a middle.
    pub quantile: Option<f64>,
    /// Whether losses are told by its values, too.
    pub slice: bool,
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
            class: None,
            quantile: None,
            slice: false,
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
    /// More scores than classes are told apart.
    #[error("a schema has at most {SCORES_MAX} scores, this one {0}")]
    ScoreCount(usize),
    /// A class where none can be, or a name that is too long.
    #[error(
        "the class of field {0:?} is over {NAME_BYTES_MAX} bytes, or the field is not one of several scores"
    )]
    Class(String),
    /// Two scores of one class.
    #[error("two scores are of the class {0:?}")]
    DuplicateClass(String),
    /// A quantile where none can be, or none.
    #[error(
        "the quantile of field {0:?} is not above 0 and below 1, or the field is no prediction of amounts"
    )]
    Quantile(String),
    /// Losses told by a field that has no names, or by too many.
    #[error(
        "losses cannot be told by field {0:?}: it is no feature or key of names, or more than {SLICES_MAX} are declared so"
    )]
    Slice(String),
    /// A range on a field that has no order, or upside down, or not finite.
    #[error("range of field {0:?} is not two ordered finite numbers on a numeric kind")]
    Range(String),
}

impl SchemaError {
    /// Where in the fields it is, as a path.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Name(index) => format!("fields[{index}].name"),
            _ => "fields".to_owned(),
        }
    }
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
            check_quantile(field)?;
            let once = !matches!(field.role, Role::None | Role::Feature | Role::Score);
            if once && fields[..index].iter().any(|other| other.role == field.role) {
                return Err(SchemaError::DuplicateRole(field.role));
            }
        }
        check_scores(&fields)?;
        check_slices(&fields)?;
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

    /// The column of a role that appears at most once; the first feature. Of several scores none: no one of them is the probability of a yes.
    #[must_use]
    pub fn index_of_role(&self, role: Role) -> Option<usize> {
        let mut found = self.places_of_role(role);
        let first = found.next();
        if role == Role::Score && found.next().is_some() { None } else { first }
    }

    /// The columns of a role, in order.
    pub fn places_of_role(&self, role: Role) -> impl Iterator<Item = usize> {
        self.fields.iter().enumerate().filter(move |(_, field)| field.role == role).map(|(place, _)| place)
    }
}

/// What the classes of scores are called: as declared, or a field's name after what the names of all scores begin with, up to its last `_`.
pub(crate) fn class_names(fields: &[Field]) -> Vec<Arc<str>> {
    let scores = || fields.iter().filter(|field| field.role == Role::Score);
    let Some(first) = scores().next() else { return Vec::new() };
    let shared = scores().fold(first.name.len(), |length, field| {
        let same = first.name.bytes().zip(field.name.bytes()).take_while(|(one, other)| one == other).count();
        length.min(same)
    });
    let start =
        first.name.as_bytes()[..shared].iter().rposition(|byte| *byte == b'_').map_or(0, |place| place + 1);
    let name = |field: &Field| {
        let own = || Some(&field.name[start..]).filter(|name| !name.is_empty()).unwrap_or(&field.name).into();
        field.class.as_ref().map_or_else(own, |class| class.trim().into())
    };
    scores().map(name).collect()
}

fn check_scores(fields: &[Field]) -> Result<(), SchemaError> {
    let scores: Vec<&Field> = fields.iter().filter(|field| field.role == Role::Score).collect();
    if scores.len() > SCORES_MAX {
        return Err(SchemaError::ScoreCount(scores.len()));
    }
    let can_have = |field: &Field| field.role == Role::Score && scores.len() > 1;
    let is_wrong = |field: &&Field| {
        field
            .class
            .as_ref()
            .is_some_and(|class| !can_have(field) || class.trim().is_empty() || class.len() > NAME_BYTES_MAX)
    };
    if let Some(field) = fields.iter().find(is_wrong) {
        return Err(SchemaError::Class(field.name.clone()));
    }
    let mut names = class_names(fields);
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) if scores.len() > 1 => Err(SchemaError::DuplicateClass(pair[0].to_string())),
        _ => Ok(()),
    }
}

fn check_slices(fields: &[Field]) -> Result<(), SchemaError> {
    let has_names = |field: &Field| match field.kind {
        Kind::Text | Kind::Boolean => true,
        Kind::Int64 => field.scale == Some(Scale::Nominal) || field.role == Role::Key,
        Kind::Double | Kind::Timestamp => false,
    };
    let can_be =
        |field: &Field| matches!(field.role, Role::None | Role::Feature | Role::Key) && has_names(field);
    let mut slices = fields.iter().filter(|field| field.slice).enumerate();
    match slices.find(|(number, field)| *number >= SLICES_MAX || !can_be(field)) {
        Some((_, field)) => Err(SchemaError::Slice(field.name.clone())),
        None => Ok(()),
    }
}

fn check_quantile(field: &Field) -> Result<(), SchemaError> {
    let Some(quantile) = field.quantile else { return Ok(()) };
    let fits = field.role == Role::Prediction
        && matches!(field.kind, Kind::Double | Kind::Int64)
        && field.scale != Some(Scale::Nominal)
        && quantile > 0.0
        && quantile < 1.0;
    if fits { Ok(()) } else { Err(SchemaError::Quantile(field.name.clone())) }
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
