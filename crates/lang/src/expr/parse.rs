//! Tokens to a tree, by precedence climbing. Names are not looked up here, so a bare word stays a
//! word.

use crate::diagnostic::quoted;
use crate::source::Span;
use crate::suggest::Suggestion;
use crate::value::Value;

use super::error::{ExprError, advise, error};
use super::lex::{self, Spanned, Token};
use super::tree::Comparison;

/// Longest condition, in bytes, and deepest nesting of parentheses and `not`.
const MAX_LENGTH: usize = 16 * 1024;
const MAX_NESTING: usize = 64;

/// A parsed condition whose names are not resolved yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    pub(super) tree: Node,
}

/// A part of the tree and its byte range.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Literal(Value),
    /// In braces: always a name.
    Name(String, Span),
    /// Bare: a name, or text where `on_the_right` of an operator or in a list.
    Word {
        text: String,
        on_the_right: bool,
    },
    List(Vec<Node>),
    Len(Box<Node>),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
}

/// Parses a condition's text.
pub fn parse(text: &str) -> Result<Raw, ExprError> {
    if text.len() > MAX_LENGTH {
        let span = Span::new(0, text.len());
        return Err(error(
            span,
            format!("a condition may be {MAX_LENGTH} bytes long at most"),
        ));
    }
    let mut parser = Parser {
        tokens: lex::tokens(text)?,
        at: 0,
        nesting: 0,
        end: text.trim_end().len(),
    };
    if parser.tokens.is_empty() {
        return Err(advise(
            Span::new(0, text.len()),
            "the condition is empty",
            "write something like `state.done` or `state.score > 5`",
        ));
    }
    let tree = parser.parse_binary(Binding::Or)?;
    match parser.tokens.get(parser.at) {
        None => Ok(Raw { tree }),
        Some(left_over) => Err(parser.left_over(left_over)),
    }
}

/// How tightly the operators between conditions bind, loosest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Not,
}

struct Parser {
    tokens: Vec<Spanned>,
    at: usize,
    nesting: usize,
    /// The end of the text, for faults there.
    end: usize,
}

impl Parser {
    /// Parts joined by operators that bind at least as tightly as `least`.
    fn parse_binary(&mut self, least: Binding) -> Result<Node, ExprError> {
        let mut left = self.parse_not()?;
        while let Some(binding) = self.peek_binary().filter(|binding| *binding >= least) {
            self.at += 1;
            let tighter = if binding == Binding::Or {
                Binding::And
            } else {
                Binding::Not
            };
            let right = self.parse_binary(tighter)?;
            left = joined(binding, left, right);
        }
        Ok(left)
    }

    fn peek_binary(&self) -> Option<Binding> {
        match self.peek_word()?.to_ascii_lowercase().as_str() {
            "and" => Some(Binding::And),
            "or" => Some(Binding::Or),
            _ => None,
        }
    }

    fn parse_not(&mut self) -> Result<Node, ExprError> {
        #[cfg(test)]
        testing::work::count(1);
        if !self
            .peek_word()
            .is_some_and(|word| word.eq_ignore_ascii_case("not"))
        {
            return self.parse_comparison();
        }
        let start = self.next_span().start;
        self.at += 1;
        let inner = self.nested(Self::parse_not)?;
        let span = Span::new(start, inner.span.end);
        Ok(Node {
            kind: Kind::Not(Box::new(inner)),
            span,
        })
    }

    fn parse_comparison(&mut self) -> Result<Node, ExprError> {
        let left = self.parse_operand(false)?;
        let Some(operator) = self.take_comparison() else {
            return Ok(left);
        };
        let right = self.parse_operand(true)?;
        let span = Span::new(left.span.start, right.span.end);
        let (left, right) = (Box::new(left), Box::new(right));
        let kind = match operator {
            Operator::Compare(comparison) => Kind::Compare(comparison, left, right),
            Operator::In => Kind::In(left, right),
            Operator::NotIn => Kind::Not(Box::new(Node {
                kind: Kind::In(left, right),
                span,
            })),
        };
        let node = Node { kind, span };
        let chained = self.next_span();
        if self.take_comparison().is_some() {
            return Err(advise(
                chained,
                "comparisons cannot be chained",
                "join two comparisons with `and`",
            ));
        }
        Ok(node)
    }

