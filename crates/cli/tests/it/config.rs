//! Flags, environment, `.env` and `flowmill.toml`, in that order.

use serde_json::json;
use testing::FakeModel;

use crate::support::{Ended, flowmill, greeting, run_in, words};

#[test]
fn settings_are_layered() {
    let project = greeting();
    project.write(
        "flowmill.toml",
        "[models]\noffline = true\n[run]\nformat = \"yaml\"\n",
    );
    let run = |environment: &[(&str, &str)], more: &[&str]| {
        let mut command = flowmill(project.root(), words("run greeting.yaml --input name=Ada"));
        let ended = Ended::of(command.args(more).envs(environment.iter().copied())).exits(0);
        match ended.stdout.as_bytes() {
            [b'{', b'\n', ..] => "pretty",
            [b'{', ..] => "json",
            _ => "yaml",
        }
    };
    assert_eq!(run(&[], &[]), "yaml", "the file");
    project.write(".env", "FLOWMILL_FORMAT=json\n");
    assert_eq!(run(&[], &[]), "json", ".env over the file");
    assert_eq!(
        run(&[("FLOWMILL_FORMAT", "pretty")], &[]),
        "pretty",
        "the environment over .env"
    );
    assert_eq!(
        run(&[("FLOWMILL_FORMAT", "")], &[]),
        "json",
        "an empty variable is an unset one, above .env too"
    );
    assert_eq!(
        run(&[("FLOWMILL_FORMAT", "pretty")], &["--format", "json"]),
        "json",
        "a flag over everything"
    );
}

#[test]
fn a_flag_that_names_the_models_beats_the_environment() {
    let project = greeting();
    let mut command = flowmill(
        project.root(),
        words("run greeting.yaml --input name=Ada --offline"),
    );
    Ended::of(command.env("FLOWMILL_MODEL", "openai/x"))
        .exits(0)
        .says(&["offline: "]);
    run_in(
        project.root(),
        words("run greeting.yaml --input name=Ada --offline --model openai/x"),
    )
    .exits(2)
    .says(&["--model and --offline cannot be used together"]);
}

#[test]
fn switches_take_the_usual_words_and_can_be_undone() {
    let project = greeting();
    let run = |value: &str, more: &[&str], code: i32| {
        let mut command = flowmill(project.root(), words("run greeting.yaml --input name=Ada"));
        Ended::of(command.args(more).env("FLOWMILL_OFFLINE", value)).exits(code);
    };
    for yes in ["true", "1", "yes", "on"] {
        run(yes, &[], 0);
    }
    // The workflow's own model has no key here.
    run("0", &[], 5);
    run("1", &["--offline=false"], 5);
    run("maybe", &[], 2);
}

#[test]
fn keys_and_addresses_come_from_dotenv() {
    let model = FakeModel::start();
    let project = greeting();
    project.write(
        ".env",
        format!(
            "# a comment\nexport OPENAI_BASE_URL=\"{}\"\nOPENAI_API_KEY=from-file\n",
            model.base_url()
        ),
    );
    let run = |key: Option<&str>| {
        let mut command = flowmill(
            project.root(),
            words("run greeting.yaml --input name=Ada --model openai/test"),
        );
        Ended::of(command.envs(key.map(|key| ("OPENAI_API_KEY", key)))).exits(0);
        model
            .requests()
            .last()
            .and_then(|request| request.header("authorization").map(str::to_owned))
    };
    assert_eq!(run(None).as_deref(), Some("Bearer from-file"));
    assert_eq!(
        run(Some("from-environment")).as_deref(),
        Some("Bearer from-environment")
    );
}

#[test]
fn a_line_of_dotenv_that_cannot_be_read_is_named_without_its_value() {
    let project = greeting();
    project.write(".env", "FLOWMILL_FORMAT=yaml\nSECRET=two words here\n");
    let ended = run_in(
        project.root(),
        words("run greeting.yaml --input name=Ada --offline"),
    )
    .exits(2)
    .says(&[
        "`.env` cannot be read",
        "line 2: the value of SECRET cannot be read",
    ]);
    assert!(!ended.stderr.contains("two words"), "{}", ended.stderr);
    // What takes no settings works all the same.
    run_in(project.root(), words("validate greeting.yaml")).exits(0);
}

#[test]
fn mistakes_in_the_settings_file_are_errors() {
    let project = greeting();
    let check = |text: &str, says: &[&str]| {
        project.write("flowmill.toml", text);
        run_in(
            project.root(),
            words("run greeting.yaml --input name=Ada --offline"),
        )
        .exits(2)
        .says(says);
    };
    check(
        "[run]\nformt = \"yaml\"\n",
        &["`flowmill.toml`: unknown key in [run]: `formt`; did you mean `format`?"],
    );
    check(
        "[serv]\n",
        &["unknown section `serv`; did you mean `serve`?"],
    );
    check("[run]\nformat = \"xml\"\n", &["xml"]);
    check("run\n", &["flowmill.toml"]);
    // Commands that need no settings work all the same.
    run_in(project.root(), words("validate greeting.yaml")).exits(0);
    run_in(
        project.root(),
        words("run greeting.yaml --offline --config other.toml"),
    )
    .exits(4)
    .says(&["`other.toml`"]);
}

#[test]
fn prices_from_a_file_give_a_cost() {
    let model = FakeModel::start();
    let project = greeting();
    project.write("prices.toml", PRICES);
    let mut command = flowmill(
        project.root(),
        words(
            "run greeting.yaml --input name=Ada --model openai/test --prices prices.toml --format json",
        ),
    );
    command
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", "none");
    let envelope = Ended::of(&mut command).exits(0).json();
    // 10 input tokens at 1 and 5 output tokens at 2 dollars per million.
    assert_eq!(envelope["usage"]["cost_usd"], json!(0.00002));
}

const PRICES: &str = "[openai]\ntest = { input = 1.0, output = 2.0 }\n";
