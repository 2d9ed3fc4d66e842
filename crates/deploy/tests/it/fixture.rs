//! Plans for the workflows of `examples/` and for one whose texts mean something in every format.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deploy::name::Name;
use deploy::package::Package;
use deploy::plan::{Access, ModelSource, Plan, Store};
use lang::source::Source;
use lang::workflow::Workflow;
use serde_json::{Value, json};

/// A workflow with its text.
pub(crate) struct Read {
    pub(crate) text: String,
    pub(crate) workflow: Arc<Workflow>,
    sample: Value,
    openapi: Value,
}

impl Read {
    /// Of `examples/NAME.yaml`.
    pub(crate) fn example(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let read = |path: String| std::fs::read_to_string(folder.join(path)).expect("an example");
        let sample = serde_json::from_str(&read(format!("inputs/{name}.json"))).expect("JSON");
        Self::of("workflow.yaml", read(format!("{name}.yaml")), sample)
    }

    /// Of a JSON document.
    pub(crate) fn json(workflow: &Value, sample: Value) -> Self {
        Self::of("workflow.json", workflow.to_string(), sample)
    }

    fn of(name: &str, text: String, sample: Value) -> Self {
        let source = Source {
            name: name.into(),
            text: text.as_str().into(),
        };
        let checked = lang::check(&source);
        let workflow = checked
            .workflow
            .unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
        Self {
            text,
            workflow,
            sample,
            // The server's own is not at hand in this layer.
            openapi: json!({ "openapi": "3.1.0" }),
        }
    }

    /// A plan with every default.
    pub(crate) fn plan(&self) -> Plan<'_> {
        Plan {
            name: Name::near(&self.workflow.name),
            workflow: &self.workflow,
            source: &self.text,
            is_json: self.text.starts_with('{'),
            settings: None,
            model_source: ModelSource::Workflow,
            attached: Vec::new(),
            openapi: &self.openapi,
            sample: &self.sample,
            store: Store::default(),
            replicas: 1,
            max_replicas: None,
            sync_timeout: None,
            drain_timeout: Duration::from_secs(30),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8000,
            mlflow: Some(5000),
            secrets: true,
            access: Access::Open,
            in_cluster: Access::Keys,
            options: None,
            model_allow: None,
            registry: None,
            version: "0.1.0",
        }
    }
}

/// Texts that would break out of every format if they were written as they are.
pub(crate) const NASTY: &str =
    "a\"b'c\\ $HOME ${X} `id`\n```\nRUN rm -rf / # {{ x }} | <b> : - \u{7f} é 💡";

/// A workflow that is full of them.
pub(crate) fn nasty() -> Read {
    let workflow = json!({
        "schema_version": "1.0",
        "flow": { "name": NASTY, "version": NASTY, "description": NASTY },
        "state": { "fields": {
            "word": { "type": "str", "required": true, "description": NASTY },
            "many": { "type": "list[str]", "default": [NASTY] },
            "answer": { "type": "str" },
        } },
        "nodes": [{
            "id": "ask",
            "prompt": "{word}",
            "output_schema": { "type": "str" },
            "outputs": ["answer"],
            "llm": { "provider": "openai", "model": "m", "api_key_env": "TEAM_KEY" },
        }],
        "edges": [{ "from": "START", "to": "ask" }, { "from": "ask", "to": "END" }],
    });
    Read::json(&workflow, json!({ "word": NASTY }))
}

/// All files, one after the other.
pub(crate) fn listing(package: &Package) -> String {
    let mut text = String::new();
    for file in &package.files {
        text.push_str("==== ");
        text.push_str(file.path);
        text.push('\n');
        text.push_str(&file.text);
    }
    text
}
