//! The right form for a value of the wrong kind: what YAML made of an unquoted word, and the full
//! form of a shorthand that does not exist.

use super::grammar::{Shape, Table};
use super::kind::fits_kind;
use crate::diagnostic::quoted;
use crate::duration;
use crate::suggest::Suggestion;
use crate::types::Type;
use crate::yaml::{self, Data, Entry, Node};

/// The table of `state`.
const STATE: &str = "state";

/// The suggestion for a value that `shape` does not take. `key` is the key of the value; `written`
/// is the value as it is in the file.
pub(super) fn right_form(
    node: &Node,
    shape: &Shape,
    key: &str,
    written: &str,
) -> Option<Suggestion> {
    let advice = match (shape, &node.data) {
        (Shape::Either(shapes), _) => {
            return shapes
                .iter()
                .find_map(|shape| right_form(node, shape, key, written));
        }
        (Shape::Word(_) | Shape::AnyCaseWord(_), _) => {
            return misread(node, written);
        }
        (shape, Data::Bool(_) | Data::Number(_) | Data::Date(_) | Data::NonFinite | Data::Null)
            if is_text(shape) =>
        {
            return quotes(node, written);
        }
        (shape, Data::Map(_)) if is_text(shape) => {
            "text that begins with `{` must be in quotes".to_owned()
        }
        (Shape::Template, Data::List(_)) => "write several lines as one text, after `|`".to_owned(),
        (Shape::List(inner, _), Data::Text(_)) if fits_kind(node, inner) => {
            form(&format!("{key}: [{}]", written.trim()))
        }
        (Shape::List(inner, _), Data::Map(entries)) => {
            let Shape::Mapping(table) = inner else {
                return None;
            };
            listed(table, entries)?
        }
        (Shape::Mapping(table), Data::Text(text)) => shorthand(table, key, &text.value)?,
        (Shape::Int(..) | Shape::Float(..) | Shape::Above(_), Data::Text(text)) => {
            format!(
                "{}, without a unit",
                form(&format!("{key}: {}", number(&text.value)?))
            )
        }
        _ => return None,
    };
    Some(Suggestion::advice(advice))
}

/// The suggestion to put a scalar in quotes that YAML does not read as text.
pub(crate) fn quotes(node: &Node, written: &str) -> Option<Suggestion> {
    if let Some(misread) = misread(node, written) {
        return Some(misread);
    }
    matches!(node.data, Data::Bool(_) | Data::Number(_) | Data::Date(_))
        .then(|| Suggestion::advice("put it in quotes to make it text"))
}

/// The same, only where what YAML reads does not look like what is written: `22:30`, `no`, `1.10`.
pub(crate) fn misread(node: &Node, written: &str) -> Option<Suggestion> {
    let read = match &node.data {
        Data::Bool(value) => value.to_string(),
        Data::Number(number) => {
            let number = number.to_string();
            let base = match written.trim_start_matches(['-', '+']).as_bytes() {
                [b'0', b'x', ..] => " (base 16)",
                [b'0', b'b', ..] => " (base 2)",
                [b'0', next, ..] if *next != b'.' => " (base 8)",
                digits if digits.contains(&b':') => " (base 60)",
                _ => "",
            };
            if number == written {
                return None;
            }
            format!("the number {number}{base}")
        }
        Data::Date(_) => "a date".to_owned(),
        Data::NonFinite => node.kind().to_owned(),
        Data::Null => "nothing".to_owned(),
        Data::Text(_) | Data::List(_) | Data::Map(_) => return None,
    };
    (!written.is_empty() && read != written).then(|| Suggestion::advice(reads_as(written, &read)))
}

/// As [`misread`], for a mapping's key that is not text.
pub(crate) fn misread_key(read: &str, written: &str) -> Option<Suggestion> {
    (read != written).then(|| Suggestion::advice(reads_as(written, read)))
}

fn reads_as(written: &str, read: &str) -> String {
    format!(
        "YAML reads {} as {read}; put it in quotes to make it text",
        quoted(written)
    )
}

fn form(written: &str) -> String {
    format!("write {}", quoted(written))
}

fn is_text(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Text
            | Shape::Name
            | Shape::Variable
            | Shape::Template
            | Shape::Condition
            | Shape::Type
    )
}

/// A text where a mapping is needed: a field's type, or the one thing that the mapping must say.
fn shorthand(table: &Table, key: &str, text: &str) -> Option<String> {
    if let Some(colon) = text.find(':')
        && let Some(blank) = text[colon + 1..].chars().next()
    {
        if yaml::is_foreign_blank(blank) {
            return Some(format!(
                "the space after the colon is U+{:04X}; type it anew",
                u32::from(blank)
            ));
        }
        if table.key(&text[..colon]).is_some() {
            return Some("put a space after the colon".to_owned());
        }
    }
    let mut required = table.keys.iter().filter(|key| key.required);
    let only = required.next().filter(|_| required.next().is_none())?;
    match only.shape {
        Shape::Type if Type::parse(text).is_ok() => {
            let brackets = text.contains('[');
            let quote = if brackets { "\"" } else { "" };
            Some(form(&format!(
                "{key}: {{{}: {quote}{text}{quote}}}",
                only.name
            )))
        }
        Shape::Name => Some(form(&format!("{key}: {{{}: {text}}}", only.name))),
        _ => None,
    }
}

/// A mapping where a list is needed whose items have names: `{a: str}` for `[{name: a, type:
/// str}]`.
fn listed(table: &Table, entries: &[Entry]) -> Option<String> {
    let identity = table.identity?;
    let first = entries.first()?;
    let name = &first.key.text;
    Some(match &first.value.data {
        // One item whose dash was forgotten.
        _ if table.key(name).is_some() => "begin each item with `- `".to_owned(),
        Data::Text(text) if table.key("type").is_some() => {
            form(&format!("- {{{identity}: {name}, type: {}}}", text.value))
        }
        _ => format!("write a list whose items begin with `- {identity}: {name}`"),
    })
}

/// Where an entry belongs that its mapping does not know: a field beside `fields`.
pub(super) fn belongs_elsewhere(table: &Table, entry: &Entry) -> Option<Suggestion> {
    let is_type =
        |node: &Node| matches!(&node.data, Data::Text(text) if Type::parse(&text.value).is_ok());
    let is_field = match &entry.value.data {
        Data::Map(inner) => inner
            .iter()
            .any(|inner| &*inner.key.text == "type" && is_type(&inner.value)),
        _ => is_type(&entry.value),
    };
    (table.name == STATE && is_field).then(|| Suggestion::advice("move it under `fields`"))
}

/// The number a text with a unit means; a time is one in seconds.
fn number(text: &str) -> Option<String> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    if let Some(duration) = duration::parse(text)
        && unit.ends_with(char::is_alphabetic)
    {
        let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
        return Some(seconds.to_string());
    }
    let value: u64 = digits.parse().ok()?;
    let is_unit = unit.trim().chars().all(char::is_alphabetic);
    is_unit.then(|| value.to_string())
}
