//! From parser events to the tree, for YAML.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag, options};

use super::bounds::{MAX_DEPTH, MAX_VALUES, fault, too_deep, too_many_values};
use super::layout::{Layout, Notation};
use super::mapping::MapBuilder;
use super::misread::{self, blank_in_key, not_a_blank};
use super::node::{Data, Key, Node, Text};
use super::scalar::{Plain, plain};
use crate::diagnostic::findings::Findings;
use crate::diagnostic::{Diagnostic, code, quoted};
use crate::source::Span;
use crate::suggest::Suggestion;

type Fault = Box<Diagnostic>;

/// Reads the one document; `None` when there is none.
pub(super) fn load(text: &str, findings: &mut Findings) -> Result<Option<Rc<Node>>, Fault> {
    refuse_control_characters(text)?;
    let options = options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        block_scalar_eof_without_line_feed: true,
        emit_comments: false,
    };
    let mut loader = Loader {
        findings,
        open: Vec::new(),
        anchors: HashMap::new(),
        merge_budget: MAX_VALUES,
        root: None,
    };
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| Box::new(unreadable(text, &error)))?;
        let range = span.byte_range().unwrap_or_default();
        let tag = span
            .tag_span()
            .and_then(|tag| tag.byte_range())
            .map(|tag| Span::new(tag.start, tag.end));
        let span = Span::new(range.start, range.end);
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
            if documents > 1 {
                let message = "the file holds more than one document; a workflow is a single one";
                let advice = Suggestion::advice(
                    "keep one workflow per file: remove this `---` and what follows it",
                );
                return Err(Box::new(
                    fault(code::SEVERAL_DOCUMENTS, span, message).suggesting(advice),
                ));
            }
        }
        loader.event(event, span, tag)?;
    }
    Ok(loader.root)
}

/// What is being read, outermost first.
struct Loader<'a> {
    findings: &'a mut Findings,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    merge_budget: usize,
    root: Option<Rc<Node>>,
}

/// A collection that is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    /// Values in it so far, aliases expanded.
    size: usize,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map {
        entries: MapBuilder,
        key: Option<PendingKey>,
    },
}

/// A key that waits for its value.
enum PendingKey {
    Key(Key),
    Merge(Key),
}

