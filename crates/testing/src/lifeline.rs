//! Servers that end with this process, however it ends.
//!
//! A shell waits for the end of its input, whose other end this process holds. A test runner that
//! is killed closes it too, and so does a `static`, which is never dropped.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends the process whose id it read last, waits for up to 10 s, and removes the folder.
const SCRIPT: &str = r#"
last=-
while read -r line; do last=$line; done
if [ "$last" != - ]; then
    kill -QUIT "$last" 2>/dev/null
    for _ in $(seq 200); do kill -0 "$last" 2>/dev/null || break; sleep 0.05; done
    kill -KILL "$last" 2>/dev/null
fi
rm -rf -- "$1"
"#;

/// Ends one server and removes its folder when dropped, or when this process ends.
#[derive(Debug)]
pub(crate) struct Lifeline {
    shell: Child,
}

impl Lifeline {
    /// For a server whose files are in `folder`, not yet started.
    ///
    /// # Panics
    /// Where there is no `sh`.
    pub(crate) fn for_folder(folder: &Path) -> Self {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "lifeline"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is sent to the test's group, such as by Ctrl-C, is not for the shell.
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Self { shell }
    }

    /// The server runs as that process.
    pub(crate) fn holds(&mut self, process: u32) {
        self.tell(&process.to_string());
    }

    /// The server has ended.
    pub(crate) fn holds_none(&mut self) {
        self.tell("-");
    }

    fn tell(&mut self, line: &str) {
        let input = self.shell.stdin.as_mut().expect("it is piped");
        writeln!(input, "{line}").expect("the shell reads");
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let ended = self.shell.wait();
        if !std::thread::panicking() {
            ended.expect("the shell can be awaited");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_the_process_and_removes_the_folder() {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut process = Command::new("sleep").arg("600").spawn().unwrap();
        let mut lifeline = Lifeline::for_folder(&folder);
        lifeline.holds(process.id());
        // The process must be reaped for the shell to see its end.
        let ended = std::thread::spawn(move || process.wait().unwrap());
        drop(lifeline);
        assert!(!ended.join().unwrap().success());
        assert!(!folder.exists());
    }

    #[test]
    fn leaves_an_ended_process_alone() {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut process = Command::new("sleep").arg("600").spawn().unwrap();
        let mut lifeline = Lifeline::for_folder(&folder);
        lifeline.holds(process.id());
        lifeline.holds_none();
        drop(lifeline);
        assert_eq!(process.try_wait().unwrap(), None);
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
