//! Filters of subjects, as NATS has them. It must not know which subjects there are.

/// Whether a subject is caught by a filter: tokens by dots, `*` is one token, a last `>` is one or more.
#[must_use]
pub fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    let mut filters = filter.split('.').peekable();
    while let Some(wanted) = filters.next() {
        if wanted == ">" && filters.peek().is_none() {
            return tokens.next().is_some();
        }
        match tokens.next() {
            Some(token) if wanted == "*" || wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether a filter has the form of one.
#[must_use]
pub fn is_filter(filter: &str) -> bool {
    let tokens: Vec<&str> = filter.split('.').collect();
    let last = tokens.len() - 1;
    let plain = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    filter.len() <= 256
        && tokens
            .iter()
            .enumerate()
            .all(|(place, token)| *token == "*" || (*token == ">" && place == last) || plain(token))
}