    fn take_comparison(&mut self) -> Option<Operator> {
        let word_at = |at: usize| match &self.tokens.get(at)?.token {
            Token::Word(word) => Some(word.to_ascii_lowercase()),
            _ => None,
        };
        let (operator, length) = match &self.tokens.get(self.at)?.token {
            Token::Comparison(comparison) => (Operator::Compare(*comparison), 1),
            Token::Word(_) => match (word_at(self.at)?.as_str(), word_at(self.at + 1).as_deref()) {
                ("in", _) => (Operator::In, 1),
                ("not", Some("in")) => (Operator::NotIn, 2),
                _ => return None,
            },
            _ => return None,
        };
        self.at += length;
        Some(operator)
    }

    fn parse_operand(&mut self, on_the_right: bool) -> Result<Node, ExprError> {
        let Some(Spanned { token, span }) = self.tokens.get(self.at).cloned() else {
            return Err(self.value_missing(Span::new(self.end, self.end)));
        };
        self.at += 1;
        let kind = match token {
            Token::Literal(value) => Kind::Literal(value),
            Token::Braced(name, span_inside) => Kind::Name(name, span_inside),
            Token::Open => {
                let inner = self.nested(|parser| parser.parse_binary(Binding::Or))?;
                let end = self.close(&Token::Close, span, ")")?;
                // A word keeps its own span, so that a fault in a part of it is underlined there.
                let span = match inner.kind {
                    Kind::Word { .. } => inner.span,
                    _ => Span::new(span.start, end),
                };
                return Ok(Node { span, ..inner });
            }
            Token::OpenList => {
                let (items, end) = self.nested(|parser| parser.parse_items(span))?;
                return Ok(Node {
                    kind: Kind::List(items),
                    span: Span::new(span.start, end),
                });
            }
            Token::Word(word) => return self.parse_word(word, span, on_the_right),
            Token::Comparison(_) | Token::Close | Token::CloseList | Token::Comma => {
                return Err(self.value_missing(span));
            }
        };
        Ok(Node { kind, span })
    }

    fn parse_word(
        &mut self,
        text: String,
        span: Span,
        on_the_right: bool,
    ) -> Result<Node, ExprError> {
        if matches!(
            text.to_ascii_lowercase().as_str(),
            "and" | "or" | "in" | "not"
        ) {
            return Err(self.value_missing(span));
        }
        let called = self
            .tokens
            .get(self.at)
            .is_some_and(|next| next.token == Token::Open && next.span.start == span.end);
        if called {
            if text != "len" {
                return Err(ExprError {
                    span,
                    message: format!("there is no function {}", quoted(&text)),
                    suggestion: Some(Suggestion::meant("len")),
                });
            }
            let open = self.next_span();
            self.at += 1;
            let inner = self.nested(|parser| parser.parse_binary(Binding::Or))?;
            let end = self.close(&Token::Close, open, ")")?;
            return Ok(Node {
                kind: Kind::Len(Box::new(inner)),
                span: Span::new(span.start, end),
            });
        }
        let kind = match text.as_str() {
            "null" | "None" => Kind::Literal(Value::Null),
            _ if text.eq_ignore_ascii_case("true") => Kind::Literal(Value::Bool(true)),
            _ if text.eq_ignore_ascii_case("false") => Kind::Literal(Value::Bool(false)),
            _ => Kind::Word { text, on_the_right },
        };
        Ok(Node { kind, span })
    }

