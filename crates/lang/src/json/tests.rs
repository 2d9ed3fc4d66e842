use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Offsets as Python's reader reports them.
fn check_syntax(text: &str, offset: usize) {
    match read(text) {
        Err(Error::Syntax {
            offset: found,
            message,
        }) => {
            assert_eq!(found, offset, "{text:?}: {message}");
            assert!(
                !message.is_empty() && !message.contains("line"),
                "{message}"
            );
        }
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn syntax_errors_name_the_character() {
    check_syntax("", 0);
    check_syntax("   ", 3);
    check_syntax(r#"{"message": "hi""#, 16);
    check_syntax(r#"{"message": "hi",}"#, 17);
    check_syntax(r#"{message: "hi"}"#, 1);
    check_syntax("{\"message\": \"a\nb\"}", 14);
    check_syntax(r#"{"message": "\x41"}"#, 13);
    check_syntax("{\"žluť\":\n \"🐎\" x}", 14);
    check_syntax("[1] 2", 4);
    check_syntax("tru", 3);
}

#[test]
fn what_json_cannot_carry_is_a_syntax_error() {
    for number in [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        &"9".repeat(5000),
    ] {
        let text = format!(r#"{{"n": {number}}}"#);
        assert!(
            matches!(read(&text), Err(Error::Syntax { .. })),
            "{number:.20}"
        );
    }
    for word in ["NaN", "Infinity", "-Infinity"] {
        let error = read(&format!(r#"{{"n": {word}}}"#))
            .unwrap_err()
            .to_string();
        let expected = format!("{} is not JSON", word.trim_start_matches('-'));
        assert!(error.starts_with(&expected), "{error}");
    }
    let bare = read("{NaNny: 1}").unwrap_err().to_string();
    assert!(bare.starts_with("key must be a string"), "{bare}");
    assert_eq!(read("1e-320"), Ok(json!(1e-320)));
}

#[test]
fn byte_order_mark_is_skipped() {
    assert_eq!(read("\u{feff}{\"a\": 1}"), Ok(json!({"a": 1})));
}

#[test]
fn last_value_of_a_repeated_key_counts() {
    assert_eq!(
        read(r#"{"a": 1, "b": 2, "a": 3}"#),
        Ok(json!({"a": 3, "b": 2}))
    );
}

fn check_large(text: &str, expected: &[(&str, f64)]) {
    let found = match read(text) {
        Ok(_) => Vec::new(),
        Err(Error::IntegersTooLarge { integers, .. }) => integers.first(),
        Err(other) => panic!("{text:?} gave {other}"),
    };
    let shown: Vec<(String, f64)> = found
        .into_iter()
        .map(|(path, rounded)| {
            (
                path.iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("."),
                rounded,
            )
        })
        .collect();
    let expected: Vec<(String, f64)> = expected
        .iter()
        .map(|(path, rounded)| ((*path).to_owned(), *rounded))
        .collect();
    assert_eq!(shown, expected, "{text:?}");
}

#[test]
fn integers_beyond_64_bits_are_named_with_their_place() {
    check_large("9223372036854775807", &[]);
    check_large("18446744073709551615", &[]);
    check_large("-9223372036854775808", &[]);
    check_large(
        "18446744073709551616",
        &[("", 18_446_744_073_709_551_616.0)],
    );
    check_large(
        "-9223372036854775809",
        &[("", -9_223_372_036_854_775_808.0)],
    );
    check_large("10000000000000000000000.0", &[]);
    check_large("1e30", &[]);
    check_large(r#"{"text": "10000000000000000000000"}"#, &[]);
    check_large(
        r#"{"a\"]": [1, {"é": [0, 10000000000000000000000]}], "b": "\\", "c": -10000000000000000000000}"#,
        &[("a\"].1.é.1", 1e22), ("c", -1e22)],
    );
}

#[test]
fn the_rounded_value_comes_along_for_echoing() {
    let Err(Error::IntegersTooLarge { value, .. }) =
        read(r#"{"a": 10000000000000000000000, "b": 1}"#)
    else {
        panic!("the integer is too large");
    };
    assert_eq!(*value, json!({"a": 1e22, "b": 1}));
}

#[test]
fn depth_is_bounded_at_its_limit() {
    let nested = |depth: usize| format!("é{}{}", "[".repeat(depth), "]".repeat(depth)).split_off(2);
    assert!(read(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(
        read(&nested(MAX_DEPTH + 1)),
        Err(Error::TooDeep { offset: MAX_DEPTH })
    );
    assert!(matches!(
        read(&"[{\"a\":".repeat(1_000_000)),
        Err(Error::TooDeep { .. })
    ));
}

#[test]
fn values_and_texts_are_bounded_where_that_is_asked_for() {
    let bounds = Bounds {
        values: 4,
        text_bytes: 3,
    };
    let check = |text: &str, expected: Result<(), Error>| {
        assert_eq!(read_within(text, bounds).map(drop), expected, "{text}");
        assert!(read(text).is_ok(), "{text}");
    };
    let too_many = |offset| Err(Error::TooMany { offset, most: 4 });
    let too_long = |offset| Err(Error::TextTooLong { offset, most: 3 });
    check("[1, 2, 3]", Ok(()));
    check("[1, 2, 3, 4]", too_many(8));
    check(r#"{"a": [{}]}"#, Ok(()));
    check(r#"{"a": [{}, {}]}"#, too_many(9));
    check(r#"["é", ",,,"]"#, Ok(()));
    check(r#"["é", "abcd"]"#, too_long(6));
    check(r#"{"abcd": 1}"#, too_long(1));
    check(r#"["\"\\"]"#, too_long(1));
}

#[test]
fn deepest_value_fits_a_small_stack() {
    let text = r#"{"a":["#.repeat(MAX_DEPTH / 2) + &"]}".repeat(MAX_DEPTH / 2);
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let handle = thread.spawn(move || {
        let value = read(&text).expect("within the limit");
        let copy = value.clone();
        let written = copy.to_string();
        drop((value, copy));
        written == text
    });
    assert!(handle.unwrap().join().expect("no overflow"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_in_its_place(text in "([\\[\\]{}:,\"\\\\ 0-9a-e.\n\u{e9}+-]|true|null){0,60}") {
        match read(&text) {
            Ok(value) => prop_assert_eq!(Ok(value), serde_json::from_str(&text).map_err(|error| error.to_string())),
            Err(Error::Syntax { offset, .. }) => prop_assert!(offset <= text.chars().count()),
            Err(Error::IntegersTooLarge { integers, .. }) => prop_assert!(!integers.first().is_empty()),
            Err(Error::TooDeep { .. } | Error::TooMany { .. } | Error::TextTooLong { .. }) => {
                prop_assert!(false, "at most 60 levels, and no other bound");
            }
        }
    }
}
