//! Settings of models: system, sampling, headers, fallback (issue 17).

use std::sync::Arc;

use lang::diagnostic::render;
use lang::source::Source;
use lang::workflow::{FallbackReason, LlmSettings, ModelNode, Workflow};

fn file(config: &str, node: &str) -> Source {
    let text = format!(
        "schema_version: \"1.0\"\nflow: {{name: w}}\nstate:\n  fields:\n    topic: {{type: str, required: true}}\n    answer: {{type: str, default: \"\"}}\nconfig:\n  llm: {config}\nnodes:\n  - {{id: say, prompt: \"{{topic}}\", output_schema: {{type: str}}, outputs: [answer]{node}}}\nedges:\n  - {{from: START, to: say}}\n  - {{from: say, to: END}}\n"
    );
    Source::new("w.yaml", text)
}

#[track_caller]
fn check(config: &str, node: &str, parts: &[&str]) {
    let source = file(config, node);
    let mut diagnostics = lang::check(&source).diagnostics;
    diagnostics.retain(|diagnostic| diagnostic.code != "FM0701");
    let said = render::short(&source, &diagnostics);
    assert_eq!(parts.is_empty(), said.is_empty(), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing:\n{said}");
    }
}

fn workflow(config: &str, node: &str) -> Arc<Workflow> {
    let source = file(config, node);
    let checked = lang::check(&source);
    let said = render::short(&source, &checked.diagnostics);
    checked.workflow.unwrap_or_else(|| panic!("{said}"))
}

fn node(workflow: &Workflow) -> &ModelNode {
    workflow.nodes[0].kind.model().unwrap()
}

fn settings(config: &str, node_keys: &str) -> LlmSettings {
    node(&workflow(config, node_keys)).llm.clone()
}

#[test]
fn a_node_wins_over_the_file_key_by_key() {
    let llm = settings(
        "{provider: openai, top_p: 0.5, seed: 3, stop: [a, b], reasoning_effort: low, num_ctx: 10, fallback: [{model: x}], fallback_on: [timeout]}",
        ", llm: {top_p: 0.9, stop: c, fallback: [{model: anthropic/y, api_key_env: OTHER}]}",
    );
    assert_eq!(llm.sampling.top_p, Some(0.9));
    assert_eq!(llm.sampling.seed, Some(3));
    assert_eq!(llm.sampling.stop.as_deref(), Some(&["c".to_owned()][..]));
    assert_eq!(llm.sampling.reasoning_effort.as_deref(), Some("low"));
    assert_eq!(llm.sampling.num_ctx, Some(10));
    let fallback = &llm.fallback.unwrap()[0];
    assert_eq!(fallback.provider.as_deref(), Some("anthropic"));
    assert_eq!(fallback.model.as_deref(), Some("y"));
    assert_eq!(fallback.api_key_env.as_deref(), Some("OTHER"));
    assert_eq!(llm.fallback_on, Some(vec![FallbackReason::Timeout]));
}

#[test]
fn system_of_the_node_wins_and_is_a_template() {
    let roots = |config: &str, keys: &str| {
        let workflow = workflow(config, keys);
        let system = node(&workflow).system.clone();
        system.map(|system| (system.pieces.len(), system.references().count()))
    };
    assert_eq!(roots("{}", ""), None);
    assert_eq!(roots("{system: \"About {topic}.\"}", ""), Some((3, 1)));
    assert_eq!(
        roots("{system: \"About {topic}.\"}", ", system: Briefly"),
        Some((1, 0))
    );
    assert_eq!(roots("{}", ", llm: {system: \"{topic}\"}"), Some((1, 1)));
    check(
        "{system: \"{topik}\"}",
        "",
        &["FM0401", "did you mean `topic`?"],
    );
    check("{}", ", system: \"{topik}\"", &["FM0401", "node `say`"]);
}

#[test]
fn what_no_request_carries_yet_is_refused_by_its_key() {
    let workflow = workflow(
        "{top_p: 1, temperature: 0.5}",
        ", system: x, llm: {seed: 1}",
    );
    let paths: Vec<&str> = workflow
        .unsupported
        .iter()
        .map(|part| part.path.as_str())
        .collect();
    assert_eq!(
        paths,
        ["config.llm.top_p", "nodes.0.system", "nodes.0.llm.seed"]
    );
}

#[test]
fn temperatures_above_1_need_a_provider_that_takes_them() {
    check("{provider: openai, temperature: 2}", "", &[]);
    check("{temperature: 1.5}", ", llm: {provider: ollama}", &[]);
    check("{temperature: 1.5}", ", llm: {model: gemini/x}", &[]);
    check(
        "{temperature: 1.5}",
        "",
        &["FM0123", "unless `provider` is one of"],
    );
    check("{provider: anthropic, temperature: 1.1}", "", &["FM0123"]);
    check(
        "{provider: openai, temperature: 2.1}",
        "",
        &["FM0123", "from 0 to 2"],
    );
    check(
        "{provider: openai}",
        ", llm: {provider: anthropic, temperature: 1.1}",
        &["FM0123"],
    );
}

#[test]
fn mistakes_are_found() {
    check("{top_p: 1.1}", "", &["FM0123", "from 0 to 1"]);
    check("{seed: -1}", "", &["FM0123"]);
    check("{stop: []}", "", &["FM0125"]);
    check(
        "{reasoning_effort: hihg}",
        "",
        &["FM0124", "did you mean `high`?"],
    );
    check("{num_ctx: 0}", "", &["FM0123"]);
    check(
        "{fallback: [{}]}",
        "",
        &["FM0608", "neither a provider nor a model"],
    );
    check(
        "{fallback: [{model: a}, {model: a}]}",
        "",
        &["FM0608", "twice"],
    );
    check(
        "{fallback: [{provider: opnai}]}",
        "",
        &["FM0124", "did you mean `openai`?"],
    );
    check(
        "{fallback: [{model: a}], fallback_on: [timeot]}",
        "",
        &["FM0124", "did you mean `timeout`?"],
    );
    check(
        "{fallback_on: [timeout]}",
        "",
        &["FM0601", "without `fallback`"],
    );
    check(
        "{fallback: [{model: a}], on: [timeout]}",
        "",
        &["FM0126", "write `fallback_on`"],
    );
    check("{fallback: [{model: a}], 'on': [timeout]}", "", &[]);
    check("{extra_headers: {Host: x}}", "", &["FM0606"]);
    check("{extra_headers: {X-Api-Key: hush}}", "", &["FM0607"]);
    check("{extra_headers: {X-Team: docs}}", "", &[]);
}
