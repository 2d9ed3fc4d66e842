//! Holding a file to the grammar's tables: missing and unknown keys, wrong kinds, ranges, words.
//! Reports every fault of shape; what names mean is checked later, on the parts that are sound.

mod keys;
mod owner;

use owner::{Owner, owner_of};

use super::grammar::Shape;
use super::kind::fits_kind;
use super::location::Path;
use super::{advice, lax};
use crate::diagnostic::findings::Findings;
use crate::diagnostic::{Diagnostic, Severity, code, quoted};
use crate::source::Span;
use crate::suggest::Suggestion;
use crate::workflow::is_variable_name;
use crate::yaml::{Data, Node};

/// Checks a whole value against its shape.
pub(crate) fn check(node: &Node, shape: &Shape, text: &str, findings: &mut Findings) {
    Checker { text, findings }.value(node, shape, &Path::default(), &Owner::default());
}

struct Checker<'a> {
    text: &'a str,
    findings: &'a mut Findings,
}

impl Checker<'_> {
    fn value(&mut self, node: &Node, shape: &Shape, path: &Path, owner: &Owner<'_>) {
        match (shape, &node.data) {
            (Shape::Any, _) => {}
            (Shape::Either(shapes), _) => {
                match shapes.iter().find(|shape| fits_kind(node, shape)) {
                    Some(shape) => self.value(node, shape, path, owner),
                    None => self.wrong_kind(node, shape, path, owner),
                }
            }
            (Shape::Mapping(table), Data::Map(entries)) => {
                self.mapping(node, entries, table, path, owner);
            }
            (Shape::Open(kind, inner, least), Data::Map(entries)) => {
                self.at_least(entries.len(), *least, node.span, path, owner);
                for entry in entries {
                    let path = path.key(entry.key.text.clone());
                    if !entry.key.is_text {
                        self.key_not_text(kind, entry, &path);
                    }
                    let owner = Owner {
                        kind,
                        name: Some(&entry.key.text),
                        depth: path.depth(),
                    };
                    self.value(&entry.value, inner, &path, &owner);
                }
            }
            (Shape::List(inner, least), Data::List(items)) => {
                self.at_least(items.len(), *least, node.span, path, owner);
                for (index, item) in items.iter().enumerate() {
                    let path = path.index(index);
                    let named = owner_of(item, inner, &path);
                    self.value(item, inner, &path, named.as_ref().unwrap_or(owner));
                }
            }
            (Shape::Version, _) => self.version(node, path),
            _ => self.scalar(node, shape, path, owner),
        }
    }

    fn scalar(&mut self, node: &Node, shape: &Shape, path: &Path, owner: &Owner<'_>) {
        let limits = match *shape {
            Shape::Text | Shape::Template | Shape::Condition | Shape::Type => {
                if !matches!(node.data, Data::Text(_)) {
                    self.wrong_kind(node, shape, path, owner);
                }
                return;
            }
            Shape::Name => {
                match &node.data {
                    Data::Text(text) if !text.value.trim().is_empty() => {}
                    Data::Text(_) => self.empty(node.span, path, owner),
                    _ => self.wrong_kind(node, shape, path, owner),
                }
                return;
            }
            Shape::Variable => return self.variable(node, shape, path, owner),
            Shape::Word(words) => return self.word(node, shape, words, false, path, owner),
            Shape::AnyCaseWord(words) => return self.word(node, shape, words, true, path, owner),
            Shape::Bool => {
                if lax::bool(node).is_none() {
                    self.wrong_kind(node, shape, path, owner);
                }
                return;
            }
            #[expect(clippy::cast_precision_loss, reason = "bounds in the tables are small")]
            Shape::Int(least, most) => lax::int(node).map(|value| {
                let fits = (least..=most).contains(&value);
                (
                    fits,
                    value.to_string(),
                    range(least as f64, (most != i64::MAX).then_some(most as f64)),
                )
            }),
            Shape::Float(least, most) => lax::float(node).map(|value| {
                (
                    (least..=most).contains(&value),
                    value.to_string(),
                    range(least, Some(most)),
                )
            }),
            Shape::Above(limit) => lax::float(node)
                .map(|value| (value > limit, value.to_string(), format!("above {limit}"))),
            Shape::Any
            | Shape::Version
            | Shape::Mapping(_)
            | Shape::List(..)
            | Shape::Open(..)
            | Shape::Either(_) => return self.wrong_kind(node, shape, path, owner),
        };
        match limits {
            None => self.wrong_kind(node, shape, path, owner),
            Some((true, ..)) => {}
            Some((false, value, range)) => {
                let message = format!("{} is {value}; it must be {range}", owner.speak(path));
                self.report(
                    code::OUT_OF_RANGE,
                    Severity::Error,
                    path,
                    node.span,
                    message,
                    None,
                );
            }
        }
    }

    fn word(
        &mut self,
        node: &Node,
        shape: &Shape,
        words: &'static [&'static str],
        any_case: bool,
        path: &Path,
        owner: &Owner<'_>,
    ) {
        let Data::Text(text) = &node.data else {
            return self.wrong_kind(node, shape, path, owner);
        };
        let known = |word: &&str| {
            **word == *text.value || (any_case && word.eq_ignore_ascii_case(&text.value))
        };
        if !words.iter().any(known) {
            let message = format!(
                "{} is {}, which is not one of the allowed words",
                owner.speak(path),
                quoted(&text.value)
            );
            let suggestion = Suggestion::among(&text.value, words.iter().copied());
            self.report(
                code::BAD_VALUE,
                Severity::Error,
                path,
                node.span,
                message,
                suggestion,
            );
        }
    }

    fn variable(&mut self, node: &Node, shape: &Shape, path: &Path, owner: &Owner<'_>) {
        let Data::Text(text) = &node.data else {
            return self.wrong_kind(node, shape, path, owner);
        };
        let name = text.value.trim();
        if name.is_empty() || is_variable_name(name) {
            return;
        }
        // Not shown: some put the key itself here.
        let message = format!(
            "{} is not the name of an environment variable",
            owner.speak(path)
        );
        let advice = "a name has letters, digits and `_`, and does not begin with a digit, such as `OPENAI_API_KEY`";
        self.report(
            code::NOT_A_VARIABLE,
            Severity::Error,
            path,
            node.span,
            message,
            Some(Suggestion::advice(advice)),
        );
    }

    fn version(&mut self, node: &Node, path: &Path) {
        let written = match &node.data {
            Data::Text(text) => Some(&*text.value),
            // Unquoted, it reads as a fraction; only the usual spelling of it is let through.
            Data::Number(_) => self.text.get(node.span.start..node.span.end),
            _ => None,
        };
        if written == Some(super::VERSION) {
            return;
        }
        let message = match written {
            Some(written) => format!(
                "`schema_version` is {}; this version of the language is `1.0`",
                quoted(written)
            ),
            None => format!(
                "`schema_version` must be the text \"1.0\", not {}",
                node.kind()
            ),
        };
        let advice = Suggestion::advice("write `schema_version: \"1.0\"`");
        self.report(
            code::SCHEMA_VERSION,
            Severity::Error,
            path,
            node.span,
            message,
            Some(advice),
        );
    }

    /// The text of that part of the file.
    fn written(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn wrong_kind(&mut self, node: &Node, shape: &Shape, path: &Path, owner: &Owner<'_>) {
        let found = match &node.data {
            Data::Text(text) => quoted(&text.value),
            Data::Null | Data::List(_) | Data::Map(_) | Data::NonFinite => node.kind().to_owned(),
            Data::Bool(_) | Data::Number(_) | Data::Date(_) => {
                format!("{} {}", node.kind(), quoted(self.written(node.span)))
            }
        };
        let message = format!(
            "{} must be {}, not {found}",
            owner.speak(path),
            shape.describe()
        );
        let key = path.below(path.depth().saturating_sub(1));
        let advice = advice::right_form(node, shape, &key, self.written(node.span));
        self.report(
            code::WRONG_TYPE,
            Severity::Error,
            path,
            node.span,
            message,
            advice,
        );
    }

    /// A list where one value is taken, and what to write for several.
    fn list_for_one(&mut self, node: &Node, advice: &'static str, path: &Path, owner: &Owner<'_>) {
        let message = format!("{} must be text, not a list", owner.speak(path));
        self.report(
            code::WRONG_TYPE,
            Severity::Error,
            path,
            node.span,
            message,
            Some(Suggestion::advice(advice)),
        );
    }

    fn at_least(&mut self, found: usize, least: usize, span: Span, path: &Path, owner: &Owner<'_>) {
        if found >= least {
            return;
        }
        if found == 0 {
            self.empty(span, path, owner);
        } else {
            let message = format!("{} needs at least {least} entries", owner.speak(path));
            self.report(
                code::OUT_OF_RANGE,
                Severity::Error,
                path,
                span,
                message,
                None,
            );
        }
    }

    fn empty(&mut self, span: Span, path: &Path, owner: &Owner<'_>) {
        let message = format!("{} must not be empty", owner.speak(path));
        self.report(code::EMPTY, Severity::Error, path, span, message, None);
    }

    fn report(
        &mut self,
        code: &'static str,
        severity: Severity,
        path: &Path,
        span: Span,
        message: String,
        suggestion: Option<Suggestion>,
    ) {
        let path = path.to_string();
        let diagnostic = Diagnostic {
            code,
            severity,
            path,
            message,
            suggestion: None,
            did_you_mean: None,
            span,
        };
        self.findings.push(match suggestion {
            Some(suggestion) => diagnostic.suggesting(suggestion),
            None => diagnostic,
        });
    }
}

fn range(least: f64, most: Option<f64>) -> String {
    match most {
        Some(most) => format!("from {least} to {most}"),
        None => format!("at least {least}"),
    }
}
