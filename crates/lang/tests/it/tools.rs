//! Tools of nodes, nodes that call a tool, and MCP servers (issue 17).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use lang::diagnostic::render;
use lang::reference::{Root, Scope};
use lang::source::Source;
use lang::workflow::{
    AnswerBy, Effects, McpTransport, NodeKind, OnLimit, ToolChoice, ToolNode, ToolSource, ToolUse,
    Workflow,
};
use serde_json::{Value, json};

/// A file with this node, which may write `answer`, `count`, `rows` and `maybe`.
fn file(top: &str, node: &str) -> Source {
    let text = format!(
        "schema_version: \"1.0\"\nflow: {{name: w}}\nstate:\n  fields:\n    topic: {{type: str, required: true}}\n    answer: {{type: str, default: \"\"}}\n    count: {{type: int, default: 0}}\n    rows: {{type: list, default: []}}\n    maybe: {{type: str}}\n{top}nodes:\n  - id: say\n{node}edges:\n  - {{from: START, to: say}}\n  - {{from: say, to: END}}\n"
    );
    Source::new("w.yaml", text)
}

/// Lines of a model node that has these further keys.
fn model(keys: &str) -> String {
    let keys = node(keys);
    format!(
        "    prompt: \"{{topic}}\"\n    output_schema: {{type: str}}\n    outputs: [answer]\n{keys}"
    )
}

fn node(keys: &str) -> String {
    let lines: Vec<String> = keys.lines().map(|line| format!("    {line}")).collect();
    if lines.is_empty() {
        return String::new();
    }
    lines.join("\n") + "\n"
}

const DOCS: &str = "mcp_servers: {docs: {url: \"https://docs.example/mcp\"}}\n";

/// The findings without those that say that tools are not executed yet.
fn said(top: &str, node: &str) -> String {
    let source = file(top, node);
    let mut diagnostics = lang::check(&source).diagnostics;
    diagnostics.retain(|diagnostic| diagnostic.code != "FM0701");
    render::short(&source, &diagnostics)
}

/// Says each of the parts, or nothing where there are none.
#[track_caller]
fn check(top: &str, node: &str, parts: &[&str]) {
    let said = said(top, node);
    if parts.is_empty() {
        assert_eq!(said, "", "{node}");
    }
    for part in parts {
        assert!(
            said.contains(part),
            "{part:?} is missing for {node}:\n{said}"
        );
    }
}

fn workflow(top: &str, node: &str) -> Arc<Workflow> {
    let source = file(top, node);
    let checked = lang::check(&source);
    let said = render::short(&source, &checked.diagnostics);
    checked.workflow.unwrap_or_else(|| panic!("{said}"))
}

fn tool_use(top: &str, keys: &str) -> ToolUse {
    match &workflow(top, &model(keys)).nodes[0].kind {
        NodeKind::Model(node) => node.tools.clone(),
        other => panic!("{other:?}"),
    }
}

