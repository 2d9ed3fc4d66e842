//! The templates, and how a value is written in each format. A template cannot forget to escape:
//! every value in `{{ }}` is written by the rules of the file's format, and code blocks are fenced
//! so that nothing breaks out of them.

use std::fmt::Write as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value as Jinja};
use serde::Serialize;
use serde_json::Value;

use crate::shell;

/// A template, embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Template {
    Dockerfile,
    Compose,
    Kubernetes,
    Env,
    Readme,
}

impl Template {
    const ALL: [Self; 5] = [
        Self::Dockerfile,
        Self::Compose,
        Self::Kubernetes,
        Self::Env,
        Self::Readme,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Dockerfile => "Dockerfile",
            Self::Compose => "docker-compose.yml",
            Self::Kubernetes => "kubernetes.yaml",
            Self::Env => ".env.example",
            Self::Readme => "README.md",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Dockerfile => include_str!("templates/Dockerfile.j2"),
            Self::Compose => include_str!("templates/docker-compose.yml.j2"),
            Self::Kubernetes => include_str!("templates/kubernetes.yaml.j2"),
            Self::Env => include_str!("templates/env.example.j2"),
            Self::Readme => include_str!("templates/README.md.j2"),
        }
    }

    /// A value in this file's format.
    fn write(self, value: &Value) -> String {
        match (self, value) {
            (Self::Dockerfile, Value::String(text)) => dockerfile(text),
            // Compose replaces `$NAME` in every text.
            (Self::Compose, _) => yaml(value).replace('$', "$$"),
            (Self::Kubernetes, _) => yaml(value),
            (Self::Env, Value::String(text)) => one_line(text),
            (Self::Readme, Value::String(text)) => markdown(text),
            // Numbers; and lists in a Dockerfile, where commands and COPY take JSON.
            _ => value.to_string(),
        }
    }
}

/// The file's text.
pub(crate) fn render(template: Template, context: &impl Serialize) -> String {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build()
            .expect("nothing that could clash is set"),
    );
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|name| AutoEscape::Custom(name.to_owned().into()));
    environment.set_formatter(|out, state, value| {
        if value.is_safe() {
            return out
                .write_str(value.as_str().unwrap_or_default())
                .map_err(Error::from);
        }
        let template = Template::ALL
            .into_iter()
            .find(|template| template.name() == state.name())
            .ok_or_else(|| Error::new(ErrorKind::TemplateNotFound, "an unknown file"))?;
        let value = serde_json::to_value(value)
            .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
        out.write_str(&template.write(&value)).map_err(Error::from)
    });
    environment.add_filter("fence", |code: &str, language: &str| {
        Jinja::from_safe_string(fence(code, language))
    });
    environment.add_filter("word", |text: &str| {
        Jinja::from_safe_string(shell::word(&one_line(text)))
    });
    environment.add_filter("code", |text: &str| Jinja::from_safe_string(code(text)));
    environment
        .add_template(template.name(), template.text())
        .and_then(|()| {
            environment
                .get_template(template.name())?
                .render(Jinja::from(Serde(context)))
        })
        .expect("the templates are ours, and tests render each")
}

/// A quoted word. Between quotes `\`, `"` and `$` mean something; a line end cannot be written at
/// all.
fn dockerfile(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in one_line(text).chars() {
        if matches!(character, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// JSON is YAML, where what YAML takes for no printable character is escaped.
fn yaml(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            text.push(character);
        } else {
            let _ = write!(text, "\\U{:08x}", u32::from(character));
        }
    }
    text
}

/// Text without anything that ends a line or steers a terminal.
fn one_line(text: &str) -> String {
    text.split(|character: char| {
        character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join(" ")
}

/// Prose.
fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for character in one_line(text).chars() {
        if character.is_ascii_punctuation()
            && !matches!(character, ',' | '.' | ':' | ';' | '\'' | '/' | '%')
        {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A span of code, in a line or in a cell of a table.
fn code(text: &str) -> String {
    let text = one_line(text).replace('|', "\\|");
    let ticks = "`".repeat(longest_run(&text, '`') + 1);
    let space = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// A block of code.
fn fence(code: &str, language: &str) -> String {
    let ticks = "`".repeat(longest_run(code, '`').max(2) + 1);
    format!("{ticks}{language}\n{}\n{ticks}", code.trim_end())
}

fn longest_run(text: &str, of: char) -> usize {
    let (mut longest, mut run) = (0, 0);
    for character in text.chars() {
        run = if character == of { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Everything that means something somewhere.
    const NASTY: &str = "a\"b\\c$HOME `id` ${X}\n# {{ x }} | <b> \u{7f}é 💡";

    #[test]
    fn a_dockerfile_keeps_a_text_on_its_line() {
        assert_eq!(
            dockerfile("say \"hi\"\nRUN rm $HOME\\"),
            r#""say \"hi\" RUN rm \$HOME\\""#
        );
    }

    #[test]
    fn yaml_gives_back_what_went_in() {
        let text = yaml(&json!([NASTY, {"k: v": [1, true, null]}]));
        let read: Value = serde_norway::from_str(&format!("x: {text}\n")).expect("YAML");
        assert_eq!(read["x"][0], json!(NASTY));
        assert_eq!(read["x"][1]["k: v"], json!([1, true, null]));
        assert!(
            text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{text}"
        );
    }

    #[test]
    fn compose_does_not_replace_variables() {
        assert_eq!(
            Template::Compose.write(&json!("a $HOME ${X}")),
            r#""a $$HOME $${X}""#
        );
    }

    #[test]
    fn prose_and_code_stay_what_they_are() {
        assert_eq!(markdown("# *x* <b>\n- y"), r"\# \*x\* \<b\> \- y");
        assert_eq!(code("a`b|c"), r"``a`b\|c``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(fence("x\n```\ny\n", "text"), "````text\nx\n```\ny\n````");
    }

    #[test]
    fn comments_are_one_line() {
        assert_eq!(
            Template::Env.write(&json!("a\nKEY=1\r\n\u{2028}b")),
            "a KEY=1 b"
        );
    }
}
