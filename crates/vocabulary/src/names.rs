//! What names and sentences of callers may look like: no control characters, since logs, terminals and events carry them on. It must
//! not know what is named.

use crate::Problem;

/// Longest name or id, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Whether a character changes how what stands around it is shown.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a name shows as what it is.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    !name.chars().any(is_hidden)
}

/// A name of `least` to 128 bytes.
///
/// # Errors
/// `BAD_NAME`, naming the field.
pub fn check(path: &str, name: &str, least: usize) -> Result<(), Problem> {
    if !(least..=NAME_BYTES_MAX).contains(&name.len()) {
        let message = format!("has {} bytes, not {least} to {NAME_BYTES_MAX}", name.len());
        return Err(Problem::field(path, "BAD_NAME", message));
    }
    check_plain(path, name)
}

/// A name that may be empty, of so many bytes at most.
///
/// # Errors
/// `TOO_LONG` or `BAD_NAME`, naming the field.
pub fn check_short(path: &str, name: &str, most: usize) -> Result<(), Problem> {
    if name.len() > most {
        return Err(Problem::field(path, "TOO_LONG", format!("has {} bytes, at most {most}", name.len())));
    }
    check_plain(path, name)
}

/// A name of any length without control characters.
///
/// # Errors
/// `BAD_NAME`, naming the field.
pub fn check_plain(path: &str, name: &str) -> Result<(), Problem> {
    if is_plain(name) {
        return Ok(());
    }
    Err(Problem::field(
        path,
        "BAD_NAME",
        "has control characters, or ones that hide or turn round what is shown",
    ))
}

/// A sentence, which may have lines and tabs.
///
/// # Errors
/// `TOO_LONG` or `BAD_NAME`, naming the field.
pub fn check_sentence(path: &str, sentence: &str, most: usize) -> Result<(), Problem> {
    if sentence.len() > most {
        return Err(Problem::field(
            path,
            "TOO_LONG",
            format!("has {} bytes, at most {most}", sentence.len()),
        ));
    }
    check_plain(path, &sentence.replace(['\n', '\t'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_refused_and_what_people_write_is_not() {
        for name in ["Zürich → 1", "x:y@z#1", "..", "名前", "a b"] {
            assert_eq!(check("x", name, 1), Ok(()), "{name:?}");
        }
        for name in ["a\nb", "\u{1b}[2J", "a\u{7}", "\u{202e}gpj", "\0", "a\u{85}b", "a\u{2028}b"] {
            assert_eq!(check("x", name, 1).unwrap_err().reason(), "BAD_NAME", "{name:?}");
        }
        assert_eq!(check_sentence("x", "one\n\ttwo", 10), Ok(()));
        assert_eq!(check_sentence("x", "one\u{1b}", 10).unwrap_err().reason(), "BAD_NAME");
        assert_eq!(check_short("x", "abc", 2).unwrap_err().reason(), "TOO_LONG");
    }
}
