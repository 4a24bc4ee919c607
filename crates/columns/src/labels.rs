//! Labels of yes and no in any coding. It must not know what they are compared with.
//!
//! A one is a yes beside 0 and -1, and a no beside 2. Which of them it is, is told when all rows are together, or by who knows the rows before.

use crate::Cell;

/// Words that say no, and words that say yes, in small letters.
const NO: [&str; 7] = ["false", "f", "no", "n", "negative", "neg", "off"];
const YES: [&str; 7] = ["true", "t", "yes", "y", "positive", "pos", "on"];

/// What a label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 0, -1, false or a word for it.
    No,
    /// True or a word for it.
    Yes,
    /// 1.
    One,
    /// 2.
    Two,
}

impl Class {
    /// Whether it says yes in a coding; `None` when it is of another.
    #[must_use]
    pub fn is_yes(self, coding: Coding) -> Option<bool> {
        match (self, coding) {
            (Self::No | Self::Yes, Coding::TwoIsYes) | (Self::Two, Coding::OneIsYes) => None,
            (Self::No, Coding::OneIsYes) | (Self::One, Coding::TwoIsYes) => Some(false),
            (Self::Yes | Self::One, Coding::OneIsYes) | (Self::Two, Coding::TwoIsYes) => Some(true),
        }
    }
}

/// How ones are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// 1 is yes; 0 and -1 are no.
    #[default]
    OneIsYes,
    /// 2 is yes; 1 is no.
    TwoIsYes,
}

impl Coding {
    /// What labels show of it: whether any is surely a no or a yes, and whether any is a two; `None` where neither is.
    #[must_use]
    pub fn shown(has_sure: bool, has_twos: bool) -> Option<Self> {
        match (has_sure, has_twos) {
            (true, _) => Some(Self::OneIsYes),
            (false, true) => Some(Self::TwoIsYes),
            (false, false) => None,
        }
    }
}

/// What a label says; `None` when it is absent or none of those. Texts are taken without blanks around them, in any case, and as numbers where
/// they are.
#[must_use]
pub fn class(cell: Cell<'_>) -> Option<Class> {
    match cell {
        Cell::Null => None,
        Cell::Boolean(yes) => Some(if yes { Class::Yes } else { Class::No }),
        Cell::Number(number) => of_number(number),
        Cell::Integer(number) => of_number(number as f64),
        Cell::Text(text) => {
            let text = text.trim();
            if let Ok(number) = text.parse() {
                return of_number(number);
            }
            let is_among = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
            match (is_among(&NO), is_among(&YES)) {
                (true, _) => Some(Class::No),
                (false, true) => Some(Class::Yes),
                (false, false) => None,
            }
        }
    }
}

/// The same where it is known which value says yes: all others say no.
#[must_use]
pub fn class_of(cell: Cell<'_>, positive: Option<&str>) -> Option<Class> {
    let Some(positive) = positive else { return class(cell) };
    let yes = positive.trim();
    let is_number =
        |number: f64| number.is_finite() && yes.parse().is_ok_and(|yes: f64| yes.total_cmp(&number).is_eq());
    let is_yes = match cell {
        Cell::Null => return None,
        Cell::Number(number) if !number.is_finite() => return None,
        Cell::Text(text) if text.trim().is_empty() => return None,
        Cell::Boolean(value) => class(Cell::Text(yes)) == Some(if value { Class::Yes } else { Class::No }),
        Cell::Number(number) => is_number(number + 0.0),
        Cell::Integer(number) => is_number(number as f64),
        Cell::Text(text) => text.trim() == yes,
    };
    Some(if is_yes { Class::Yes } else { Class::No })
}

fn of_number(number: f64) -> Option<Class> {
    match number {
        -1.0 | 0.0 => Some(Class::No),
        1.0 => Some(Class::One),
        2.0 => Some(Class::Two),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_yes_is_one_and_all_others_are_none() {
        for (cell, positive, said) in [
            (Cell::Text(" churn"), "churn", Some(Class::Yes)),
            (Cell::Text("stay"), "churn", Some(Class::No)),
            (Cell::Text("  "), "churn", None),
            (Cell::Integer(0), "0", Some(Class::Yes)),
            (Cell::Integer(1), "0", Some(Class::No)),
            (Cell::Number(7.0), "7", Some(Class::Yes)),
            (Cell::Number(f64::NAN), "7", None),
            (Cell::Boolean(false), "false", Some(Class::Yes)),
            (Cell::Boolean(true), "no", Some(Class::No)),
            (Cell::Text("no"), "no", Some(Class::Yes)),
            (Cell::Null, "no", None),
        ] {
            assert_eq!(class_of(cell, Some(positive)), said, "{cell:?} {positive}");
        }
    }
}