impl Loader<'_> {
    /// `tag_span` is the span of the node's tag, if it has one.
    fn event(&mut self, event: Event<'_>, span: Span, tag_span: Option<Span>) -> Result<(), Fault> {
        #[cfg(test)]
        testing::work::count(1 + span.end.saturating_sub(span.start));
        let tag_span = tag_span.unwrap_or(span);
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                let tag = tag.as_deref().map(|tag| (tag, tag_span));
                let (node, merge) = self.scalar(&value, style, tag, span)?;
                self.value(node, anchor, merge)
            }
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(node) => {
                    let node = node.clone();
                    self.attach(node, span, false)
                }
                None => Err(Box::new(fault(
                    code::SYNTAX,
                    span,
                    "an alias is inside the value that it names",
                ))),
            },
            Event::SequenceStart(_, anchor, tag) => {
                check_collection_tag(tag.as_deref(), "seq", tag_span)?;
                self.open(span, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                check_collection_tag(tag.as_deref(), "map", tag_span)?;
                self.open(
                    span,
                    anchor,
                    Content::Map {
                        entries: MapBuilder::default(),
                        key: None,
                    },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            _ => Ok(()),
        }
    }

    fn open(&mut self, span: Span, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Box::new(too_deep(span)));
        }
        if let Some(Open {
            content: Content::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            let message = "a mapping's key must be text, not a list or a mapping";
            let advice = Suggestion::advice("text that begins with `{` or `[` must be in quotes");
            return Err(Box::new(
                fault(code::KEY_NOT_TEXT, span, message).suggesting(advice),
            ));
        }
        self.open.push(Open {
            start: span.start,
            anchor,
            size: 1,
            content,
        });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Fault> {
        let Some(closed) = self.open.pop() else {
            return Ok(());
        };
        let (data, last) = match closed.content {
            Content::List(items) => {
                let last = items.last().map(|item| item.span.end);
                (Data::List(items), last)
            }
            Content::Map { entries, .. } => {
                let entries = entries.finish(&mut self.merge_budget)?;
                let last = entries.last().map(|entry| entry.value.span.end);
                (Data::Map(entries), last)
            }
        };
        // The end event of a block collection is at the next token, possibly lines later.
        let end = if span.end > span.start {
            span.end
        } else {
            last.unwrap_or(span.end).min(span.end)
        };
        self.value(
            Node::new(Span::new(closed.start, end.max(closed.start)), data),
            closed.anchor,
            false,
        )
    }

    fn value(&mut self, node: Node, anchor: usize, merge: bool) -> Result<(), Fault> {
        let span = node.span;
        if anchor == 0
            && let Some(Open {
                content: Content::Map { key: None, .. },
                ..
            }) = self.open.last()
        {
            return self.key(&node, span, merge);
        }
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node, span, merge)
    }

    /// Adds a finished value to its collection. `span` is where it is used, also for an alias.
    fn attach(&mut self, node: Rc<Node>, span: Span, merge: bool) -> Result<(), Fault> {
        let Some(parent) = make_room(&mut self.open, &node, span)? else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match key.take() {
                None => *key = Some(make_key(&node, span, merge)?),
                Some(PendingKey::Key(key)) => entries.insert(key, node, self.findings),
                Some(PendingKey::Merge(key)) => entries.merge(key, node),
            },
        }
        Ok(())
    }

    /// As [`attach`](Self::attach), for a mapping's key, of which no node is kept.
    fn key(&mut self, node: &Node, span: Span, merge: bool) -> Result<(), Fault> {
        if let Some(Open {
            content: Content::Map { key, .. },
            ..
        }) = make_room(&mut self.open, node, span)?
        {
            *key = Some(make_key(node, span, merge)?);
        }
        Ok(())
    }

    /// A scalar, and whether it is an unquoted `<<`.
    fn scalar(
        &mut self,
        value: &str,
        style: ScalarStyle,
        tag: Option<(&Tag, Span)>,
        span: Span,
    ) -> Result<(Node, bool), Fault> {
        let notation = match style {
            ScalarStyle::SingleQuoted => Notation::SingleQuoted,
            ScalarStyle::DoubleQuoted => Notation::DoubleQuoted,
            ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => Notation::Unquoted,
        };
        let text = || {
            Data::Text(Text {
                value: value.into(),
                layout: Layout { span, notation },
            })
        };
        let wanted = match tag {
            None => (style != ScalarStyle::Plain).then_some("str"),
            Some((tag, _)) if tag.handle().is_empty() && tag.suffix() == "!" => Some("str"),
            Some((tag, tag_span)) => match tag.core_suffix() {
                Some(suffix @ ("str" | "int" | "float" | "bool" | "null" | "timestamp")) => {
                    Some(suffix)
                }
                _ => return Err(Box::new(unknown_tag(tag, tag_span))),
            },
        };
        if wanted == Some("str") {
            return Ok((Node::new(span, text()), false));
        }
        // What an absent value reads as.
        let meaning = if span.start == span.end {
            Plain::Null
        } else {
            plain(value)
        };
        if meaning == Plain::TooLarge {
            let message = format!("the integer {} does not fit 64 bits", quoted(value));
            let advice = Suggestion::advice("write it in quotes if it is text");
            self.findings
                .push(fault(code::NUMBER, span, message).suggesting(advice));
        }
        let merge = meaning == Plain::Merge;
        let data = match meaning {
            // The fault is reported; any number will do.
            Plain::TooLarge => Data::Number(i64::MAX.into()),
            meaning => meaning.into_data(value).unwrap_or_else(text),
        };
        let fits = match (wanted, &data) {
            (Some("int"), Data::Number(number)) => !number.is_f64(),
            (Some("float"), data) => matches!(data, Data::Number(_) | Data::NonFinite),
            (Some("bool"), data) => matches!(data, Data::Bool(_)),
            (Some("null"), data) => matches!(data, Data::Null),
            (Some("timestamp"), data) => matches!(data, Data::Date(_)),
            (wanted, _) => wanted.is_none(),
        };
        match tag {
            Some((tag, _)) if !fits => {
                let message = format!(
                    "{} does not fit the tag {}",
                    quoted(value),
                    quoted(&tag.original())
                );
                Err(Box::new(fault(code::TAG, span, message)))
            }
            _ => Ok((Node::new(span, data), merge)),
        }
    }
}

/// The collection that a value goes into, which has grown by it; `None` at the top.
fn make_room<'o>(
    open: &'o mut [Open],
    node: &Node,
    span: Span,
) -> Result<Option<&'o mut Open>, Fault> {
    if open.len() + node.depth > MAX_DEPTH {
        return Err(Box::new(too_deep(span)));
    }
    let Some(parent) = open.last_mut() else {
        return Ok(None);
    };
    parent.size = parent.size.saturating_add(node.size);
    if parent.size > MAX_VALUES {
        return Err(Box::new(too_many_values(span)));
    }
    Ok(Some(parent))
}

fn make_key(node: &Node, span: Span, merge: bool) -> Result<PendingKey, Fault> {
    let (text, is_text): (Rc<str>, bool) = match &node.data {
        Data::Text(text) => (text.value.clone(), true),
        Data::Date(text) => (text.as_str().into(), false),
        Data::Null => ("null".into(), false),
        Data::Bool(value) => (value.to_string().into(), false),
        Data::Number(number) => (number.to_string().into(), false),
        Data::NonFinite | Data::List(_) | Data::Map(_) => {
            let message = format!("a mapping's key must be text, not {}", node.kind());
            return Err(Box::new(fault(code::KEY_NOT_TEXT, span, message)));
        }
    };
    if matches!(&node.data, Data::Text(text) if text.layout.notation == Notation::Unquoted)
        && let Some((at, blank)) = blank_in_key(&text)
    {
        return Err(Box::new(not_a_blank(span.start + at, blank)));
    }
    let key = Key {
        text,
        span,
        is_text,
    };
    Ok(if merge {
        PendingKey::Merge(key)
    } else {
        PendingKey::Key(key)
    })
}