    /// The items of a list up to its bracket; a comma may follow the last.
    fn parse_items(&mut self, open: Span) -> Result<(Vec<Node>, usize), ExprError> {
        let mut items = Vec::new();
        while self
            .tokens
            .get(self.at)
            .is_some_and(|next| next.token != Token::CloseList)
        {
            items.push(self.parse_operand(true)?);
            match self.tokens.get(self.at).map(|next| &next.token) {
                Some(Token::Comma) => self.at += 1,
                Some(Token::CloseList) | None => {}
                Some(_) => {
                    return Err(advise(
                        self.next_span(),
                        "a comma is missing here",
                        "separate the items of a list by commas",
                    ));
                }
            }
        }
        let end = self.close(&Token::CloseList, open, "]")?;
        Ok((items, end))
    }

    fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ExprError>,
    ) -> Result<T, ExprError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(error(
                self.next_span(),
                format!("a condition may be nested {MAX_NESTING} levels deep at most"),
            ));
        }
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// Takes the closing bracket and returns where it ends.
    fn close(&mut self, wanted: &Token, open: Span, shown: &str) -> Result<usize, ExprError> {
        match self.tokens.get(self.at) {
            Some(next) if next.token == *wanted => {
                self.at += 1;
                Ok(next.span.end)
            }
            Some(next) => Err(self.left_over(next)),
            None => Err(advise(
                open,
                "this bracket is not closed",
                format!("close it with `{shown}`"),
            )),
        }
    }

    fn peek_word(&self) -> Option<&str> {
        match &self.tokens.get(self.at)?.token {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    fn next_span(&self) -> Span {
        self.tokens
            .get(self.at)
            .map_or(Span::new(self.end, self.end), |next| next.span)
    }

    fn value_missing(&self, span: Span) -> ExprError {
        // Underline the operator before it rather than nothing.
        let before = self
            .tokens
            .get(self.at.wrapping_sub(1))
            .map(|token| token.span);
        let span = if span.start == span.end {
            before.unwrap_or(span)
        } else {
            span
        };
        advise(
            span,
            "a value is missing here",
            "write a field such as `state.score`, a number, or a quoted text",
        )
    }

    /// Something that cannot follow a complete value.
    fn left_over(&self, next: &Spanned) -> ExprError {
        let advice = match &next.token {
            Token::Close | Token::CloseList => {
                return advise(next.span, "this bracket was never opened", "remove it");
            }
            Token::Comma => "lists are written in square brackets: ['a', 'b']",
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "is" | "equals" | "eq" => "use `==`",
                "contains" | "includes" | "has" => "use `'x' in state.field`",
                "not" => "write `not` before the whole comparison, or use `!=` or `not in`",
                _ if self.follows_word() => {
                    "join conditions with `and` or `or`; quote texts of several words"
                }
                _ => "join conditions with `and` or `or`",
            },
            _ => "join conditions with `and` or `or`",
        };
        advise(next.span, "an operator is missing here", advice)
    }

    fn follows_word(&self) -> bool {
        let before = self
            .at
            .checked_sub(1)
            .and_then(|before| self.tokens.get(before));
        matches!(
            before,
            Some(Spanned {
                token: Token::Word(_),
                ..
            })
        )
    }
}

enum Operator {
    Compare(Comparison),
    In,
    NotIn,
}

/// Chains of one operator become one flat part, so that a long chain makes no deep tree.
fn joined(binding: Binding, left: Node, right: Node) -> Node {
    let span = Span::new(left.span.start, right.span.end);
    let kind = match (binding, left.kind) {
        (Binding::Or, Kind::Any(mut parts)) => {
            parts.push(right);
            Kind::Any(parts)
        }
        (Binding::Or, kind) => Kind::Any(vec![Node { kind, ..left }, right]),
        (_, Kind::All(mut parts)) => {
            parts.push(right);
            Kind::All(parts)
        }
        (_, kind) => Kind::All(vec![Node { kind, ..left }, right]),
    };
    Node { kind, span }
}

#[cfg(test)]
mod tests;
