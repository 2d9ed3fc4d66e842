//! `flowmill run`.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::support::{Ended, GREETING, Running, flowmill, greeting, run_in, words};

/// A workflow with a field of each kind; `say` answers into `out`.
const KINDS: &str = r#"
schema_version: "1.0"
flow: {name: kinds}
state:
  fields:
    text: {type: str, default: ""}
    count: {type: int, default: 0}
    share: {type: float}
    sure: {type: bool, default: false}
    tags: {type: "list[str]", default: []}
    sizes: {type: "dict[str, int]", default: {}}
    home: {type: object, schema: {city: {type: str, required: true}}}
    out: {type: str}
nodes:
  - id: say
    prompt: "{text}"
    output_schema: {type: str}
    outputs: [out]
edges:
  - {from: START, to: say}
  - {from: say, to: END}
"#;

fn kinds() -> TempProject {
    TempProject::with_file("kinds.yaml", KINDS)
}

/// Runs `kinds.yaml` offline with those arguments; the outputs.
#[track_caller]
fn outputs(project: &TempProject, arguments: &[&str]) -> Value {
    let mut all = vec!["run", "kinds.yaml", "--offline"];
    all.extend(arguments);
    run_in(project.root(), all).exits(0).json()
}

/// The greeting, asked of a fake model over HTTP.
fn against(model: &FakeModel, project: &TempProject, more: &[&str]) -> std::process::Command {
    let mut command = flowmill(
        project.root(),
        words("run greeting.yaml --input name=Ada --model openai/test"),
    );
    command
        .args(more)
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", "none");
    command
}

#[test]
fn outputs_are_json_on_stdout_and_nothing_else() {
    let ended = run_in(
        greeting().root(),
        words("run greeting.yaml --input name=Ada --offline"),
    )
    .exits(0);
    let outputs = ended.json();
    assert_eq!(outputs["name"], json!("Ada"));
    assert!(outputs["greeting"].is_string(), "{outputs}");
    assert_eq!(outputs.as_object().map(serde_json::Map::len), Some(2));
}

#[test]
fn inputs_are_typed_by_the_schema() {
    let project = kinds();
    project.write("tags.yaml", "- a\n- b\n");
    project.write("count.txt", "12\n");
    project.write("text.txt", "two\nlines\n");
    let check = |argument: &str, field: &str, expected: Value| {
        assert_eq!(
            outputs(&project, &["--input", argument])[field],
            expected,
            "{argument}"
        );
    };
    check("text=5", "text", json!("5"));
    check("text= a = b ", "text", json!(" a = b "));
    check("text=", "text", json!(""));
    check("text=@text.txt", "text", json!("two\nlines\n"));
    check("text=@@ada", "text", json!("@ada"));
    check("count=5", "count", json!(5));
    check("count=@count.txt", "count", json!(12));
    check("share=0.5", "share", json!(0.5));
    check("share=null", "share", json!(null));
    check("sure=yes", "sure", json!(true));
    check("tags=[\"x\"]", "tags", json!(["x"]));
    check("tags=@tags.yaml", "tags", json!(["a", "b"]));
    check("sizes={\"a\": \"1\"}", "sizes", json!({"a": 1}));
    check(
        "home={\"city\": \"Ghent\"}",
        "home",
        json!({"city": "Ghent"}),
    );
    // The last one wins.
    assert_eq!(
        outputs(&project, &["-i", "count=1", "-i", "count=2"])["count"],
        json!(2)
    );
}

