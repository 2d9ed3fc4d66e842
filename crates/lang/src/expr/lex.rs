//! Splitting the text of a condition into tokens with their spans. Recognises operators of other
//! languages and says what to write instead.

use crate::diagnostic::quoted;
use crate::source::Span;
use crate::suggest::Suggestion;
use crate::value::Value;

use super::error::{ExprError, advise, error};
use super::tree::Comparison;

/// A token and its byte range.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name, a keyword or bare text: `state.kind`, `and`, `spam`. Dots and inner dashes belong to
    /// it.
    Word(String),
    /// `{state.kind}`, without the braces and outer spaces, with the span of the inside.
    Braced(String, Span),
    /// A quoted text or a number.
    Literal(Value),
    Comparison(Comparison),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
}

/// Splits a text into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, ExprError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.at = text.len() - lexer.rest().trim_start().len();
        let start = lexer.at;
        let Some(first) = lexer.rest().chars().next() else {
            return Ok(tokens);
        };
        let token = lexer.next(first)?;
        #[cfg(test)]
        testing::work::count(lexer.at - start);
        tokens.push(Spanned {
            token,
            span: Span::new(start, lexer.at),
        });
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self, first: char) -> Result<Token, ExprError> {
        match first {
            '(' => Ok(self.take(1, Token::Open)),
            ')' => Ok(self.take(1, Token::Close)),
            '[' => Ok(self.take(1, Token::OpenList)),
            ']' => Ok(self.take(1, Token::CloseList)),
            ',' => Ok(self.take(1, Token::Comma)),
            '\'' | '"' => self.quoted(first),
            '{' => self.braced(),
            _ if self.starts_word(first) => self.word(),
            _ => self.operator(first),
        }
    }

    fn take(&mut self, length: usize, token: Token) -> Token {
        self.at += length;
        token
    }

    /// A dash or a dot starts a word only as part of a number.
    fn starts_word(&self, first: char) -> bool {
        let second = || self.rest()[first.len_utf8()..].chars().next();
        match first {
            '-' => second().is_some_and(|next| next.is_ascii_digit() || next == '.'),
            '.' => second().is_some_and(|next| next.is_ascii_digit()),
            _ => first == '_' || unicode_ident::is_xid_continue(first),
        }
    }

    fn word(&mut self) -> Result<Token, ExprError> {
        let rest = self.rest();
        let mut length = 0;
        for (at, letter) in rest.char_indices() {
            let next = rest[at + letter.len_utf8()..].chars().next();
            let goes_on = next.is_some_and(unicode_ident::is_xid_continue);
            let belongs = match letter {
                '.' => true,
                '-' => at == 0 || goes_on,
                // Only the sign of an exponent: `1e+5`.
                '+' => goes_on && rest[..at].ends_with(['e', 'E']) && is_number(&rest[..at - 1]),
                _ => unicode_ident::is_xid_continue(letter),
            };
            if !belongs {
                break;
            }
            length = at + letter.len_utf8();
        }
        let word = &rest[..length];
        let span = Span::new(self.at, self.at + length);
        self.at += length;
        if !is_number(word) {
            return Ok(Token::Word(word.to_owned()));
        }
        match read_number(word) {
            Some(number) => Ok(Token::Literal(number)),
            None => Err(error(
                span,
                format!("the number {} is too large", quoted(word)),
            )),
        }
    }

    /// Backslash escapes as in most languages; any other backslash is kept as it is.
    fn quoted(&mut self, quote: char) -> Result<Token, ExprError> {
        let mut text = String::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.at += at + 1;
                return Ok(Token::Literal(Value::String(text)));
            }
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            match letters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, 't')) => text.push('\t'),
                Some((_, escaped @ ('\\' | '\'' | '"'))) => text.push(escaped),
                Some((_, other)) => text.extend(['\\', other]),
                None => break,
            }
        }
        let span = Span::new(self.at, self.text.len());
        Err(advise(
            span,
            "this text is not closed",
            format!("end it with `{quote}`"),
        ))
    }

    fn braced(&mut self) -> Result<Token, ExprError> {
        let rest = self.rest();
        let start = self.at;
        if rest.starts_with("{{") {
            let span = Span::new(start, start + 2);
            return Err(advise(
                span,
                "doubled braces have no meaning in a condition",
                "write `{state.field}`",
            ));
        }
        let Some(end) = rest.find('}') else {
            return Err(advise(
                Span::new(start, self.text.len()),
                "this brace is not closed",
                "write `{state.field}`",
            ));
        };
        self.at += end + 1;
        let inside = &rest[1..end];
        let name = inside.trim();
        if name.is_empty() {
            return Err(advise(
                Span::new(start, self.at),
                "a name is missing between the braces",
                "write `{state.field}`",
            ));
        }
        let name_start = start + 1 + inside.len() - inside.trim_start().len();
        Ok(Token::Braced(
            name.to_owned(),
            Span::new(name_start, name_start + name.len()),
        ))
    }

    fn operator(&mut self, first: char) -> Result<Token, ExprError> {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        /// Longest first.
        const OPERATORS: [(&str, Comparison); 6] = [
            ("==", Equal),
            ("!=", NotEqual),
            ("<=", LessOrEqual),
            (">=", GreaterOrEqual),
            ("<", Less),
            (">", Greater),
        ];
        /// Longest first; each with what is meant.
        const FOREIGN: [(&str, &str); 14] = [
            ("===", "=="),
            ("!==", "!="),
            ("<=>", "=="),
            ("<>", "!="),
            ("=>", ">="),
            ("=<", "<="),
            ("=~", "=="),
            ("&&", "and"),
            ("||", "or"),
            ("&", "and"),
            ("|", "or"),
            ("~", "not"),
            ("=", "=="),
            ("!", "not"),
        ];
        let rest = self.rest();
        let known = OPERATORS.iter().find(|(text, _)| rest.starts_with(text));
        let foreign = FOREIGN.iter().find(|(text, _)| rest.starts_with(text));
        let span = |length: usize| Span::new(self.at, self.at + length);
        match (known, foreign) {
            (Some((text, operator)), foreign)
                if foreign.is_none_or(|(other, _)| other.len() <= text.len()) =>
            {
                Ok(self.take(text.len(), Token::Comparison(*operator)))
            }
            (_, Some((text, meant))) => Err(ExprError {
                span: span(text.len()),
                message: format!("`{text}` is no operator"),
                suggestion: Some(Suggestion::meant(meant)),
            }),
            _ => {
                let advice = match first {
                    '+' | '-' | '*' | '/' | '%' | '^' => {
                        "conditions compare values but do not calculate; text with such characters has to be quoted"
                    }
                    '“' | '”' | '„' | '‘' | '’' | '`' => {
                        "write texts in straight quotes: 'text'"
                    }
                    '}' => "a name in braces starts with `{`",
                    _ => "text with such characters has to be quoted",
                };
                Err(advise(
                    span(first.len_utf8()),
                    format!("unexpected {}", quoted(&first.to_string())),
                    advice,
                ))
            }
        }
    }
}

