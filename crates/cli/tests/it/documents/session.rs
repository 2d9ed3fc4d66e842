//! A reader at the keyboard: a folder, a shell whose variables last, a server that goes on until
//! the next one starts. Models are answered by a fake one; nothing leaves the machine.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use testing::{FakeModel, Receiver, TempProject, rigs};

use super::sample;
use crate::support::{Ended, Running, root};

/// What `…` in a command stands for.
const ELLIPSIS: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0";

/// Where curl, openssl and the like are.
const PROGRAMS: &str = "/usr/local/bin:/usr/bin:/bin";

/// curl's exit code for a status of 400 or above, under `--fail-with-body`.
const CURL_GOT_A_REFUSAL: i32 = 22;

/// Kept out of what a command leaves behind.
const OF_THE_SHELL: &[&str] = &["_", "SHLVL", "PWD", "OLDPWD", "VARIABLES"];

pub(super) struct Session {
    project: TempProject,
    variables: BTreeMap<String, String>,
    model: FakeModel,
    receiver: Receiver,
    /// The server, and the address it was started on.
    server: Option<(Running, String)>,
    /// A program that the document needs is not on this machine.
    lacks_a_program: bool,
}

impl Session {
    /// A folder with the examples in it, those of the documents at hand, and the program on the
    /// path.
    pub(super) fn start() -> Self {
        let project = TempProject::new();
        for folder in ["examples", "examples/inputs"] {
            for entry in std::fs::read_dir(root().join(folder)).expect("the folder is there") {
                let path = entry.expect("readable").path();
                if path.is_file() {
                    let name = path.strip_prefix(root()).expect("below the root");
                    let text = std::fs::read(&path).expect("readable");
                    project.write(name, &text);
                    if folder == "examples" {
                        project.write(path.file_name().expect("a file"), &text);
                    }
                }
            }
        }
        let model = FakeModel::start();
        let receiver = Receiver::start();
        let exec = |program: &str| format!("exec {program} \"$@\"");
        program(&project, "flowmill", &exec(env!("CARGO_BIN_EXE_flowmill")));
        program(
            &project,
            "curl",
            &format!(
                "PATH={PROGRAMS}\n{}",
                exec("curl --silent --show-error --fail-with-body --max-time 60")
            ),
        );
        let variables = [
            (
                "PATH",
                format!("{}:{PROGRAMS}", project.path("bin").display()),
            ),
            ("HOME", project.root().display().to_string()),
            ("HOOK", receiver.url()),
            // A server's port is the next free one; what is written is 8000.
            ("FLOWMILL_PORT", "0".to_owned()),
            ("FLOWMILL_MODEL", "openai/document".to_owned()),
            ("OPENAI_BASE_URL", model.base_url()),
            ("OPENAI_API_KEY", "sk-document-0123456789".to_owned()),
        ];
        Self {
            project,
            variables: variables
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            model,
            receiver,
            server: None,
            lacks_a_program: false,
        }
    }

    /// Whether the rest of the document cannot be run; why was printed.
    pub(super) fn lacks_a_program(&self) -> bool {
        self.lacks_a_program
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        self.project.write(name, text);
    }

