//! One value of a row, borrowed. It must not know columns.

/// One value before it has a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Absent.
    Null,
    /// A number.
    Number(f64),
    /// An integer beyond what a double holds exactly, or known to be one.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// Text.
    Text(&'a str),
}