/// `-12`, `1.5`, `.5`, `5.`, `1e-3`.
fn is_number(word: &str) -> bool {
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// Integers beyond 64 bits are read as doubles; `None` beyond those.
fn read_number(word: &str) -> Option<Value> {
    if let Ok(integer) = word.parse::<i64>() {
        return Some(Value::from(integer));
    }
    let float: f64 = word.parse().ok()?;
    float.is_finite().then(|| Value::from(float))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: &[Token]) {
        let tokens = tokens(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let found: Vec<Token> = tokens.into_iter().map(|spanned| spanned.token).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    fn word(text: &str) -> Token {
        Token::Word(text.to_owned())
    }

    #[test]
    fn words_take_dots_and_inner_dashes() {
        check("state.my-field", &[word("state.my-field")]);
        check("téma", &[word("téma")]);
        check("2024-01-02", &[word("2024-01-02")]);
        check("10kg", &[word("10kg")]);
    }

    #[test]
    fn numbers_have_signs_fractions_and_exponents() {
        let number = |value: Value| Token::Literal(value);
        check("-1.5", &[number(json!(-1.5))]);
        check("1e1", &[number(json!(10.0))]);
        check("1e+2 1E-2", &[number(json!(100.0)), number(json!(0.01))]);
        check(
            ".5 5. -.5",
            &[number(json!(0.5)), number(json!(5.0)), number(json!(-0.5))],
        );
        check("007", &[number(json!(7))]);
        check(
            "9223372036854775808",
            &[number(json!(9_223_372_036_854_775_808.0))],
        );
        check("1e", &[word("1e")]);
        check("1.2.3", &[word("1.2.3")]);
    }

    #[test]
    fn texts_have_either_quote_and_escapes() {
        let text = |text: &str| Token::Literal(Value::from(text));
        check(r#"'say "hi"'"#, &[text("say \"hi\"")]);
        check(r#""it's""#, &[text("it's")]);
        check(r"'it\'s\n\t\\ \d'", &[text("it's\n\t\\ \\d")]);
        check("''", &[text("")]);
        check("'and or (' ", &[text("and or (")]);
    }

    #[test]
    fn braces_hold_any_name() {
        let tokens = tokens("x=={ state.my field }").unwrap();
        assert_eq!(
            tokens[2].token,
            Token::Braced("state.my field".to_owned(), Span::new(5, 19))
        );
        assert_eq!(tokens[2].span, Span::new(3, 21));
    }

    #[test]
    fn longest_operator_wins() {
        use Comparison::{GreaterOrEqual, LessOrEqual};
        check(
            "a<=b",
            &[word("a"), Token::Comparison(LessOrEqual), word("b")],
        );
        check(
            ">=-1",
            &[Token::Comparison(GreaterOrEqual), Token::Literal(json!(-1))],
        );
    }

    fn refuse(text: &str, underlined: &str, meant: Option<&str>) {
        let error = tokens(text).expect_err(text);
        assert_eq!(
            &text[error.span.start..error.span.end],
            underlined,
            "{text:?}"
        );
        let suggestion = error
            .suggestion
            .unwrap_or_else(|| panic!("{text:?} has a way out"));
        assert_eq!(suggestion.did_you_mean.as_deref(), meant, "{text:?}");
    }

    #[test]
    fn foreign_operators_have_a_way_out() {
        refuse("a = 1", "=", Some("=="));
        refuse("a === 1", "===", Some("=="));
        refuse("a !== 1", "!==", Some("!="));
        refuse("a <> 1", "<>", Some("!="));
        refuse("a => 1", "=>", Some(">="));
        refuse("!a", "!", Some("not"));
        refuse("a && b", "&&", Some("and"));
        refuse("a || b", "||", Some("or"));
        refuse("a + 1", "+", None);
        refuse("a == “x”", "“", None);
        refuse("a == 'x", "'x", None);
        refuse("a == 'x\\", "'x\\", None);
        refuse("{a", "{a", None);
        refuse("{ }", "{ }", None);
        refuse("{{a}}", "{{", None);
        refuse("a == http://x", ":", None);
    }

    #[test]
    fn numbers_beyond_doubles_are_refused() {
        let error = tokens("1e999").unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.span),
            ("the number `1e999` is too large", Span::new(0, 5))
        );
    }
}
