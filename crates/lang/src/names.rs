//! Names inside placeholders and conditions: what they refer to and what is wrong with them. Shared
//! by [`crate::template`] and [`crate::expr`]; which names exist where is the caller's [`Names`].

use crate::diagnostic::{Severity, quoted};
use crate::field::Type;
use crate::reference::{Reference, Root};
use crate::source::Span;
use crate::suggest::Suggestion;

/// The names that can be used at one point of a workflow file.
pub trait Names {
    /// What `state.<name>` means: a field, or a loop counter.
    fn field(&self, name: &str) -> Option<Named<'_>>;

    /// What `<name>` alone means: the node's own variables first, then the state.
    fn variable(&self, name: &str) -> Option<Named<'_>> {
        self.field(name)
    }

    /// The names `field` knows, in declaration order, for suggestions.
    fn fields(&self) -> Vec<&str>;

    /// The names `variable` knows, in declaration order, for suggestions.
    fn variables(&self) -> Vec<&str> {
        self.fields()
    }

    /// Whether a bare word on the right of a comparison that names a field is an error. Elsewhere
    /// such a word is text, because existing files rely on that.
    fn refuses_bare_fields(&self) -> bool {
        false
    }

    /// Whether a field of that name exists that cannot be read here.
    fn is_out_of_reach(&self, _name: &str) -> bool {
        false
    }
}

/// What a name refers to.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The variable that the name stands for.
    pub root: Root,
    /// Its type; `None` when any value may turn up.
    pub ty: Option<&'a Type>,
}

/// An error or a warning about a placeholder or a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule that is broken.
    pub kind: FindingKind,
    /// The part of the file, as located by the caller.
    pub span: Span,
    /// What is wrong, in one sentence.
    pub message: String,
    /// How to fix it.
    pub suggestion: Option<Suggestion>,
}

/// The rules for names and conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// No such field or variable, or no such name in the schema of an object.
    UnknownName,
    /// `{x:…}` or `{x!…}` in a template.
    FormatSpec,
    /// A dot into a type that has no inner names; fails (template) or is null (condition) at run
    /// time.
    NoInnerNames,
    /// An operator on a type it can never work on.
    Nonsense,
    /// A comparison whose outcome does not depend on the run.
    Foregone,
    /// A bare word on the right that reads like a field but is text.
    BareWordIsField,
    /// The same where a bare word must not be ambiguous: see [`Names::refuses_bare_fields`].
    AmbiguousBareWord,
    /// What other template languages take for a placeholder.
    ForeignPlaceholder,
}

impl FindingKind {
    /// Whether the file can still run.
    pub fn severity(self) -> Severity {
        match self {
            Self::UnknownName | Self::FormatSpec | Self::Nonsense | Self::AmbiguousBareWord => {
                Severity::Error
            }
            Self::NoInnerNames
            | Self::Foregone
            | Self::BareWordIsField
            | Self::ForeignPlaceholder => Severity::Warning,
        }
    }
}

/// A name path as written, the `state.` before it taken off.
struct NamePath<'t> {
    in_state: bool,
    path: &'t str,
}

impl<'t> NamePath<'t> {
    fn of(text: &'t str) -> Self {
        match text.strip_prefix("state.") {
            Some(path) => Self {
                in_state: true,
                path,
            },
            None => Self {
                in_state: false,
                path: text,
            },
        }
    }

    /// What the path begins with, and where that name ends. Field names may contain dots, so the
    /// longest known beginning wins; only so many dots are tried, because files may be hostile.
    fn find<'n>(&self, names: &'n dyn Names) -> Option<(usize, Named<'n>)> {
        const MOST_DOTS: usize = 8;
        let dots: Vec<usize> = self
            .path
            .match_indices('.')
            .map(|(at, _)| at)
            .take(MOST_DOTS)
            .collect();
        std::iter::once(self.path.len())
            .chain(dots.into_iter().rev())
            .find_map(|end| {
                let name = &self.path[..end];
                let found = if self.in_state {
                    names.field(name)
                } else {
                    names.variable(name)
                };
                Some((end, found?))
            })
    }
}

