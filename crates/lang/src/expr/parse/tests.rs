use super::*;

/// The tree with every grouping in brackets.
fn shown(node: &Node) -> String {
    let all = |parts: &[Node], word: &str| {
        let parts: Vec<String> = parts.iter().map(shown).collect();
        format!("({})", parts.join(word))
    };
    match &node.kind {
        Kind::Literal(value) => value.to_string(),
        Kind::Name(name, _) => format!("{{{name}}}"),
        Kind::Word {
            text,
            on_the_right: true,
        } => format!("<{text}>"),
        Kind::Word { text, .. } => text.clone(),
        Kind::List(items) => format!(
            "[{}]",
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        ),
        Kind::Len(inner) => format!("len {}", shown(inner)),
        Kind::Not(inner) => format!("(not {})", shown(inner)),
        Kind::All(parts) => all(parts, " and "),
        Kind::Any(parts) => all(parts, " or "),
        Kind::Compare(comparison, left, right) => {
            format!("({} {} {})", shown(left), comparison.as_str(), shown(right))
        }
        Kind::In(item, collection) => format!("({} in {})", shown(item), shown(collection)),
    }
}

fn check(text: &str, expected: &str) {
    let raw = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(shown(&raw.tree), expected, "{text:?}");
}

fn refuse(text: &str, underlined: &str, message: &str, advice: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!(
        &text[error.span.start..error.span.end],
        underlined,
        "{text:?}: {error}"
    );
    assert_eq!(error.message, message, "{text:?}");
    let suggestion = error
        .suggestion
        .map(|suggestion| suggestion.text)
        .unwrap_or_default();
    assert!(suggestion.contains(advice), "{text:?}: {suggestion}");
}

#[test]
fn comparisons_bind_tighter_than_not_than_and_than_or() {
    check("a or b and not c == 1", "(a or (b and (not (c == 1))))");
    check("not a and b or c", "(((not a) and b) or c)");
    check("a and b and c or d or e", "((a and b and c) or d or e)");
    check("(a or b) and c", "((a or b) and c)");
    check("not not a", "(not (not a))");
    check("not (a or b)", "(not (a or b))");
    check("not(a)", "(not a)");
    check("((a)) > 1", "(a > 1)");
    check("(a and b) == true", "((a and b) == true)");
}

#[test]
fn operators_are_read_in_any_case_and_over_lines() {
    check("a AND b\n  Or NOT c", "((a and b) or (not c))");
    check(
        "a IN [1] and b Not In [2]",
        "((a in [1]) and (not (b in [2])))",
    );
    check("  state.score > 7  ", "(state.score > 7)");
}

#[test]
fn bare_words_are_text_on_the_right_only() {
    check("kind == spam", "(kind == <spam>)");
    check(
        "kind in [spam, 'ham', 2024-01-02,]",
        "(kind in [<spam>, \"ham\", <2024-01-02>])",
    );
    check("(kind) == (spam)", "(kind == spam)");
    check("a == TRUE", "(a == true)");
    check("a == null or a == None", "((a == null) or (a == null))");
    check("a == none", "(a == <none>)");
    check("{ state.my field } == x", "({state.my field} == <x>)");
}

#[test]
fn length_is_the_only_call() {
    check("len(state.l) > 3", "(len state.l > 3)");
    check("3 < len({state.l})", "(3 < len {state.l})");
    check("len > 3", "(len > 3)");
    refuse(
        "upper(a)",
        "upper",
        "there is no function `upper`",
        "did you mean `len`?",
    );
    refuse("a == int(b)", "int", "there is no function `int`", "len");
    refuse("len(a", "(", "this bracket is not closed", "`)`");
}

#[test]
fn faults_stand_where_they_are_and_show_the_way_out() {
    refuse("", "", "the condition is empty", "state.done");
    refuse(" \n", " \n", "the condition is empty", "state.done");
    refuse("a ==", "==", "a value is missing here", "field");
    refuse("a and", "and", "a value is missing here", "field");
    refuse("== 1", "==", "a value is missing here", "field");
    refuse("a or and b", "and", "a value is missing here", "field");
    refuse("()", ")", "a value is missing here", "field");
    refuse("(a", "(", "this bracket is not closed", "`)`");
    refuse("a in [1, 2", "[", "this bracket is not closed", "`]`");
    refuse("a in [1 2]", "2", "a comma is missing here", "commas");
    refuse("a)", ")", "this bracket was never opened", "remove");
    refuse(
        "a in (1, 2)",
        ",",
        "an operator is missing here",
        "square brackets",
    );
    refuse("1 < a < 3", "<", "comparisons cannot be chained", "`and`");
    refuse(
        "a == b == c",
        "==",
        "comparisons cannot be chained",
        "`and`",
    );
    refuse(
        "a == spam mail",
        "mail",
        "an operator is missing here",
        "quote",
    );
    refuse("a is true", "is", "an operator is missing here", "`==`");
    refuse(
        "a contains 'x'",
        "contains",
        "an operator is missing here",
        "in state.field",
    );
    refuse("a == not b", "not", "a value is missing here", "field");
    refuse("a not b", "not", "an operator is missing here", "`not in`");
}

#[test]
fn hostile_texts_are_refused_rather_than_crashing() {
    let deep = |unit: &str| parse(&unit.repeat(4_000)).unwrap_err().message;
    for unit in ["(", "[", "not ", "len("] {
        assert!(deep(unit).contains("levels deep"), "{unit}");
    }
    assert!(deep("state.x").contains("bytes long"));
    assert!(
        parse(&format!("a{}", " and a".repeat(2_500))).is_ok(),
        "a long chain is not deep"
    );
    assert!(
        parse(
            &"(".repeat(64)
                .chars()
                .chain("a".chars())
                .chain(")".repeat(64).chars())
                .collect::<String>()
        )
        .is_ok()
    );
}
