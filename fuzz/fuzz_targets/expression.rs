//! Any text is a condition and a template or is refused, and what is accepted can be evaluated.
#![no_main]

use std::borrow::Cow;

use lang::names::{Named, Names};
use lang::source::Span;
use lang::template::{Root, Scope};
use lang::types::Type;
use lang::value::Value;
use lang::workflow::FieldId;
use libfuzzer_sys::fuzz_target;

/// A state with one field of each kind.
struct State(Vec<(&'static str, Type, Value)>);

impl State {
    fn new() -> Self {
        let field = |name, ty, value: &str| {
            let ty = Type::parse(ty).expect("a type of the language");
            (name, ty, lang::json::read(value).expect("JSON"))
        };
        Self(vec![
            field("s", "str", "\"text\""),
            field("i", "int", "7"),
            field("f", "float", "0.5"),
            field("b", "bool", "true"),
            field("l", "list[int]", "[1, 2]"),
            field("d", "dict", "{\"k\": {\"x\": null}}"),
        ])
    }
}

impl Names for State {
    fn field(&self, name: &str) -> Option<Named<'_>> {
        let at = self.0.iter().position(|(known, ..)| *known == name)?;
        Some(Named { root: Root::Field(FieldId(at)), ty: Some(&self.0[at].1) })
    }

    fn fields(&self) -> Vec<&str> {
        self.0.iter().map(|(name, ..)| *name).collect()
    }
}

impl Scope for State {
    fn get(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Field(FieldId(at)) => self.0.get(at).map(|(_, _, value)| Cow::Borrowed(value)),
            _ => None,
        }
    }
}

fuzz_target!(|text: &str| {
    let state = State::new();
    let in_text = |span: Span| {
        assert!(text.get(span.start..span.end).is_some(), "{span:?} of {text:?}");
        span
    };
    match lang::expr::parse(text) {
        Ok(raw) => {
            let (condition, _) = raw.resolve(&state, &in_text);
            condition.holds(&state);
        }
        Err(error) => {
            in_text(error.span);
        }
    }
    let (template, _) = lang::template::parse(text).resolve(&state, &in_text);
    let _ = template.render(&state);
    let _ = template.value(&state);
});