/// A name path looked up.
pub(crate) struct Resolved<'a> {
    pub(crate) reference: Reference,
    /// The type of what the whole path leads to; `None` when any value may turn up.
    pub(crate) ty: Option<&'a Type>,
    /// A warning about the name, if there is one.
    pub(crate) finding: Option<Finding>,
}

/// Whether a name path begins with a name that exists.
pub(crate) fn is_known(text: &str, names: &dyn Names) -> bool {
    NamePath::of(text).find(names).is_some()
}

/// Looks up a name path such as `state.user.name`, which stands at byte `start` of a text whose
/// ranges `locate` maps to the workflow file.
pub(crate) fn resolve<'a>(
    text: &str,
    start: usize,
    names: &'a dyn Names,
    locate: &dyn Fn(Span) -> Span,
) -> Result<Resolved<'a>, Finding> {
    let name_path = NamePath::of(text);
    let path = name_path.path;
    let path_start = start + text.len() - path.len();
    let Some((end, found)) = name_path.find(names) else {
        let first = path.split('.').next().unwrap_or_default();
        let known = if name_path.in_state {
            names.fields()
        } else {
            names.variables()
        };
        return Err(Finding {
            kind: FindingKind::UnknownName,
            span: locate(Span::new(path_start, path_start + first.len())),
            message: match first {
                "" => "a name is missing here".to_owned(),
                _ => format!("unknown field {}", quoted(first)),
            },
            suggestion: match path.split_once('.') {
                // `inputs.name`, `state.state.name`: what other languages write before a name.
                Some((_, rest)) if is_known(rest, names) => Some(Suggestion::meant(rest)),
                _ => Suggestion::among(first, known),
            },
        });
    };

    let mut ty = found.ty;
    let mut finding = None;
    let mut keys = Vec::new();
    let mut at = path_start + end;
    for key in path[end..].split('.').skip(1) {
        let span = locate(Span::new(at + 1, at + 1 + key.len()));
        if key.is_empty() {
            return Err(Finding {
                kind: FindingKind::UnknownName,
                span: locate(Span::new(at, at + 1)),
                message: "a name is missing after the dot".to_owned(),
                suggestion: None,
            });
        }
        let parent = &text[..at - start];
        ty = match ty {
            Some(Type::Object(Some(schema))) => match schema.field(key) {
                Some(inner) => Some(&inner.ty),
                None => {
                    return Err(Finding {
                        kind: FindingKind::UnknownName,
                        span,
                        message: format!("{} has no inner field {}", quoted(parent), quoted(key)),
                        suggestion: Suggestion::among(key, schema.names()),
                    });
                }
            },
            Some(Type::Dict(Some(types))) => Some(&types.1),
            Some(Type::Dict(None) | Type::Object(None)) | None => None,
            Some(flat) => {
                finding.get_or_insert_with(|| Finding {
                    kind: FindingKind::NoInnerNames,
                    span,
                    message: format!(
                        "{} is `{flat}`, which has nothing named {} inside",
                        quoted(parent),
                        quoted(key)
                    ),
                    suggestion: Some(Suggestion::advice(match flat {
                        _ if key.contains('(') => {
                            "write the name alone; prompts and conditions have no methods"
                        }
                        Type::List(_) => {
                            "no item of a list can be picked by its position; only objects and dicts have inner names"
                        }
                        _ => "only objects and dicts have inner names",
                    })),
                });
                None
            }
        };
        keys.push(key.to_owned());
        at += 1 + key.len();
    }

    let span = locate(Span::new(start, start + text.len()));
    let reference = Reference {
        root: found.root,
        path: keys,
        text: text.to_owned(),
        span,
    };
    Ok(Resolved {
        reference,
        ty,
        finding,
    })
}