    /// Runs the commands of a block and compares what they print with what is shown.
    pub(super) fn console(&mut self, block: &str) -> Result<(), String> {
        let block = block.replace("\\\n", " ");
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("$ ") else {
                return Err(format!("`{line}` is no command"));
            };
            let mut shown = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                shown.push_str(line);
                shown.push('\n');
            }
            if !self.has_program_of(command) {
                self.lacks_a_program = true;
                return Ok(());
            }
            let printed = self.run_shown(command, &shown)?;
            // The offline model's texts begin with a bracket, too.
            if shown.starts_with(['{', '[']) && sample::is_json(&printed) {
                sample::compare_json(&shown, &printed)?;
            } else {
                sample::compare_lines(&shown, &printed)?;
            }
        }
        Ok(())
    }

    /// Whether the program is there that a command begins with, where it may be missing: the rigs'
    /// Python, and what the machine has of its own.
    fn has_program_of(&self, command: &str) -> bool {
        let name = command.split_whitespace().next().unwrap_or_default();
        let path = match name {
            "python" => rigs::program("openapi", name),
            "node" | "sqlite3" => rigs::of_the_machine(name),
            _ => return true,
        };
        let Some(path) = path else {
            return false;
        };
        program(
            &self.project,
            name,
            &format!("exec {} \"$@\"", path.display()),
        );
        true
    }

    /// What a command prints. It has to succeed, unless it is curl and what is shown is the body of
    /// a refusal.
    fn run_shown(&mut self, command: &str, shown: &str) -> Result<String, String> {
        let ended = self.end_of(command)?;
        let is_refusal = ended.code == Some(CURL_GOT_A_REFUSAL)
            && command.starts_with("curl ")
            && !shown.is_empty();
        if is_refusal {
            Ok(ended.stdout)
        } else {
            printed_by(command, ended)
        }
    }

    /// A workflow is valid without a warning, and runs with the inputs that are given.
    pub(super) fn workflow(
        &mut self,
        name: &str,
        text: &str,
        inputs: Option<&str>,
    ) -> Result<(), String> {
        self.write(name, text);
        self.run(&format!("flowmill validate --strict {name}"))?;
        if let Some(inputs) = inputs {
            self.write("inputs.json", inputs);
            self.run(&format!(
                "flowmill run {name} --inputs inputs.json --offline"
            ))?;
        }
        Ok(())
    }

    /// Runs a command that has to succeed; what it prints.
    pub(super) fn run(&mut self, command: &str) -> Result<String, String> {
        printed_by(command, self.end_of(command)?)
    }

    /// What a command prints, whether it succeeds or not; for `hook` the last webhook message.
    pub(super) fn print(&mut self, command: &str) -> Result<String, String> {
        if command == "hook" {
            return Ok(self.last_message());
        }
        Ok(self.end_of(command)?.stdout)
    }

    fn end_of(&mut self, command: &str) -> Result<Ended, String> {
        let command = self.localised(command);
        if let Some(server) = server_of(&command) {
            self.serve(server)?;
            return Ok(Ended {
                code: Some(0),
                stdout: String::new(),
                stderr: String::new(),
            });
        }
        let left = self.project.path("variables");
        let script =
            format!("set -o pipefail\n{command}\nstatus=$?\nenv -0 >\"$VARIABLES\"\nexit $status");
        let mut shell = self.shell(&script);
        let ended = Ended::of(shell.env("VARIABLES", &left));
        if let Ok(text) = std::fs::read_to_string(&left) {
            self.variables = text
                .split('\0')
                .filter_map(|entry| entry.split_once('='))
                .filter(|(name, _)| !OF_THE_SHELL.contains(name))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
        }
        Ok(ended)
    }

    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("bash");
        shell
            .args(["-c", script])
            .current_dir(self.project.root())
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null());
        shell
    }

    fn serve(&mut self, command: &str) -> Result<(), String> {
        // The one before it has the store.
        self.server = None;
        self.variables.remove("FLOWMILL_SERVER");
        let mut server = Running::start(&mut self.shell(&format!("exec env {command}")));
        let url = server
            .address_or_end()
            .ok_or_else(|| format!("`{command}` does not serve:\n{}", server.said_so_far()))?;
        // For our own commands, and for the clients of docs/clients.md.
        for name in ["FLOWMILL_SERVER", "FLOWMILL_URL"] {
            self.variables.insert(name.to_owned(), url.clone());
        }
        self.server = Some((server, url));
        Ok(())
    }

    /// The command with the addresses of this session in place of those that are written.
    fn localised(&self, command: &str) -> String {
        let mut command = command
            .replace("http://127.0.0.1:8080/v1", &self.model.base_url())
            .replace("--host 0.0.0.0", "--host 127.0.0.1")
            .replace('…', ELLIPSIS);
        if let Some((_, url)) = &self.server {
            let port = url.rsplit(':').next().unwrap_or_default();
            for host in ["localhost", "127.0.0.1"] {
                command = command.replace(&format!("{host}:8000"), &format!("{host}:{port}"));
            }
        }
        command
    }

    /// The last message that the receiver got, as it came in.
    fn last_message(&self) -> String {
        let count = self.receiver.received().len().max(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime of one thread");
        let messages = runtime.block_on(self.receiver.got(count));
        let message = messages.last().expect("it was waited for");
        let headers = message
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or_default()));
        format!(
            "POST /hook HTTP/1.1\n{}\n{}",
            headers.collect::<String>(),
            String::from_utf8_lossy(&message.body)
        )
    }

    /// The example of a receiver takes a message that was signed for it.
    pub(super) fn python(&mut self, block: &str) -> Result<(), String> {
        let Some(python) = rigs::program("webhooks", "python") else {
            return Ok(());
        };
        let secret = format!("whsec_{ELLIPSIS}");
        let script = format!(
            r#"{}
import datetime
def seen_before(message):
    return False
body, now = '{{"type": "job.completed", "data": {{"job_id": "0199"}}}}', datetime.datetime.now(datetime.timezone.utc)
headers = {{
    "webhook-id": "msg_1",
    "webhook-timestamp": str(int(now.timestamp())),
    "webhook-signature": Webhook("{secret}").sign("msg_1", now, body),
}}
receive(body.encode(), headers)
"#,
            block.replace("whsec_…", &secret)
        );
        self.write("receiver.py", &script);
        let ended = Ended::of(
            Command::new(python)
                .arg("receiver.py")
                .current_dir(self.project.root()),
        );
        if ended.code == Some(0) && ended.stdout == "job.completed 0199\n" {
            Ok(())
        } else {
            Err(format!("{}{}", ended.stdout, ended.stderr))
        }
    }
}

/// What a command printed that has to have succeeded.
fn printed_by(command: &str, ended: Ended) -> Result<String, String> {
    if ended.code == Some(0) {
        Ok(ended.stdout)
    } else {
        Err(format!(
            "`{command}` ends with {:?}:\n{}{}",
            ended.code, ended.stdout, ended.stderr
        ))
    }
}

/// The command of a server, which goes on: variables may stand before it. One with `||` behind it
/// is expected to fail, and ends.
fn server_of(command: &str) -> Option<&str> {
    if command.contains("||") {
        return None;
    }
    let mut words = command.split_whitespace();
    let program = words.find(|word| !word.contains('='))?;
    let verb = words.next()?;
    ((program, verb) == ("flowmill", "serve")).then_some(command)
}

fn program(project: &TempProject, name: &str, script: &str) {
    let path = project.write(
        format!("bin/{name}"),
        format!("#!/usr/bin/env bash\n{script}\n"),
    );
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .expect("the file is ours");
}
