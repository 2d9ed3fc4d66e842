//! A server in its own process: starting, measuring and killing it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The unit of processor time in `/proc/<pid>/stat`: `USER_HZ`, 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A running program. Killed by its id on drop.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command without stdin and stdout; its errors go to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Starts one of this program's own servers and reads the address it prints.
    pub(crate) fn start_own(arguments: &[&str]) -> Result<(Self, SocketAddr)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {arguments:?} of this program"))?;
        let stdout = child.stdout.take().expect("it is piped");
        let process = Self { child };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line
            .trim()
            .parse()
            .with_context(|| format!("{arguments:?} printed no address: {line:?}"))?;
        Ok((process, address))
    }

    /// Fails if the program has exited.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("it ended with {status}"),
            None => Ok(()),
        }
    }

    /// Physical memory in use, bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most physical memory ever in use, bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Processor time used since the start, all threads, to 10 ms.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        Ok(Stat::of(self.child.id())?.own)
    }

    fn status(&self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kibibytes = status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB"));
        let kibibytes: u64 = kibibytes
            .with_context(|| format!("no {key} in /proc/<pid>/status"))?
            .parse()?;
        Ok(kibibytes * 1024)
    }
}

/// Processor time that a program has used since its start, with its children, ended ones too.
pub(crate) fn processor_time_of_all(parent: u32) -> Result<Duration> {
    let own = Stat::of(parent)?;
    let mut used = own.own + own.ended_children;
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|id| id.parse().ok()) else {
            continue;
        };
        // A process may end while it is looked at.
        if let Ok(stat) = Stat::of(id)
            && stat.parent == parent
        {
            used += stat.own;
        }
    }
    Ok(used)
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

impl Stat {
    fn of(id: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may hold anything. The parent is field 4; user and system time are
        // fields 14 and 15, those of ended children 16 and 17.
        let (_, fields) = stat
            .rsplit_once(") ")
            .context("an unknown /proc/<pid>/stat")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |field: usize| -> Result<u32> {
            let text = fields.get(field - 3).context("a short /proc/<pid>/stat")?;
            Ok(text.parse()?)
        };
        Ok(Self {
            parent: number(4)?,
            own: TICK * (number(14)? + number(15)?),
            ended_children: TICK * (number(16)? + number(17)?),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone_and_was_readable_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            Process::start(Command::new("sleep").arg("60"), &folder.path().join("log")).unwrap();
        process.still_runs().unwrap();
        assert!(process.memory().unwrap() <= process.peak_memory().unwrap());
        assert!(process.processor_time().unwrap() < Duration::from_secs(1));

        let proc = format!("/proc/{}", process.child.id());
        assert!(Path::new(&proc).exists());
        drop(process);
        assert!(!Path::new(&proc).exists());
    }
}
