//! Type text: `list[dict[str, int]]` to a [`Type`] and back.

use std::fmt;

use crate::diagnostic::quoted;
use crate::field::Type;
use crate::source::Span;
use crate::suggest::{self, Suggestion};

/// The deepest nesting of brackets; keeps hostile files from overflowing the stack.
const MAX_NESTING: usize = 32;

/// The names a type can have.
pub const NAMES: [&str; 7] = ["str", "int", "float", "bool", "list", "dict", "object"];

/// Names of types in other languages, and the names of the same types here.
const FOREIGN: [(&str, &str); 13] = [
    ("string", "str"),
    ("text", "str"),
    ("integer", "int"),
    ("number", "float"),
    ("double", "float"),
    ("decimal", "float"),
    ("boolean", "bool"),
    ("array", "list"),
    ("sequence", "list"),
    ("tuple", "list"),
    ("set", "list"),
    ("map", "dict"),
    ("mapping", "dict"),
];

/// Why a text is not a type.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Byte range of the type's text.
    pub span: Span,
    /// How to fix it.
    pub suggestion: Option<Suggestion>,
}

impl Type {
    /// Parses `str`, `list[T]`, `dict[K, V]` and so on; spaces around names, brackets and commas do
    /// not matter. A bare `object` comes back without a schema; the caller adds the one declared
    /// beside it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { text, at: 0 };
        let ty = parser.parse_type(0)?;
        parser.skip_blanks();
        if parser.at < text.len() {
            let span = Span::new(parser.at, text.len());
            return Err(error(
                format!("unexpected {} after the type", quoted(&text[parser.at..])),
                span,
            ));
        }
        Ok(ty)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str => f.write_str("str"),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Bool => f.write_str("bool"),
            Self::List(None) => f.write_str("list"),
            Self::List(Some(item)) => write!(f, "list[{item}]"),
            Self::Dict(None) => f.write_str("dict"),
            Self::Dict(Some(types)) => write!(f, "dict[{}, {}]", types.0, types.1),
            Self::Object(_) => f.write_str("object"),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn parse_type(&mut self, nesting: usize) -> Result<Type, ParseError> {
        self.skip_blanks();
        let start = self.at;
        let rest = &self.text[start..];
        let name = rest[..rest.find(['[', ']', ',']).unwrap_or(rest.len())].trim_end();
        self.at += name.len();
        let span = Span::new(start, self.at);
        if nesting > MAX_NESTING {
            return Err(error(
                format!("a type may be nested {MAX_NESTING} levels deep at most"),
                span,
            ));
        }
        match name {
            "str" => Ok(Type::Str),
            "int" => Ok(Type::Int),
            "float" => Ok(Type::Float),
            "bool" => Ok(Type::Bool),
            "object" => Ok(Type::Object(None)),
            "list" => {
                if !self.take('[') {
                    return Ok(Type::List(None));
                }
                let item = self.parse_type(nesting + 1)?;
                self.close("list[T]", "one type")?;
                Ok(Type::List(Some(Box::new(item))))
            }
            "dict" => {
                if !self.take('[') {
                    return Ok(Type::Dict(None));
                }
                let key = self.parse_type(nesting + 1)?;
                if !self.take(',') {
                    return Err(self.expected("`dict` takes two types: `dict[K, V]`"));
                }
                let value = self.parse_type(nesting + 1)?;
                self.close("dict[K, V]", "two types")?;
                Ok(Type::Dict(Some(Box::new((key, value)))))
            }
            "" => Err(self.expected("a type is missing here")),
            unknown => Err(unknown_name(unknown, span)),
        }
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.text[self.at..].starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn close(&mut self, form: &str, takes: &str) -> Result<(), ParseError> {
        if self.take(']') {
            return Ok(());
        }
        Err(self.expected(&format!("`{form}` takes {takes} and ends with `]`")))
    }

    /// A fault at the next character, or over the whole text where it ends.
    fn expected(&self, message: &str) -> ParseError {
        let span = match self.text[self.at..].chars().next() {
            Some(next) => Span::new(self.at, self.at + next.len_utf8()),
            None => Span::new(0, self.text.len()),
        };
        error(message.to_owned(), span)
    }
}

fn error(message: String, span: Span) -> ParseError {
    ParseError {
        message,
        span,
        suggestion: None,
    }
}

fn unknown_name(name: &str, span: Span) -> ParseError {
    let foreign = FOREIGN
        .iter()
        .find(|(foreign, _)| name.eq_ignore_ascii_case(foreign));
    let suggestion = if name.eq_ignore_ascii_case("optional")
        || name.contains('|')
        || name.eq_ignore_ascii_case("union")
    {
        Suggestion::advice(
            "a field without `required` and without default may be null; write its plain type",
        )
    } else if let Some((_, meant)) = foreign {
        Suggestion::meant(meant)
    } else {
        match suggest::nearest(name, NAMES) {
            Some(meant) => Suggestion::meant(meant),
            None => Suggestion::advice(format!("the types are {}", suggest::known_list(NAMES))),
        }
    };
    ParseError {
        message: format!("unknown type {}", quoted(name)),
        span,
        suggestion: Some(suggestion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str, expected: &str) {
        let ty = Type::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(ty.to_string(), expected, "{text:?}");
        assert_eq!(
            Type::parse(expected),
            Ok(ty),
            "printing and parsing {text:?}"
        );
    }

    fn refuse(text: &str, underlined: &str, message: &str, meant: Option<&str>) {
        let error = Type::parse(text).expect_err(text);
        assert_eq!(error.message, message, "{text:?}");
        assert_eq!(
            &text[error.span.start..error.span.end],
            underlined,
            "{text:?}"
        );
        let suggested = error
            .suggestion
            .and_then(|suggestion| suggestion.did_you_mean);
        assert_eq!(suggested.as_deref(), meant, "{text:?}");
    }

    #[test]
    fn blanks_do_not_matter() {
        accept(" int ", "int");
        accept("list[ str ]", "list[str]");
        accept("dict [str ,\tdict[str,int] ]", "dict[str, dict[str, int]]");
        accept("list[list[object]]", "list[list[object]]");
        accept("dict[str, list[int]]", "dict[str, list[int]]");
        accept("list", "list");
        accept("dict", "dict");
    }

    #[test]
    fn unknown_names_are_underlined_where_they_stand() {
        refuse("strr", "strr", "unknown type `strr`", Some("str"));
        refuse(
            "list[ flaot ]",
            "flaot",
            "unknown type `flaot`",
            Some("float"),
        );
        refuse("string", "string", "unknown type `string`", Some("str"));
        refuse("List[str]", "List", "unknown type `List`", Some("list"));
        refuse("number", "number", "unknown type `number`", Some("float"));
        refuse("Optional[int]", "Optional", "unknown type `Optional`", None);
        refuse(
            "int | None",
            "int | None",
            "unknown type `int | None`",
            None,
        );
        refuse(
            "dict[str, bananas]",
            "bananas",
            "unknown type `bananas`",
            None,
        );
    }

    #[test]
    fn brackets_take_the_right_number_of_types() {
        refuse("list[]", "]", "a type is missing here", None);
        refuse("", "", "a type is missing here", None);
        refuse(
            "dict[str]",
            "]",
            "`dict` takes two types: `dict[K, V]`",
            None,
        );
        refuse(
            "dict[str, int, int]",
            ",",
            "`dict[K, V]` takes two types and ends with `]`",
            None,
        );
        refuse(
            "list[int",
            "list[int",
            "`list[T]` takes one type and ends with `]`",
            None,
        );
        refuse(
            "str[int]",
            "[int]",
            "unexpected `[int]` after the type",
            None,
        );
        refuse("int]", "]", "unexpected `]` after the type", None);
    }

    #[test]
    fn deep_nesting_is_refused_rather_than_crashing() {
        let deep = "list[".repeat(100_000);
        assert!(
            Type::parse(&deep)
                .unwrap_err()
                .message
                .contains("32 levels")
        );
    }
}
