//! The MLflow server and the reader, started once for all tests. Both end with the test program, by
//! the end of their stdin.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject, rigs};

use crate::http::start_in;
use crate::support::{PATIENCE, Running};

const SERVER: &str = include_str!("rig/server.py");
const READER: &str = include_str!("rig/reader.py");

/// Two nodes, one after the other.
pub(super) const WORKFLOW: &str = r#"
schema_version: "1.0"
flow: {name: NAME, version: "1.2"}
state:
  fields:
    topic: {type: str, required: true}
    draft: {type: str}
    final: {type: str}
nodes:
  - {id: write, prompt: "write about {topic}", output_schema: {type: str}, outputs: [draft]}
  - {id: edit, prompt: "edit {draft}", output_schema: {type: str}, outputs: [final]}
edges:
  - {from: START, to: write}
  - {from: write, to: edit}
  - {from: edit, to: END}
"#;

/// A dollar per thousand tokens.
const PRICES: &str = r#"{"openai": {"test": {"input": 1000, "output": 1000}}}"#;

/// MLflow and who reads it.
pub(super) struct Rig {
    pub(super) url: String,
    _server: Child,
    reader: Mutex<Reader>,
}

struct Reader {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Child,
}

/// `None` where the rig is not installed, which is told.
pub(super) fn rig() -> Option<&'static Rig> {
    static RIG: OnceLock<Option<Rig>> = OnceLock::new();
    RIG.get_or_init(Rig::start).as_ref()
}

impl Rig {
    fn start() -> Option<Self> {
        let python = rigs::program("mlflow", "python")?;
        let start = |script: &str, argument: &str| {
            let mut process = Command::new(&python)
                .args(["-c", script, argument])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit())
                .spawn()
                .expect("Python starts");
            let mut answers = BufReader::new(process.stdout.take().expect("stdout is piped"));
            let mut line = String::new();
            answers.read_line(&mut line).expect("UTF-8");
            assert!(!line.is_empty(), "the rig did not start");
            (process, answers, line.trim_end().to_owned())
        };
        let (server, _, url) = start(SERVER, "");
        let (mut process, answers, _) = start(READER, &url);
        let reader = Mutex::new(Reader {
            questions: process.stdin.take().expect("stdin is piped"),
            answers,
            _process: process,
        });
        Some(Self {
            url,
            _server: server,
            reader,
        })
    }

    /// Asks the reader.
    #[track_caller]
    pub(super) fn ask(&self, question: &Value) -> Value {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(reader.questions, "{question}").expect("the reader lives");
        let mut line = String::new();
        reader.answers.read_line(&mut line).expect("UTF-8");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(answer.get("error"), None, "{question}: {answer}");
        answer["answer"].clone()
    }

    /// The runs of an experiment.
    pub(super) fn runs(&self, experiment: &str) -> Vec<Value> {
        let runs = self.ask(&json!({"what": "runs", "experiment": experiment}));
        runs.as_array().expect("a list").clone()
    }

    /// The traces of an experiment.
    pub(super) fn traces(&self, experiment: &str) -> Vec<Value> {
        let traces = self.ask(&json!({"what": "traces", "experiment": experiment}));
        traces.as_array().expect("a list").clone()
    }

    /// The one run of an experiment once it stands so.
    #[track_caller]
    pub(super) fn run_with(&self, experiment: &str, status: &str) -> Value {
        let runs = until(|| {
            let runs = self.runs(experiment);
            let is_so = runs.iter().any(|run| run["status"] == status);
            if is_so { Ok(runs) } else { Err(runs) }
        });
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].clone()
    }

    /// The one trace of an experiment once its root is there.
    #[track_caller]
    pub(super) fn trace(&self, experiment: &str) -> Value {
        let traces = until(|| {
            let traces = self.traces(experiment);
            let is_whole = traces
                .iter()
                .any(|trace| spans(trace).iter().any(|span| span["parent"].is_null()));
            if is_whole { Ok(traces) } else { Err(traces) }
        });
        assert_eq!(traces.len(), 1, "{traces:?}");
        traces[0].clone()
    }
}

/// The spans of a trace.
pub(super) fn spans(trace: &Value) -> &[Value] {
    trace["spans"].as_array().map_or(&[], Vec::as_slice)
}

/// The one span of that name.
#[track_caller]
pub(super) fn span<'t>(trace: &'t Value, name: &str) -> &'t Value {
    let mut named = spans(trace).iter().filter(|span| span["name"] == name);
    let span = named.next().unwrap_or_else(|| panic!("{name} in {trace}"));
    assert!(named.next().is_none(), "several {name} in {trace}");
    span
}

/// Asks until something is found; each question takes a while itself.
#[track_caller]
pub(super) fn until<T, E: std::fmt::Debug>(mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("it never comes: {seen:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A project with the workflow under a name of its own.
pub(super) fn project(name: &str) -> TempProject {
    let project = TempProject::with_file("workflow.yaml", WORKFLOW.replace("NAME", name));
    std::fs::write(project.path("prices.json"), PRICES).expect("the project can be written");
    project
}

/// Answers with the prompt's last word; a topic that tells it to misbehaves.
pub(super) fn model() -> FakeModel {
    FakeModel::answering(|request| {
        let prompt = request.prompt();
        if prompt.contains("refuse") {
            return Reply::status(400);
        }
        if prompt.contains("hang") && prompt.starts_with("edit") {
            return Reply::hang();
        }
        if prompt.contains("again") && !prompt.contains("could not be used") {
            return Reply::json(json!({"wrong": true}));
        }
        let word = prompt.lines().next().unwrap_or_default();
        let word = word.rsplit(' ').next().unwrap_or_default();
        Reply::json(json!({"result": format!("<{word}>")}))
    })
}

/// A server that tells MLflow at `url` of its runs.
pub(super) fn serve(url: &str, model: &FakeModel, project: &TempProject, line: &str) -> Running {
    let environment = [("MLFLOW_TRACKING_URI", url)];
    let line = format!("workflow.yaml --prices prices.json {line}");
    start_in(&environment, model, project, &line)
}