#[test]
fn a_whole_file_of_inputs_may_be_json_yaml_or_stdin() {
    let project = kinds();
    project.write("in.json", r#"{"text": "t", "tags": ["a"]}"#);
    project.write("in.yaml", "text: t\ntags: [a]\n");
    project.write("in.txt", "text: t\ntags: [a]\n");
    for file in ["in.json", "in.yaml", "in.txt"] {
        let outputs = outputs(&project, &["--inputs", file, "--input", "count=3"]);
        assert_eq!(
            (&outputs["text"], &outputs["tags"], &outputs["count"]),
            (&json!("t"), &json!(["a"]), &json!(3)),
            "{file}"
        );
    }
    for text in ["{\"text\": \"t\"}", "text: t\n"] {
        let mut child = flowmill(project.root(), words("run kinds.yaml --offline --inputs -"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(text.as_bytes())
            .expect("it reads");
        let ended = Ended::from(child.wait_with_output().expect("it ends")).exits(0);
        assert_eq!(ended.json()["text"], json!("t"), "{text}");
    }
}

#[test]
fn faulty_inputs_are_reported_together_before_any_call() {
    let model = FakeModel::start();
    let mut command = flowmill(kinds().root(), words("run kinds.yaml --model openai/test"));
    let project = kinds();
    command
        .current_dir(project.root())
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", "none");
    command.args([
        "-i",
        "count=many",
        "-i",
        "tags=a, b",
        "-i",
        "home={}",
        "-i",
        "sizes={\"a\": \"x\"}",
    ]);
    let ended = Ended::of(&mut command).exits(3).says(&[
        "the inputs do not fit workflow `kinds`: 4 faults",
        "  count: Input should be a valid integer",
        "(got \"many\")",
        "  tags: not JSON: ",
        "  home.city: Field required",
        "  sizes.a: ",
    ]);
    assert_eq!(ended.stdout, "");
    assert_eq!(model.calls(), 0);
}

#[test]
fn a_missing_input_comes_with_the_option_that_gives_it() {
    let project = greeting();
    let ended = run_in(
        project.root(),
        words("run greeting.yaml --offline --format json"),
    )
    .exits(3);
    let envelope = ended.json();
    assert_eq!(envelope["status"], json!("failed"));
    assert_eq!(envelope["problem"]["code"], json!("input_invalid"));
    assert_eq!(envelope["problem"]["errors"][0]["loc"], json!(["name"]));
    assert_eq!(envelope["problem"]["errors"][0]["type"], json!("missing"));
    ended.says(&[
        "name: Field required",
        "hint: give it with --input name=VALUE",
    ]);
}

#[test]
fn unknown_inputs_are_pointed_out() {
    let project = greeting();
    run_in(
        project.root(),
        words("run greeting.yaml --offline --input name=Ada --input nmae=x"),
    )
    .exits(0)
    .says(&["warning: the workflow has no input `nmae`, so it is ignored; did you mean `name`?"]);
    project.write(
        "strict.yaml",
        GREETING.replace("state:\n", "state:\n  additional_inputs: forbid\n"),
    );
    run_in(
        project.root(),
        words("run strict.yaml --offline --input name=Ada --input nmae=x"),
    )
    .exits(3)
    .says(&["nmae: ", "did you mean `name`?"]);
}

#[test]
fn mistaken_input_options_say_what_to_write() {
    let project = greeting();
    let check = |arguments: &[&str], code: i32, says: &[&str]| {
        let mut all = vec!["run", "greeting.yaml", "--offline"];
        all.extend(arguments);
        run_in(project.root(), all).exits(code).says(says);
    };
    check(
        &["--input", "name"],
        2,
        &["`--input name` is not NAME=VALUE", "--input topic=bees"],
    );
    check(
        &["--input", "name=@absent"],
        4,
        &["`absent` does not exist", "name=@@absent"],
    );
    check(
        &["--inputs", "absent.json"],
        4,
        &["`absent.json` does not exist"],
    );
    project.write("list.json", "[1]");
    check(&["--inputs", "list.json"], 3, &["is not a mapping"]);
    project.write("bad.json", "{\"name\": ");
    check(&["--inputs", "bad.json"], 3, &["`bad.json` is not JSON"]);
}

#[test]
fn numbers_and_bools_of_an_inputs_file_say_that_quotes_make_text() {
    let project = greeting();
    for (file, text, got) in [
        ("a.yaml", "name: 1.10\n", "1.1"),
        ("b.yaml", "name: true\n", "true"),
        ("c.json", "{\"name\": 5}", "5"),
    ] {
        project.write(file, text);
        let got = format!("(got {got}, a number or a bool where it stands unquoted; quotes");
        run_in(
            project.root(),
            ["run", "greeting.yaml", "--offline", "--inputs", file],
        )
        .exits(3)
        .says(&["name: Input should be a valid string", &got]);
    }
    for text in ["name: 22:30\n", "name: no\n", "name: 2024-01-02\n"] {
        project.write("text.yaml", text);
        let ended = run_in(
            project.root(),
            words("run greeting.yaml --offline --format json --inputs text.yaml"),
        )
        .exits(0)
        .json();
        let name = text["name: ".len()..].trim_end();
        assert_eq!(ended["outputs"]["name"], json!(name));
    }
}

#[test]
fn inputs_with_inputs_around_them_are_told_to_stand_alone() {
    let project = greeting();
    project.write("wrapped.json", "{\"inputs\": {\"name\": \"Ada\"}}");
    run_in(
        project.root(),
        words("run greeting.yaml --offline --inputs wrapped.json"),
    )
    .exits(3)
    .says(&["name: Field required", "not below `inputs`"]);
}

#[test]
fn yaml_output_is_the_same_to_every_reader() {
    let project = TempProject::with_file(
        "texts.yaml",
        r#"
schema_version: "1.0"
flow: {name: texts}
state: {fields: {texts: {type: dict}, last: {type: str}}}
nodes:
  - id: say
    prompt: "Say"
    output_schema: {type: object, fields: [{name: texts, type: dict}, {name: last, type: str}]}
    outputs: [texts, last]
edges: [{from: START, to: say}, {from: say, to: END}]
"#,
    );
    let texts = [
        "no",
        "<<",
        "=",
        "1e22",
        "1:30",
        "22:30",
        "2024-01-02",
        "0o7",
        "0x1F",
        "~",
        ".5",
        "1_000",
        "*a",
        "a: b",
        "x\ny\n",
        "\u{7f}\u{85}",
    ];
    let entries: serde_json::Map<String, Value> = texts
        .iter()
        .map(|text| ((*text).to_owned(), json!([text, { *text: 1e22 }])))
        .collect();
    let outputs = json!({ "texts": entries, "last": "ends with line breaks\n\n\n" });
    project.write("replies.json", json!({ "say": [outputs] }).to_string());
    let arguments = words("run texts.yaml --replies replies.json --quiet --format yaml");
    let ended = run_in(project.root(), arguments).exits(0);
    let read: Value = serde_norway::from_str(&ended.stdout).expect("YAML 1.2");
    assert_eq!(read, outputs, "{}", ended.stdout);
    let Some(python) = testing::rigs::program("yaml", "python") else {
        return;
    };
    project.write("out.yaml", &ended.stdout);
    let script =
        "import json, yaml; print(json.dumps(yaml.safe_load(open('out.yaml', newline=''))))";
    let reader = std::process::Command::new(python)
        .args(["-c", script])
        .current_dir(project.root())
        .output()
        .expect("it starts");
    let read: Value = serde_json::from_slice(&reader.stdout).expect("JSON");
    assert_eq!(read, outputs, "{}", ended.stdout);
}

#[test]
fn formats() {
    let project = greeting();
    let run = |format: &str| {
        run_in(
            project.root(),
            [
                "run",
                "greeting.yaml",
                "--input",
                "name=Ada",
                "--offline",
                "--format",
                format,
            ],
        )
        .exits(0)
    };
    assert!(run("pretty").stdout.starts_with("{\n  \"name\": \"Ada\""));
    assert!(run("yaml").stdout.starts_with("name: Ada\n"));
    let ended = run("json");
    assert_eq!(ended.stdout.lines().count(), 1);
    let envelope = ended.json();
    let keys: Vec<&String> = envelope.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        ["status", "outputs", "usage", "execution_time_ms", "job_id"]
    );
    assert_eq!(envelope["status"], json!("success"));
    assert_eq!(envelope["outputs"]["name"], json!("Ada"));
    assert!(envelope["execution_time_ms"].is_u64());
    assert_eq!(envelope["job_id"].as_str().map(str::len), Some(36));
    let model = envelope["usage"]["nodes"]["greet"]["model"]
        .as_str()
        .expect("a model");
    assert!(
        model.starts_with("offline"),
        "the offline model is named: {model}"
    );
}

#[test]
fn events_are_lines_of_json() {
    let ended = run_in(
        greeting().root(),
        words("run greeting.yaml --input name=Ada --offline --events"),
    )
    .exits(0);
    let events: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let mut names: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    names.dedup();
    names.retain(|name| *name != "llm_delta");
    assert_eq!(
        names,
        [
            "run_started",
            "node_started",
            "node_completed",
            "run_completed"
        ]
    );
    let ids: Vec<u64> = events
        .iter()
        .filter_map(|event| event["id"].as_u64())
        .collect();
    assert!(ids.is_sorted() && ids[0] == 1, "{ids:?}");
    assert_eq!(
        events.last().expect("some")["outputs"]["name"],
        json!("Ada")
    );
}

#[test]
fn a_real_model_is_called_once_and_its_tokens_are_shown() {
    let model = FakeModel::start();
    let ended = Ended::of(&mut against(&model, &greeting(), &[])).exits(0);
    assert_eq!(ended.json()["greeting"], json!("R:Greet Ada"));
    assert_eq!(model.calls(), 1);
    ended.says(&[
        "every node uses openai/test",
        "greet: done in",
        "15 tokens",
        "cost unknown",
        "openai/test",
    ]);
}

#[test]
fn a_failed_run_names_node_and_way_out() {
    let model = FakeModel::answering(|_| Reply::status(401));
    let project = greeting();
    let ended = Ended::of(&mut against(&model, &project, &[]))
        .exits(1)
        .says(&["error: ", "greet"]);
    assert_eq!(ended.stdout, "");
    let ended = Ended::of(&mut against(&model, &project, &["--format", "json"])).exits(1);
    let envelope = ended.json();
    assert_eq!(envelope["status"], json!("failed"));
    assert_eq!(envelope["problem"]["code"], json!("model_error"));
    assert_eq!(envelope["problem"]["node"], json!("greet"));
    assert_eq!(envelope["error"], envelope["problem"]["detail"]);
    assert_eq!(envelope["usage"]["llm_calls"], json!(1));
}

#[test]
fn an_unset_key_is_a_failure_before_any_call_that_names_the_variable() {
    run_in(
        greeting().root(),
        words("run greeting.yaml --input name=Ada --model openai/test"),
    )
    .exits(5)
    .says(&["OPENAI_API_KEY", "--offline"]);
}

#[test]
fn an_unsupported_part_is_refused_before_any_call() {
    let project = TempProject::with_file(
        "code.yaml",
        GREETING.replace("    outputs:", "    code: \"result = 'x'\"\n    outputs:"),
    );
    let ended = run_in(
        project.root(),
        words("run code.yaml --input name=Ada --offline --format json"),
    )
    .exits(5);
    assert_eq!(ended.json()["problem"]["code"], json!("not_supported"));
    ended.says(&["not supported yet"]);
}

#[test]
fn an_invalid_workflow_shows_its_faults() {
    let project = TempProject::with_file("bad.yaml", GREETING.replace("to: END", "to: DNE"));
    let ended = run_in(
        project.root(),
        words("run bad.yaml --input name=Ada --offline --format json"),
    )
    .exits(3);
    let printed = ended.json();
    assert_eq!(printed["problem"]["code"], json!("workflow_invalid"));
    let validated = run_in(project.root(), words("validate bad.yaml --format json")).exits(3);
    assert_eq!(printed["diagnostics"], validated.json()["diagnostics"]);
    assert_eq!(printed["diagnostics"][0]["path"], json!("edges.1.to"));
    ended.says(&[
        "bad.yaml:15:",
        "did you mean `END`?",
        "error: bad.yaml is not valid: 1 error",
    ]);
}

#[test]
fn a_cassette_replays_what_was_recorded() {
    let project = greeting();
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "recorded"})));
    Ended::of(&mut against(&model, &project, &["--record", "tape.jsonl"]))
        .exits(0)
        .says(&["written to tape.jsonl"]);
    assert!(
        !project.read("tape.jsonl").contains("none"),
        "no keys in a cassette"
    );
    let ended = run_in(
        project.root(),
        words("run greeting.yaml --input name=Ada --replay tape.jsonl"),
    )
    .exits(0);
    assert_eq!(ended.json()["greeting"], json!("recorded"));
    ended.says(&["the answers come from the cassette tape.jsonl"]);
    run_in(
        project.root(),
        words("run greeting.yaml --input name=Bob --replay tape.jsonl"),
    )
    .exits(1)
    .says(&["greet"]);
    project.write("bad.jsonl", "nonsense");
    run_in(
        project.root(),
        words("run greeting.yaml --input name=A --replay bad.jsonl"),
    )
    .exits(3)
    .says(&["not a cassette"]);
}

