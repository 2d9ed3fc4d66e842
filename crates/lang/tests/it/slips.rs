//! Slips that newcomers make, each with the way out it is answered with.

use lang::Checked;
use lang::diagnostic::render;
use lang::source::Source;
use serde_json::json;

const FILE: &str = r#"schema_version: "1.0"
flow: {name: greeting}
state:
  fields:
    name: {type: str, required: true}
    greeting: {type: str}
nodes:
  - id: greet
    prompt: "Greet {name}"
    output_schema: {type: str}
    outputs: [greeting]
edges:
  - {from: START, to: greet}
  - {from: greet, to: END}
"#;

/// The file with one part replaced.
fn changed(from: &str, to: &str) -> Checked {
    assert!(FILE.contains(from), "{from}");
    lang::check(&Source::new("a.yaml", FILE.replacen(from, to, 1)))
}

/// Everything that is said about the file with one part replaced, a line each.
fn said(from: &str, to: &str) -> String {
    let source = Source::new("a.yaml", FILE.replacen(from, to, 1));
    render::short(&source, &changed(from, to).diagnostics)
}

#[track_caller]
fn check(from: &str, to: &str, line: &str) {
    let said = said(from, to);
    assert!(
        said.lines().any(|found| found.contains(line)),
        "no line with {line:?} in:\n{said}"
    );
}

#[test]
fn what_yaml_reads_as_a_number_or_bool_where_text_is_needed_says_that_quotes_help() {
    let field = "{type: str, required: true}";
    for (written, read) in [
        ("22:30", "the number 1350 (base 60)"),
        ("no", "false"),
        ("on", "true"),
        ("1.10", "the number 1.1"),
        ("0755", "the number 493 (base 8)"),
        ("0x1F", "the number 31 (base 16)"),
        ("1_000", "the number 1000"),
    ] {
        let advice = format!("YAML reads `{written}` as {read}; put it in quotes to make it text");
        check(
            field,
            &format!("{{type: str, default: {written}}}"),
            &advice,
        );
        check(field, &format!("{{type: str, enum: [{written}]}}"), &advice);
        check("name: greeting", &format!("name: {written}"), &advice);
        check(
            "outputs: [greeting]",
            &format!("outputs: [{written}]"),
            &advice,
        );
        check("name: {type", &format!("{written}: {{type"), "YAML reads");
        let list = format!("{{type: 'dict[str, list[str]]', default: {{a: [x, {written}]}}}}");
        check(field, &list, &advice);
    }
    check(
        field,
        "{type: str, default: 5}",
        "put it in quotes to make it text",
    );
    check(
        "name: greeting",
        "name: 2024-01-02",
        "YAML reads `2024-01-02` as a date",
    );
    check("name: greeting", "name: ~", "YAML reads `~` as nothing");
    check(
        field,
        "{type: dict, default: {no: 1, 010: 2, 3: 4}}",
        "the default has the key `false`, not `no`",
    );
    assert!(!said(field, "{type: dict, default: {3: 4}}").contains("FM0110"));
}

#[test]
fn a_date_as_the_default_of_a_text_is_taken_as_text() {
    for (ty, default, value) in [
        ("str", "2024-01-02", json!("2024-01-02")),
        ("'list[str]'", "[2024-01-02]", json!(["2024-01-02"])),
        ("str", "2024-01-02 03:04:05", json!("2024-01-02 03:04:05")),
    ] {
        let to = format!("{{type: {ty}, default: {default}}}");
        let checked = changed("{type: str, required: true}", &to);
        assert_eq!(checked.diagnostics, [], "{default}");
        let workflow = checked.workflow.unwrap();
        assert_eq!(workflow.fields[0].default, Some(value));
    }
}

#[test]
fn shorthands_are_answered_with_the_right_form() {
    check(
        "name: {type: str, required: true}",
        "name: str",
        "field `name` must be a mapping, not `str`; write `name: {type: str}`",
    );
    check(
        "name: {type: str, required: true}",
        "name: list[str]",
        "write `name: {type: \"list[str]\"}`",
    );
    check(
        "outputs: [greeting]",
        "outputs: greeting",
        "write `outputs: [greeting]`",
    );
    check(
        "output_schema: {type: str}",
        "output_schema: str",
        "write `output_schema: {type: str}`",
    );
    check(
        "output_schema: {type: str}",
        "output_schema: {type: object, fields: {greeting: str}}",
        "write `- {name: greeting, type: str}`",
    );
    check(
        "{name: greeting}",
        "greeting",
        "write `flow: {name: greeting}`",
    );
    check(
        "{name: greeting}",
        "name:greeting",
        "put a space after the colon",
    );
    check(
        "  - id: greet",
        "    id: greet",
        "begin each item with `- `",
    );
    let timeout =
        |written: &str| format!("flow: {{name: x}}\nconfig: {{execution: {{timeout: {written}}}}}");
    for (written, right) in [
        ("60s", "60"),
        ("2m", "120"),
        ("1 hour", "3600"),
        ("500ms", "1"),
    ] {
        check(
            "flow: {name: greeting}",
            &timeout(written),
            &format!("write `timeout: {right}`, without a unit"),
        );
    }
}

