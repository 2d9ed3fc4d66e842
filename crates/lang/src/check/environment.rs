//! Texts with `${VARIABLES}`, and headers made of them. What such a text holds may be a secret: no
//! message repeats it.

use super::context::Context;
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::view::{Item, View};
use crate::workflow::{EnvironmentPiece, FromEnvironment, is_variable_name};

/// Headers that say how a request is sent. A client sets them itself.
const OF_CLIENT: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Parts of the names of headers and variables that hold secrets.
const SECRET: &[&str] = &[
    "authorization",
    "cookie",
    "key",
    "password",
    "secret",
    "token",
];

/// The entries of a mapping from names to texts with variables.
pub(super) fn variables(
    view: &View<'_>,
    key: &str,
    owner: &str,
    context: &mut Context<'_>,
) -> Vec<(String, FromEnvironment)> {
    let entries = view.get(key).and_then(|item| item.entries());
    let mut found = Vec::new();
    for (name, item) in entries.unwrap_or_default() {
        if !is_variable_name(&name.text) {
            let message = format!(
                "{owner}: {} in `{key}` is not the name of an environment variable",
                quoted(&name.text)
            );
            let advice = "a name has letters, digits and `_`, and does not begin with a digit";
            let advice = Suggestion::advice(advice);
            context.error(code::NOT_A_VARIABLE, &item.location, message, Some(advice));
            continue;
        }
        let text = text(&name.text, &item, key, owner, context);
        found.extend(text.map(|text| (name.text.to_string(), text)));
    }
    found
}

/// The headers at a key.
pub(super) fn headers(
    view: &View<'_>,
    key: &str,
    owner: &str,
    context: &mut Context<'_>,
) -> Vec<(String, FromEnvironment)> {
    let entries = view.get(key).and_then(|item| item.entries());
    let mut found = Vec::new();
    for (name, item) in entries.unwrap_or_default() {
        let lower = name.text.to_ascii_lowercase();
        let problem = if !is_token(&name.text) {
            Some("is not the name of a header")
        } else if OF_CLIENT.contains(&&*lower) {
            Some("is set by flowmill itself")
        } else if has_control_characters(&item) {
            Some("has a value with a line break or another control character")
        } else {
            None
        };
        if let Some(problem) = problem {
            let message = format!("{owner}: the header {} {problem}", quoted(&name.text));
            let advice = Suggestion::advice("remove it, or write it as it is to be sent");
            context.error(code::HEADER, &item.location, message, Some(advice));
            continue;
        }
        let text = text(&name.text, &item, key, owner, context);
        found.extend(text.map(|text| (name.text.to_string(), text)));
    }
    found
}

/// The characters that HTTP allows in the name of a header.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn has_control_characters(item: &Item<'_>) -> bool {
    item.text().is_some_and(|text| {
        text.value
            .chars()
            .any(|letter| letter.is_control() && letter != '\t')
    })
}

/// The text of an entry, with its variables.
fn text(
    name: &str,
    item: &Item<'_>,
    key: &str,
    owner: &str,
    context: &mut Context<'_>,
) -> Option<FromEnvironment> {
    let written = item.text()?;
    let Some(text) = parse(&written.value) else {
        let message = format!(
            "{owner}: `${{…}}` in {} of `{key}` does not hold the name of an environment variable",
            quoted(name)
        );
        let advice = Suggestion::advice("write `${NAME}`, with letters, digits and `_`");
        context.error(code::NOT_A_VARIABLE, &item.location, message, Some(advice));
        return None;
    };
    let lower = name.to_ascii_lowercase();
    let is_secret = SECRET.iter().any(|part| lower.contains(part));
    if is_secret && !written.value.trim().is_empty() && text.variables().next().is_none() {
        let message = format!(
            "{owner}: {} of `{key}` looks like a secret, and everyone who has the file can read it",
            quoted(name)
        );
        let advice = Suggestion::advice("put it into the environment and write `${NAME}`");
        context.warning(code::SECRET_IN_FILE, &item.location, message, Some(advice));
    }
    Some(text)
}

/// `None` where a `${` does not begin a variable.
fn parse(text: &str) -> Option<FromEnvironment> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let (name, tail) = after["${".len()..].split_once('}')?;
        if !is_variable_name(name) {
            return None;
        }
        if !before.is_empty() {
            pieces.push(EnvironmentPiece::Text(before.to_owned()));
        }
        pieces.push(EnvironmentPiece::Variable(name.to_owned()));
        rest = tail;
    }
    if !rest.is_empty() {
        pieces.push(EnvironmentPiece::Text(rest.to_owned()));
    }
    Some(FromEnvironment { pieces })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let filled = parse(text).map(|text| {
            let value = |name: &str| Some(name.to_ascii_lowercase());
            text.fill(value).unwrap()
        });
        assert_eq!(filled.as_deref(), expected, "{text}");
    }

    #[test]
    fn variables_are_found_and_filled() {
        check("plain $5 {x}", Some("plain $5 {x}"));
        check("Bearer ${TOKEN}", Some("Bearer token"));
        check("${A}${B}-${C}", Some("ab-c"));
        check("", Some(""));
        check("${", None);
        check("${A", None);
        check("${}", None);
        check("${A B}", None);
    }

    #[test]
    fn a_variable_without_a_value_is_named_and_nothing_is_shown() {
        let text = parse("hush ${TOKEN}").unwrap();
        assert_eq!(text.fill(|_| None), Err("TOKEN"));
        let shown = format!("{text:?}");
        assert!(
            shown.contains("TOKEN") && !shown.contains("hush"),
            "{shown}"
        );
    }
}