#[test]
fn replies_script_the_answers() {
    let project = greeting();
    project.write(
        "replies.json",
        r#"{"greet": [{"result": 5}, {"result": "Hi"}]}"#,
    );
    let ended = run_in(
        project.root(),
        words("run greeting.yaml --input name=Ada --replies replies.json"),
    )
    .exits(0);
    assert_eq!(ended.json()["greeting"], json!("Hi"));
    ended.says(&[
        "the answers come from the script replies.json",
        "greet: attempt 1 failed",
    ]);
}

#[test]
fn the_whole_run_has_a_time_limit_and_a_budget() {
    let project = greeting();
    let model = FakeModel::answering(|_| Reply::hang());
    let ended = Ended::of(&mut against(
        &model,
        &project,
        &["--timeout", "100ms", "--format", "json"],
    ))
    .exits(1);
    assert_eq!(ended.json()["problem"]["code"], json!("deadline_exceeded"));
    let ended = run_in(
        project.root(),
        words("run greeting.yaml --input name=Ada --offline --max-llm-calls 0 --format json"),
    );
    assert_eq!(
        ended.exits(1).json()["problem"]["code"],
        json!("budget_exceeded")
    );
}

#[test]
fn ctrl_c_cancels_the_run_and_its_call() {
    let model = FakeModel::answering(|_| Reply::hang());
    let project = greeting();
    let running = Running::start(&mut against(&model, &project, &["--format", "json"]));
    model.block_on(model.called(1));
    running.signal("INT");
    let (code, stdout) = running.end();
    assert_eq!(code, Some(130));
    let envelope: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(envelope["status"], json!("cancelled"));
    model.block_on(model.disconnected(1));
}

