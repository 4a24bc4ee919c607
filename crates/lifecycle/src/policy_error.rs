//! What is wrong with a policy, and the checks that say so. It must not know what a policy is.

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// It has not the form of one.
    #[error("{0}")]
    Unreadable(String),
    /// A value is out of its bounds.
    #[error("{field}: {message}")]
    Bound {
        /// The path of the field.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// Two parts cannot both be meant.
    #[error("{field}: {message}")]
    Contradiction {
        /// The path of the field.
        field: String,
        /// What it contradicts.
        message: String,
    },
}

pub(crate) fn bound(
    field: impl Into<String>,
    fine: bool,
    message: impl Into<String>,
) -> Result<(), PolicyError> {
    if fine { Ok(()) } else { Err(PolicyError::Bound { field: field.into(), message: message.into() }) }
}

pub(crate) fn sound(
    field: impl Into<String>,
    fine: bool,
    message: impl Into<String>,
) -> Result<(), PolicyError> {
    if fine {
        Ok(())
    } else {
        Err(PolicyError::Contradiction { field: field.into(), message: message.into() })
    }
}

pub(crate) fn within(field: &str, value: i64, least: i64, most: i64) -> Result<(), PolicyError> {
    bound(field, (least..=most).contains(&value), format!("is {value}, not {least} to {most}"))
}
