//! From a file's text to the checked workflow. Each file in here holds one family of rules. No rule
//! stops at its first fault, and none reports on a part whose shape is already known to be wrong.

mod comparisons;
mod conditions;
mod config;
mod constraints;
mod context;
mod durations;
mod edges;
mod environment;
mod fields;
mod graph;
mod llm;
mod names;
mod nodes;
mod outputs;
mod patterns;
mod privacy;
mod scope;
mod servers;
mod unsupported;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use context::Context;

use crate::diagnostic::findings::Findings;
use crate::diagnostic::{Diagnostic, code, quoted};
use crate::source::{Source, Span};
use crate::suggest::Suggestion;
use crate::syntax::location::Location;
use crate::syntax::view::Item;
use crate::syntax::{self, FILE_SHAPE, File, shape};
use crate::workflow::{AdditionalInputs, Workflow};
use crate::yaml;

/// What checking a file found: the workflow, if there is no error, and all diagnostics.
#[derive(Debug)]
pub struct Checked {
    /// Present exactly when `diagnostics` holds no error.
    pub workflow: Option<Arc<Workflow>>,
    /// In source order; warnings included.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks a workflow file's text. The format follows the extension of `source.name`
/// (`.yaml`, `.yml`, `.json`, any letter case); another one is a diagnostic.
pub fn check(source: &Source) -> Checked {
    let mut findings = Findings::default();
    let workflow = read(source, &mut findings);
    let workflow = workflow.filter(|_| !findings.has_errors()).map(Arc::new);
    Checked {
        workflow,
        diagnostics: findings.finish(),
    }
}

/// The workflow as far as it could be read; to be used only if no finding is an error.
fn read(source: &Source, findings: &mut Findings) -> Option<Workflow> {
    let extension = source
        .name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    let root = match extension.as_deref() {
        Some("yaml" | "yml") => yaml::read_yaml(&source.text, findings),
        Some("json") => yaml::read_json(&source.text, findings),
        _ => {
            let message = format!(
                "{} does not end in `.yaml`, `.yml` or `.json`",
                quoted(&source.name)
            );
            let advice = Suggestion::advice("rename the file to what it holds");
            Context::new(&source.text, findings).error(
                code::EXTENSION,
                &Location::default(),
                message,
                Some(advice),
            );
            return None;
        }
    };
    let mut context = Context::new(&source.text, findings);
    let Some(root) = root else {
        if !context.findings.has_errors() {
            context.not_a_mapping("the file is empty", Span::default());
        }
        return None;
    };
    let item = Item::root(&root);
    let Some(file) = File::read(&item) else {
        context.not_a_mapping(&format!("the file holds {}", root.kind()), root.span);
        return None;
    };
    shape::check(&root, &FILE_SHAPE, &source.text, context.findings);
    Some(lower(&file, &mut context))
}

fn lower(file: &File<'_>, context: &mut Context<'_>) -> Workflow {
    let mut fields = fields::lower(file.state.as_ref(), context);
    let ids = nodes::register(&file.nodes, &file.view, context);
    let rules = conditions::rules(file.state.as_ref(), &fields, context);
    let edges = edges::lower(&file.edges, &file.nodes, &fields, &ids, context);
    if file
        .view
        .list("edges")
        .is_some_and(|edges| !edges.is_empty())
    {
        graph::check(&edges, &file.nodes, &ids, &file.view, context);
    }
    let mut servers = servers::lower(file, context);
    let nodes = nodes::lower(
        file,
        edges.exits,
        &edges.items,
        &fields,
        &ids,
        &mut servers,
        context,
    );
    servers.check_used(context);
    edges::check_collected(&edges.fan_outs, &nodes, &fields, context);
    for (index, node) in nodes.iter().enumerate() {
        for output in &node.output.fields {
            fields.list[output.target.0]
                .written_by
                .push(crate::workflow::NodeId(index));
        }
    }
    for (fan_out, _) in &edges.fan_outs {
        let writers = &mut fields.list[fan_out.collect.0].written_by;
        if !writers.contains(&fan_out.target) {
            writers.push(fan_out.target);
        }
    }
    privacy::mark_outputs(&mut fields.list, &nodes, &edges.fan_outs);
    privacy::check(file, &fields.list, context);
    config::check_name(file, context);
    config::check(file, context);
    let additional = [
        file.state
            .as_ref()
            .and_then(|state| state.additional_inputs.clone()),
        file.view.string("additional_inputs"),
    ];
    let config = file.config.view.as_ref();
    let flow = file.flow.as_ref();
    Workflow {
        name: flow.and_then(|flow| flow.name.clone()).unwrap_or_default(),
        version: flow.and_then(|flow| flow.version.clone()),
        description: flow.and_then(|flow| flow.description.clone()),
        definition_hash: format!("{:x}", Sha256::digest(context.text)),
        additional_inputs: match additional.iter().flatten().next().map(String::as_str) {
            Some("forbid") => AdditionalInputs::Forbid,
            _ => AdditionalInputs::Allow,
        },
        rules,
        start: edges.start,
        mcp_servers: servers.list,
        execution: config::execution(&file.config),
        budget: syntax::budget::read(
            file.view
                .mapping("budget", &syntax::budget::BUDGET)
                .as_ref(),
            config
                .and_then(|config| config.mapping("budget", &syntax::budget::BUDGET))
                .as_ref(),
        ),
        gates: config::gates(file, context),
        tracking: file.config.tracked(),
        capture: privacy::capture_of_workflow(file),
        sensitive: crate::privacy::Sensitive::of(&fields.list),
        unsupported: unsupported::list(file, context),
        fields: fields.list,
        nodes,
    }
}
