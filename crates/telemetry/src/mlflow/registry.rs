//! Workflows and prompts in MLflow's registry. A workflow's version has its text as an artifact of
//! a run; a prompt is a registered model of a special kind.

use std::fmt::Write as _;
use std::str::FromStr;

use engine::host::Host;
use jiff::Timestamp;
use lang::source::Source;
use lang::template::{Piece, Template};
use lang::workflow::Workflow;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, Error, proxied, text};
use super::names;

/// Folder of the definition among a run's artifacts.
const FOLDER: &str = "workflow";
/// Tag of a version: the definition's file in that folder.
const FILE_TAG: &str = "flowmill.file";
const HASH_TAG: &str = "flowmill.definition_hash";

/// A registered workflow: `models:/NAME/VERSION` or `models:/NAME@ALIAS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelUri {
    name: String,
    version: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Version(u64),
    Alias(String),
    Latest,
}

/// What was given names no version of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no registered workflow; write models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/latest"
)]
pub struct NoModelUri(String);

impl FromStr for ModelUri {
    type Err = NoModelUri;

    fn from_str(uri: &str) -> Result<Self, NoModelUri> {
        let no = || NoModelUri(uri.to_owned());
        let rest = uri.strip_prefix("models:/").ok_or_else(no)?;
        let (name, version) = match rest.rsplit_once('@') {
            Some((name, alias)) if !alias.is_empty() => {
                let name = name.strip_suffix('/').unwrap_or(name);
                (name, Wanted::Alias(alias.to_owned()))
            }
            _ => {
                let (name, version) = rest.rsplit_once('/').ok_or_else(no)?;
                let version = match version {
                    "latest" => Wanted::Latest,
                    number => Wanted::Version(number.parse().map_err(|_| no())?),
                };
                (name, version)
            }
        };
        if name.is_empty() || name.contains('/') {
            return Err(no());
        }
        Ok(Self {
            name: name.to_owned(),
            version,
        })
    }
}

/// What was put into the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Of the workflow's model.
    pub name: String,
    /// The new version.
    pub version: String,
    /// Name and version of each node's prompt; the version of one that had not changed is the one
    /// it had.
    pub prompts: Vec<(String, String)>,
}

/// MLflow's registry.
#[derive(Debug, Clone)]
pub struct Registry {
    client: Client,
}

impl Registry {
    /// Reached by that client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Puts a workflow in as a new version, and its prompts as far as they have changed.
    pub async fn register(
        &self,
        source: &Source,
        workflow: &Workflow,
        host: &dyn Host,
    ) -> Result<Registered, Error> {
        let name = model_name(&workflow.name);
        let (run_id, uri, file) = self.upload(source, workflow, host.now()).await?;
        self.create_model(&name, &[]).await?;
        let mut tags = vec![
            tag("flowmill.workflow", &workflow.name),
            tag(HASH_TAG, &workflow.definition_hash),
            tag(FILE_TAG, &file),
            tag(
                "flowmill.input_schema",
                &workflow.input_schema().to_string(),
            ),
            tag(
                "flowmill.output_schema",
                &workflow.output_schema().to_string(),
            ),
        ];
        if let Some(version) = &workflow.version {
            tags.push(tag("flowmill.version", version));
        }
        let made = self
            .client
            .post(
                "model-versions/create",
                &json!({
                    "name": name,
                    "source": format!("{uri}/{FOLDER}"),
                    "run_id": run_id,
                    "tags": tags,
                    "description": workflow.description.as_deref().unwrap_or_default(),
                }),
            )
            .await?;
        let mut prompts = Vec::new();
        for node in &workflow.nodes {
            let Some(asked) = node.kind.model() else {
                continue;
            };
            let prompt = format!("{name}.{}", model_name(&node.id));
            let version = self
                .register_prompt(&prompt, &prompt_text(&asked.prompt))
                .await?;
            prompts.push((prompt, version));
        }
        Ok(Registered {
            name,
            version: text(&made, "/model_version/version")?,
            prompts,
        })
    }

