//! Values as Python's `str()` and `repr()` write them, because prompts of the Python original were
//! made that way and models answer to the letter.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

use crate::field::{ObjectSchema, Type};
use crate::value::{Map, Value};

/// What `str.isprintable` refuses: the categories "other" and "separator", save the plain space.
static UNPRINTABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\p{C}\p{Z}--\x20]").expect("a constant pattern that the tests compile")
});

/// Appends `str(value)`. An object with a schema is written as its model class was: `name='x'
/// age=None`. `class` is the class name of that model, under which inner ones are named.
pub(super) fn write_str(out: &mut String, value: &Value, object: Option<(&ObjectSchema, &str)>) {
    match (value, object) {
        (Value::String(text), _) => out.push_str(text),
        (Value::Object(entries), Some((schema, class))) => {
            write_fields(out, entries, schema, class, " ");
        }
        _ => write_repr(out, value),
    }
}

/// `repr(value)`.
pub(crate) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => write_float(out, float),
            _ => append(out, format_args!("{number}")),
        },
        Value::String(text) => write_quoted(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_quoted(out, key);
                out.push_str(": ");
                write_repr(out, value);
            }
            out.push('}');
        }
    }
}

/// `name='x' home=WorkflowState_user_home(city='y')`: the fields of a model, with the given
/// separator.
fn write_fields(
    out: &mut String,
    entries: &Map<String, Value>,
    schema: &ObjectSchema,
    class: &str,
    separator: &str,
) {
    for (index, field) in schema.fields.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { separator });
        out.push_str(&field.name);
        out.push('=');
        match (entries.get(&field.name), &field.ty) {
            (Some(Value::Object(inner)), Type::Object(Some(schema))) => {
                let class = format!("{class}_{}", field.name);
                out.push_str(&class);
                out.push('(');
                write_fields(out, inner, schema, &class, ", ");
                out.push(')');
            }
            (value, _) => write_repr(out, value.unwrap_or(&Value::Null)),
        }
    }
}

/// The shortest digits that read back the same, in exponent form below 1e-4 and from 1e16.
fn write_float(out: &mut String, float: f64) {
    let start = out.len();
    append(out, format_args!("{float:e}"));
    let exponent = out[start..]
        .rfind('e')
        .map(|at| (start + at, out[start + at + 1..].parse::<i32>()));
    let Some((mark, Ok(exponent))) = exponent else {
        return; // inf and nan, which are no JSON
    };
    if (-4..16).contains(&exponent) {
        out.truncate(start);
        append(out, format_args!("{float:?}"));
    } else {
        out.truncate(mark);
        let sign = if exponent < 0 { '-' } else { '+' };
        append(out, format_args!("e{sign}{:02}", exponent.unsigned_abs()));
    }
}

/// In single quotes, or in double quotes if that saves escaping.
fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'\\' && byte != b'\'';
    if text.bytes().all(plain) {
        out.push_str(text);
    } else {
        for letter in text.chars() {
            write_escaped(out, letter, quote);
        }
    }
    out.push(quote);
}

fn write_escaped(out: &mut String, letter: char, quote: char) {
    match letter {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\\' => out.push_str("\\\\"),
        _ if letter == quote => out.extend(['\\', letter]),
        ' '..='~' => out.push(letter),
        _ if is_printable(letter) => out.push(letter),
        _ => {
            let code = u32::from(letter);
            match code {
                0..=0xff => append(out, format_args!("\\x{code:02x}")),
                0x100..=0xffff => append(out, format_args!("\\u{code:04x}")),
                _ => append(out, format_args!("\\U{code:08x}")),
            }
        }
    }
}

fn is_printable(letter: char) -> bool {
    !UNPRINTABLE.is_match(letter.encode_utf8(&mut [0; 4]))
}

fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("a String takes everything that is written to it");
}

#[cfg(test)]
mod tests;
