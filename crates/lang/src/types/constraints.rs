//! Checking a value against the constraints of its field. A broken constraint is a fault in the
//! words of pydantic; as there, a value has at most one.

use std::cmp::Ordering;

use serde_json::json;

use crate::fault::{Fault, FaultKind, Path};
use crate::field::Constraints;
use crate::template::python;
use crate::value::{self, Value};

impl Constraints {
    /// The first constraint that a coerced value breaks; `given` is the value before coercion.
    pub(crate) fn fault(&self, coerced: &Value, given: &Value, path: Path<'_>) -> Option<Fault> {
        let (kind, message, context) = match coerced {
            Value::String(text) => self.broken_by_text(text),
            Value::Number(_) => self.broken_by_number(coerced),
            Value::Array(items) => self.broken_by_count("List", items.len()),
            Value::Object(entries) => self.broken_by_count("Dictionary", entries.len()),
            Value::Null | Value::Bool(_) => None,
        }
        .or_else(|| self.not_allowed(coerced))?;
        Some(Fault::worded(kind, path, given, message, Some(context)))
    }

    fn broken_by_text(&self, text: &str) -> Option<Broken> {
        let length = text.chars().count();
        if let Some(min) = self.min_length.filter(|min| length < *min) {
            let message = format!("String should have at least {}", counted(min, "character"));
            return Some((
                FaultKind::StringTooShort,
                message,
                json!({ "min_length": min }),
            ));
        }
        if let Some(max) = self.max_length.filter(|max| length > *max) {
            let message = format!("String should have at most {}", counted(max, "character"));
            return Some((
                FaultKind::StringTooLong,
                message,
                json!({ "max_length": max }),
            ));
        }
        if let Some(pattern) = self
            .pattern
            .as_ref()
            .filter(|pattern| !pattern.is_match(text))
        {
            let message = format!("String should match pattern '{pattern}'");
            return Some((
                FaultKind::StringPatternMismatch,
                message,
                json!({ "pattern": pattern.as_str() }),
            ));
        }
        let format = self.format.filter(|format| !format.fits(text))?;
        let message = format!("Input should be a valid {}", format.noun());
        Some((
            FaultKind::Format,
            message,
            json!({ "format": format.as_str() }),
        ))
    }

    fn broken_by_number(&self, number: &Value) -> Option<Broken> {
        let limit = |limit: Option<f64>| limit.map(|limit| bound(limit, !number.is_f64()));
        if let Some(min) = limit(self.minimum)
            .filter(|min| value::compare(number, min).is_some_and(Ordering::is_lt))
        {
            let message = format!("Input should be greater than or equal to {}", plain(&min));
            return Some((FaultKind::GreaterThanEqual, message, json!({ "ge": min })));
        }
        let max = limit(self.maximum)
            .filter(|max| value::compare(number, max).is_some_and(Ordering::is_gt))?;
        let message = format!("Input should be less than or equal to {}", plain(&max));
        Some((FaultKind::LessThanEqual, message, json!({ "le": max })))
    }

    fn broken_by_count(&self, what: &str, count: usize) -> Option<Broken> {
        let sentence = |side: &str, limit| {
            format!(
                "{what} should have at {side} {} after validation, not {count}",
                counted(limit, "item")
            )
        };
        if let Some(min) = self.min_items.filter(|min| count < *min) {
            let context = json!({ "field_type": what, "min_length": min, "actual_length": count });
            return Some((FaultKind::TooShort, sentence("least", min), context));
        }
        let max = self.max_items.filter(|max| count > *max)?;
        let context = json!({ "field_type": what, "max_length": max, "actual_length": count });
        Some((FaultKind::TooLong, sentence("most", max), context))
    }

    fn not_allowed(&self, coerced: &Value) -> Option<Broken> {
        let allowed = self.allowed.as_ref()?;
        if allowed.iter().any(|allowed| value::equal(allowed, coerced)) {
            return None;
        }
        let literals: Vec<String> = allowed.iter().map(python::repr).collect();
        let expected = match literals.as_slice() {
            [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => literals.concat(),
        };
        Some((
            FaultKind::Enum,
            format!("Input should be {expected}"),
            json!({ "expected": expected }),
        ))
    }
}

type Broken = (FaultKind, String, Value);

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A limit as clients see it: for an integer field, a whole limit is an integer too.
pub(crate) fn bound(limit: f64, for_integer: bool) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if for_integer && limit.fract() == 0.0 && limit.abs() <= EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number within 2^53"
        )]
        return Value::from(limit as i64);
    }
    Value::from(limit)
}