    /// A run that holds the definition: its id, the URI of its artifacts, and the file's name.
    async fn upload(
        &self,
        source: &Source,
        workflow: &Workflow,
        now: Timestamp,
    ) -> Result<(String, String, String), Error> {
        let experiment = self.client.settings().experiment.clone();
        let experiment = experiment.unwrap_or_else(|| workflow.name.clone());
        let experiment = self.client.experiment(&experiment).await?;
        let made = self
            .client
            .post(
                "runs/create",
                &json!({
                    "experiment_id": experiment,
                    "run_name": format!("register_{}", &workflow.definition_hash[..8]),
                    "start_time": now.as_millisecond(),
                    "tags": [tag("flowmill.workflow", &workflow.name), tag(HASH_TAG, &workflow.definition_hash)],
                }),
            )
            .await?;
        let run_id = text(&made, "/run/info/run_id")?;
        let uri = text(&made, "/run/info/artifact_uri")?;
        let Some(folder) = proxied(&uri) else {
            return Err(Error::Refused {
                status: 501,
                code: String::new(),
                message:
                    "artifacts are not kept by the server itself; start it with --serve-artifacts"
                        .to_owned(),
            });
        };
        let file = file_name(&source.name);
        let path = format!("{FOLDER}/{file}");
        self.client
            .put_artifact(&folder, &path, source.text.to_string())
            .await?;
        self.client
            .update_run(
                &json!({"run_id": run_id, "status": "FINISHED", "end_time": now.as_millisecond()}),
            )
            .await?;
        Ok((run_id, uri, file))
    }

    async fn create_model(&self, name: &str, tags: &[Value]) -> Result<(), Error> {
        let body = json!({"name": name, "tags": tags});
        match self.client.post("registered-models/create", &body).await {
            Err(error) if error.is("RESOURCE_ALREADY_EXISTS") => Ok(()),
            result => result.map(drop),
        }
    }

    async fn register_prompt(&self, name: &str, prompt: &str) -> Result<String, Error> {
        let is_prompt = tag("mlflow.prompt.is_prompt", "true");
        self.create_model(name, std::slice::from_ref(&is_prompt))
            .await?;
        if let Some(latest) = self.latest(name).await? {
            let known = tag_of(&latest, "mlflow.prompt.text");
            if known.as_deref() == Some(prompt) {
                return text(&latest, "/version");
            }
        }
        let body = json!({
            "name": name,
            "source": "prompt-template",
            "tags": [
                is_prompt,
                {"key": "mlflow.prompt.text", "value": prompt},
                tag("_mlflow_prompt_type", "text"),
            ],
        });
        let made = self.client.post("model-versions/create", &body).await?;
        text(&made, "/model_version/version")
    }

    async fn latest(&self, name: &str) -> Result<Option<Value>, Error> {
        let body = json!({"name": name});
        let found = self
            .client
            .call(Method::POST, "registered-models/get-latest-versions", &body)
            .await?;
        let versions = found.pointer("/model_versions").and_then(Value::as_array);
        let number = |version: &&Value| {
            version["version"]
                .as_str()
                .and_then(|number| number.parse::<u64>().ok())
        };
        Ok(versions.and_then(|versions| versions.iter().max_by_key(number).cloned()))
    }

