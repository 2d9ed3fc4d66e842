//! Starting the program in a clean environment, and reading what it says.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::TempProject;

/// How long anything that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A workflow with one node, `greet`, that turns `name` into `greeting`.
pub(crate) const GREETING: &str = r#"
schema_version: "1.0"
flow: {name: greeting}
state:
  fields:
    name: {type: str, required: true}
    greeting: {type: str}
nodes:
  - id: greet
    prompt: "Greet {name}"
    output_schema: {type: str}
    outputs: [greeting]
edges:
  - {from: START, to: greet}
  - {from: greet, to: END}
"#;

/// A project that holds `greeting.yaml`.
pub(crate) fn greeting() -> TempProject {
    TempProject::with_file("greeting.yaml", GREETING)
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the crate lies in its workspace")
}

/// The program with those arguments, in a folder, with nothing in its environment.
pub(crate) fn flowmill<S: AsRef<OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmill"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null());
    command
}

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("the program starts"))
    }

    /// Fails the test, with everything that was said, unless the exit code is this one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.stdout, self.stderr))
    }

    /// Fails unless stderr holds each of the texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "stderr lacks `{text}`:\n{}",
                self.stderr
            );
        }
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

/// Runs the program in a folder.
pub(crate) fn run_in<S: AsRef<OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Ended {
    Ended::of(&mut flowmill(folder, arguments))
}

/// Words of a command line without quoting.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// A program that goes on, such as a server. Killed on drop.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts it; its stderr can be waited for.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line of stderr that holds `text`, and returns it.
    #[track_caller]
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("no line with `{text}` in:\n{}", self.seen.join("\n"));
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the server's address; `None` when it ends before it tells one.
    #[track_caller]
    pub(crate) fn url_or_end(&mut self) -> Option<String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(start) = line.find("http://") {
                        return Some(line[start..].trim_end().to_owned());
                    }
                    self.seen.push(line);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("neither an address nor an end:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// Waits for the server's address, of whatever scheme; `None` when it ends before it tells one.
    #[track_caller]
    pub(crate) fn address_or_end(&mut self) -> Option<String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    let address = line.split_once(" serves ").and_then(|(_, rest)| {
                        let start = rest.find("http://").or_else(|| rest.find("https://"))?;
                        Some(rest[start..].trim_end().to_owned())
                    });
                    if address.is_some() {
                        return address;
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("neither an address nor an end:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// What it has said on stderr up to now, as far as it was waited for.
    pub(crate) fn said_so_far(&self) -> String {
        self.seen.join("\n")
    }

    /// Waits for the server's address.
    #[track_caller]
    pub(crate) fn url(&mut self) -> String {
        let line = self.line_with("http://");
        line[line.find("http://").expect("the line has it")..]
            .trim_end()
            .to_owned()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .expect("kill is there");
        assert!(status.success());
    }

    /// Ends it at once; all it has said on stderr.
    pub(crate) fn said(mut self) -> String {
        self.child.kill().expect("it was started");
        self.seen.extend(self.lines.iter());
        self.seen.join("\n")
    }

    /// Waits for its end: exit code, and all of stdout.
    #[track_caller]
    pub(crate) fn end(self) -> (Option<i32>, String) {
        let ended = self.ended();
        (ended.code, ended.stdout)
    }

    /// Waits for its end: all that it has ever said.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        // A closed stderr is the end of the process; what it still says on the way is remembered.
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("it does not end:\n{}", self.seen.join("\n"))
                }
            }
        }
        let mut stdout = String::new();
        std::io::Read::read_to_string(
            &mut self.child.stdout.take().expect("stdout is piped"),
            &mut stdout,
        )
        .expect("UTF-8");
        Ended {
            code: self.child.wait().expect("it was started").code(),
            stdout,
            stderr: self.seen.join("\n"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Works through `items` on a few threads; every problem found is reported, together.
#[track_caller]
pub(crate) fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), String> + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let problems = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(item) =
                    items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    if let Err(problem) = work(item) {
                        problems
                            .lock()
                            .expect("no test thread panics here")
                            .push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().expect("no test thread panics here");
    assert!(
        problems.is_empty(),
        "{} of {}:\n{}",
        problems.len(),
        items.len(),
        problems.join("\n")
    );
}
