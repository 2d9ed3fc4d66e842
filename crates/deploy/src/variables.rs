//! Which variables of the environment the workflow's models need, and why.

use lang::workflow::{ModelNode, Workflow};
use llm::model::ModelSpec;
use llm::registry::Variables;
use serde::Serialize;

use crate::plan::ModelSource;

/// The name by which a container reaches the machine it runs on.
pub const MACHINE: &str = "host.docker.internal";

/// The variable with the API keys of callers.
pub const API_KEYS: &str = "FLOWMILL_API_KEYS";

/// The variable with the URL of the database that holds the jobs.
pub const STORE: &str = "FLOWMILL_STORE";

/// The variable that names the MLflow server to which runs are sent, and its value in Compose.
pub const MLFLOW: (&str, &str) = ("MLFLOW_TRACKING_URI", "http://mlflow:5000");

/// A setting of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// The variables of the environment that hold it: one of them is enough, the first is
    /// recommended.
    pub names: Vec<String>,
    /// What it is, in a sentence for `.env.example`.
    pub comment: String,
    /// Whether no run can succeed without it.
    pub required: bool,
    /// The value in `.env.example`.
    pub value: String,
    /// For keys: variables with an address that makes the key unnecessary.
    #[serde(skip)]
    pub unless: Vec<String>,
}

impl Variable {
    /// Whether it is required and not set.
    pub fn is_missing(&self, is_set: impl Fn(&str) -> bool) -> bool {
        let any = |names: &[String]| names.iter().any(|name| is_set(name));
        self.required && !any(&self.names) && !any(&self.unless)
    }
}

/// Every variable that the models of the workflow read, in the order of the nodes.
pub fn of(workflow: &Workflow, model_source: &ModelSource) -> Vec<Variable> {
    let mut asked: Vec<(Variables, Vec<&str>)> = Vec::new();
    for node in &workflow.nodes {
        let asked_model = node
            .kind
            .model()
            .and_then(|model| spec(model, model_source));
        let Some(variables) = asked_model.as_ref().and_then(Variables::of) else {
            continue;
        };
        match asked.iter_mut().find(|(known, _)| *known == variables) {
            Some((_, nodes)) => nodes.push(&node.id),
            None => asked.push((variables, vec![&node.id])),
        }
    }
    let mut found: Vec<Variable> = Vec::new();
    for variable in asked.iter().flat_map(|(asked, nodes)| both(asked, nodes)) {
        match found.iter_mut().find(|known| known.names == variable.names) {
            Some(known) => known.required |= variable.required,
            None => found.push(variable),
        }
    }
    found
}

/// The model that a node asks. The address and the key of a node belong to the provider it names,
/// so they are used only if the wanted model is of that provider, as in [`llm::model::Override`].
fn spec(node: &ModelNode, model_source: &ModelSource) -> Option<ModelSpec> {
    let own = ModelSpec {
        provider: node.llm.provider.clone(),
        model: node.llm.model.clone(),
        api_base: node.llm.api_base.clone(),
        api_key_env: node.llm.api_key_env.clone(),
    };
    match model_source {
        ModelSource::Workflow => Some(own),
        ModelSource::Model(wanted) if wanted.provider() == own.provider() => Some(ModelSpec {
            provider: wanted.provider.clone(),
            model: wanted.model.clone(),
            ..own
        }),
        ModelSource::Model(wanted) => Some(wanted.clone()),
        ModelSource::Offline | ModelSource::Replay | ModelSource::Replies => None,
    }
}

/// The variables for the key and the address of a model.
fn both(asked: &Variables, nodes: &[&str]) -> Vec<Variable> {
    let provider = asked.provider;
    let nodes = match nodes {
        [one] => format!("the node {one}"),
        [first, second] => format!("the nodes {first} and {second}"),
        several => format!("{} nodes", several.len()),
    };
    let own = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let mut both = Vec::new();
    if let [name, others @ ..] = asked.key.as_slice() {
        let or = others
            .iter()
            .fold(String::new(), |or, other| or + ", or in " + other);
        let need = if asked.needs_key {
            "Required"
        } else {
            "Only if the server asks for one"
        };
        both.push(Variable {
            names: asked.key.clone(),
            comment: format!("The key for {provider}, which {nodes} asks{or}. {need}."),
            required: asked.needs_key,
            value: String::new(),
            unless: if is_named(asked, name) {
                Vec::new()
            } else {
                own(asked.address)
            },
        });
    }
    if !asked.address.is_empty() {
        let (default, is_here) = (
            &asked.default_address,
            is_this_machine(&asked.default_address),
        );
        let comment = if is_here {
            format!(
                "Where {provider} is, which {nodes} asks. Required: {MACHINE} is the machine that the container runs on."
            )
        } else {
            format!("Another address for {provider}; without it {default} is asked.")
        };
        both.push(Variable {
            names: own(asked.address),
            comment,
            required: is_here,
            value: if is_here {
                default.replace("localhost", MACHINE)
            } else {
                String::new()
            },
            unless: Vec::new(),
        });
    }
    both
}

/// Whether the workflow names the variable itself: then no address makes the key unnecessary.
fn is_named(asked: &Variables, name: &str) -> bool {
    let spec = ModelSpec {
        provider: Some(asked.provider.to_owned()),
        ..ModelSpec::default()
    };
    Variables::of(&spec).is_none_or(|usual| !usual.key.iter().any(|key| key == name))
}

/// Whether an address is that of the machine that asks. In a container, that is the container.
pub fn is_this_machine(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    host == "localhost" || host == "::1" || host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two crates know nothing of each other; this one knows both.
    #[test]
    fn the_language_names_the_providers_that_there_are() {
        assert_eq!(lang::workflow::PROVIDERS, llm::model::PROVIDERS);
    }

    #[test]
    fn addresses_of_this_machine() {
        for (address, expected) in [
            ("http://localhost:11434", true),
            ("http://127.0.0.1/v1", true),
            ("[::1]:80", true),
            ("https://api.openai.com/v1", false),
            ("http://host.docker.internal:1", false),
            ("http://localhost.example/", false),
            ("postgres://me:secret@localhost:5432/db", true),
            ("postgres://localhost:secret@db/db", false),
        ] {
            assert_eq!(is_this_machine(address), expected, "{address}");
        }
    }
}