#[test]
fn an_integer_beyond_64_bits_is_told_of_as_such() {
    let project = kinds();
    project.write(
        "big.json",
        r#"{"count": 18446744073709551616, "text": "x"}"#,
    );
    let ended = run_in(
        project.root(),
        words("run kinds.yaml --offline --inputs big.json"),
    )
    .exits(3)
    .says(&["count: an integer beyond 64 bits cannot be kept exactly"]);
    assert!(!ended.stderr.contains("not JSON"), "{}", ended.stderr);
    run_in(
        project.root(),
        [
            "run",
            "kinds.yaml",
            "--offline",
            "--input",
            "tags=[18446744073709551616]",
        ],
    )
    .exits(3)
    .says(&["tags: an integer beyond 64 bits"]);
}

#[test]
fn pieces_of_an_answer_have_no_id() {
    let project = greeting();
    let ended = run_in(
        project.root(),
        words("run greeting.yaml --offline --events --input name=Ada"),
    )
    .exits(0);
    let events = ended.stdout.lines().map(|line| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let (pieces, stored): (Vec<_>, Vec<_>) =
        events.partition(|event| event["event"] == json!("llm_delta"));
    assert!(!pieces.is_empty());
    for piece in pieces {
        assert_eq!(piece.get("id"), None, "{piece}");
    }
    let ids: Vec<_> = stored.iter().map(|event| event["id"].clone()).collect();
    let expected: Vec<_> = (1..=stored.len()).map(|id| json!(id)).collect();
    assert_eq!(ids, expected);
}

#[test]
fn an_answer_that_was_cut_off_asks_for_more_room_and_not_for_clearer_prompts() {
    let check = |limit: &str, way_out: &str| {
        let file = GREETING.replace("    prompt:", &format!("{limit}    prompt:"));
        let project = TempProject::with_file("greeting.yaml", file);
        let model =
            FakeModel::answering(|_| Reply::text(r#"{"result": "Hel"#).finish_reason("length"));
        let ended = Ended::of(&mut against(&model, &project, &[]))
            .exits(1)
            .says(&["cut off", way_out]);
        assert!(!ended.stderr.contains("clearer prompt"), "{}", ended.stderr);
    };
    check("    llm: {max_tokens: 5}\n", "hint: raise `max_tokens`");
    check("", "hint: ask for a shorter answer");
}
