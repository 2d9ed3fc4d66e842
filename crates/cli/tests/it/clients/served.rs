//! Servers of the examples for others to try, offline and with an administrator's key.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testing::{Receiver, TempProject};

use crate::http::client;
use crate::support::{Running, flowmill, words};

/// An administrator's, from the server's environment.
pub(super) const KEY: &str = "fm_ops_0123456789abcdef0123456789abcdef0123456789abcdef";

/// A server, a folder for what is made of it, and a receiver that its webhooks may reach.
pub(super) struct Served {
    pub(super) url: String,
    pub(super) project: TempProject,
    pub(super) receiver: Receiver,
    _server: Running,
}

/// Serves those workflow files, for holders of [`KEY`] alone or for everyone.
pub(super) fn serve(files: &[PathBuf], has_keys: bool) -> Served {
    let (project, receiver) = (TempProject::new(), Receiver::start());
    let options = "serve --port 0 --offline --store memory --webhook-allow 127.0.0.1";
    let mut command = flowmill(project.root(), words(options));
    command.args(files);
    if has_keys {
        command.env("FLOWMILL_API_KEYS", format!("{KEY}:admin"));
    }
    let mut server = Running::start(&mut command);
    Served {
        url: server.url(),
        project,
        receiver,
        _server: server,
    }
}

impl Served {
    /// Writes the document of a workflow, or of the only one, into the project.
    pub(super) fn write_document(&self, workflow: Option<&str>) -> PathBuf {
        let url = match workflow {
            Some(name) => format!("{}/workflows/{name}/openapi.json", self.url),
            None => format!("{}/openapi.json", self.url),
        };
        let asking = async {
            let request = client().get(url);
            let answer = request.bearer_auth(KEY).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            answer.text().await.expect("UTF-8")
        };
        let document = tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(asking);
        let name = format!("{}.json", workflow.unwrap_or("openapi"));
        self.project.write(name, document)
    }
}

/// How many operations a document has.
pub(super) fn operations(document: &Path) -> usize {
    let text = std::fs::read_to_string(document).expect("it was written");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").values();
    paths
        .map(|item| item.as_object().expect("operations").len())
        .sum()
}

/// The name of an example, which is its workflow's.
pub(super) fn name(file: &Path) -> &str {
    file.file_stem()
        .and_then(|stem| stem.to_str())
        .expect("the examples have plain names")
}

/// Runs a program to its end; what it said where it failed.
pub(super) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().expect("the program starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    if output.status.success() {
        Ok(stdout)
    } else {
        Err(format!("{:?}:\n{stdout}\n{stderr}", output.status))
    }
}