#[test]
fn what_stands_in_the_wrong_section_points_to_the_right_one() {
    let state = "state:\n  fields:\n    name: {type: str, required: true}";
    for field in ["name: str", "name: {type: str, required: true}"] {
        check(
            state,
            &format!("state:\n  {field}\n  fields:"),
            "`state.name` is not a key of the language and is ignored; move it under `fields`",
        );
    }
    check(
        "flow: {name: greeting}",
        "name: greeting",
        "`name` has no effect; move it under `flow`",
    );
    check(
        "state:\n  fields:",
        "fields:\n",
        "`fields` has no effect; move it under `state`",
    );
    check("nodes:", "steps:", "`steps` has no effect; write `nodes`");
}

#[test]
fn names_with_the_prefix_of_another_language_are_found() {
    for (prompt, meant) in [
        ("{inputs.name}", "name"),
        ("{state.state.name}", "name"),
        ("{workflow.input.name}", "workflow"),
    ] {
        let said = said("{name}\"", &format!("{prompt}\""));
        assert!(said.contains("error[FM0401]"), "{said}");
        assert_eq!(
            said.contains(&format!("did you mean `{meant}`?")),
            meant == "name",
            "{said}"
        );
    }
    check("{name}\"", "{name.upper()}\"", "write the name alone");
}

#[test]
fn a_list_of_sources_points_to_one_edge_for_each() {
    check(
        "from: greet,",
        "from: [greet, other],",
        "`from` must be text, not a list; write an edge for each node it leaves",
    );
}

#[test]
fn settings_under_llm_that_stand_elsewhere_point_there() {
    let llm = |key: &str| format!("flow: {{name: x}}\nconfig: {{llm: {{{key}: 3}}}}");
    for (key, right) in [
        ("base_url", "write `api_base`"),
        ("timeout", "set `config.execution.timeout`"),
        ("max_retries", "set `config.execution.max_retries`"),
        ("system_prompt", "put it at the beginning of `prompt`"),
    ] {
        check("flow: {name: greeting}", &llm(key), right);
    }
    check(
        "    outputs:",
        "    model: gpt\n    outputs:",
        "move it under `llm`",
    );
    check(
        "    outputs:",
        "    timeout: 5\n    outputs:",
        "set `config.execution.timeout`",
    );
}

#[test]
fn a_misspelt_key_suggests_the_key_that_is_missing() {
    check(
        "edges:",
        "egdes:",
        "`egdes` is not a key of the language and is ignored; did you mean `edges`?",
    );
    check("nodes:", "ndoes:", "did you mean `nodes`?");
}

#[test]
fn dots_are_no_names_of_workflows() {
    for name in ["'.'", "..", "' .. '"] {
        check(
            "{name: greeting}",
            &format!("{{name: {name}}}"),
            "error[FM0128]",
        );
    }
    assert!(
        changed("{name: greeting}", "{name: '...'}")
            .workflow
            .is_some()
    );
}

#[test]
fn a_gate_takes_on_fail_as_the_documents_say() {
    use lang::workflow::OnGateFail;

    let config = "flow: {name: x}\nconfig: {gates: [{metric: cost_usd, max: 1, on_fail: FAIL}]}";
    let checked = changed("flow: {name: greeting}", config);
    assert_eq!(checked.diagnostics, []);
    let gates = &checked.workflow.unwrap().gates;
    assert_eq!(gates.gates[0].on_fail, Some(OnGateFail::Fail));
}

#[test]
fn a_field_on_the_right_of_a_rule_is_never_taken_for_text() {
    let rules = |rules: &str| {
        format!(
            "state:\n  rules: [{rules}]\n  fields:\n    start: {{type: int, default: 1}}\n    end: {{type: int, default: 2}}\n    words: {{type: list, default: []}}\n    card: {{type: object, schema: {{end: int}}}}"
        )
    };
    for (rule, word) in [
        ("start < end", "end"),
        ("start != end", "end"),
        ("start in words", "words"),
        ("start in [1, end]", "end"),
        ("start < card.end", "card.end"),
    ] {
        let advice = format!("write `state.{word}` for the field, or `'{word}'` for the text");
        let said = said("state:\n  fields:", &rules(&format!("'{rule}'")));
        assert!(
            said.contains("error[FM0407]") && said.contains(&advice),
            "{said}"
        );
    }
    let said = said("state:\n  fields:", &rules("start < card.edn"));
    assert!(
        said.contains("error[FM0401]") && said.contains("did you mean `end`?"),
        "{said}"
    );
    for rule in [
        "start < state.end",
        "start != 'end'",
        "start != later",
        "start < {end}",
    ] {
        let checked = changed("state:\n  fields:", &rules(&format!("\"{rule}\"")));
        assert!(
            checked.workflow.is_some(),
            "{rule}: {:?}",
            checked.diagnostics
        );
    }
}

#[test]
fn a_check_that_names_another_field_points_to_rules() {
    let advice =
        "a check sees only the field's own value, called `value`; compare fields in `state.rules`";
    for check_ in [
        "value != greeting",
        "greeting != value",
        "value != state.greeting",
    ] {
        check("required: true", &format!("check: \"{check_}\""), advice);
    }
    let own = changed("required: true", "check: 'value != name'");
    assert!(own.workflow.is_some(), "{:?}", own.diagnostics);
}

#[test]
fn routes_keep_a_bare_word_as_text_with_a_warning() {
    let checked = changed(
        "{from: greet, to: END}",
        "{from: greet, to: END, condition: name == greeting}",
    );
    let codes: Vec<&str> = checked.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["FM0407"]);
    assert!(checked.workflow.is_some());
}
