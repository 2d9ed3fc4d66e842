//! A program that runs in the background, in a folder of its own.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::programs;
use crate::lifeline::Lifeline;

/// How long a program may take to come up, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program ends, and its folder goes, with the value or with this process.
#[derive(Debug)]
pub(super) struct Daemon {
    folder: PathBuf,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    process: Option<Child>,
    lifeline: Lifeline,
}

impl Daemon {
    /// Makes its folder.
    pub(super) fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("flowmill-{name}-"))
            .tempdir()
            .expect("the temporary directory can be written")
            .keep();
        let lifeline = Lifeline::for_folder(&folder);
        own(&folder);
        Self {
            folder,
            running: Mutex::new(Running {
                process: None,
                lifeline,
            }),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file that only the program may read.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("the folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is our file");
        own(&path);
        path
    }

    /// A program that runs in the folder, as the user who may run it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some((user, group)) = programs::owner() {
            command.uid(user).gid(group);
        }
        command
    }

    /// Starts it; returns once it is up.
    pub(super) fn start(&self, command: &mut Command, is_up: impl Fn() -> bool) {
        let mut running = self.running();
        assert!(running.process.is_none(), "it is running");
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log_file())
            .expect("the log can be written");
        let process = command.stderr(log).spawn().expect("the program starts");
        running.lifeline.holds(process.id());
        let process = running.process.insert(process);
        let deadline = Instant::now() + PATIENCE;
        while !is_up() {
            if let Some(status) = process.try_wait().expect("a child can be asked for") {
                panic!("{command:?} ended ({status}):\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "{command:?} does not come up:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end after that signal. One that has ended on its own is as good.
    pub(super) fn stop(&self, signal: Signal) {
        let mut running = self.running();
        let Some(mut process) = running.process.take() else {
            return;
        };
        // Fails where the process has ended.
        let _ = kill_process(pid(&process), signal);
        let deadline = Instant::now() + PATIENCE;
        while process
            .try_wait()
            .expect("a child can be asked for")
            .is_none()
        {
            assert!(
                Instant::now() < deadline,
                "it does not stop:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(5));
        }
        running.lifeline.holds_none();
    }

    /// Of the program's first process.
    pub(super) fn process_id(&self) -> u32 {
        let running = self.running();
        running.process.as_ref().expect("it is running").id()
    }

    /// What it wrote to standard error.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // Where a test has failed in here, the program can still be stopped.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The lifeline removes the folder.
        self.stop(Signal::QUIT);
    }
}

fn pid(process: &Child) -> Pid {
    let id = i32::try_from(process.id()).expect("process ids fit");
    Pid::from_raw(id).expect("it is not 0")
}

/// Gives a file or folder to the user who runs servers.
fn own(path: &Path) {
    if let Some((user, group)) = programs::owner() {
        chown(path, Some(user), Some(group)).expect("root can give files away");
    }
}