fn check_collection_tag(tag: Option<&Tag>, expected: &str, span: Span) -> Result<(), Fault> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(expected) && tag.suffix() != "!" => {
            Err(Box::new(unknown_tag(tag, span)))
        }
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, span: Span) -> Diagnostic {
    fault(
        code::TAG,
        span,
        format!(
            "the tag {} has no meaning in a workflow file",
            quoted(&tag.original())
        ),
    )
    .suggesting(Suggestion::advice("remove the tag"))
}

/// `PyYAML` reads no control characters either; escapes in double quotes are the way to write them.
fn refuse_control_characters(text: &str) -> Result<(), Fault> {
    // Most files are plain ASCII, and a look at each byte costs far less than one at each
    // character.
    let is_plain = |byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
    if text.bytes().all(is_plain) {
        return Ok(());
    }
    let stray = text.char_indices().find(|&(_, letter)| {
        (letter.is_control() && !matches!(letter, '\t' | '\n' | '\r' | '\u{85}'))
            || matches!(letter, '\u{fffe}' | '\u{ffff}')
    });
    match stray {
        None => Ok(()),
        Some((at, letter)) => {
            let message = format!(
                "the character U+{:04X} is not allowed in a YAML file",
                u32::from(letter)
            );
            let advice = format!(
                "remove it, or write it as `\\u{:04x}` in double quotes",
                u32::from(letter)
            );
            let span = Span::new(at, at + letter.len_utf8());
            Err(Box::new(
                fault(code::SYNTAX, span, message).suggesting(Suggestion::advice(advice)),
            ))
        }
    }
}

/// The line that lacks the colon after its key, where that is the reason for the error: the
/// line of the fault, or the one before, whose text then seems to go on. The entry comes without
/// indent and dash.
fn without_colon<'a>(text: &'a str, at: usize, kind: &ErrorKind) -> Option<(Span, &'a str)> {
    let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |end| end + 1);
    let start = match kind {
        ErrorKind::SimpleKeyExpected => line_start(at),
        ErrorKind::MappingValueNotAllowed => line_start(line_start(at).checked_sub(1)?),
        _ => return None,
    };
    let line = text[start..].lines().next()?;
    let item = line.trim_start().strip_prefix("- ");
    let entry = item.unwrap_or(line).trim();
    let key = entry.split_whitespace().next()?;
    let is_key = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    // A line within a longer text is no entry: a dash, or the parser's own complaint about it,
    // tells them apart.
    let may_be_text =
        item.is_none() && (key != entry || !matches!(kind, ErrorKind::SimpleKeyExpected));
    if entry.contains(':') || !key.chars().all(is_key) || may_be_text {
        return None;
    }
    let end = start + line.trim_end().len();
    Some((Span::new(end - entry.len(), end), entry))
}

/// The error of the parser in our words, with the usual fixes.
fn unreadable(text: &str, error: &ScanError) -> Diagnostic {
    let start = error
        .marker()
        .byte_offset()
        .unwrap_or(text.len())
        .min(text.len());
    let width = text
        .get(start..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    let span = Span::new(start, start + width);
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return too_deep(span);
    }
    if let Some(found) = misread::explain(text, start, error.kind()) {
        return found;
    }
    if let Some((line, entry)) = without_colon(text, start, error.kind()) {
        let message = format!("this line has no `:` after its key: `{entry}`");
        let (key, value) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
        let mended = format!("{key}: {}", value.trim_start());
        let advice = format!("write `{}`", mended.trim_end());
        return fault(code::SYNTAX, line, message).suggesting(Suggestion::advice(advice));
    }
    let advice = match error.kind() {
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            Some("put text that contains `: ` in quotes, and check the indentation")
        }
        ErrorKind::TabInIndentation
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => Some("indent with spaces, not tabs"),
        ErrorKind::UnexpectedCharacter { .. } => {
            Some("put text that begins with this character in quotes")
        }
        ErrorKind::UnknownAnchor => Some(
            "define the name with `&` before it is used; text that begins with `*` must be in quotes",
        ),
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => {
            Some("close the quote that is open here")
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            Some("write a backslash as `\\\\` inside double quotes, or use single quotes")
        }
        ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::SimpleKeyExpected => Some(
            "check indentation, commas and brackets here; text that begins with `{` or `[` must be in quotes",
        ),
        _ => None,
    };
    let diagnostic = fault(
        code::SYNTAX,
        span,
        format!("this is not readable as YAML: {}", error.info()),
    );
    match advice {
        Some(advice) => diagnostic.suggesting(Suggestion::advice(advice)),
        None => diagnostic,
    }
}