    /// The text of a registered workflow.
    pub async fn fetch(&self, uri: &ModelUri) -> Result<Source, Error> {
        let name = uri.name.as_str();
        let version = match &uri.version {
            Wanted::Version(number) => {
                let query = [("name", name), ("version", &*number.to_string())];
                self.client.get("model-versions/get", &query).await?
            }
            Wanted::Alias(alias) => {
                let query = [("name", name), ("alias", alias)];
                self.client.get("registered-models/alias", &query).await?
            }
            Wanted::Latest => {
                let latest = self.latest(name).await?;
                json!({"model_version": latest})
            }
        };
        let version = &version["model_version"];
        let (Some(file), Ok(source)) = (tag_of(version, FILE_TAG), text(version, "/source")) else {
            return Err(not_ours(
                name,
                "it was not registered with `flowmill mlflow register`",
            ));
        };
        let Some(folder) = proxied(&source) else {
            return Err(not_ours(
                name,
                "its artifacts are not kept by the server itself",
            ));
        };
        let bytes = self.client.artifact(&folder, &names::path(&file)).await?;
        let Ok(definition) = String::from_utf8(bytes) else {
            return Err(not_ours(name, "its definition is no text"));
        };
        let number = text(version, "/version")?;
        Ok(Source::new(
            format!("models:/{name}/{number}/{file}"),
            definition,
        ))
    }
}

fn not_ours(name: &str, why: &str) -> Error {
    Error::Refused {
        status: 404,
        code: String::new(),
        message: format!("`{name}` cannot be served: {why}"),
    }
}

fn tag(key: &str, value: &str) -> Value {
    json!({"key": key, "value": names::cut(value, names::MAX_TAG)})
}

fn tag_of(version: &Value, key: &str) -> Option<String> {
    let tags = version["tags"].as_array()?;
    let found = tags.iter().find(|tag| tag["key"] == key)?;
    found["value"].as_str().map(str::to_owned)
}

/// A name that the registry takes, whose URIs have `/`, `:` and `@` in other roles.
fn model_name(name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    name.chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}

/// The last part of the path, in letters that every store takes.
fn file_name(path: &str) -> String {
    let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
    match last {
        "" | "-" => "workflow.yaml".to_owned(),
        last => names::path(last),
    }
}

/// A prompt in the form of MLflow's, where a placeholder has two braces on each side.
fn prompt_text(template: &Template) -> String {
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(verbatim) => text.push_str(verbatim),
            Piece::Placeholder(placeholder) => {
                let _ = write!(text, "{{{{{}}}}}", placeholder.reference.text);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_workflow_is_named_by_version_or_alias() {
        let check = |uri: &str, name: &str, version: Wanted| {
            let name = name.to_owned();
            assert_eq!(uri.parse(), Ok(ModelUri { name, version }), "{uri}");
        };
        check("models:/greeting/3", "greeting", Wanted::Version(3));
        check(
            "models:/greeting@prod",
            "greeting",
            Wanted::Alias("prod".into()),
        );
        check(
            "models:/greeting/@prod",
            "greeting",
            Wanted::Alias("prod".into()),
        );
        check("models:/greeting/latest", "greeting", Wanted::Latest);
        for uri in [
            "models:/greeting",
            "models:/a/b/3",
            "models:/@prod",
            "greeting/3",
            "models:/g/x",
        ] {
            assert!(uri.parse::<ModelUri>().is_err(), "{uri}");
        }
    }

    #[test]
    fn placeholders_become_mlflows() {
        let source = Source::new(
            "w.yaml",
            "schema_version: \"1.0\"\nflow: {name: w}\nstate: {fields: {a: {type: str, required: true}, b: {type: str}}}\n\
             nodes:\n  - {id: n, prompt: \"Say {state.a} in {{braces}}\", output_schema: {type: str}, outputs: [b]}\n\
             edges: [{from: START, to: n}, {from: n, to: END}]\n",
        );
        let workflow = lang::check(&source).workflow.expect("valid");
        let asked = workflow.nodes[0].kind.model().expect("it asks a model");
        assert_eq!(prompt_text(&asked.prompt), "Say {{state.a}} in {braces}");
    }

    #[test]
    fn the_file_keeps_its_name() {
        assert_eq!(file_name("flows/greeting.yaml"), "greeting.yaml");
        assert_eq!(file_name("-"), "workflow.yaml");
    }
}