fn call(keys: &str) -> (Arc<Workflow>, ToolNode) {
    let workflow = workflow("", &node(keys));
    match &workflow.nodes[0].kind {
        NodeKind::Tool(call) => (workflow.clone(), call.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_of_tools_is_read_with_all_options() {
    let tools = tool_use(
        DOCS,
        "tools:\n  - web_search\n  - name: http_client\n    on_error: continue\n    timeout: 1m 30s\n    retries: 2\n    effects: idempotent\n    approval: never\n    allow: [\"https://api.example.com/*\"]\n    max_result_chars: 5000\n    config: {a: 1}\n  - {mcp: docs, include: [\"get_*\"], exclude: [get_all], timeout: 5}\n  - docs__put_page\ntool_choice: {tool: docs__get_page}\nmax_turns: 3\nmax_tool_calls: 7\nparallel: 2\non_limit: fail\nanswer_by: format",
    );
    let sources: Vec<&ToolSource> = tools.offered.iter().map(|tool| &tool.source).collect();
    assert_eq!(sources[0], &ToolSource::BuiltIn("web_search".to_owned()));
    let options = &tools.offered[1].options;
    assert!(options.continue_on_error);
    assert_eq!(options.timeout, Some(Duration::from_secs(90)));
    assert_eq!(
        (options.retries, options.effects),
        (2, Some(Effects::Idempotent))
    );
    assert_eq!(options.allow, ["https://api.example.com/*"]);
    assert_eq!(options.max_result_chars, 5000);
    assert_eq!(options.config["a"], 1);
    assert!(
        matches!(sources[2], ToolSource::Mcp { server, filter } if server == "docs" && filter.include == ["get_*"] && filter.exclude == ["get_all"])
    );
    assert_eq!(
        tools.offered[2].options.timeout,
        Some(Duration::from_secs(5))
    );
    assert!(
        matches!(sources[3], ToolSource::McpTool { server, tool } if server == "docs" && tool == "put_page")
    );
    assert_eq!(tools.choice, ToolChoice::Tool("docs__get_page".to_owned()));
    assert_eq!(
        (tools.max_turns, tools.max_tool_calls, tools.parallel),
        (3, 7, 2)
    );
    assert_eq!(
        (tools.on_limit, tools.answer_by),
        (OnLimit::Fail, AnswerBy::Format)
    );
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let tools = tool_use("", "tools: [web_search]");
    assert_eq!(
        ToolUse {
            offered: Vec::new(),
            ..tools.clone()
        },
        ToolUse::default()
    );
    let options = &tools.offered[0].options;
    assert_eq!((options.retries, options.max_result_chars), (0, 20_000));
    assert_eq!(options.effects, None);
}

#[test]
fn a_workflow_that_needs_tools_is_refused_as_a_whole_by_its_keys() {
    let paths = |top: &str, node: &str| -> Vec<String> {
        let workflow = workflow(top, node);
        let parts = workflow.unsupported.iter();
        parts.map(|part| part.path.clone()).collect()
    };
    assert_eq!(
        paths(DOCS, &model("tools: [{mcp: docs, approval: always}]")),
        ["mcp_servers", "nodes.0.tools", "nodes.0.tools.0.approval"]
    );
    assert_eq!(
        paths("", &model("tools: [{workflow: sum.yaml}]")),
        ["nodes.0.tools", "nodes.0.tools.0.workflow"]
    );
    let call = "tool: env_vars\noutputs: {answer: error}";
    assert_eq!(paths("", &node(call)), ["nodes.0.tool"]);
    // A list without entries asks for nothing.
    assert_eq!(paths("", &model("tools: []")), Vec::<String>::new());
}

#[test]
fn mistakes_in_entries_are_found() {
    let model = |keys: &str| model(keys);
    check(
        "",
        &model("tools: [web_serch]"),
        &["did you mean `web_search`?"],
    );
    check(
        "",
        &model("tools: [{name: read_file, timeout: 5s}]"),
        &["FM0310", "did you mean `file_read`?"],
    );
    check(
        "",
        &model("tools: [{on_error: fail}]"),
        &["FM0120", "`name` is missing"],
    );
    check(
        "",
        &model("tools: [{name: shell, retries: 11}]"),
        &["FM0123", "from 0 to 10"],
    );
    check(
        "",
        &model("tools: [{name: shell, timeout: soon}]"),
        &["FM0124", "not a valid duration"],
    );
    check(
        "",
        &model("tools: [{name: shell, timeout: 0s}]"),
        &["FM0124"],
    );
    check(
        "",
        &model("tools: [{name: shell, timeout: 0}]"),
        &["FM0123"],
    );
    check(
        "",
        &model("tools: [{name: shell, effects: twice}]"),
        &["FM0124", "`once`"],
    );
    check(
        "",
        &model("tools: [{name: shell, max_result_chars: 0}]"),
        &["FM0123"],
    );
    check(
        "",
        &model("tools: [{name: shell, approval: {when: \"args.command ==\"}}]"),
        &["FM0403"],
    );
    check(
        "",
        &model("tools: [shell, shell]"),
        &["FM0311", "listed twice"],
    );
    check(
        "",
        &model("tools: [{mcp: docs}]"),
        &["FM0313", "declare it under `mcp_servers`"],
    );
    check("", &model("max_turns: 0"), &["FM0123", "FM0601"]);
    check("", &model("tools: [shell]\nmax_turns: 1001"), &["FM0123"]);
    check("", &model("tools: [shell]\nparallel: 0"), &["FM0123"]);
    check(
        "",
        &model("tool_choice: required"),
        &["FM0601", "has no `tools`"],
    );
    check(
        "",
        &model("tools: [shell]\ntool_choice: {tool: shel}"),
        &["FM0315", "did you mean `shell`?"],
    );
    check(
        DOCS,
        &model("tools: [{mcp: docs}]\ntool_choice: {tool: doc__x}"),
        &["FM0315"],
    );
    check(DOCS, &model("tools: [docs__]"), &["FM0316"]);
    let longest = format!("tools: [docs__{}]", "x".repeat(58));
    check(DOCS, &model(&longest), &[]);
    check(DOCS, &model(&longest.replace("x]", "xx]")), &["FM0316"]);
}

#[test]
fn sound_tools_have_no_finding() {
    check("", &model("tools: [shell]\ntool_choice: required"), &[]);
    check(
        "",
        &model("tools: [{name: http_client, approval: {when: \"args.method != 'GET'\"}}]"),
        &[],
    );
    let twice =
        "tools: [{mcp: docs, include: [get_a]}, {mcp: docs, include: [put_a], effects: once}]";
    check(DOCS, &model(twice), &[]);
}

struct State(Vec<Value>);

impl Scope for State {
    fn get(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Field(field) => self.0.get(field.0).map(Cow::Borrowed),
            _ => None,
        }
    }
}

/// Arguments over the state: nothing but a lone placeholder keeps its type.
#[test]
fn a_node_that_calls_a_tool_has_arguments_and_results() {
    let (workflow, call) = call(
        "tool: {name: http_client, timeout: 5s}\nargs:\n  method: POST\n  url: \"https://a.example/{topic}\"\n  headers: {X-Count: \"{count}\"}\n  body: {n: \"{count}\", list: [\"<{topic}>\", 1, null]}\noutputs: {count: status_code, maybe: error}",
    );
    assert_eq!(call.tool.options.timeout, Some(Duration::from_secs(5)));
    let state = State(vec![json!("x"), json!(""), json!(7)]);
    let args: Vec<(String, Value)> = call
        .args
        .iter()
        .map(|(name, value)| (name.clone(), value.value(&state).unwrap()))
        .collect();
    assert_eq!(
        args,
        [
            ("method".to_owned(), json!("POST")),
            ("url".to_owned(), json!("https://a.example/x")),
            ("headers".to_owned(), json!({"X-Count": 7})),
            ("body".to_owned(), json!({"n": 7, "list": ["<x>", 1, null]})),
        ]
    );
    let output = &workflow.nodes[0].output;
    let read = output
        .read(&json!({"status_code": 200, "body": "", "error": null}))
        .unwrap();
    assert_eq!(
        read,
        [
            (workflow.field("count").unwrap(), json!(200)),
            (workflow.field("maybe").unwrap(), Value::Null),
        ]
    );
    // Null fits only where the state may be null.
    assert!(
        output
            .read(&json!({"status_code": null, "error": null}))
            .is_err()
    );
}

#[test]
fn outputs_of_a_call_may_be_a_list_of_keys() {
    let (workflow, _) =
        call("kind: tool\ntool: sql_query\nargs: {query: SELECT 1}\noutputs: [rows]");
    let fields = &workflow.nodes[0].output.fields;
    assert_eq!(fields[0].key, "rows");
    assert_eq!(fields[0].target, workflow.field("rows").unwrap());
}

#[test]
fn mistakes_in_calls_are_found() {
    let check = |keys: &str, parts: &[&str]| check("", &node(keys), parts);
    check(
        "tool: sql_query\noutputs: [rows]",
        &["FM0317", "also needs `query`"],
    );
    check(
        "tool: sql_query\nargs: {query: \"{topik}\"}\noutputs: [rows]",
        &["FM0401", "did you mean `topic`?"],
    );
    check(
        "tool: sql_query\nargs: {qery: x}\noutputs: [rows]",
        &["did you mean `query`?", "also needs `query`"],
    );
    check(
        "tool: web_search\nargs: {query: x, num_results: many}\noutputs: {rows: results}",
        &["FM0317", "must be a whole number"],
    );
    check(
        "tool: web_search\nargs: {query: 7}\noutputs: {rows: results}",
        &["must be text"],
    );
    check(
        "tool: web_search\nargs: {query: x, num_results: \"{count}\"}\noutputs: {rows: results}",
        &[],
    );
    check(
        "tool: web_search\nargs: {query: x}\noutputs: {row: results}",
        &["FM0304", "did you mean `rows`?"],
    );
    check(
        "tool: web_search\nargs: {query: x}\noutputs: {rows: result}",
        &["FM0318", "did you mean `results`?"],
    );
    check(
        "tool: web_search\nargs: {query: x}\noutputs: {count: results}",
        &["FM0308", "is a list, but the state field `count` is `int`"],
    );
    check("tool: env_vars\noutputs: []", &["FM0125"]);
    check("tool: env_vars", &["FM0120", "`outputs` is missing"]);
    check("tool: {mcp: docs}\noutputs: [rows]", &["FM0313"]);
    check(
        "kind: tool\noutputs: [rows]",
        &["FM0120", "`tool` is missing"],
    );
    check(
        "kind: tols\ntool: env_vars\noutputs: {maybe: error}",
        &["FM0124", "did you mean `tool`?"],
    );
    check(
        "tool: env_vars\nllm: {model: x}\ntools: [shell]\nmax_turns: 2\noutputs: {maybe: error}",
        &[
            "`llm` has no effect",
            "`tools` has no effect",
            "`max_turns` has no effect",
        ],
    );
}

#[test]
fn a_kind_without_its_keys_and_keys_without_their_kind() {
    let check = |keys: &str, parts: &[&str]| check("", &node(keys), parts);
    check("kind: tool\noutputs: [rows]", &["`tool` is missing"]);
    assert!(!said("", &node("kind: tool\noutputs: [rows]")).contains("prompt"));
    check(
        "kind: code\nprompt: x\noutput_schema: {type: str}\noutputs: [answer]",
        &["`code` is missing"],
    );
    // `tool` beside a prompt: the model keys stay required.
    check(
        "prompt: x\ntool: env_vars\noutputs: [answer]",
        &["FM0319", "`output_schema` is missing"],
    );
    check(
        "kind: model\ntool: env_vars\noutputs: [answer]\noutput_schema: {type: str}",
        &["`prompt` is missing"],
    );
    check(
        "prompt: x\noutput_schema: {type: str}\noutputs: {answer: result}",
        &["FM0122", "`outputs` must be a list"],
    );
    check(
        "kind: model\nprompt: x\ncode: y\noutput_schema: {type: str}\noutputs: [answer]",
        &["`code` has no effect"],
    );
}

#[test]
fn servers_are_read() {
    let top = "mcp_servers:\n  docs: {url: \"https://docs.example/mcp\", headers: {Authorization: \"Bearer ${TOKEN}\"}, required: false, timeout: 5s, effects: none, exclude: [drop], pin: abc}\n  files: {command: [mcp-files, --root, /srv], env: {HOME: /tmp, KEY: \"${FILES_KEY}\"}, cwd: /srv}\n";
    let workflow = workflow(top, &model("tools: [{mcp: docs}, {mcp: files}]"));
    let [docs, files] = workflow.mcp_servers.as_slice() else {
        panic!("two servers");
    };
    assert_eq!((docs.name.as_str(), docs.required), ("docs", false));
    assert_eq!(docs.timeout, Some(Duration::from_secs(5)));
    assert_eq!(docs.effects, Some(Effects::None));
    assert_eq!(docs.filter.exclude, ["drop"]);
    assert_eq!(docs.pin.as_deref(), Some("abc"));
    let McpTransport::Http { url, headers } = &docs.transport else {
        panic!("{docs:?}");
    };
    assert_eq!(url, "https://docs.example/mcp");
    let variables: Vec<&str> = headers[0].1.variables().collect();
    assert_eq!(
        (headers[0].0.as_str(), variables),
        ("Authorization", vec!["TOKEN"])
    );
    assert!(files.required);
    assert!(
        matches!(&files.transport, McpTransport::Child { command, env, cwd } if command.len() == 3 && env.len() == 2 && cwd.as_deref() == Some("/srv"))
    );
    // A header's text may be a secret.
    assert!(!format!("{workflow:?}").contains("Bearer"));
}

#[test]
fn mistakes_in_servers_are_found() {
    let check = |server: &str, parts: &[&str]| {
        let top = format!("mcp_servers:\n  {server}\n");
        let name = server.split(':').next().unwrap();
        check(&top, &model(&format!("tools: [{{mcp: {name}}}]")), parts);
    };
    check("docs: {}", &["FM0605", "neither `url` nor `command`"]);
    check(
        "docs: {url: \"https://a/\", command: [x]}",
        &["both `url` and `command`"],
    );
    check(
        "docs: {url: \"ftp://a/\"}",
        &["FM0605", "does not begin with"],
    );
    check(
        "docs: {url: \"https://u:hush@a/\"}",
        &["FM0605", "a user name or a password"],
    );
    check("docs: {command: []}", &["FM0125"]);
    check("docs: {command: [\"\"]}", &["FM0605"]);
    check("docs: {command: [x], headers: {a: b}}", &["FM0601"]);
    check("docs: {url: \"https://a/\", cwd: /}", &["FM0601"]);
    check("do__cs: {command: [x]}", &["FM0605", "cannot be part"]);
    check("1docs: {command: [x]}", &["FM0605"]);
    check("docs_: {command: [x]}", &["FM0605"]);
    check("docs: {command: [x], env: {A B: c}}", &["FM0604"]);
    check("docs: {command: [x], env: {A: \"${b c}\"}}", &["FM0604"]);
    check("docs: {command: [x], env: {API_KEY: hush}}", &["FM0607"]);
    check(
        "docs: {url: \"https://a/\", headers: {\"a b\": c}}",
        &["FM0606"],
    );
    check(
        "docs: {url: \"https://a/\", headers: {Content-Length: \"1\"}}",
        &["FM0606"],
    );
    check(
        "docs: {url: \"https://a/\", headers: {A: \"b\\nc\"}}",
        &["FM0606"],
    );
    check("docs: {url: \"https://a/\", args: [x]}", &["FM0126"]);
    // No message shows what may be a secret.
    for server in [
        "docs: {url: \"https://u:hush@a/\"}",
        "docs: {command: [x], env: {API_KEY: hush}}",
        "docs: {command: [x], env: {A: \"hush ${\"}}",
        "docs: {url: \"https://a/\", headers: {A: \"hush\\n\"}}",
    ] {
        let said = said(
            &format!("mcp_servers:\n  {server}\n"),
            &model("tools: [{mcp: docs}]"),
        );
        assert!(!said.contains("hush"), "{said}");
        assert!(!said.is_empty());
    }
}

#[test]
fn an_unused_server_is_pointed_out() {
    check(DOCS, &model(""), &["FM0601", "no node uses it"]);
    let top = "mcp_servers: {docs: {url: \"https://docs.example/mcp\"}}\n";
    check(
        top,
        &node("tool: docs__read\nargs: {any: 1}\noutputs: {maybe: text}"),
        &[],
    );
}

#[test]
fn a_budget_may_limit_calls_of_tools() {
    let workflow = workflow("budget: {max_tool_calls: 9}\n", &model(""));
    assert_eq!(workflow.budget.max_tool_calls, Some(9));
    check("budget: {max_tool_calls: -1}\n", &model(""), &["FM0123"]);
}