/// Without the `.0` of whole doubles, as pydantic words it.
fn plain(number: &Value) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::field::{Field, Format, Type};

    #[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
    fn check(
        ty: &str,
        constraints: Constraints,
        value: Value,
        expected: Option<(&str, &str, Value)>,
    ) {
        let ty = Type::parse(ty).unwrap();
        let field = Field {
            constraints,
            ..Field::named("f", ty)
        };
        let faults = field.coerce(&value).err().unwrap_or_default();
        let got: Vec<_> = faults
            .iter()
            .map(|fault| {
                (
                    fault.kind.as_str(),
                    fault.message.as_str(),
                    fault.context.clone().unwrap(),
                )
            })
            .collect();
        assert_eq!(got, expected.into_iter().collect::<Vec<_>>(), "{value}");
        assert!(
            faults.iter().all(|fault| fault.input == value),
            "the given value is echoed"
        );
    }

    #[test]
    fn numbers_stay_within_their_limits() {
        let between = || Constraints {
            minimum: Some(1.0),
            maximum: Some(3.0),
            ..Constraints::default()
        };
        check("int", between(), json!(1), None);
        check("int", between(), json!("3"), None);
        let ge = "Input should be greater than or equal to 1";
        check(
            "int",
            between(),
            json!(0),
            Some(("greater_than_equal", ge, json!({"ge": 1}))),
        );
        check(
            "float",
            between(),
            json!(0),
            Some(("greater_than_equal", ge, json!({"ge": 1.0}))),
        );
        let le = "Input should be less than or equal to 3";
        check(
            "int",
            between(),
            json!("4"),
            Some(("less_than_equal", le, json!({"le": 3}))),
        );
        let half = Constraints {
            minimum: Some(1.5),
            ..Constraints::default()
        };
        let ge = "Input should be greater than or equal to 1.5";
        check(
            "int",
            half,
            json!(1),
            Some(("greater_than_equal", ge, json!({"ge": 1.5}))),
        );
    }

    #[test]
    fn texts_have_lengths_in_characters() {
        let one = || Constraints {
            min_length: Some(1),
            max_length: Some(1),
            ..Constraints::default()
        };
        check("str", one(), json!("é"), None);
        let short = "String should have at least 1 character";
        check(
            "str",
            one(),
            json!(""),
            Some(("string_too_short", short, json!({"min_length": 1}))),
        );
        let long = "String should have at most 1 character";
        check(
            "str",
            one(),
            json!("ab"),
            Some(("string_too_long", long, json!({"max_length": 1}))),
        );
        let three = Constraints {
            min_length: Some(3),
            ..Constraints::default()
        };
        let short = "String should have at least 3 characters";
        check(
            "str",
            three,
            json!("ab"),
            Some(("string_too_short", short, json!({"min_length": 3}))),
        );
    }

    #[test]
    fn a_pattern_is_searched_not_anchored() {
        let digits = || Constraints {
            pattern: Some(Regex::new("[0-9]+").unwrap()),
            ..Constraints::default()
        };
        check("str", digits(), json!("room 5b"), None);
        let message = "String should match pattern '[0-9]+'";
        check(
            "str",
            digits(),
            json!("x"),
            Some((
                "string_pattern_mismatch",
                message,
                json!({"pattern": "[0-9]+"}),
            )),
        );
    }

    #[test]
    fn only_listed_values_are_allowed() {
        let of = |allowed: &[Value]| Constraints {
            allowed: Some(allowed.to_vec()),
            ..Constraints::default()
        };
        check("str", of(&[json!("a"), json!("b")]), json!("b"), None);
        let expected = "'a', 'b' or \"it's\"";
        check(
            "str",
            of(&[json!("a"), json!("b"), json!("it's")]),
            json!("x"),
            Some((
                "enum",
                "Input should be 'a', 'b' or \"it's\"",
                json!({ "expected": expected }),
            )),
        );
        check(
            "int",
            of(&[json!(1)]),
            json!("2"),
            Some(("enum", "Input should be 1", json!({"expected": "1"}))),
        );
        check("float", of(&[json!(1)]), json!(1.0), None);
    }

    #[test]
    fn collections_are_counted() {
        let two = || Constraints {
            min_items: Some(2),
            max_items: Some(2),
            ..Constraints::default()
        };
        check("list", two(), json!([1, 2]), None);
        let few = "List should have at least 2 items after validation, not 0";
        let context = json!({"field_type": "List", "min_length": 2, "actual_length": 0});
        check(
            "list[int]",
            two(),
            json!([]),
            Some(("too_short", few, context)),
        );
        let many = "Dictionary should have at most 2 items after validation, not 3";
        let context = json!({"field_type": "Dictionary", "max_length": 2, "actual_length": 3});
        check(
            "dict",
            two(),
            json!({"a": 1, "b": 2, "c": 3}),
            Some(("too_long", many, context)),
        );
    }

    #[test]
    fn a_format_is_named_in_its_fault() {
        let date = Constraints {
            format: Some(Format::Date),
            ..Constraints::default()
        };
        check(
            "str",
            date,
            json!("today"),
            Some((
                "string_format",
                "Input should be a valid date",
                json!({"format": "date"}),
            )),
        );
    }
}
